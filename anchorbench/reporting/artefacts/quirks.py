"""Which deviation of the released code moves which number: each switched alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts._paired import (
    EFFECT,
    RULES,
    TESTED,
    add_effects,
    decided,
    effect,
)
from anchorbench.reporting.artefacts._tables import decimals, with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, each, groups
from anchorbench.reporting.standing import Comparison, Pair, family, family_of_tests

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "table+figure",
    "label": "Quirks. What each deviation of the released code does to each number",
    "caption": "Each row switches one parameter of a protocol and leaves all others as they are. "
    "Shown is the change of a number, paired over replicates of the same data, with its 95 % "
    "interval. Filled marks: a test bears a change for the better or the worse that matters; all "
    "quirks of a method in one protocol, on one dataset with all its settings, are a family of "
    "tests for each number. Two pairs or fewer have a mark and no interval.",
    "category": "Reproducibility",
    "datasets": ["synthetic", "peerread", "simulated_counts"],
    "extract": False,
    "quirks": True,
}
COLUMNS = [
    *("dataset", "setting", "method", "variant", "protocol", "parameter", "was", "value"),
    *("metric", *EFFECT, "failed", "base_failed", *TESTED),
]
DRAWN = ["mse", "recon_nll", "elbo", "dci", "mcc", "support_f1", "active_factors"]
SLOT, MARGIN = 0.085, 0.85  # inches: height of one mark, of a panel's title and axis


def make(results: Results) -> pd.DataFrame:
    """Return a row for each quirk, dataset and metric.

    Columns are those of `effect`, of (quirk - base); `failed` and `base_failed` count runs that did
    not finish.
    """
    families: dict[str, list[Pair]] = {}
    heads: dict[Pair, dict[str, Any]] = {}
    for protocol, (variant, about) in product(results.protocols, results.methods.items()):
        quirk = about.get("quirk")
        if not quirk or quirk["from"] != protocol:
            continue
        for dataset in results.datasets:
            for metric, head in _measured(results, dataset, protocol, variant):
                pair = (dataset, metric, protocol, variant, about["plugin"])
                heads[pair] = head
                name = f"{family(results, dataset)}/{protocol}/{about['plugin']}/{metric}"
                families.setdefault(name, []).append(pair)
    tested: dict[Pair, Comparison] = {}
    for pairs in families.values():
        tested |= dict(zip(pairs, family_of_tests(results, pairs), strict=True))
    rows = [head | effect(results, tested[pair]) for pair, head in heads.items()]
    notes = [RULES] + ([] if rows else ["No variant that switches one parameter was run."])
    return with_notes(pd.DataFrame(rows, columns=COLUMNS), *notes)


def _measured(
    results: Results, dataset: str, protocol: str, variant: str
) -> list[tuple[str, dict[str, Any]]]:
    """The metrics that a quirk and its base have on a dataset, each with what its row begins by."""
    about = results.methods[variant]
    base, quirk = about["plugin"], about["quirk"]
    runs, failed = results.counts.get((dataset, variant, protocol), (0, 0))
    if not runs:
        return []
    head = {"dataset": dataset, "setting": results.about(dataset)["setting"], "method": base}
    head |= {"variant": variant, "protocol": protocol, "parameter": quirk["parameter"]}
    head["was"] = _text(_setting(results, dataset, base, protocol, quirk["parameter"]))
    head |= {"value": _text(quirk["value"]), "failed": failed}
    head["base_failed"] = results.counts.get((dataset, base, protocol), (0, 0))[1]
    found = []
    for metric in results.metrics:
        before = results.values.get((dataset, base, protocol, metric))
        after = results.values.get((dataset, variant, protocol, metric))
        if before is not None and (after is not None or failed):
            found.append((metric, head | {"metric": metric}))
    return found


def _setting(results: Results, dataset: str, method: str, protocol: str, name: str) -> Any:
    for cell in results.manifest.get("settings", []):
        if (cell["dataset"], cell["method"], cell["protocol"]) == (dataset, method, protocol):
            return cell["params"].get(name)
    return None


def _text(value: Any) -> str:
    switches = {True: "on", False: "off", None: "none"}
    if isinstance(value, bool) or value is None:
        return switches[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each method, protocol and dataset plugin: a row a quirk and setting."""
    sheets = []
    plugins = frame["dataset"].map(lambda d: results.datasets.get(d, {}).get("plugin", d))
    for (method, protocol, plugin), part in groups(frame, ["method", "protocol", plugins]):
        metrics = [m for m in DRAWN if m in set(part["metric"])]
        heads = [results.label(m, part["dataset"].iloc[0]) for m in metrics]
        title = f"{results.labels.get(method, method)} on {plugin}, starting from {protocol}"
        sheet = Sheet(["Setting", *heads], [], title)
        places = {m: decimals(part["difference"][part["metric"] == m]) for m in metrics}
        for (parameter, was, value), rows in groups(part, ["parameter", "was", "value"]):
            sheet.rows.append(f"{parameter}: {was} → {value}")
            for setting, same in groups(rows, "setting"):
                add_effects(sheet, str(setting) or str(plugin), same, metrics, places)
        sheets.append(sheet)
    return sheets or [Sheet(["Setting"], [])]


