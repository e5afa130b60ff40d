"""Every method on every dataset by every metric, ranked within its protocol."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts._tables import (
    NUMBERS,
    bootstrap,
    decimals,
    number,
    summarise,
    with_notes,
)
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import CELL, Results, groups

ARTEFACT = {
    "kind": "table",
    "label": "Leaderboard. Every method, dataset and metric",
    "caption": "Mean [95 % bootstrap interval over replicates] and rank. Ranks go by the median, "
    "with failed runs counted as the worst value; protocols are never mixed, and controls are "
    "shown without a rank.",
    "category": "Prediction",
    "datasets": None,
    "extract": False,
}
EXTRA = ["median", "low", "high", "rank", "ranked"]


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of everything, with median, interval [low, high] and rank.

    `rank` counts from 1 (ties share the better rank) among `ranked` methods of the same dataset,
    protocol and metric; it is NaN for controls and for metrics without a direction.
    """
    parts = []
    for dataset in results.datasets:
        measured = {metric for at, _, _, metric in results.values if at == dataset}
        metrics = [m for m in results.metrics if m in measured] or _fitting(results, dataset)
        parts.append(summarise(results, [dataset], metrics))
    parts = [part for part in parts if len(part)]
    if not parts:
        return with_notes(pd.DataFrame(columns=[*NUMBERS, *EXTRA]), "Nothing was scored.")
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[(frame["n"] > 0) | (frame["failed"] > 0)].reset_index(drop=True)
    keys = frame[[*CELL, "metric"]].itertuples(index=False, name=None)
    x = [results.measured(*key) for key in keys]
    frame["low"], frame["high"] = zip(*(bootstrap(v) for v in x), strict=True)
    frame["rank"], frame["ranked"] = _ranks(frame, results, x)
    return with_notes(frame, "[a/b]: only a of b runs finished. Bold: rank 1.")


def _fitting(results: Results, dataset: str) -> list[str]:
    """Return the metrics meant for a dataset of which nothing was scored."""
    likelihood, plugin = (results.about(dataset)[key] for key in ("likelihood", "plugin"))
    return [
        name
        for name, about in results.metrics.items()
        if likelihood in about.get("likelihoods", [likelihood])
        and plugin in about.get("datasets", [plugin])
    ]


def _ranks(frame: pd.DataFrame, results: Results, x: list[np.ndarray]) -> tuple[pd.Series, ...]:
    """Rank of each row and number of rows ranked with it."""
    directions = frame["metric"].map(results.direction)
    sign = directions.map({"min": 1.0, "max": -1.0})
    control = frame["method"].map(lambda m: bool(results.methods.get(m, {}).get("control")))
    cost = pd.Series(
        [
            np.nan if skip or math.isnan(s) else worst_median(s * v, failed)
            for s, v, failed, skip in zip(sign, x, frame["failed"], control, strict=True)
        ]
    )
    groups = [frame[key] for key in ("dataset", "protocol", "metric")]
    return cost.groupby(groups).rank(method="min"), cost.groupby(groups).transform("count")


def worst_median(values: np.ndarray, failed: int) -> float:
    """Return the median of `values` (to be minimised) and of `failed` runs that count as worst.

    It is infinite as soon as half of the runs failed.
    """
    padded = np.sort(np.concatenate([values, np.full(failed, np.inf)]))
    middle = padded[(len(padded) - 1) // 2 : len(padded) // 2 + 1]
    return float(middle[-1] if np.isinf(middle[-1]) else middle.mean())


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each dataset: a row for each metric and method, protocols side by side."""
    sheets = []
    for dataset, part in groups(frame, "dataset"):
        protocols = list(dict.fromkeys(part["protocol"]))
        columns = ["Method", *(c for p in protocols for c in (p, "rank"))]
        sheet = Sheet(columns, [], results.title(dataset))
        for metric, rows in groups(part, "metric"):
            direction = {"min": ", lower is better", "max": ", higher is better"}
            how = direction.get(str(results.direction(metric)), "")
            sheet.rows.append(results.metrics.get(metric, {}).get("label", metric) + how)
            places = decimals(rows["mean"], rows["high"] - rows["low"])
            at = rows.set_index(["method", "protocol"])
            for method in [m for m in results.methods if m in set(rows["method"])]:
                line = [results.labels[method]]
                for protocol in protocols:
                    r = at.loc[(method, protocol)] if (method, protocol) in at.index else None
                    if r is not None and r["rank"] == 1:
                        sheet.bold.add((len(sheet.rows), len(line)))
                    line += ["–", ""] if r is None else _entry(r, places)
                sheet.rows.append(line)
        sheets.append(sheet)
    return sheets


def _entry(row: pd.Series, places: int) -> list[str]:
    """Number with interval and failures, and the rank."""
    rank = f"{row['rank']:.0f}" if row["rank"] == row["rank"] else ""
    if row["n"] == 0:
        return [f"failed [0/{row['failed']}]", rank]
    text = number(row["mean"], places)
    if row["n"] > 1:
        text += f" [{number(row['low'], places)}, {number(row['high'], places)}]"
    return [text + (f" [{row['n']}/{row['n'] + row['failed']}]" if row["failed"] else ""), rank]
