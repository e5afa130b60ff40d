"""Files that say whether they are what was written: JSON with a seal, folders with a list.

A sealed JSON file holds the checksum of its content; the seal of a folder lists its other files
with their sizes and checksums. Everything is written whole or not at all, and through to the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anchorbench.data.json_text import json_text
from anchorbench.study.digest import digest, file_sha256

SEAL = "checksum"


def write_json(path: Path, value: Any) -> None:
    """Write JSON by way of a temporary file, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json_text(value))
        os.fsync(file.fileno())
    os.chmod(name, 0o644)
    os.replace(name, path)
    _folder_through(path.parent)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None where it is missing or unreadable."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, with the checksum of its content among its keys."""
    plain = json.loads(json_text(value))
    write_json(path, {**plain, SEAL: digest(plain)})


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return what `write_sealed` wrote; None where it is missing or not what was written."""
    value = read_json(path)
    if not isinstance(value, dict):
        return None
    seal = value.pop(SEAL, None)
    return value if seal == digest(value) else None


def checksum(path: Path) -> str | None:
    """The checksum with which a file was sealed; None where it is missing or damaged."""
    value = read_sealed(path)
    return None if value is None else digest(value)


def file_facts(path: Path) -> dict[str, Any]:
    """Size and checksum of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def files_below(folder: Path, but: str) -> dict[str, dict[str, Any]]:
    """Size and checksum of each file below a folder, but one, by its path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != but)
    return {path.relative_to(folder).as_posix(): file_facts(path) for path in paths}


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield scratch
        os.chmod(scratch, 0o755)
        for path in scratch.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
        _folder_through(target.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _folder_through(folder: Path) -> None:
    """Write a folder's entries through to the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems
        pass
    finally:
        os.close(descriptor)


class Whole:
    """Whether listed files are what they were, by size and checksum.

    Checksums are remembered by size, time and inode of the file, in a file of the store, so that a
    store is read through once and not at each call.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory
        self.known: dict[str, list[Any]] = (read_sealed(memory) if memory else None) or {}
        self._new = False

    def check(self, folder: Path, files: Any) -> str:
        """Say what is wrong with the files of a folder, "" where nothing is."""
        if not isinstance(files, dict):
            return "no list of its files"
        for name, about in files.items():
            path = folder / name
            try:
                state = path.stat()
            except OSError:
                return f"{name} is missing"
            if state.st_size != about["bytes"]:
                return f"{name} has {state.st_size} bytes, not {about['bytes']}"
            if self._sha256(path, state) != about["sha256"]:
                return f"{name} has another checksum"
        return ""

    def _sha256(self, path: Path, state: os.stat_result) -> str:
        mark = [state.st_size, state.st_mtime_ns, state.st_ino]
        name = str(path)
        if self.memory is None or self.known.get(name, [None])[:-1] != mark:
            self.known[name] = [*mark, file_sha256(path)]
            self._new = True
        return str(self.known[name][-1])

    def remember(self) -> None:
        """Keep what was read for the next call."""
        if self.memory is not None and self._new:
            write_sealed(self.memory, self.known)
            self._new = False
