"""Methods across datasets: average ranks, and the difference that a test would need to see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts._tables import number, with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, each, groups
from anchorbench.reporting.standing import family, headline, prediction
from anchorbench.scores.statistics import (
    LEVEL,
    WORSE,
    average_ranks,
    critical_difference,
    friedman,
)
from anchorbench.study.protocols import ORACLE_TUNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "table+figure",
    "label": "Average ranks. Methods across datasets",
    "caption": "Average rank over datasets of the methods that ran on the most of them (1 is the "
    "best), on the metric that speaks for each dataset and on that of prediction. All settings of "
    "a simulator are one dataset, and so are all instances of the same real data: their ranks are "
    "averaged and ranked again. CD: Nemenyi's critical difference at .05; p: Friedman's test after "
    "Iman and Davenport (Demšar 2006). Below ten datasets no verdict is made from them.",
    "category": "Reproducibility",
    "datasets": None,
    "extract": False,
}
MEASURES = {"headline": "headline metrics", "prediction": "prediction"}
COLUMNS = [
    *("protocol", "measure", "method", "rank", "methods", "datasets", "critical_difference", "p"),
    *("verdict", "names"),
]
ENOUGH = 10
"""Datasets from which a verdict may be made (docs/statistics.md)."""
LEAST = 0.001
FEWEST = 3
"""Methods and datasets below which there is nothing to rank."""


def make(results: Results) -> pd.DataFrame:
    """Return a row for each protocol, measure and method (COLUMNS), the best first.

    The verdict stands against the best: "worse" beyond the critical difference where Friedman's
    test sees any, else "not decided by n = ..."; "" for the best, and for all below ENOUGH.
    """
    rows: list[dict[str, Any]] = []
    for protocol in results.protocols:
        for measure in MEASURES if protocol != ORACLE_TUNED else ():
            rows += _block(results, protocol, measure)
    notes = [] if rows else [f"No {FEWEST} methods ran on the same {FEWEST} datasets."]
    return with_notes(pd.DataFrame(rows, columns=COLUMNS), *notes)


def _block(results: Results, protocol: str, measure: str) -> list[dict[str, Any]]:
    """The rows of a protocol and a measure; none where too little was run."""
    scores, called = _scores(results, protocol, measure)
    methods = _chosen(results, scores)
    shared = _shared(scores, methods)
    if min(len(methods), len(shared)) < FEWEST:
        return []
    ranks = np.array([_ranks(instances, methods) for instances in shared.values()])
    mean, n, k = average_ranks(ranks, "min"), len(shared), len(methods)
    gap, (_, p) = critical_difference(k, n), friedman(mean, n)
    rows, names = [], "; ".join(called[origin] for origin in shared)
    for rank, method in sorted(zip(mean, methods, strict=True), key=lambda pair: pair[0]):
        word = WORSE if rank - mean.min() > gap and p < 1 - LEVEL else f"not decided by n = {n}"
        said = word if n >= ENOUGH and rank > mean.min() else ""
        row = [protocol, measure, method, rank, k, n, gap, p, said, names]
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


Instances = list[dict[str, float]]
"""By method its score, the less the better, on each instance of a dataset."""


def _scores(
    results: Results, protocol: str, measure: str
) -> tuple[dict[str, Instances], dict[str, str]]:
    """The instances of each dataset, and what people call it, by `_origin`."""
    found: dict[str, list[str]] = {}
    scores: dict[str, dict[str, float]] = {}
    for dataset in results.datasets:
        speaks = headline(results, dataset, protocol)
        metric = speaks if measure == "headline" else prediction(results, dataset)
        scores[dataset] = _of_instance(results, dataset, protocol, metric)
        if len(scores[dataset]) >= FEWEST:
            found.setdefault(_origin(results, dataset), []).append(dataset)
    instances = {origin: [scores[dataset] for dataset in of] for origin, of in found.items()}
    return instances, {origin: _name(results, of) for origin, of in found.items()}


def _of_instance(results: Results, dataset: str, protocol: str, metric: str) -> dict[str, float]:
    """Each method's mean, the less the better; that of a method all of whose runs failed is inf."""
    direction = results.direction(metric)
    scores: dict[str, float] = {}
    for method, of in results.present.get(dataset, ()) if direction else ():
        if of != protocol or results.is_control(method, of) or results.is_quirk(method):
            continue
        values = results.series(dataset, method, protocol, metric)
        runs, failed = results.counts.get((dataset, method, protocol), (0, 0))
        if len(values):
            scores[method] = float(values.mean()) * (-1 if direction == "max" else 1)
        elif failed == runs > 0:
            scores[method] = math.inf
    return scores


