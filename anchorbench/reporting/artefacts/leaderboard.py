"""Every method on every dataset by every metric, in groups that a test tells apart."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts._ranked import OWN, own, texts
from anchorbench.reporting.artefacts._tables import (
    MARKS,
    NUMBERS,
    decimals,
    summarise,
    with_notes,
)
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, each, groups
from anchorbench.reporting.standing import Entry, Standing, listed, standing
from anchorbench.scores.statistics import wilson
from anchorbench.study.metadata import KNOWN
from anchorbench.study.plugins import is_for

ARTEFACT = {
    "kind": "table",
    "label": "Leaderboard. Every method, dataset and metric",
    "caption": "Mean [95 % interval] and rank. Methods that share a rank are not told apart: one "
    "of rank 2 is shown to be worse than the best mean, and so on, by tests paired over replicates "
    "with Holm's correction (docs/statistics.md). ?: its mean stands behind one of a later rank, "
    "but no test says so of it. Where runs diverge medians stand, and are ranked, in place of "
    "means; the line says so. Protocols are never mixed; controls, methods with fewer than three "
    "finished runs and those marked ↓ have no rank. Of a dataset with more than twelve settings "
    "the base one stands here.",
    "category": "Prediction",
    "datasets": None,
    "extract": False,
}
COLLAPSE = ["collapsed", "collapsed_low", "collapsed_high", "median_of_others"]


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of everything, with interval, rank and verdict (`_ranked.own`).

    The last columns are the share of collapsed runs, with Wilson's interval, and the median of the
    others, where that is known.
    """
    parts = []
    for dataset in listed(results):
        measured = {metric for at, _, _, metric in results.values if at == dataset}
        metrics = [m for m in results.metrics if m in measured] or _fitting(results, dataset)
        parts.append(summarise(results, [dataset], metrics))
    parts = [part for part in parts if len(part)]
    columns = [*NUMBERS, *MARKS, *OWN, *COLLAPSE]
    if not parts:
        return with_notes(pd.DataFrame(columns=columns), "Nothing was scored.")
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[(frame["n"] > 0) | (frame["failed"] > 0)].reset_index(drop=True)
    rows = [_more(results, row) for row in each(frame)]
    frame = pd.concat([frame, pd.DataFrame(rows, columns=[*OWN, *COLLAPSE])], axis=1)
    return with_notes(
        frame[columns],
        "[a/b]: only a of b runs finished. Bold: shown to be better than every other method.",
        "↓: predicts no better than the training mean, so that nothing is said of it. †: runs that "
        "had not converged are among these.",
    )


def _fitting(results: Results, dataset: str) -> list[str]:
    """Return the metrics meant for a dataset of which nothing was scored."""
    of = results.about(dataset)
    provides = of.get("provides")
    lacks = set() if provides is None else set(KNOWN) - set(provides)
    return [
        name
        for name, about in results.metrics.items()
        if (of["likelihood"] is None or is_for(about, of["likelihood"]))
        and of["plugin"] in about.get("datasets", [of["plugin"]])
        and not lacks & set(about.get("needs", ()))
    ]


def _more(results: Results, row: Any) -> list[object]:
    """OWN and COLLAPSE of a row of the numbers table."""
    entry = standing(results, row.dataset, row.metric, row.protocol).entries[row.method]
    if entry.collapsed is None:
        return [*own(results, row), *[math.nan] * 4]
    share = wilson(entry.collapsed, entry.n)
    return [*own(results, row), entry.collapsed, *share, entry.median_of_others]


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each dataset: a row for each metric and method, protocols side by side."""
    sheets = []
    for dataset, part in groups(frame, "dataset"):
        protocols = list(dict.fromkeys(part["protocol"]))
        columns = ["Method", *(c for p in protocols for c in (p, "rank"))]
        sheet = Sheet(columns, [], results.title(dataset))
        for metric, rows in groups(part, "metric"):
            found = {p: standing(results, dataset, metric, p) for p in protocols}
            methods = [m for m in results.methods if m in set(rows["method"])]
            sheet.rows.append(_heading(results, dataset, metric, found))
            places = decimals(rows["mean"], rows["high"] - rows["low"])
            for method in methods:
                line = [results.labels[method]]
                for protocol in protocols:
                    if found[protocol].best == method:
                        sheet.bold.add((len(sheet.rows), len(line)))
                    line += texts(found[protocol].entries.get(method), places)
                sheet.rows.append(line)
            _add_collapse(sheet, found, methods, results)
        sheets.append(sheet)
    return sheets


def _heading(results: Results, dataset: str, metric: str, found: dict[str, Standing]) -> str:
    """What a section is about, which way is better, and where medians stand for means."""
    direction = {"min": ", lower is better", "max": ", higher is better"}
    how = direction.get(str(results.direction(metric)), "")
    medians = [p for p, s in found.items() if s.kind == "ranks"]
    said = f"; medians, for runs diverge ({', '.join(medians)})" if medians else ""
    return results.label(metric, dataset) + how + said


def _add_collapse(
    sheet: Sheet, found: dict[str, Standing], methods: list[str], results: Results
) -> None:
    """Add how many runs collapsed, with Wilson's interval, and the median of the others."""
    at = {
        (m, p): e
        for p, s in found.items()
        for m, e in s.entries.items()
        if e.collapsed is not None and not e.control
    }
    if not any(e.collapsed for e in at.values()):
        return
    sheet.rows.append(
        "Collapsed runs (MSE above a tenth of the training mean's), share with Wilson's 95 % "
        "interval; median MSE of the others"
    )
    for method in [m for m in methods if any(m == name for name, _ in at)]:
        line = [results.labels[method]]
        for protocol in found:
            e = at.get((method, protocol))
            line += ["–" if e is None or e.collapsed is None else _share(e), ""]
        sheet.rows.append(line)


def _share(entry: Entry) -> str:
    low, high = (100 * bound for bound in wilson(entry.collapsed or 0, entry.n))
    rest = f"; {entry.median_of_others:.2f}" if math.isfinite(entry.median_of_others) else ""
    return f"{entry.collapsed}/{entry.n} [{low:.0f} %, {high:.0f} %]{rest}"
