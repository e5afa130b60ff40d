"""Recovery of a questionnaire's key against the number of people, and of latent factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts._theory import groups_but, parameters
from anchorbench.reporting.results import Results, each, groups
from anchorbench.reporting.standing import standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Recovery of a questionnaire's key against rows and latent factors",
    "caption": "Key accuracy, a line a method, bands are 95 % intervals over folds: against the "
    "number of training rows (the first ones of each fold; the last point has all of them), and "
    "against the number of latent factors. The scales were themselves found by factor analysis "
    "with rotations, which favours methods of linear simple structure.",
    "category": "Recovery",
    "datasets": ["questionnaire"],
    "extract": False,
}
PLUGIN, ACCURACY = "questionnaire", "key_accuracy"
ROWS, LATENT = "rows", "n_latent"
DIALS = {ROWS: "Training rows", LATENT: "Latent factors"}
COLUMNS = ["dial", "at", "dataset", "method", "protocol", "mean", "low", "high", "n", "failed"]
FOLDS = 5
NOTHING = "No questionnaire was run with several numbers of rows or of latent factors yet."


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return a panel for each dial that was turned, and the numbers in them."""
    frame = _numbers(results)
    if frame.empty:
        return style.message(NOTHING), frame
    dials = [dial for dial in DIALS if dial in set(frame["dial"])]
    methods = [m for m in results.methods if m in set(frame["method"])]
    colours = style.colours(methods)
    width = style.PAGE if len(dials) > 1 else style.COLUMN
    figure, axes = style.subplots(1, len(dials), width, 2.9, sharey=True)
    for ax, dial in zip(axes[0], dials, strict=True):
        part = frame[frame["dial"] == dial]
        _panel(ax, dial, part, colours)
        ax.set_title(results.about(part["dataset"].iloc[0])["params"]["set"])
    axes[0, 0].set_ylabel("Key accuracy")
    for method in methods:
        axes[0, 0].plot([], [], color=colours[method], label=style.entry(results.labels[method]))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4 if len(dials) > 1 else 2)
    return figure, frame


def _numbers(results: Results) -> pd.DataFrame:
    """Accuracy at every place of a dial, of the methods that have more than one, COLUMNS."""
    protocols = results.protocols
    protocol = "corrected" if "corrected" in protocols else next(iter(protocols), "")
    scored = {d for d, _, p, metric in results.values if (p, metric) == (protocol, ACCURACY)}
    names = [name for name in results.instances(PLUGIN) if name in scored]
    instances = {name: parameters(results.about(name)) for name in names}
    rows = []
    for dial in DIALS:
        for name, at in _dial(results, instances, dial).items():
            for e in standing(results, name, ACCURACY, protocol).entries.values():
                if e.n:
                    place = [dial, at, name, e.method, protocol]
                    rows.append([*place, e.value, e.low, e.high, e.n, e.failed])
    frame = pd.DataFrame(rows, columns=COLUMNS)
    several = frame.groupby(["dial", "method"])["at"].transform("nunique") > 1
    return frame[several].reset_index(drop=True)


def _dial(results: Results, instances: dict[str, dict[str, Any]], dial: str) -> dict[str, int]:
    """Instance -> its place on a dial: the most that share all else, in order."""
    found: dict[str, int] = {}
    for names in groups_but(instances, [dial]).values():
        at = {name: _place(results, name, instances[name][dial], dial) for name in names}
        if len(at) > len(found):
            found = at
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _place(results: Results, name: str, value: int | None, dial: str) -> int:
    """The value of a dial; all rows are those that a fold trains on."""
    if dial == ROWS and value is None:
        n = int(results.about(name).get("n_rows") or 0)
        return n - n // FOLDS
    return int(value or 0)


def _panel(ax: Axes, dial: str, part: pd.DataFrame, colours: dict[str, str]) -> None:
    for method, line in groups(part, "method"):
        colour = colours[method]
        low, high = line["low"].clip(lower=0), line["high"].clip(upper=1)
        ax.fill_between(line["at"], low, high, color=colour, alpha=0.12, linewidth=0)
        ax.plot(line["at"], line["mean"], color=colour, marker="o", markersize=2.5)
    places = sorted({int(row.at) for row in each(part)})
    if dial == ROWS:
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(places, [f"{place:,}" for place in places])
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(DIALS[dial])
    style.light_grid(ax)
