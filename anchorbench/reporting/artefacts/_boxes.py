"""Box plots over the settings of the synthetic data, a panel for each metric and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.results import Results
from anchorbench.runs.status import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = [
    "dataset",
    "setting",
    "rho",
    "method",
    "protocol",
    "metric",
    "replicate",
    "value",
    "status",
]
ROW_HEIGHT = 1.5
FEW = 16  # boxes that fit beside another panel
OFF_SCALE = 100  # values beyond this many medians are counted at the edge of a logarithmic axis
DASHES: tuple[Any, ...] = ("dotted", "dashed", "dashdot", (0, (5, 1, 1, 1, 1, 1)))
FAILURE = "#B00020"


def collect(
    results: Results, plugin: str, methods: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each value to draw and for each failed run (value NaN), COLUMNS.

    A finished run without a value of a metric has no row: the metric does not apply to it.
    """
    instances = results.namesakes(plugin)
    runs = results.runs[results.runs["status"] != Status.DONE]
    scored = results.scores[results.scores["metric"].isin(metrics)].assign(status=Status.DONE)
    failed = pd.concat([runs.assign(metric=m, value=np.nan) for m in metrics], ignore_index=True)
    parts = [frame for frame in (scored, failed) if len(frame)]
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame["dataset"].isin(instances) & frame["method"].isin(methods)]
    settings = {name: results.datasets[name]["setting"] for name in instances}
    frame = frame.assign(setting=frame["dataset"].map(settings))
    frame["rho"] = frame["setting"].map(style.rho).astype(float)
    places = {
        "metric": list(metrics).index,
        "protocol": results.protocols.index,
        "method": list(methods).index,
    }
    order = ["metric", "protocol", "rho", "setting", "method", "replicate"]
    frame = frame.sort_values(
        order, key=lambda c: c.map(places[c.name]) if c.name in places else c, kind="stable"
    )
    return frame[COLUMNS].reset_index(drop=True)


def draw(frame: pd.DataFrame, results: Results, metrics: Sequence[str]) -> Figure:
    """Return the box plots: a panel for each metric and protocol, all methods side by side.

    Controls are lines at their median; failed runs are counted under the boxes. Protocols stand
    beside one another where there are few boxes, and below one another otherwise.
    """
    metrics = [m for m in metrics if frame["value"][frame["metric"] == m].notna().any()]
    protocols = [p for p in results.protocols if p in set(frame["protocol"])]
    present = [m for m in results.methods if m in set(frame["method"])]
    controls = [m for m in present if results.methods[m]["control"]]
    methods = [m for m in present if m not in controls]
    across = len(protocols) if len(methods) * frame["dataset"].nunique() <= FEW else 1
    lost = (frame["status"] != Status.DONE).any()
    panels = [(metric, protocol) for metric in metrics for protocol in protocols]
    down = len(panels) // across
    figure, axes = style.subplots(down, across, style.PAGE, ROW_HEIGHT * down + 0.45)
    for (metric, protocol), ax in zip(panels, axes.flat, strict=True):
        part = frame[(frame["metric"] == metric) & (frame["protocol"] == protocol)]
        _scale(ax, frame["value"][frame["metric"] == metric], results, metric)
        _panel(ax, part, methods, controls)
        label = results.metrics.get(metric, {}).get("label", metric)
        better = {"min": " (lower is better)", "max": " (higher is better)"}
        how = better.get(str(results.direction(metric)), "")
        ax.set_title(f"{label}, protocol {protocol}{how}", pad=9)
        ax.tick_params(axis="x", length=0, pad=16 if lost else 10)
    for row in axes:
        row[0].set_ylabel(row[0].get_title(loc="left").split(",")[0])
    for ax in axes[-1]:
        ax.set_xlabel("Correlation ρ of the true factors")
    _legend(figure, methods, controls, results)
    return figure


def _scale(ax: Axes, values: pd.Series, results: Results, metric: str) -> None:
    """A logarithmic axis where collapses span decades; the whole range for bounded metrics."""
    low, high = results.metrics.get(metric, {}).get("range", [None, None])
    x = values[np.isfinite(values)]
    if low is not None and high is not None:
        ax.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    elif style.needs_log(list(x)):
        ax.set_yscale("log")
        style.log_axis(ax.yaxis)
        ax.set_ylim(x.min() / 1.3, min(x.max() * 1.3, x.median() * OFF_SCALE))
    else:
        margin = 0.06 * float(x.max() - x.min()) or 1.0
        ax.set_ylim(x.min() - margin, x.max() + margin)


def _panel(
    ax: Axes,
    part: pd.DataFrame,
    methods: Sequence[str],
    controls: Sequence[str],
) -> None:
    settings = list(dict.fromkeys(zip(part["setting"], part["rho"], strict=True)))
    colour = style.colours(methods)
    width = 0.86 / max(len(methods), 1)
    edge: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "center", "fontsize": 5.5}
    for place, (setting, _) in enumerate(settings):
        here = part[part["setting"] == setting]
        for i, method in enumerate(methods):
            x = place + (i - (len(methods) - 1) / 2) * width
            rows = here[here["method"] == method]
            values = rows["value"].dropna()
            lost = int((rows["status"] != Status.DONE).sum())
            beyond = int((values > ax.get_ylim()[1]).sum())
            if len(values):
                style.box(ax, x, values, colour[method], width * 0.72)
                ax.text(x, -0.03, style.letter(i), color=style.MUTED, va="top", **edge)
            if lost:
                ax.text(x, -0.03, f"\n{lost}×", color=FAILURE, weight="bold", va="top", **edge)
            if beyond:
                ax.text(x, 1.01, f"{beyond}↑", color=style.MUTED, va="bottom", **edge)
        for control, dash in zip(controls, DASHES, strict=False):
            middle = here["value"][here["method"] == control].median()
            if np.isfinite(middle):
                line: dict[str, Any] = {
                    "color": style.MUTED,
                    "linestyle": dash,
                    "linewidth": 0.8,
                    "zorder": 0.5,
                }
                ax.hlines(middle, place - 0.45, place + 0.45, **line)
    ax.set_xlim(-0.5, max(len(settings) - 0.5, 0.5))
    names = [f"{r:g}" if np.isfinite(r) else setting for setting, r in settings]
    ax.set_xticks(range(len(settings)), names)
    style.light_grid(ax)


def _legend(
    figure: Figure, methods: Sequence[str], controls: Sequence[str], results: Results
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colour = style.colours(methods)
    handles: list[Patch | Line2D] = [
        Patch(
            facecolor=style.lighter(colour[m]),
            edgecolor=colour[m],
            linewidth=0.7,
            label=f"{style.letter(i)}  {results.labels[m]}",
        )
        for i, m in enumerate(methods)
    ]
    for control, dash in zip(controls, DASHES, strict=False):
        handles.append(
            Line2D(
                [],
                [],
                color=style.MUTED,
                linestyle=dash,
                label=style.entry(results.labels[control]),
            )
        )
    columns = min(len(handles), 5)
    figure.legend(
        handles=style.by_rows(handles, columns),
        loc="outside upper left",
        ncols=columns,
        handlelength=1.6,
        columnspacing=1.5,
    )
