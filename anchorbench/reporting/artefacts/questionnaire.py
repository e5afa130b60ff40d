"""How well methods find the scoring keys of questionnaires: real data with a known answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts._ranked import OWN, own, texts
from anchorbench.reporting.artefacts._tables import (
    MARKS,
    NUMBERS,
    cell,
    decimals,
    most_runs,
    summarise,
    with_notes,
)
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import CELL, Results, each, groups
from anchorbench.reporting.standing import independent, standing
from anchorbench.runs.status import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "table+figure",
    "label": "Questionnaires. Recovery of the scoring keys",
    "caption": "Each item belongs to one scale of a published key. Key accuracy: share of items "
    "whose largest loading is on their scale's factor; congruence: Tucker's, of loadings and "
    "signed key; agreement: of the codes of models of two folds, above chance. The scales were "
    "themselves found by factor analysis with rotations, which favours methods of linear simple "
    "structure. Mean [95 % interval] over folds, and rank: methods that share one are not told "
    "apart; ?: no test says which it is (docs/statistics.md). Figure: key accuracy with its "
    "interval, a panel a set; filled points have rank 1.",
    "category": "Recovery",
    "datasets": ["questionnaire"],
    "extract": False,
}
ACCURACY, SECONDS = "key_accuracy", "seconds"
SCORED = (ACCURACY, "key_congruence", "mse", "code_stability")
HEADS = {"mse": "Held-out MSE", "code_stability": "Agreement of folds"}
MISSING = "No questionnaire was run."


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of SCORED and of seconds, with interval, rank and verdict."""
    instances = results.namesakes("questionnaire")
    frame = summarise(results, instances, SCORED)
    frame[OWN] = pd.DataFrame([own(results, row) for row in each(frame)], columns=OWN)
    frame = pd.concat([part for part in (frame, _seconds(results, frame)) if len(part)] or [frame])
    notes = [] if len(frame) else [MISSING]
    return with_notes(
        frame.reset_index(drop=True),
        "[a/b]: only a of b runs finished. Bold: shown to be better than every other method. ↓: "
        "predicts no better than the training mean, so that nothing is said of it. †: runs that "
        "had not converged are among these.",
        *notes,
    )


