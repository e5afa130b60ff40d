"""Objects of an R package, read without R: Debian's binary package or the source archive.

Debian's package is an `ar` archive whose data.tar holds the objects in a lazy-load base: an index
Rdata.rdx of names to (offset, length) and the compressed objects in Rdata.rdb. The source archive
holds one data/<name>.rda a data set (or several objects in one). PyPI's `rdata` decodes R's
serialisation; nothing is executed.
"""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from anchorbench.data.dataset import DataError
from anchorbench.data.errors import reading

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


def read_objects(path: Path, package: str, names: list[str]) -> dict[str, Any]:
    """Return objects of an R package by name.

    Parameters
    ----------
    path : Path
        The package: Debian's .deb, or the source archive .tar.gz.
    package : str
        Its name, for messages.
    names : list of str
        Objects wanted.

    Returns
    -------
    dict
        Data frames as DataFrames with text column names, matrices likewise, lists of character
        vectors as dicts of lists of text.

    Raises
    ------
    DataError
        The file is damaged, is no such package, or lacks an object; the message names which.
    """
    remedy = "give Debian's package or the source archive (.tar.gz), whole"
    with reading(path, f"R's package {package}", remedy):
        with path.open("rb") as file:
            is_deb = file.read(len(AR_MAGIC)) == AR_MAGIC
        found = _from_deb(path, names) if is_deb else _from_source(path, names)
    for name in names:
        if name not in found:
            raise DataError(
                f"{path}: {package} has no object {name!r}: another version? 2.2.9 has it"
            )
    return {name: _plain(found[name]) for name in names}


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files below a folder data/."""
    for member in archive:
        if member.isfile() and "/data/" in f"/{member.name}":
            content = archive.extractfile(member)
            assert content is not None
            yield Path(member.name).name, content.read()


def _from_deb(path: Path, names: list[str]) -> dict[str, Any]:
    """Objects of the lazy-load base in a Debian package."""
    data = next((c for name, c in _ar_members(path) if name.startswith("data.tar")), None)
    if data is None:
        raise ValueError("no data.tar in it")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = dict(_members(archive))
    index = _parse(zlib.decompress(files["Rdata.rdx"], ZLIB_OR_GZIP))["variables"]
    wanted = {str(name): place for name, place in index.items() if str(name) in names}
    base = files["Rdata.rdb"]
    return {
        name: _parse(_inflate(base[int(offset) : int(offset) + int(length)]))
        for name, (offset, length) in wanted.items()
    }


def _ar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members of an `ar` archive."""
    with path.open("rb") as file:
        file.seek(len(AR_MAGIC))
        while len(header := file.read(AR_HEADER)) == AR_HEADER:
            size = int(header[48:58])
            content = file.read(size)
            if len(content) < size:
                raise EOFError("cut short")
            yield header[:16].decode().strip().rstrip("/"), content
            file.seek(size % 2, io.SEEK_CUR)


def _inflate(chunk: bytes) -> bytes:
    """A chunk of a lazy-load base: its length in 4 bytes, a type byte unless zlib, the data."""
    decode: dict[bytes, Callable[[bytes], bytes]] = {
        b"2": bz2.decompress,
        b"Z": lzma.decompress,
        b"0": bytes,
    }
    kind = chunk[4:5]
    data = decode[kind](chunk[5:]) if kind in decode else zlib.decompress(chunk[4:])
    if len(data) != int.from_bytes(chunk[:4], "big"):
        raise ValueError("an object of another length than the index says")
    return data


def _from_source(path: Path, names: list[str]) -> dict[str, Any]:
    """Objects of the .rda files in a source archive."""
    found: dict[str, Any] = {}
    with tarfile.open(path) as archive:
        for file, content in _members(archive):
            if file.lower().endswith((".rda", ".rdata")):
                objects = _parse(content)
                found |= {str(name): value for name, value in objects.items() if name in names}
    return found


def _parse(content: bytes) -> Any:
    """R's serialisation, compressed or not, as Python objects."""
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rdata.conversion.convert(rdata.parser.parse_data(content))


def _plain(value: Any) -> Any:
    """Names as text, labelled matrices as DataFrames."""
    if isinstance(value, dict):
        return {str(name): [str(item) for item in items] for name, items in value.items()}
    if not isinstance(value, pd.DataFrame):
        columns = value.coords[value.dims[1]].to_numpy()
        value = pd.DataFrame(value.to_numpy(), columns=columns)
    return value.rename(columns=str)
