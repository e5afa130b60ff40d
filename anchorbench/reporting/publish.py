"""The step from a store to a committed reference: results of several machines or days in one place.

A reference is a folder with scores.csv.gz, runs.csv, manifest.json, extracts/, tables/ and figures/
(results/reference). Runs of the store take the place of those of the same dataset, method, protocol
and replicate; all others stay, with the commit that made them.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anchorbench.reporting import catalogue
from anchorbench.reporting.collect import ORDER
from anchorbench.reporting.results import (
    CELL,
    FILES,
    PROTOCOLS,
    RUNS,
    SCORES,
    SHARED,
    TRIALS,
    TRIALS_FILE,
    Results,
    ResultsError,
    load_results,
    read_extract,
    spread,
)
from anchorbench.runs.sealed import write_json
from anchorbench.study.protocols import TUNED

RUN = [*CELL, "replicate"]
SEARCH = ["dataset", "method", "replicate"]
"""What the trials of a search have in common."""


def publish(found: Results, extracts: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Add results to a reference, and make its tables and figures again; return the paths.

    extracts : by artefact, what it needs beyond scores. `found` alone makes a new reference.
    """
    (folder / "extracts").mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    nothing = Results(found.scores.iloc[:0], found.runs.iloc[:0], found.manifest)
    merged = merge(load_results(*paths) if paths[-1].exists() else nothing, found)
    _write(merged.scores[SCORES], folder / "scores.csv.gz")
    if len(merged.trials):
        _write(merged.trials[TRIALS], folder / f"{TRIALS_FILE}.gz")
    merged.runs[RUNS].to_csv(folder / "runs.csv", index=False)
    write_json(folder / "manifest.json", merged.manifest)
    merged = load_results(*paths)
    made = []
    for name in catalogue.discover():
        path = folder / "extracts" / f"{name}.csv"
        if name in extracts:
            old = read_extract(path, merged.protocols)
            new = spread(extracts[name], merged.protocols)
            # What is of data alone has no method: a row a replicate.
            keys = CELL if set(CELL) <= set(new) else [key for key in RUN if key in new]
            staying = new.iloc[:0] if old is None else _without(old, new, keys)
            parts = [part for part in (staying, new) if len(part)]
            pd.concat(parts or [new]).to_csv(path, index=False)
        merged.extract = read_extract(path, merged.protocols)
        made += catalogue.build(name, merged, folder)
    return made


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write a table compressed; the same table gives the same bytes."""
    path.write_bytes(gzip.compress(frame.to_csv(index=False).encode(), mtime=0))


def merge(old: Results, new: Results) -> Results:
    """Return both results; where both have a run, that of `new` with its scores.

    A cell of the manifest's `settings` lists under `commits` the code of all its runs.
    """
    staying = _without(old.runs, new.runs, RUN)
    scores = _ordered(_without(old.scores, new.runs, RUN), new.scores)
    searched = new.runs[new.runs["protocol"] == TUNED]
    trials = _ordered(_without(old.trials, searched, SEARCH), new.trials)
    runs, manifest = _ordered(staying, new.runs), _manifest(old, new, staying)
    return Results(scores, runs, manifest, trials=trials)


def _without(frame: pd.DataFrame, gone: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows whose keys no row of `gone` has."""
    rows, gone_rows = (pd.MultiIndex.from_frame(f[keys]) for f in (frame, gone))
    return frame[~rows.isin(gone_rows)]


def _ordered(*frames: pd.DataFrame) -> pd.DataFrame:
    together = pd.concat([f for f in frames if len(f)] or frames[:1])
    keys = [key for key in ORDER if key in together]
    return together.sort_values(keys, kind="stable", ignore_index=True)


def _manifest(old: Results, new: Results, staying: pd.DataFrame) -> dict[str, Any]:
    """The newer manifest, with what the older one knows of the runs that stay."""
    before, now = old.manifest, new.manifest
    ran = set(new.runs["dataset"])
    datasets = {k: v for k, v in now["datasets"].items() if k in ran or k not in before["datasets"]}
    for name in set(datasets) & set(staying["dataset"]):
        splits = _splits(name, old, new)
        datasets[name] = datasets[name] | ({"splits": splits} if splits else {})
    stay = set(_keys(staying, RUN))
    failures = [
        failure
        for failure in before["metric_failures"]
        if any((*_place(failure, protocol), failure["replicate"]) in stay for protocol in PROTOCOLS)
    ]
    return {
        **now,
        **{key: {**before[key], **now[key]} for key in ("methods", "metrics", "sources")},
        "datasets": {**before["datasets"], **datasets},
        "settings": _settings(old, new, staying),
        "metric_failures": failures + now["metric_failures"],
    }


def _splits(dataset: str, old: Results, new: Results) -> int | None:
    """How many splits, or draws, the runs of both have; None where neither says.

    With repeats a replicate is of the split of its number modulo them, so that the numbers of two
    studies may differ only where the one with fewer has no repeats. Raises ResultsError otherwise.
    """
    known: dict[int, int] = {}
    for results in (old, new):
        if splits := results.manifest["datasets"].get(dataset, {}).get("splits"):
            of = results.runs[results.runs["dataset"] == dataset]["replicate"]
            known[splits] = max(known.get(splits, 0), int(of.max()))
    if len(known) > 1 and known[min(known)] >= min(known):
        raise ResultsError(
            f"{dataset}: replicates are of {min(known)} splits with repeats here and of "
            f"{max(known)} there: publish into a folder of its own"
        )
    return max(known, default=None)


def _settings(old: Results, new: Results, staying: pd.DataFrame) -> list[dict[str, Any]]:
    """The parameters of every cell as last run, and the commits of all its runs."""
    before = {_place(cell, cell["protocol"]): cell for cell in old.manifest["settings"]}
    now = {_place(cell, cell["protocol"]): cell for cell in new.manifest["settings"]}
    ran, stay = set(_keys(new.runs, CELL)), set(_keys(staying, CELL))
    settings = []
    for key in sorted({**before, **now}):
        cell = now[key] if key in ran or key not in before else before[key]
        commits = set(now[key]["commits"]) if key in ran else set()
        if key in stay:
            commits.update(before[key].get("commits") or [old.manifest["git_commit"]])
        settings.append({**cell, "commits": sorted(commits)})
    return settings


def _keys(frame: pd.DataFrame, columns: list[str]) -> list[tuple[Any, ...]]:
    return list(frame[columns].itertuples(index=False, name=None))


def _place(about: Mapping[str, Any], protocol: str) -> tuple[str, str, str]:
    """Dataset, method and protocol of what is said of a protocol, or of all that share a run."""
    shared = about["protocol"] in (protocol, SHARED)
    return about["dataset"], about["method"], protocol if shared else about["protocol"]
