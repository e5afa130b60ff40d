"""Box plots over the settings of the synthetic data, a panel for each metric and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from anchorbench.artefacts import _style as style
from anchorbench.results import Results

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
ROW_HEIGHT = 1.55


def collect(
    results: Results, plugin: str, methods: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each value to draw and for each failed run (value NaN), COLUMNS.

    A finished run without a value of a metric has no row: the metric does not apply to it.
    """
    instances = results.instances(plugin)
    runs = results.runs[results.runs["status"] != "done"]
    scored = results.scores[results.scores["metric"].isin(metrics)].assign(status="done")
    failed = pd.concat([runs.assign(metric=m, value=np.nan) for m in metrics], ignore_index=True)
    parts = [frame for frame in (scored, failed) if len(frame)]
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    frame = pd.concat(parts, ignore_index=True)
    frame = frame[frame["dataset"].isin(instances) & frame["method"].isin(methods)]
    settings = {name: results.datasets[name]["setting"] for name in instances}
    frame = frame.assign(setting=frame["dataset"].map(settings))
    frame["rho"] = frame["setting"].map(style.rho).astype(float)
    order = [frame[key].map(_places(names)) for key, names in (("method", methods),)]
    keys = frame.assign(_method=order[0], _metric=frame["metric"].map(_places(metrics)))
    keys = keys.sort_values(
        ["_metric", "protocol", "rho", "setting", "_method", "replicate"], kind="stable"
    )
    return keys[COLUMNS].reset_index(drop=True)


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def draw(frame: pd.DataFrame, results: Results, metrics: Sequence[str]) -> Figure:
    """Return the box plots: a row for each metric and protocol, all methods side by side.

    Controls are lines at their median; failed runs are counted under the boxes.
    """
    metrics = [m for m in metrics if frame["value"][frame["metric"] == m].notna().any()]
    protocols = [p for p in results.protocols if p in set(frame["protocol"])]
    present = [m for m in results.methods if m in set(frame["method"])]
    controls = [m for m in present if results.methods[m]["control"]]
    methods = [m for m in present if m not in controls]
    rows = len(metrics) * len(protocols)
    figure, axes = style.subplots(rows, 1, style.PAGE, ROW_HEIGHT * rows + 0.45)
    panels = [(metric, protocol) for metric in metrics for protocol in protocols]
    for (metric, protocol), ax in zip(panels, axes[:, 0], strict=True):
        same_metric = frame[frame["metric"] == metric]
        part = same_metric[same_metric["protocol"] == protocol]
        _panel(ax, part, methods, controls, results)
        label = results.metrics.get(metric, {}).get("label", metric)
        arrow = {"min": "lower is better", "max": "higher is better"}
        how = arrow.get(str(results.direction(metric)))
        ax.set_ylabel(label)
        ax.set_title(f"{label}, protocol {protocol}" + (f" ({how})" if how else ""))
        _scale(ax, same_metric["value"], results, metric)
    axes[-1, 0].set_xlabel("Correlation ρ of the true factors")
    _legend(figure, methods, controls, results)
    return figure


def _panel(
    ax: Axes,
    part: pd.DataFrame,
    methods: Sequence[str],
    controls: Sequence[str],
    results: Results,
) -> None:
    settings = list(dict.fromkeys(zip(part["setting"], part["rho"], strict=True)))
    colour = style.colours(methods)
    width = 0.86 / max(len(methods), 1)
    below = ax.get_xaxis_transform()
    for place, (setting, _) in enumerate(settings):
        here = part[part["setting"] == setting]
        for i, method in enumerate(methods):
            x = place + (i - (len(methods) - 1) / 2) * width
            rows = here[here["method"] == method]
            values = rows["value"].dropna()
            lost = int((rows["status"] != "done").sum())
            if len(values):
                style.boxes(ax, [x], [values], colour[method], width * 0.72)
            small = {"transform": below, "ha": "center", "va": "top", "fontsize": 5.5}
            if len(rows):
                ax.text(x, -0.03, style.letter(i), color=style.MUTED, **small)
            if lost:
                ax.text(x, -0.125, f"{lost}", color="#B00020", fontweight="bold", **small)
        for control, dash in zip(controls, ("dotted", "dashed", "dashdot"), strict=False):
            middle = here["value"][here["method"] == control].median()
            if np.isfinite(middle):
                line = {"color": style.MUTED, "linestyle": dash, "linewidth": 0.8, "zorder": 0.5}
                ax.hlines(middle, place - 0.45, place + 0.45, **line)
    ax.set_xlim(-0.5, max(len(settings) - 0.5, 0.5))
    names = [f"{r:g}" if np.isfinite(r) else setting for setting, r in settings]
    ax.set_xticks(range(len(settings)), names)
    ax.tick_params(axis="x", length=0, pad=15)
    style.light_grid(ax)


def _scale(ax: Axes, values: pd.Series, results: Results, metric: str) -> None:
    """A logarithmic axis where collapses span decades; the whole range for bounded metrics."""
    low, high = results.metrics.get(metric, {}).get("range", [None, None])
    if low is not None and high is not None:
        ax.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    elif style.needs_log(list(values)):
        ax.set_yscale("log")
        finite = values[np.isfinite(values)]
        ax.set_ylim(finite.min() / 1.4, finite.max() * 1.4)


def _legend(
    figure: Figure, methods: Sequence[str], controls: Sequence[str], results: Results
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colour = style.colours(methods)
    handles: list[Patch | Line2D] = [
        Patch(
            facecolor=colour[m],
            edgecolor=style.INK,
            linewidth=0.4,
            label=f"{style.letter(i)}  {results.labels[m]}",
        )
        for i, m in enumerate(methods)
    ]
    for control, dash in zip(controls, ("dotted", "dashed", "dashdot"), strict=False):
        label = f"{results.labels[control]} (median)"
        handles.append(Line2D([], [], color=style.MUTED, linestyle=dash, label=label))
    columns = min(len(handles), 5)
    figure.legend(
        handles=handles, loc="outside upper left", ncols=columns, handlelength=1.4, columnspacing=1.5
    )