def draw(frame: pd.DataFrame, results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return the effects as dots with intervals: a row a quirk, a column a number."""
    metrics = [m for m in DRAWN if frame["difference"][frame["metric"] == m].abs().max() > 1e-9]
    drawn = frame[frame["metric"].isin(metrics)]
    if drawn.empty:
        text = "Nothing to draw: no finished run of a variant that switches one parameter."
        return style.message(text), frame
    blocks = [block for _, block in groups(drawn, ["method", "protocol"])]
    datasets = list(dict.fromkeys(drawn["dataset"]))
    heights = [_height(block, len(datasets)) for block in blocks]
    figure = style.new(style.PAGE, sum(heights) + MARGIN * len(blocks) + 0.3)
    shares = [height + MARGIN for height in heights]
    parts: Any = figure.subfigures(len(blocks), 1, height_ratios=shares, squeeze=False)[:, 0]
    for block, part in zip(blocks, parts, strict=True):
        row = part.subplots(1, len(metrics), squeeze=False)[0]
        quirks = list(dict.fromkeys(_names(block)))
        for metric, ax in zip(metrics, row, strict=True):
            _panel(ax, block[block["metric"] == metric], quirks, datasets, results, metric)
        row[0].set_yticks(range(len(quirks)), quirks)
        method, protocol = block["method"].iloc[0], block["protocol"].iloc[0]
        heading = f"{results.labels.get(method, method)}, starting from {protocol}"
        part.suptitle(heading, x=0.01, ha="left", fontsize=7.5, fontweight="bold")
    _legend(figure, datasets, results)
    return figure, frame


def _names(block: pd.DataFrame) -> list[str]:
    keys = zip(block["parameter"], block["was"], block["value"], strict=True)
    return [f"{parameter}\n{was} → {value}" for parameter, was, value in keys]


def _height(block: pd.DataFrame, datasets: int) -> float:
    return len(set(_names(block))) * max(SLOT * datasets + 0.06, 0.3)


def _panel(
    ax: Axes,
    part: pd.DataFrame,
    quirks: Sequence[str],
    datasets: Sequence[str],
    results: Results,
    metric: str,
) -> None:
    step = 0.72 / max(len(datasets), 1)
    ax.axvline(0, color=style.MUTED, linewidth=0.6, zorder=0.5)
    for name, r in zip(_names(part), each(part), strict=True):
        place = datasets.index(r.dataset)
        y = quirks.index(name) + (place - (len(datasets) - 1) / 2) * step
        colour = style.CATEGORIES[place % len(style.CATEGORIES)]
        if not r.n:
            ax.text(0, y, "×", color=colour, ha="center", va="center", fontsize=6)
            continue
        ax.plot([r.low, r.high], [y, y], color=colour, linewidth=0.8, solid_capstyle="butt")
        ax.plot(
            [r.difference],
            [y],
            marker=style.MARKERS[place % len(style.MARKERS)],
            markersize=3,
            markeredgewidth=0.7,
            markeredgecolor=colour,
            markerfacecolor=colour if decided(r._asdict()) else "white",
        )
    ax.set_ylim(len(quirks) - 0.5, -0.5)
    ax.set_yticks(range(len(quirks)), [""] * len(quirks))
    ax.tick_params(axis="y", length=0)
    for line in range(len(quirks) - 1):
        ax.axhline(line + 0.5, color=style.RULE, linewidth=0.4, zorder=0.4)
    label = results.metrics.get(metric, {}).get("label", metric)
    ax.set_title("\n".join(wrap(f"Δ {label}", 16)), loc="center")
    better = {"min": "← better", "max": "better →"}.get(str(results.direction(metric)), "")
    ax.set_xlabel(better + (" (log)" if _log_scale(ax, part) else ""))


def _log_scale(ax: Axes, part: pd.DataFrame) -> bool:
    """A logarithmic axis on both sides of zero where some effects are far larger than most."""
    sizes = part[["low", "high", "difference"]].abs().to_numpy().ravel()
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not sizes.size or sizes.max() <= 30 * np.median(sizes):
        ax.locator_params(axis="x", nbins=3)
        ax.margins(x=0.1)
        return False
    usual, largest = (10.0 ** math.floor(math.log10(s)) for s in (np.median(sizes), sizes.max()))
    ax.set_xscale("symlog", linthresh=usual)
    ticks = [-largest, 0.0, largest]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlim(-1.6 * sizes.max(), 1.6 * sizes.max())
    return True


def _legend(figure: Figure, datasets: Sequence[str], results: Results) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for i, name in enumerate(datasets):
        about = results.datasets[name]
        rho = style.rho(about["setting"])
        label = style.entry(about["label"]) + (f", ρ = {rho:g}" if rho is not None else "")
        look: dict[str, Any] = {"marker": style.MARKERS[i % len(style.MARKERS)], "markersize": 3.5}
        colour = style.CATEGORIES[i % len(style.CATEGORIES)]
        handles.append(Line2D([], [], color=colour, linewidth=0.8, label=label, **look))
    columns = min(len(handles), 4)
    handles = style.by_rows(handles, columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
