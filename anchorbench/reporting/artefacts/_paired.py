"""Differences between two methods, paired over replicates of the same data, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts._tables import LOW, number
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results
from anchorbench.reporting.standing import FEWEST, SUNK, Comparison
from anchorbench.scores.statistics import BETTER, SAME, WORSE, differences

EFFECT = ["base_mean", "mean", "difference", "low", "high", "effect_size", "n"]
TESTED = ["statistic", "p", "rope", "verdict"]
STATISTIC = {"folds": "mean", "draws": "mean", "ranks": "hodges-lehmann"}
RULES = (
    "Difference [95 % interval], the number of pairs where runs were lost, and what it bears: "
    "better or worse, outside the region of practical equivalence with Holm's p < .05; same, "
    "inside it; else not decided. Bold: better. ~: Hodges-Lehmann's estimate and interval, where "
    "runs diverge. ↓: one of the two predicts no better than the training mean; nothing is said."
)


def effect(results: Results, tested: Comparison) -> dict[str, Any]:
    """Return EFFECT and TESTED of a comparison: of (method - reference).

    Means are over replicates that both have; two pairs have no interval. The size is in standard
    deviations of the pairs' differences, NaN where these are all equal. p is adjusted within the
    family.
    """
    c = tested
    pair = [results.series(c.dataset, m, c.protocol, c.metric) for m in (c.reference, c.method)]
    paired = differences(pair[1], pair[0])
    difference, n = paired.to_numpy(), len(paired)
    known = dict.fromkeys(EFFECT, math.nan) | {"n": n}
    if len(pair[0]):
        known["base_mean"] = float(pair[0].mean())
    if n:
        spread = difference.std()
        size = difference.mean() / spread if spread > 1e-12 else math.nan
        known_bounds = n >= FEWEST and np.isfinite(c.interval.low)
        bounds = [c.interval.low, c.interval.high] if known_bounds else [math.nan] * 2
        means = [float((v if len(v) == n else v.loc[paired.index]).mean()) for v in pair]
        measured = [*means, c.interval.estimate, *bounds, size, n]
        known = dict(zip(EFFECT, measured, strict=True))
    return known | dict(zip(TESTED, (STATISTIC[c.kind], c.p, c.rope, c.word), strict=True))


def decided(row: Any) -> bool:
    """Whether a test bears that the two differ by more than matters."""
    return row["verdict"] in (BETTER, WORSE)


def effect_text(row: Any, places: int) -> str:
    """A difference for readers: "+1.2 [0.8, 1.6] worse", with the pairs where runs were lost."""
    if not row["n"]:
        lost = max(row["failed"], row["base_failed"])
        return f"failed [0/{lost}]" if lost else "not computed"
    shown = [number(row[c], places) for c in ("difference", "low", "high")]
    sign = ("~" if row["statistic"] != "mean" else "") + ("+" if row["difference"] > 0 else "")
    text = sign + shown[0]
    text += f" [{shown[1]}, {shown[2]}]" if math.isfinite(row["low"]) else ""
    text += f" ({row['n']} pairs)" if row["failed"] + row["base_failed"] else ""
    word = row["verdict"]
    said = {SUNK: LOW, BETTER: BETTER, WORSE: WORSE, SAME: SAME, "": ""}.get(word, "not decided")
    return f"{text} {said}".rstrip()


def add_effects(
    sheet: Sheet, head: str, rows: pd.DataFrame, metrics: Sequence[str], places: Mapping[str, int]
) -> None:
    """Add a line to a sheet: the head, then the effect on each metric, wins bold.

    rows: frame with a row a metric, EFFECT, TESTED and the failures; a metric without one gets a
    dash.
    """
    line, at = [head], rows.set_index("metric")
    for metric in metrics:
        row: Any = at.loc[metric] if metric in at.index else None
        if row is not None and row["verdict"] == BETTER:
            sheet.bold.add((len(sheet.rows), len(line)))
        line.append("–" if row is None else effect_text(row, places[metric]))
    sheet.rows.append(line)