def _seconds(results: Results, scored: pd.DataFrame) -> pd.DataFrame:
    """Rows of the time that a fit took, of the methods that were scored."""
    done = results.runs[results.runs["status"] == Status.DONE]
    times = dict(groups(done, CELL))
    rows = []
    for row in each(scored.drop_duplicates(CELL)):
        key = (row.dataset, row.method, row.protocol)
        x = times[key]["seconds"].dropna() if key in times else pd.Series(dtype=float)
        numbers = [x.mean(), x.std(ddof=0), len(x), results.counts.get(key, (0, 0))[1]]
        head = [row.dataset, row.setting, row.method, row.protocol, SECONDS]
        rows.append([*head, *numbers, math.nan, math.nan, x.median(), math.nan, False, 0])
    frame = pd.DataFrame(rows, columns=[*NUMBERS, *MARKS])
    return frame.assign(**dict.fromkeys(OWN[:4], math.nan), statistic="mean", verdict="")


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return, for each protocol, key accuracy by method and set, then a sheet for each set."""
    sheets = []
    for protocol, part in groups(frame, "protocol"):
        sheets.append(_overview(part, results, str(protocol)))
        sheets += [_of_set(rows, results, str(name)) for name, rows in groups(part, "dataset")]
    return sheets


def _overview(part: pd.DataFrame, results: Results, protocol: str) -> Sheet:
    """Key accuracy: a row a method, two columns a set (number, rank)."""
    part = part[part["metric"] == ACCURACY]
    sets = list(dict.fromkeys(part["dataset"]))
    heads = [head for name in sets for head in (_title(results, name), "rank")]
    sheet = Sheet(["Method", *heads], [], f"Key accuracy, {protocol}")
    found = [standing(results, name, ACCURACY, protocol) for name in sets]
    for method in (m for m in results.methods if m in set(part["method"])):
        line = [results.labels[method]]
        for one in found:
            if one.best == method:
                sheet.bold.add((len(sheet.rows), len(line)))
            line += texts(one.entries.get(method), 2)
        sheet.rows.append(line)
    return sheet


def _of_set(rows: pd.DataFrame, results: Results, dataset: str) -> Sheet:
    """All measures of a set: a row a method."""
    protocol = str(rows["protocol"].iloc[0])
    metrics = [m for m in SCORED if m in set(rows["metric"])]
    width = {m: 2 if independent(results, m) else 1 for m in metrics}  # without a test no rank
    names = [[HEADS.get(m, results.label(m, dataset)), "rank"][: width[m]] for m in metrics]
    heads = [head for both in names for head in both]
    title = f"{_title(results, dataset)}, {protocol}"
    sheet = Sheet(["Method", *heads, "Seconds"], [], title)
    found = {m: standing(results, dataset, m, protocol) for m in metrics}
    places = {m: _places(rows[rows["metric"] == m]) for m in (*metrics, SECONDS)}
    times: Mapping[Any, Any] = rows[rows["metric"] == SECONDS].set_index("method").to_dict("index")
    most = most_runs(rows[rows["metric"] == SECONDS])
    for method in (m for m in results.methods if m in set(rows["method"])):
        line = [results.labels[method]]
        for metric in metrics:
            if found[metric].best == method:
                sheet.bold.add((len(sheet.rows), len(line)))
            line += texts(found[metric].entries.get(method), places[metric])[: width[metric]]
        t = times[method]
        shown = cell(t["mean"], t["sd"], t["n"], t["failed"], places[SECONDS], most)
        sheet.rows.append([*line, shown])
    return sheet


def _places(rows: pd.DataFrame) -> int:
    return decimals(rows["mean"], rows["high"] - rows["low"])


def _title(results: Results, dataset: str) -> str:
    return str(results.about(dataset)["setting"] or dataset)


# ---- the figure ---------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return key accuracy with its interval, a panel a set and a line a method, and the numbers."""
    shown = frame[(frame["metric"] == ACCURACY) & (frame["n"] > 0)]
    if shown.empty:
        return style.message(MISSING), shown
    protocols = list(dict.fromkeys(shown["protocol"]))
    protocol = "corrected" if "corrected" in protocols else protocols[0]
    shown = shown[shown["protocol"] == protocol].reset_index(drop=True)
    sets, methods = list(dict.fromkeys(shown["dataset"])), _in_order(shown)
    height = 0.15 * len(methods) + 0.7
    figure, axes = style.subplots(1, len(sets), style.PAGE, height, sharey=True)
    at = {method: place for place, method in enumerate(methods)}
    for ax, name in zip(axes[0], sets, strict=True):
        for row in each(shown[shown["dataset"] == name]):
            colour = style.KNOWN["sparse_vae"] if row.rank == 1 else style.MUTED
            y = at[row.method]
            ax.plot([max(row.low, 0), min(row.high, 1)], [y, y], color=colour, linewidth=0.8)
            filled = colour if row.rank == 1 else "white"
            ax.plot(row.mean, y, "o", markersize=3, color=colour, markerfacecolor=filled)
        ax.set_xlim(-0.03, 1.03)
        ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        ax.set_title(_title(results, name))
        ax.grid(axis="both", color=style.RULE, linewidth=0.4)
        ax.set_axisbelow(True)
    axes[0, 0].set_yticks(range(len(methods)), [results.labels[m] for m in methods], fontsize=6)
    axes[0, 0].invert_yaxis()
    figure.supxlabel(f"Key accuracy, {protocol}", fontsize=7)
    return figure, shown


def _in_order(shown: pd.DataFrame) -> list[str]:
    """Methods, best first: by the share of a set's methods that are behind, mean over sets."""
    behind = shown.groupby("dataset")["mean"].rank(pct=True)
    order = behind.groupby(shown["method"]).mean()
    return [str(name) for name in order.index[np.argsort(-order.to_numpy(), kind="stable")]]
