"""When covariances alone find the anchor features: Theorem 2's rule against n."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts import _theory as cells
from anchorbench.reporting.results import Results, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Anchor features from covariances alone",
    "caption": "F1 of the pairs of features that a method takes for anchors of one factor, against "
    "the number of rows, a line a correlation of the factors; bands are 95 % intervals over "
    "replicates, and a run that found none counts 0. Dashed: n* = 16 c^2 log G / (1 - rho)^2 "
    "rows, c = 0.3, the prediction for equal anchors.",
    "category": "Recovery",
    "datasets": ["theory"],
    "extract": False,
}
METRIC = "anchor_pairs_f1"
COLUMNS = ["design", "method", "rho", "n", "dataset", "mean", "low", "high", "replicates", "failed"]


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return a panel for each design and method, and the numbers in them."""
    frame = _numbers(results)
    if frame.empty:
        return style.message("No covariance rule was run on theory over n and rho."), frame
    designs, methods = (list(dict.fromkeys(frame[key])) for key in ("design", "method"))
    size = style.PAGE / max(len(designs), 3)
    figure, axes = style.subplots(
        len(methods), len(designs), size * len(designs), 1.6 * len(methods) + 0.5
    )
    rhos = sorted(set(frame["rho"]))
    colours = dict(zip(rhos, style.CATEGORIES * len(rhos), strict=False))
    for row, method in zip(axes, methods, strict=True):
        for ax, design in zip(row, designs, strict=True):
            part = frame[(frame["design"] == design) & (frame["method"] == method)]
            _panel(ax, part, colours, results)
            ax.set_title(fill(design, 16), fontsize=6.5)
        row[0].set_ylabel(fill(f"{style.entry(results.labels[method])}: F1", 16))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(rhos))
    return figure, frame


def _numbers(results: Results) -> pd.DataFrame:
    """Mean F1 of every cell, failed runs as 0."""
    rows = []
    for name, of in cells.families(results).items():
        shared = cells.groups_but(of, ("n", "rho"))
        for rest, group in shared.items():
            if name == cells.PLUGIN or len({of[c]["rho"] for c in group}) < 2:
                continue
            for cell in group:
                for method, protocol in sorted(results.present[cell]):
                    found = results.measured(cell, method, protocol, METRIC)
                    failed = results.counts.get((cell, method, protocol), (0, 0))[1]
                    if not len(found):
                        continue
                    level = cells.interval(np.append(found, np.zeros(failed)))
                    place = [_design(rest, shared), method, of[cell]["rho"], of[cell]["n"], cell]
                    numbers = [level.estimate, level.low, level.high, level.n, failed]
                    rows.append([*place, *numbers])
    frame = pd.DataFrame(rows, columns=COLUMNS)
    # Two planes share the cells in which they cross, and their draws: one stands for both.
    alike = ["design", "method", "rho", "n"]
    return (
        frame.drop_duplicates(["dataset", "method"])
        .sort_values([*alike, "dataset"], ignore_index=True)
        .drop_duplicates(alike, ignore_index=True)
    )


def _design(rest: tuple[tuple[str, str], ...], shared: Any) -> str:
    """What tells a design from the others, for people: words alone, numbers with their names."""
    others, own = [dict(other) for other in shared], dict(rest)
    differ = [key for key in own if len({other.get(key) for other in others}) > 1]
    ordered = sorted(differ, key=lambda key: (key != "link", key))
    said = [own[k] if own[k].isalpha() else f"{k} {own[k]}" for k in ordered if own[k] != "None"]
    return ", ".join(said) or "all cells"


def _panel(ax: Axes, part: pd.DataFrame, colours: dict[float, str], results: Results) -> None:
    for rho, line in groups(part, "rho"):
        colour = colours[rho]
        ax.plot(line["n"], line["mean"], color=colour, marker="o", markersize=2, label=f"rho {rho}")
        ax.fill_between(line["n"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        params = cells.parameters(results.about(line["dataset"].iloc[0]))
        needed = cells.rows_needed(rho, params["n_features"])
        ax.axvline(needed, color=colour, linestyle="--", linewidth=0.6)
    ax.set_xscale("log")
    style.log_axis(ax.xaxis)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("n")
    style.light_grid(ax)
