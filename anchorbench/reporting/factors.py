"""What every method found, as files: codes and loadings of replicate 0, by dataset and method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from anchorbench.reporting.collect import groups
from anchorbench.runs.score import Run, runs_of
from anchorbench.runs.store import Store
from anchorbench.study.jobs import Job
from anchorbench.study.plan import Plan

FOLDER = "factors"
CODES, LOADINGS, TRUTH = "codes.csv", "loadings.csv", "truth.csv"
FACTOR = r"factor_\d+"
"""Names of columns of codes.csv that hold codes; a label of such a name has `label_` before it."""
PLAIN = ("corrected", "shared")
"""Tags whose folders go by the method's name alone."""


def write(plan: Plan, store: Store, results: Path) -> list[Path]:
    """Write factors/<dataset>/<method>[_<protocol>]/codes.csv and loadings.csv; return the paths.

    They are those of replicate 0, where it is done; files of an earlier call that are none of these
    are removed. codes.csv has a line for each row of the data:
    `row` (0 the first), `split` (train or test), the labels by their own names, factor_1 ..
    factor_K. loadings.csv has a line for each feature; it is left out where a method has none.
    factors/<dataset>/truth.csv holds the true factors of the features where they are known: 1 and
    -1 where a feature depends on a factor, with the sign where that is known. Controls and variants
    that switch a single quirk are left out.
    """
    paths: list[Path] = []
    for jobs in groups(plan):
        variant = jobs[0].variant
        if variant.quirk is None and not variant.plugin.meta.get("control", False):
            paths += _write_group(jobs, store, results / FOLDER)
    for name in (CODES, LOADINGS, TRUTH):
        for path in set((results / FOLDER).rglob(name)) - set(paths):
            path.unlink()
    return paths


def _write_group(jobs: Sequence[Job], store: Store, folder: Path) -> list[Path]:
    """The files of one (dataset, variant, tag)."""
    dataset, method, tag = jobs[0].key
    if store.meta(jobs[0].instance.data_key) is None:
        return []
    run = next((run for run in runs_of(jobs, store) if run.record["replicate"] == 0), None)
    if run is None:
        return []
    target = folder / dataset / place(method, tag)
    target.mkdir(parents=True, exist_ok=True)
    frames = {target / CODES: codes(run)}
    if run.loadings is not None:
        frames[target / LOADINGS] = matrix(run.features, run.loadings, "factor")
    keys = run.truth.keys if run.truth.keys is not None else run.truth.support
    if keys is not None:
        frames[folder / dataset / TRUTH] = matrix(run.features, np.asarray(keys, int), "true")
    for path, frame in frames.items():
        frame.to_csv(path, index=False, float_format="%.6g")
    return list(frames)


def place(method: str, protocol: str) -> str:
    """Name of the folder of a method in a protocol."""
    return method if protocol in PLAIN else f"{method}_{protocol}"


def matrix(features: Sequence[str], values: np.ndarray, name: str) -> pd.DataFrame:
    """Return a (G, K) matrix with the feature's name before each row."""
    columns = [f"{name}_{k + 1}" for k in range(values.shape[1])]
    frame = pd.DataFrame(values + 0, columns=columns)  # no -0
    frame.insert(0, "feature", list(features))
    return frame


def codes(run: Run) -> pd.DataFrame:
    """Return the codes of a run, a line for each row of the data, in the data's order.

    A row that was in both train and test (as published, the encoder sees all rows) is listed under
    test. Rows that a split draws for itself are counted, those of train first.
    """
    sides = [run.codes_train, run.codes]
    index = run.truth.index
    drawn = np.arange(len(sides[0])), len(sides[0]) + np.arange(len(sides[1]))
    rows = drawn if index is None else index
    parts = []
    for side, (name, values) in enumerate(zip(("train", "test"), sides, strict=True)):
        frame = pd.DataFrame({"row": rows[side], "split": name})
        for label, both in (run.labels or {}).items():
            taken = label in frame or re.fullmatch(FACTOR, label)
            frame[f"label_{label}" if taken else label] = both[side]
        numbered = {f"factor_{k + 1}": values[:, k] for k in range(values.shape[1])}
        parts.append(pd.concat([frame, pd.DataFrame(numbered)], axis=1))
    train = parts[0][~parts[0]["row"].isin(parts[1]["row"])]
    return pd.concat([train, parts[1]]).sort_values("row", kind="stable", ignore_index=True)
