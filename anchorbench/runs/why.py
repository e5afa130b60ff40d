"""Why two runs have different digests: their ingredients, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from anchorbench.runs.store import Store
from anchorbench.study.config import ConfigError
from anchorbench.study.jobs import run_digest
from anchorbench.study.plan import Plan

ABSENT = "(absent)"
# What the record knows that does not enter the digest.
REMARKS = ("git_commit", "machine", "device", "versions")


def find(name: str, store: Store, plan: Plan) -> dict[str, Any]:
    """Return the record of a run.

    Parameters
    ----------
    name : str
        The run's digest or its beginning, or "dataset/method/protocol/replicate" of the plan.

    Raises
    ------
    ConfigError
        No run, or more than one, goes by that name.
    """
    if name.count("/") == 3:
        dataset, method, protocol, replicate = name.split("/")
        jobs = plan.find(dataset, method, protocol)
        digests = [run_digest(j, r) for j in jobs for r in j.replicates if str(r) == replicate]
        if not digests:
            raise ConfigError(f"{dataset} {method} {protocol} has no replicate {replicate}")
    else:
        digests = store.beginning_with(name)
        if len(digests) > 1:
            raise ConfigError(f"{name!r} begins {len(digests)} digests: give more of it")
    record = store.record(digests[0]) if digests else None
    if record is None or "ingredients" not in record:
        raise ConfigError(
            f"no run {name!r} in {store.root}: give a digest of runs.csv (or its beginning), or "
            "dataset/method/protocol/replicate of a run that is there"
        )
    return record


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Return a line for each ingredient in which two runs differ, then what else differs.

    Parameters
    ----------
    a, b : mapping
        Records of runs.
    """
    lines = list(_differ(_ingredients(a), _ingredients(b)))
    if not lines:
        of_run = ((key, a.get(key), b.get(key)) for key in ("replicate", "split"))
        lines = [f"{key}: {mine} -> {theirs}" for key, mine, theirs in of_run if mine != theirs]
    if not lines:
        lines = ["nothing that enters the digest differs"]
    remarks = [{key: record.get(key) for key in REMARKS} for record in (a, b)]
    return lines + [f"not in the digest: {line}" for line in _differ(*map(_flat, remarks))]


def _ingredients(record: Mapping[str, Any]) -> dict[str, Any]:
    """Ingredients by a path that people understand; sums of others are left out."""
    parts = record["ingredients"]
    run, data = dict(parts["run"]), dict(parts["data"])
    for summed in ("data", "code"):
        run.pop(summed, None)
    data.pop("code", None)
    return _flat({**run, "data": data, "code of": parts["files"]})


def _flat(value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by blanks."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        where = f"{path} {key}".strip()
        if isinstance(item, Mapping):
            flat |= _flat(item, where)
        else:
            flat[where] = item
    return flat


def _differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        if (old := a.get(key, ABSENT)) != (new := b.get(key, ABSENT)):
            yield f"{key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
