"""What decides a number: the ingredients of prepared data and of a run, whose digests are keys.

Device, threads, library versions and the code of the steps are not among them; a run's record
names the first three and the commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anchorbench.data.local_files import local_path
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
        "params": dict(params),
        "sources": {name: _checksum(spec) for name, spec in raw.items()},
        "files": {what: _content(path) for what, path in files.items()},
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
        "dataset": dict(dataset),
        "method": name,
        "code": source_digest(method.path),
        "params": dict(params),
        "seed": seed,
        "rule of seeds": source_digest(SEEDS),
    }


def code_files(*plugins: Path) -> dict[str, str]:
    """Return the files of code that plugins count with, by path, each with its tree's digest."""
    found: dict[str, str] = {}
    for path in plugins:
        found |= sources(path)
    return found


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