def _origin(results: Results, dataset: str) -> str:
    """What all instances of a dataset have in common: their simulator, or the real data's content.

    A simulator is known by its true factors.
    """
    about = results.about(dataset)
    simulated = "factors" in (about.get("provides") or ())
    return str(about["plugin"] if simulated else about.get("content") or dataset)


def _name(results: Results, instances: Sequence[str]) -> str:
    """What a dataset is called: as its plugin's own instance, if there is one."""
    about = {dataset: results.about(dataset) for dataset in instances}
    own = [d for d in instances if family(results, d) == about[d]["plugin"]] or list(instances)
    of = about[own[0]]
    return str(of["label"]) if len(own) > 1 else results.title(own[0])


def _chosen(results: Results, scores: dict[str, Instances]) -> list[str]:
    """The methods to rank, those that ran on the most datasets first.

    As many as leave ENOUGH datasets that they have in common; where no FEWEST do, as many as make
    the most cells of methods x datasets.
    """
    count = {m: sum(any(m in s for s in of) for of in scores.values()) for m in results.methods}
    order = sorted(results.methods, key=lambda method: -count[method])
    common = {k: len(_shared(scores, order[:k])) for k in range(FEWEST, len(order) + 1)}
    best = max((k for k, n in common.items() if n >= ENOUGH), default=0)
    return order[: best or max(common, key=lambda k: k * common[k], default=0)]


def _shared(scores: dict[str, Instances], methods: Sequence[str]) -> dict[str, Instances]:
    """The datasets that have instances on which all methods ran, with these."""
    found = {}
    for origin, instances in scores.items():
        if whole := [s for s in instances if all(method in s for method in methods)]:
            found[origin] = whole
    return found


def _ranks(instances: Instances, methods: Sequence[str]) -> np.ndarray:
    """Ranks (k,) of methods on a dataset: those on its instances, averaged and ranked again."""
    scores = np.array([[s[method] for method in methods] for s in instances])
    return average_ranks(average_ranks(scores, "min")[None], "min")


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each protocol and measure: a row a method."""
    sheets = []
    for (protocol, _), part in groups(frame, ["protocol", "measure"]):
        first = part.iloc[0]
        sheet = Sheet(["Method", "average rank", "against the best"], [], _title(protocol, first))
        for row in each(part):
            sheet.rows.append([results.labels[row.method], number(row.rank, 2), row.verdict or "–"])
        sheet.rows.append(f"Datasets: {first['names']}")
        sheets.append(sheet)
    return sheets or [Sheet(["Method"], [])]


def _title(protocol: object, row: pd.Series) -> str:
    gap = number(row["critical_difference"], 2)
    p = f"p {number(row['p'], 3)}" if row["p"] >= LEAST else f"p < {LEAST}"
    return f"{protocol}, {MEASURES[row['measure']]}: N = {row['datasets']}, CD {gap}, {p}"


def draw(frame: pd.DataFrame, results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return a line of panels for each protocol, a measure each, and what is drawn.

    Methods stand by their ranks; grey reaches from the best as far as the critical difference.
    """
    if frame.empty:
        return style.message(f"No {FEWEST} methods ran on the same {FEWEST} datasets."), frame
    protocols = list(dict.fromkeys(frame["protocol"]))
    most = [frame["methods"][frame["protocol"] == protocol].max() for protocol in protocols]
    heights = [0.45 + 0.13 * count for count in most]
    figure, axes = style.subplots(
        len(protocols), len(MEASURES), style.PAGE, sum(heights) + 0.2, height_ratios=heights
    )
    for protocol, line in zip(protocols, axes, strict=True):
        for measure, ax in zip(MEASURES, line, strict=True):
            rows = (frame["protocol"] == protocol) & (frame["measure"] == measure)
            if rows.any():
                _panel(ax, frame[rows].reset_index(drop=True), results, protocol)
            else:
                ax.axis("off")
    grey = f"grey: as far from the best as no test sees; N < {ENOUGH}: no verdict"
    figure.supxlabel(f"average rank; {grey}", fontsize=7.5)
    return figure, frame


def _panel(ax: Axes, part: pd.DataFrame, results: Results, protocol: str) -> None:
    first = part.iloc[0]
    k, gap = int(first["methods"]), float(first["critical_difference"])
    places = np.arange(len(part))
    ax.hlines(places, 1, part["rank"], color=style.RULE, linewidth=0.6)
    ax.plot(part["rank"], places, "o", color=style.INK, markersize=3)
    ax.axvspan(part["rank"].min(), part["rank"].min() + gap, color=style.RULE, alpha=0.5, zorder=0)
    ax.set_yticks(places, [style.entry(results.labels[m]) for m in part["method"]])
    ax.invert_yaxis()
    ax.set_xlim(0.9, max(k, part["rank"].min() + gap) + 0.1)
    ax.set_title(_title(protocol, first).replace(": ", "\n"))
