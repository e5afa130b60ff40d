"""Trials of searches as the artefacts about them read them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from anchorbench.reporting.results import Results, groups
from anchorbench.runs.status import Status
from anchorbench.scores.budget import expected
from anchorbench.study.plugins import PluginError, discover
from anchorbench.study.tuning import metric_of

RESAMPLES = 500


def direction(results: Results, value: str) -> str:
    """ "min" or "max": of a metric of the results, or else of one of the suite."""
    known = results.direction(value)
    if known is None:
        try:
            known = metric_of(value, discover("metrics")).meta.get("direction")
        except PluginError:
            known = None
    return str(known or "max")


def cells(results: Results) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield ((dataset, method), its trials) in the order of methods."""
    found = dict(groups(results.trials, ["dataset", "method"]))
    for dataset in results.datasets:
        for method in results.methods:
            if (dataset, method) in found:
                yield (dataset, method), found[dataset, method]


def scores(results: Results, part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Validation and test scores (replicates, trials) of a cell, and the metric on test rows.

    Validation scores are turned so that more is better. A trial that failed, or that a replicate
    has not, has the worst validation score, and the worst test score of its replicate's. None where
    no trial has one.
    """
    done = part["status"] == Status.DONE
    judged = [m for m in part["test_metric"][done].unique() if m]
    if not judged:
        return None
    metric = judged[0]
    sign = -1.0 if direction(results, metric) == "min" else 1.0
    selected = next(m for m in part["metric"][done] if m)
    turned = -1.0 if direction(results, selected) == "min" else 1.0
    frame = part.assign(
        gain=(turned * part["value"]).where(done, -np.inf), judged=sign * part["test"].where(done)
    )
    validation = frame.pivot(index="replicate", columns="trial", values="gain").fillna(-np.inf)
    test = frame.pivot(index="replicate", columns="trial", values="judged")
    test = test.T.fillna(test.min(axis=1)).T
    whole = test.notna().all(axis=1)
    if not whole.any():
        return None
    return validation[whole].to_numpy(), sign * test[whole].to_numpy(), metric


def curve(validation: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Expected test score (N,) of n = 1 .. N trials beside the default, mean over replicates."""
    mean: np.ndarray = expected(validation[:, 1:], test[:, 1:]).mean(axis=0)
    return mean


def band(validation: np.ndarray, test: np.ndarray, seed: int = 0) -> np.ndarray:
    """The middle 95 % (2, N) of `curve` over resampled trials, the same in all replicates."""
    rng = np.random.default_rng(seed)
    count = validation.shape[1] - 1
    drawn = 1 + rng.integers(0, count, (RESAMPLES, count))
    curves = expected(validation[:, drawn], test[:, drawn]).mean(axis=0)
    ends: np.ndarray = np.quantile(curves, [0.025, 0.975], axis=0)
    return ends
