"""Which local files are meant: an address as a path, the files that an own table is read from."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

NAMES_BESIDE = ("features.tsv", "features.tsv.gz", "genes.tsv", "genes.tsv.gz")
"""Where an .mtx finds the names of its features, besides <stem>.features.txt."""


def local_path(address: str | Path) -> Path | None:
    """Return the path that an address means ("~" and "file:" resolved); None for a web address."""
    text = str(address)
    scheme = urlparse(text).scheme
    if scheme in ("http", "https"):
        return None
    return Path(unquote(urlparse(text).path) if scheme == "file" else text).expanduser()


def table_suffix(path: Path) -> str:
    """The suffix that says of what kind a table is: ".csv" for mine.csv.gz."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def names_beside(path: Path) -> Path | None:
    """The file of feature names that lies beside a matrix and is read with it, if there is one."""
    if table_suffix(path) != ".mtx":
        return None
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    usual = [path.with_name(name) for name in (f"{stem}.features.txt", *NAMES_BESIDE)]
    return next((file for file in usual if file.is_file()), None)


def files_of_table(path: Path, features: str | Path | None = None) -> dict[str, Path]:
    """Return all files that an own table is read from, by what they are."""
    names = local_path(features) if features is not None else names_beside(path)
    return {"table": path, **({"features": names} if names is not None else {})}
