"""What decides a number: the ingredients of prepared data and of a run, whose digests are keys.

Device, threads, library versions and the code of the steps are not among them; a run's record
names the first three and the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anchorbench.data.local_files import local_path, table_suffix
from anchorbench.study.digest import file_sha256
from anchorbench.study.plugins import PACKAGE, Plugin
from anchorbench.study.source import source_digest, sources

SEEDS = PACKAGE / "study" / "seeds.py"
SPLITS = PACKAGE / "data" / "dataset.py"


def of_data(
    plugin: Plugin,
    params: Mapping[str, Any],
    raw: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Path],
) -> dict[str, Any]:
    """Return the ingredients of prepared data and its splits.

    Parameters
    ----------
    plugin : Plugin
        The dataset's.
    params : mapping
        Parameters of its `prepare`; those of `split` are a run's.
    raw : mapping of str to mapping
        Sources: the stated checksum counts, else the content of a local file, else the address.
    files : mapping of str to Path
        Local files that the configuration names, by what they are; their content counts.
    """
    return {
        "code": source_digest(plugin.path),
        "rule of splits": source_digest(SPLITS),
        "params": _by_content(params),
        "sources": {name: _checksum(spec) for name, spec in raw.items()},
        "files": {what: _file(path) for what, path in files.items()},
    }


def of_run(
    data: str, dataset: Mapping[str, Any], method: Plugin, name: str, params: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the ingredients of the runs of one job.

    Parameters
    ----------
    data : str
        Digest of `of_data`.
    dataset : mapping
        The dataset's name, parameters, likelihood and number of latent factors.
    method, name, params
        The method's plugin, the variant's name and its parameters.
    seed : int
        The configuration's.
    """
    return {
        "data": data,
        "dataset": _by_content(dataset),
        "method": name,
        "code": source_digest(method.path),
        "params": _by_content(params),
        "seed": seed,
        "rule of seeds": source_digest(SEEDS),
    }


def code_files(*plugins: Path) -> dict[str, str]:
    """Return the files of code that plugins count with, by path, each with its tree's digest."""
    found: dict[str, str] = {}
    for path in plugins:
        found |= sources(path)
    return found


def _by_content(value: Any) -> Any:
    """A parameter, or parameters, with the content of a local file in place of its path."""
    if isinstance(value, Mapping):
        return {key: _by_content(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(item) for item in value]
    # A word such as "train" is no path, whatever lies in the working folder.
    if isinstance(value, str) and ("/" in value or "." in value):
        path = local_path(value)
        return _file(path) if path is not None and _is_file(path) else value
    return value


def _is_file(path: Path) -> bool:
    """Whether there is such a file, or was where the work was packed."""
    try:
        return str(path) in contents or path.is_file()
    except (OSError, ValueError):  # too long, or with a null character: some other text
        return False


def _file(path: Path) -> str:
    """What a file is read as, by its suffixes, and its content."""
    zipped = ".gz" if path.suffix == ".gz" else ""
    return f"{table_suffix(path)}{zipped} {_content(path)}".strip()


def _checksum(spec: Mapping[str, Any]) -> str:
    stated = spec.get("sha256") or spec.get("md5")
    if stated:
        return str(stated)
    path = local_path(spec["url"])
    return str(spec["url"]) if path is None else _content(path)


contents: dict[str, str] = {}
"""Of local files by path: sha256, or "missing" where there is none, which its reader will say."""


def _content(path: Path) -> str:
    """The entry of a file in `contents`; a file is read once."""
    if str(path) not in contents:
        contents[str(path)] = file_sha256(path) if path.is_file() else "missing"
    return contents[str(path)]
