"""Raw data files: found on disk or downloaded once, and checked either way."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from anchorbench.data.local_files import local_path

TIMEOUT_SECONDS = 60
_BLOCK_BYTES = 1 << 20


class SourceError(Exception):
    """A raw file that cannot be had or trusted; the message says which, why and what to do."""


@dataclass(frozen=True)
class Source:
    """A raw file as it was got: where it lies, its sha256 (hex), its address and its size."""

    path: Path
    sha256: str
    url: str
    bytes: int


def fetch(name: str, spec: Mapping[str, Any], cache_dir: str | Path) -> Source:
    """Return the file of a source, downloading it into `cache_dir` unless it is there.

    `spec` has `url`, a web address or a local path (relative to the working directory; used where
    it lies), and may have `sha256` or `md5`; sha256 decides where both are given, and without
    either the file is accepted and its sha256 recorded. Raises SourceError; a download that
    fails leaves no file behind.
    """
    url = spec.get("url")
    if not isinstance(url, str) or not url:
        raise SourceError(f"source {name!r} has no url: give it one under sources.{name}.url")
    path = local_path(url)
    if path is None:
        return _remote(name, url, spec, Path(cache_dir))
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise SourceError(
            f"source {name!r}: {path.absolute()} {what}: put the file there or correct "
            f"sources.{name}.url (relative paths start at {Path.cwd()})"
        )
    return _checked(name, url, spec, path, f"replace {path}")


def _remote(name: str, url: str, spec: Mapping[str, Any], cache_dir: Path) -> Source:
    # The address is part of the name, so that a changed url is not served by an old file.
    tag = hashlib.sha256(url.encode()).hexdigest()[:8]
    target = cache_dir / f"{name}-{tag}-{Path(unquote(urlparse(url).path)).name or 'file'}"
    if target.is_file():
        return _checked(name, url, spec, target, f"delete {target} to download it again")
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=f".{name}-") as scratch:
        partial = Path(scratch) / target.name
        _download(name, url, partial)
        source = _checked(name, url, spec, partial, "the download was deleted, try again")
        os.replace(partial, target)
    return Source(target, source.sha256, source.url, source.bytes)


def _download(name: str, url: str, path: Path) -> None:
    import pooch
    from requests import exceptions as failure

    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT_SECONDS)
    by_hand = (
        f"fetch it by other means and set sources.{name}.url to the local path of the file "
        "(its checksum, where the config has one, decides whether it is the right one)"
    )
    try:
        download(url, str(path), None)
    except failure.SSLError as error:
        raise SourceError(
            f"source {name!r}: {_certificate(str(error))} at {url}: wait until its owner repairs "
            f"it, or {by_hand}"
        ) from error
    except failure.HTTPError as error:
        status = getattr(error.response, "status_code", None)
        what = "no file there (404)" if status == 404 else f"the server answered {status}"
        raise SourceError(
            f"source {name!r}: {what}: {url}: correct sources.{name}.url, or {by_hand}"
        ) from error
    except (failure.ChunkedEncodingError, failure.ContentDecodingError) as error:
        raise SourceError(
            f"source {name!r}: the download of {url} broke off: try again, or {by_hand}"
        ) from error
    except failure.ConnectionError as error:
        raise SourceError(
            f"source {name!r}: no network, or {urlparse(url).netloc} cannot be reached ({url}): "
            f"check the connection and proxy, or {by_hand}"
        ) from error
    except failure.Timeout as error:
        raise SourceError(
            f"source {name!r}: {url} sent nothing for {TIMEOUT_SECONDS} s: try again, or {by_hand}"
        ) from error
    except failure.RequestException as error:
        raise SourceError(
            f"source {name!r}: {url} cannot be downloaded ({error}): correct sources.{name}.url, "
            f"or {by_hand}"
        ) from error


def _certificate(error: str) -> str:
    text = error.lower()
    if "expired" in text:
        return "the server's TLS certificate has expired"
    if "self-signed" in text or "self signed" in text:
        return "the server's TLS certificate is self-signed"
    return "the server's TLS certificate is not valid"


def _checked(name: str, url: str, spec: Mapping[str, Any], path: Path, remedy: str) -> Source:
    """Describe a file, or raise SourceError with the best reason why it is not the right one."""
    kind = "sha256" if spec.get("sha256") else "md5" if spec.get("md5") else None
    sums = _sums(path, {"sha256", kind or "sha256"})
    expected = str(spec[kind]).strip().lower() if kind else None
    if kind is None or sums[kind] != expected:
        wrong = _broken(path, Path(urlparse(url).path).suffix.lower())
        if wrong is None and kind:
            wrong = f"has the wrong checksum: {kind} {expected} was expected, it is {sums[kind]}"
        if wrong:
            update = f", or, if this file is the one you want, set sources.{name}.sha256 to "
            update = update + sums["sha256"] if "checksum" in wrong else ""
            raise SourceError(f"source {name!r}: {url} {wrong}: {remedy}{update}")
    return Source(path, sums["sha256"], url, path.stat().st_size)


def _sums(path: Path, kinds: set[str]) -> dict[str, str]:
    sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            for running in sums.values():
                running.update(block)
    return {kind: running.hexdigest() for kind, running in sums.items()}


def _broken(path: Path, suffix: str) -> str | None:
    """What is wrong with a file by its content alone, or None."""
    if path.stat().st_size == 0:
        return "is empty"
    with path.open("rb") as stream:
        head = stream.read(512).lstrip().lower()
    if suffix not in (".html", ".htm") and head.startswith((b"<!doctype html", b"<html")):
        return "is an HTML page, not the data file (a log-in, error or redirect page?)"
    try:
        if suffix in (".zip", ".npz"):
            # The directory of a zip lies at its end: opening it notices a file that was cut.
            zipfile.ZipFile(path).close()
        elif suffix == ".gz":
            with gzip.open(path) as stream:
                while stream.read(_BLOCK_BYTES):
                    pass
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
        return f"is truncated or not a {suffix} archive ({error})"
    return None
