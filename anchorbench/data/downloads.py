"""Raw data files: found on disk or downloaded once, and checked either way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from anchorbench.data.archives import CHECKED, problem
from anchorbench.data.errors import READER_ERRORS, said
from anchorbench.data.json_text import json_text
from anchorbench.data.local_files import local_path
from anchorbench.data.transfer import Failure, Transfer, TransferError

MAX_MB, UNPACKED_MB = 3000.0, 20000.0
"""Most that a download may have, and an archive unpack to, where a source does not say."""
_BLOCK_BYTES = 1 << 20
_PAGE = re.compile(
    r"\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|(html|head|body|script|Error)[\s>])",
    re.IGNORECASE | re.DOTALL,
)
"""How a page begins, XHTML with its XML declaration and an error of object storage, too."""


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
    either the file is accepted if its length and form are right, and its sha256 is recorded: one
    that was altered since, or is another when downloaded again, is then refused. `max_mb` and
    `unpacked_mb` limit what comes. Raises SourceError; a download that fails leaves no file behind.
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
    target = cache_dir / _file_name(name, url)
    first = target.with_name(f"{target.name}.json")
    if target.is_file():
        source = _checked(name, url, spec, target, f"delete {target} to download it again")
        _compare(name, spec, source, first, f"{target} was altered since", f"delete {target}")
        return source
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=f".{name}-") as scratch:
        partial = Path(scratch) / target.name
        complete = _download(name, url, partial, float(spec.get("max_mb", MAX_MB)))
        source = _checked(name, url, spec, partial, "the download was deleted, try again")
        if not complete and not _stated(spec) and _suffix(url) not in CHECKED:
            raise SourceError(
                f"source {name!r}: the server of {url} does not say how long the file is, so that "
                f"nobody can know if all of it came: set sources.{name}.sha256 (of what came it is "
                f"{source.sha256}), or fetch it by other means"
            )
        _compare(name, spec, source, first, f"{url} has changed since", f"delete {first}")
        os.replace(partial, target)
    return Source(target, source.sha256, source.url, source.bytes)


def _file_name(name: str, url: str) -> str:
    """Name of a source's file: the address is part of it, so that another one gets another file."""
    tag = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:8]
    last = re.sub(r"[^\w.+-]", "_", Path(unquote(urlparse(url).path)).name)[-100:]
    return f"{name}-{tag}-{last or 'file'}"


def _compare(
    name: str, spec: Mapping[str, Any], source: Source, first: Path, what: str, remedy: str
) -> None:
    """Remember the sha256 of a first download, or compare a later one with it.

    Raises SourceError where they differ and the configuration states no sum, which would decide.
    """
    try:
        known = json.loads(first.read_text(encoding="utf-8"))["sha256"]
    except READER_ERRORS:
        known = None
    if known is None or _stated(spec):
        about = {"url": source.url, "sha256": source.sha256, "bytes": source.bytes}
        if known != source.sha256:
            first.write_text(json_text(about), encoding="utf-8")
    elif known != source.sha256:
        raise SourceError(
            f"source {name!r}: {what} the first download (sha256 {known} then, {source.sha256} "
            f"now): {remedy}, or, if this file is the one you want, set sources.{name}.sha256 to "
            f"{source.sha256}"
        )


def _download(name: str, url: str, path: Path, most_mb: float) -> bool:
    """Download, with pauses between some attempts; return whether the server said where it ends.

    Raises SourceError.
    """
    by_hand = (
        f"fetch it by other means and set sources.{name}.url to the local path of the file "
        "(its checksum, where the config has one, decides whether it is the right one)"
    )
    transfer = Transfer(url, path, most_mb * 1e6)
    try:
        transfer.run()
    except TransferError as error:
        raise SourceError(f"source {name!r}: {_explained(error, name, url, by_hand)}") from error
    return transfer.delimited


def _explained(error: TransferError, name: str, url: str, by_hand: str) -> str:
    host, correct = urlparse(url).netloc, f"correct sources.{name}.url, or {by_hand}"
    tried = f" ({error.attempts} attempts)" if error.attempts > 1 else ""
    text = {
        Failure.CERTIFICATE: f"{_certificate(str(error))} at {url}: wait until its owner repairs "
        f"it, or {by_hand}",
        Failure.STATUS: f"{error}{tried}: {url}: {correct}",
        Failure.BROKE_OFF: f"the download of {url} broke off{tried} ({error}): try again, or "
        f"{by_hand}",
        Failure.STALLED: f"{url} sent nothing for {error}{tried}, it stalled: try again, or "
        f"{by_hand}",
        Failure.UNREACHABLE: f"no network, or {host} cannot be reached ({url}){tried}: check the "
        f"connection and proxy, or {by_hand}",
        Failure.TOO_LARGE: f"{url} {error}: raise sources.{name}.max_mb or downloads.max_mb if "
        "that is right",
        Failure.DISK: f"{url} cannot be kept ({error}): make room, or choose another --results",
        Failure.OTHER: f"{url} cannot be downloaded ({error}): {correct}",
    }
    return text[error.failure]


def _certificate(error: str) -> str:
    text = error.lower()
    if "expired" in text:
        return "the server's TLS certificate has expired"
    if "self-signed" in text or "self signed" in text:
        return "the server's TLS certificate is self-signed"
    return "the server's TLS certificate is not valid"


def _checked(name: str, url: str, spec: Mapping[str, Any], path: Path, remedy: str) -> Source:
    """Describe a file, or raise SourceError with the best reason why it is not the right one."""
    kind = _stated(spec)
    sums = _sums(path, {"sha256", kind or "sha256"})
    expected = str(spec[kind]).strip().lower() if kind else None
    if kind is None or sums[kind] != expected:
        wrong = _broken(path, _suffix(url), float(spec.get("unpacked_mb", UNPACKED_MB)))
        if wrong is None and kind:
            wrong = f"has the wrong checksum: {kind} {expected} was expected, it is {sums[kind]}"
        if wrong:
            update = f", or, if this file is the one you want, set sources.{name}.sha256 to "
            update = update + sums["sha256"] if "checksum" in wrong else ""
            raise SourceError(f"source {name!r}: {url} {wrong}: {remedy}{update}")
    return Source(path, sums["sha256"], url, path.stat().st_size)


def _stated(spec: Mapping[str, Any]) -> str | None:
    """The kind of sum that the configuration states for a source and that decides."""
    return "sha256" if spec.get("sha256") else "md5" if spec.get("md5") else None


def _suffix(url: str) -> str:
    return Path(urlparse(url).path).suffix.lower()


def _sums(path: Path, kinds: set[str]) -> dict[str, str]:
    sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            for running in sums.values():
                running.update(block)
    return {kind: running.hexdigest() for kind, running in sums.items()}


def _broken(path: Path, suffix: str, most_mb: float) -> str | None:
    """What is wrong with a file by its content alone, or None."""
    if path.stat().st_size == 0:
        return "is empty"
    with path.open("rb") as stream:
        head = stream.read(4096)
    if suffix not in (".html", ".htm", ".xhtml") and _PAGE.match(_as_text(head)):
        return "is an HTML page, not the data file (a log-in, error or redirect page?)"
    if suffix == ".json":
        try:
            json.loads(path.read_bytes())
        except READER_ERRORS as error:
            return f"is no JSON ({said(error)})"
    return problem(path, suffix, most_mb)


def _as_text(head: bytes) -> str:
    """The beginning of a file as text, in the encoding that its byte order mark names."""
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    known = [encoding for mark, encoding in marks.items() if head.startswith(mark)]
    return head.decode(known[0] if known else "latin-1", "replace")
