"""Numbers with their interval, rank and verdict, as the leaderboard and its like print them."""

from __future__ import annotations

import math
from typing import Any

from anchorbench.reporting.artefacts._tables import marks, number
from anchorbench.reporting.results import Results
from anchorbench.reporting.standing import Entry, standing

OWN = ["low", "high", "rank", "ranked", "statistic", "verdict"]


def own(results: Results, row: Any) -> list[object]:
    """Return OWN of a row of the numbers table (`_tables.summarise`).

    `rank` is the group, of the `ranked` methods of the dataset, protocol and metric that have one;
    NaN without. `statistic` says what is printed and ranked, "mean" or "median"; `verdict` is that
    against the best of the group or of the one before.
    """
    found = standing(results, row.dataset, row.metric, row.protocol)
    entry = found.entries[row.method]
    ranked = sum(e.group is not None for e in found.entries.values())
    statistic = "median" if found.kind == "ranks" else "mean"
    rank = math.nan if entry.group is None else float(entry.group)
    return [entry.low, entry.high, rank, ranked, statistic, entry.word]


def texts(entry: Entry | None, places: int) -> list[str]:
    """Return a number with interval, failures and marks, and the rank; "?" where none is sure."""
    if entry is None or not entry.runs:
        return ["–", ""]
    if not entry.n:
        return [f"failed [0/{entry.runs}]" if entry.failed else "–", ""]
    text = number(entry.value, places)
    if math.isfinite(entry.low):
        text += f" [{number(entry.low, places)}, {number(entry.high, places)}]"
    text += f" [{entry.n}/{entry.runs}]" if entry.n < entry.runs else ""
    rank = "" if entry.place is None else str(entry.group or "?")
    return [text + marks(entry.below_floor, entry.unconverged), rank]
