"""Differences between two methods, paired over replicates of the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts._tables import bootstrap, number
from anchorbench.reporting.render import Sheet

FEWEST = 5  # pairs below which an interval says too little to be marked
EFFECT = ["base_mean", "mean", "difference", "low", "high", "effect_size", "n"]


def paired_effect(base: pd.Series, other: pd.Series | None) -> dict[str, float]:
    """Return EFFECT: means, mean of (other - base), its interval, its size and number of pairs.

    Both series are indexed by replicate; only replicates that have both values count. The size is
    in standard deviations of the pairs' differences, NaN where these are all equal.
    """
    effect = dict.fromkeys(EFFECT, math.nan) | {"base_mean": base.mean(), "n": 0}
    if other is None:
        return effect
    both = pd.concat([base, other], axis=1, join="inner").to_numpy()
    if not len(both):
        return effect
    difference = both[:, 1] - both[:, 0]
    low, high = bootstrap(difference)
    spread = difference.std()
    size = difference.mean() / spread if spread > 1e-12 else math.nan
    measured = [*both.mean(axis=0), difference.mean(), low, high, size, len(difference)]
    return dict(zip(EFFECT, measured, strict=True))


def significant(row: Any) -> bool:
    """Whether the interval of an effect of at least FEWEST pairs leaves out zero."""
    return row["n"] >= FEWEST and bool(row["low"] > 0 or row["high"] < 0)


def effect_text(row: Any, places: int) -> str:
    """A difference for readers: "+1.2 [0.8, 1.6]", with the pairs counted where runs were lost."""
    if not row["n"]:
        return f"failed [0/{row['failed']}]"
    shown = [number(row[c], places) for c in ("difference", "low", "high")]
    lost = row["failed"] + row["base_failed"]
    sign = "+" if row["difference"] > 0 else ""
    text = f"{sign}{shown[0]} [{shown[1]}, {shown[2]}]"
    return text + (f" ({row['n']} pairs)" if lost else "")


def add_effects(
    sheet: Sheet, head: str, rows: pd.DataFrame, metrics: Sequence[str], places: Mapping[str, int]
) -> None:
    """Add a line to a sheet: the head, then the effect on each metric, significant ones bold.

    rows: frame with a row a metric, EFFECT and the failures; a metric without a row gets a dash.
    """
    line, at = [head], rows.set_index("metric")
    for metric in metrics:
        row: Any = at.loc[metric] if metric in at.index else None
        if row is not None and significant(row):
            sheet.bold.add((len(sheet.rows), len(line)))
        line.append("–" if row is None else effect_text(row, places[metric]))
    sheet.rows.append(line)
