"""Archives: what is wrong with one, as far as its own form tells, and which members count."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from anchorbench.data.errors import READER_ERRORS, said

_BLOCK_BYTES = 1 << 20
ZIPS = (".zip", ".npz")
STREAMS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
CHECKED = (*ZIPS, *STREAMS)
"""Suffixes of files that hold sums of their content: one that was cut short is noticed."""


def members(archive: zipfile.ZipFile) -> list[str]:
    """Names in a zip without what the Finder of macOS adds: __MACOSX/ and ._ files."""
    return [
        name
        for name in archive.namelist()
        if "__MACOSX" not in name.split("/") and not name.rsplit("/", 1)[-1].startswith("._")
    ]


def problem(path: Path, suffix: str, most_mb: float) -> str | None:
    """Return what is wrong with an archive, judged by its suffix and content, or None.

    Every member is read once. most_mb : the most that it may unpack to.
    """
    try:
        if suffix in ZIPS:
            return _of_zip(path, most_mb)
        if suffix in STREAMS:
            size = 0
            with STREAMS[suffix](path) as stream:
                while block := stream.read(_BLOCK_BYTES):
                    size += len(block)
                    if size > most_mb * 1e6:
                        return _too_much(most_mb)
        if suffix in (".tar", ".tgz") or path.name.endswith((".tar.gz", ".tar.bz2", ".tar.xz")):
            with tarfile.open(path) as archive:
                return _outside(member.name for member in archive)
    except READER_ERRORS as error:
        return f"is truncated or not a {suffix} archive ({said(error)})"
    return None


def _of_zip(path: Path, most_mb: float) -> str | None:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > most_mb * 1e6:
            return _too_much(most_mb)
        if wrong := _outside(archive.namelist()):
            return wrong
        damaged = archive.testzip()
    return f"has a damaged member, {damaged}" if damaged else None


def _too_much(most_mb: float) -> str:
    return f"unpacks to more than {most_mb:g} MB (raise downloads.unpacked_mb if that is right)"


def _outside(names: Iterable[str]) -> str | None:
    """What is wrong with the names of members, which must stay below the folder unpacked to."""
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            return f"has a member that leads out of its folder, {name!r}"
    return None
