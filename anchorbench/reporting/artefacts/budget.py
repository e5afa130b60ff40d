"""What a search is expected to find, against the number of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts import _trials
from anchorbench.reporting.results import Results, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Budget. Expected score on test rows against the number of trials",
    "caption": "Of n random trials the one that predicts validation rows best is taken: its "
    "expected headline score on test rows, unbiased (Tang et al. 2020), mean over replicates, with "
    "the middle 95 % over resampled trials. Dashed: the default. All are trained on four fifths of "
    "the training rows. A trial that failed counts as the worst of its replicate.",
    "category": "Cost",
    "datasets": None,
    "extract": False,
}
COLUMNS = [
    *("dataset", "setting", "method", "metric", "trials", "expected", "low", "high", "default"),
    *("replicates", "seconds"),
]
ACROSS = 3


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return a panel for each dataset with a search, and the curves (COLUMNS).

    `seconds` are those of so many trials, on average.
    """
    frame = curves(results)
    if frame.empty:
        return style.message("Budget is empty: no dataset has `tuning`."), frame
    datasets = list(dict.fromkeys(frame["dataset"]))
    methods = [m for m in results.methods if m in set(frame["method"])]
    colours = style.colours(methods)
    across = min(ACROSS, len(datasets))
    down = -(-len(datasets) // across)
    width = style.PAGE if across > 1 else style.COLUMN
    figure, axes = style.subplots(down, across, width, 2.1 * down + 0.3)
    for ax in axes.flat[len(datasets) :]:
        ax.axis("off")
    for (dataset, part), ax in zip(groups(frame, "dataset"), axes.flat, strict=False):
        _panel(ax, part, colours, results, str(dataset))
    _legend(figure, methods, colours, results)
    return figure, frame


def curves(results: Results) -> pd.DataFrame:
    """Return a row for each dataset, method and number of trials (COLUMNS)."""
    rows = []
    for (dataset, method), part in _trials.cells(results):
        found = _trials.scores(results, part)
        if found is None or found[0].shape[1] < 2:
            continue
        validation, test, metric = found
        mean, (low, high) = _trials.curve(validation, test), _trials.band(validation, test)
        seconds = part["seconds"][part["trial"] > 0].mean()
        setting = results.about(dataset)["setting"]
        for i, value in enumerate(mean):
            row = [dataset, setting, method, metric, i + 1, value, low[i], high[i]]
            rows.append([*row, test[:, 0].mean(), len(test), (i + 1) * seconds])
    return pd.DataFrame(rows, columns=COLUMNS)


def _panel(
    ax: Axes, part: pd.DataFrame, colours: dict[str, str], results: Results, dataset: str
) -> None:
    for method, line in groups(part, "method"):
        colour = colours[str(method)]
        ax.fill_between(
            line["trials"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0
        )
        ax.plot(line["trials"], line["expected"], color=colour, linewidth=1.1)
        ax.axhline(line["default"].iloc[0], color=colour, linewidth=0.7, linestyle=(0, (4, 2)))
    most = int(part["trials"].max())
    ax.set_xscale("log")
    ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= most]
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set_xlim(1, max(most, 1.5))
    metric = str(part["metric"].iloc[0])
    arrow = {"min": "↓", "max": "↑"}[_trials.direction(results, metric)]
    ax.set_ylabel(f"{results.label(metric, dataset)} {arrow}")
    ax.set_xlabel("trials (log)")
    ax.set_title(results.title(dataset))
    style.light_grid(ax)
    span = part[["expected", "default", "low", "high"]].to_numpy()
    if np.ptp(span) < 1e-12:  # a flat line would have no scale
        ax.set_ylim(span.min() - 0.5, span.max() + 0.5)


def _legend(figure: Figure, methods: list[str], colours: dict[str, str], results: Results) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colours[m], linewidth=1.1, label=style.entry(results.labels[m]))
        for m in methods
    ]
    columns = min(len(handles), 4)
    handles = style.by_rows(handles, columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
