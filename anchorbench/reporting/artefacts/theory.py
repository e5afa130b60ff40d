"""Identification with the theorems' assumptions turned one at a time."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.data import theory as worlds
from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts import _theory as cells
from anchorbench.reporting.artefacts._tables import with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, groups
from anchorbench.reporting.standing import ROPE, once
from anchorbench.scores.statistics import (
    BETTER,
    WORSE,
    Interval,
    differences,
    draws_interval,
    holm,
    verdict,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "table+figure",
    "label": "Theory. Recovery of the factors, the assumptions turned one at a time",
    "caption": "Mean correlation of matched codes and true factors, up to a spline of each code. "
    "Table: the base cell's mean, in other cells the difference from it, paired over replicates "
    "that share all draws but the dial, with a 95 % interval (Student's t); bold where it lies "
    "outside +-0.01 and p < .05 among all cells of the method (Holm); of cells trained longer the "
    "difference from the cell of the same data. Identified: the results whose conditions hold in "
    "most replicates, as measured on the decoder (structural sparsity: on the mask alone). "
    "Figure: a panel a dial, a line a method, bands are 95 % intervals; shaded cells have A1 to "
    "A3; grey lines are codes rotated by 45 degrees and codes that copy one factor. Below, 1 - MCC "
    "against n with the slope -1/2, and the share of replicates with all factors found (dark none, "
    "yellow all; dashed: where the covariance rule is predicted to succeed).",
    "category": "Recovery",
    "datasets": ["theory"],
    "extract": True,
}
METRIC, FOUND = "mcc_nonlinear", "factors_found"
SHOWN: tuple[str, ...] = (METRIC, "mcc", "mcc_folded", "purity", "purity_spline", "r", FOUND)
SHOWN += ("support_f1", "anchor_pairs_f1")
MEASURED: tuple[str, ...] = ("anchors", "difference", "invertible", "a2_margin", "a3_margin")
MEASURED += ("structural", "additive")
EXTRACT = ["dataset", "replicate", *MEASURED, "identified"]
COLUMNS = ["dial", "value", "dataset", "method", "protocol", "metric", "mean", "low", "high", "n"]
COLUMNS += ["failed", "difference", "difference_low", "difference_high", "pairs", "p", "verdict"]
COLUMNS += ["identified"]
ACROSS = 4


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return what the decoders of the star design satisfy, a row a replicate of a cell."""
    rows: dict[tuple[str, int], list[Any]] = {}
    for run in runs:
        record = run.record
        place = record["dataset"], record["replicate"]
        if cells.family(place[0], record["setting"]) != cells.PLUGIN or place in rows:
            continue
        params = {k: v for k, v in record["dataset_params"].items() if k != "n_test"}
        design = worlds.Design(**params)
        # Neither rows nor noise are part of a decoder.
        found = _measured(replace(design, n=10, noise=0.0), record["data_seed"])
        values = [getattr(found, name) for name in MEASURED]
        rows[place] = [*place, *values, worlds.identified_by(design.resolved, found)]
    return pd.DataFrame(list(rows.values()), columns=EXTRACT)


@lru_cache(None)
def _measured(design: worlds.Design, seed: int) -> worlds.Assumptions:
    return worlds.assumptions(worlds.world(design, seed))


def make(results: Results) -> pd.DataFrame:
    """Return a row for each cell of a dial, method, protocol and metric (COLUMNS)."""
    identified, measured = _identified(results), effects(results)
    same = {name: cell for pairs in cells.longer(results).values() for name, cell in pairs.items()}
    names = [same.get(name, name) for name in measured["dataset"]]
    frame = measured.assign(identified=[identified.get(name, "") for name in names])
    notes = [] if len(frame) else ["The dataset theory was not run with a base cell."]
    return with_notes(frame[COLUMNS], *notes)


@once
def effects(results: Results) -> pd.DataFrame:
    """Return COLUMNS but for what identifies a cell, which is no score."""
    star = cells.families(results).get(cells.PLUGIN, {})
    base = f"{cells.PLUGIN}_{cells.BASE}"
    places = [("base", "base", base, "")] if base in star else []
    for dial, values in cells.dials(star).items():
        places += [(dial, value, name, base) for name, value in values.items() if name != base]
    again = [
        (dial, cells.text_of(results.about(name)["params"]["n"]), name, same)
        for dial, pairs in cells.longer(results).items()
        for name, same in pairs.items()
    ]
    found = _effects(results, places)
    return pd.concat([found, _effects(results, again)], ignore_index=True) if again else found


def _effects(results: Results, places: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Return the rows of cells: dial, value, instance, and the cell to compare with or ""."""
    rows = []
    for protocol in results.protocols:
        for dial, value, name, reference in places:
            for method in cells.methods_of(results, [name], protocol):
                failed = results.counts.get((name, method, protocol), (0, 0))[1]
                for metric in SHOWN:
                    own = results.values.get((name, method, protocol, metric))
                    if own is None:
                        continue
                    level = cells.interval(own.to_numpy())
                    row: list[object] = [dial, value, name, method, protocol, metric]
                    row += [level.estimate, level.low, level.high, level.n, failed]
                    other = results.values.get((reference, method, protocol, metric))
                    row += _difference(own, other)
                    rows.append([*row, ""])
    return _with_verdicts(pd.DataFrame(rows, columns=COLUMNS[:-1]))


def _difference(own: pd.Series, other: pd.Series | None) -> list[float]:
    """Difference from another cell with its interval, pairs and p value; NaN without pairs."""
    if other is None:
        return [math.nan] * 3 + [0, math.nan]
    found = draws_interval(differences(own, other).to_numpy())
    return [found.estimate, found.low, found.high, found.n, found.p]


def _with_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill in p, adjusted over a method's cells, and the verdict."""
    for _, part in groups(frame, ["method", "protocol", "metric"]):
        tested = part[part["p"].notna()]
        frame.loc[tested.index, "p"] = holm(tested["p"].to_numpy())
    frame["verdict"] = [_word(row) for row in frame.to_dict("records")]
    return frame


def _word(row: dict[str, Any]) -> str:
    if math.isnan(row["difference"]) or math.isnan(row["p"]):
        return ""
    found = Interval(
        row["difference"], row["difference_low"], row["difference_high"], row["p"], row["pairs"]
    )
    return verdict(found, ROPE, "max", row["p"])


def _identified(results: Results) -> dict[str, str]:
    """Instance -> the results whose conditions hold in more than half of its replicates."""
    frame = results.extract
    if frame is None or frame.empty:
        return {}
    found = {}
    for name, part in groups(frame, "dataset"):
        each = [text.split(", ") for text in part["identified"]]
        kinds = dict.fromkeys(kind for kinds in each for kind in kinds if kind != "none")
        most = [k for k in kinds if sum(k in one for one in each) > len(each) / 2]
        found[name] = ", ".join(most) or "none"
    return found


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each protocol: a section a dial, a row a cell, a column a method."""
    sheets = []
    shown = frame[frame["metric"] == METRIC]
    for protocol, part in groups(shown, "protocol"):
        methods = [m for m in results.methods if m in set(part["method"])]
        heads = [results.labels[m] for m in methods]
        sheet = Sheet(["Cell", "Identified", *heads], [], f"Protocol: {protocol}", left={0, 1})
        for dial, of_dial in groups(part, "dial"):
            sheet.rows.append(str(dial))
            for (value, identified), of_cell in groups(of_dial, ["value", "identified"]):
                here = {row["method"]: row for row in of_cell.to_dict("records")}
                texts = [_text(here.get(method)) for method in methods]
                decided = (BETTER, WORSE)
                sheet.bold |= {
                    (len(sheet.rows), 2 + i)
                    for i, method in enumerate(methods)
                    if method in here and here[method]["verdict"] in decided
                }
                sheet.rows.append([str(value), str(identified) or "–", *texts])
        sheets.append(sheet)
    return sheets


def _text(row: dict[str, Any] | None) -> str:
    """A cell: the base's mean, or a difference with its interval; failures are counted."""
    if row is None:
        return "–"
    lost = f" [{row['n']}/{row['n'] + row['failed']}]" if row["failed"] else ""
    if math.isnan(row["difference"]):
        return f"{row['mean']:.2f}{lost}"
    ends = ", ".join(f"{row[key]:+.2f}" for key in ("difference_low", "difference_high"))
    return f"{row['difference']:+.2f} [{ends}]{lost}"


Lines = dict[str, dict[str, Any]]
"""Method -> how its line is drawn."""


# ---- the figure ---------------------------------------------------------------------------------


def draw(frame: pd.DataFrame, results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return the panels of the dials, consistency and the planes, and the numbers in the panels."""
    if frame.empty:
        return style.message("Theory is empty: the dataset was not run with a base cell."), frame
    protocol = next(p for p in results.shown if p in set(frame["protocol"]))
    shown = frame[(frame["metric"] == METRIC) & (frame["protocol"] == protocol)]
    turned, again = cells.dials(cells.families(results)[cells.PLUGIN]), cells.longer(results)
    dials = [d for d in dict.fromkeys(shown["dial"]) if d in turned]
    ran = set(shown["method"])
    methods = [m for m in results.methods if m in ran and not results.methods[m]["control"]]
    lines = style.lines(results, methods)
    planes = _planes(results, protocol)
    panels = len(dials) + ("n" in dials)
    rows = -(-(panels + len(planes) + 1) // ACROSS)
    figure, axes = style.subplots(rows, ACROSS, style.PAGE, 1.55 * rows)
    places = iter(axes.flat)
    for dial in dials:
        _panel(next(places), dial, turned[dial], shown, lines)
    if "n" in dials:
        _consistency(next(places), {"n": turned["n"], **again}, shown, results, lines)
    for plane in planes:
        _plane(next(places), *plane, results, protocol)
    legend = next(places)
    for method in methods:
        label = style.entry(results.labels[method])
        legend.plot([], [], **lines[method], label=label)
    for place in [legend, *places]:
        place.axis("off")
    figure.legend(*legend.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure, shown.reset_index(drop=True)


def _panel(ax: Axes, dial: str, values: dict[str, str], shown: pd.DataFrame, lines: Lines) -> None:
    names = list(values)
    for place, name in enumerate(names):
        known = shown[shown["dataset"] == name]["identified"]
        if len(known) and "A1-A3" in str(known.iloc[0]).split(", "):
            ax.axvspan(place - 0.5, place + 0.5, color=style.RULE, alpha=0.5, linewidth=0)
    for method, line in lines.items():
        of = shown[shown["method"] == method].drop_duplicates("dataset").set_index("dataset")
        at = [i for i, name in enumerate(names) if name in of.index]
        rows = of.loc[[names[i] for i in at]]
        ax.plot(at, rows["mean"], **line, marker="o", markersize=2, linewidth=1)
        shade = {"color": line["color"], "alpha": 0.12, "linewidth": 0}
        ax.fill_between(at, rows["low"], rows["high"], **shade)
    if dial == "rho":
        rhos = [float(value) for value in values.values()]
        for known_line in (cells.rotation_line, cells.copy_line):
            expected = [known_line(r) for r in rhos]
            ax.plot(range(len(names)), expected, color=style.MUTED, linewidth=0.5)
    ax.set_xticks(range(len(names)), list(values.values()), rotation=45, ha="right", fontsize=5.5)
    ax.set_ylim(0, 1.02)
    _entitle(ax, dial)
    ax.set_ylabel("MCC")
    style.light_grid(ax)


def _consistency(
    ax: Axes,
    sweeps: Mapping[str, Mapping[str, str]],
    shown: pd.DataFrame,
    results: Results,
    lines: Lines,
) -> None:
    """1 - MCC against n: a method that is not identified has a plateau.

    sweeps : the instances of the dial of rows, then those of longer training.
    """
    sizes = {name: int(results.about(name)["params"]["n"]) for of in sweeps.values() for name in of}
    for place, names in enumerate(map(list, sweeps.values())):
        own = {"marker": "o", "markersize": 2} if not place else {"linestyle": ":"}
        for method, line in lines.items():
            of = shown[(shown["method"] == method) & shown["dataset"].isin(names)]
            means = zip(of["dataset"], of["mean"], strict=True)
            points = sorted((sizes[n], 1 - m) for n, m in means if 1 - m > 1e-6)
            if points:
                ax.plot(*zip(*points, strict=True), **(line | own), linewidth=1)
    ends = np.array([min(sizes.values()), max(sizes.values())], dtype=float)
    slope = 0.3 * (ends / ends[0]) ** -0.5
    ax.plot(ends, slope, color=style.MUTED, linewidth=0.5, linestyle="--")
    ax.set_xscale("log")
    style.log_axis(ax.xaxis)
    ax.set_yscale("log")
    style.log_axis(ax.yaxis)
    dotted = [dial.removeprefix("n (").removesuffix(")") for dial in list(sweeps)[1:]]
    title = f"consistency (dotted: {', '.join(dotted)})" if dotted else "consistency"
    _entitle(ax, title)
    ax.set_xlabel("n")
    ax.set_ylabel("1 - MCC")


def _entitle(ax: Axes, title: str) -> None:
    """Set a panel's title in as many lines as it needs."""
    ax.set_title(textwrap.fill(title, 32), fontsize=6.5)


def _planes(results: Results, protocol: str) -> list[tuple[str, str, dict[tuple[Any, Any], str]]]:
    """(method, what is across, cells) of every panel of a plane."""
    found = []
    for across in ("rho", "anchors"):
        of = cells.plane(results, across, FOUND)
        for method in cells.methods_of(results, of.values(), protocol):
            found.append((method, across, of))
    return found


def _plane(
    ax: Axes,
    method: str,
    across: str,
    of: dict[tuple[Any, Any], str],
    results: Results,
    protocol: str,
) -> None:
    """Share of replicates in which all factors are found, n upwards."""
    xs, ns = (sorted({place[i] for place in of}) for i in (0, 1))
    share = np.full((len(ns), len(xs)), np.nan)
    for (x, n), name in of.items():
        values = results.measured(name, method, protocol, FOUND)
        wanted = cells.parameters(results.about(name))["n_factors"]
        begun = len(values) + results.failed(name, method, protocol, FOUND)
        if begun:
            share[ns.index(n), xs.index(x)] = (values >= wanted).sum() / begun
    ax.imshow(share, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="cividis")
    if across == "rho" and len(ns) > 1:
        G = cells.parameters(results.about(next(iter(of.values()))))["n_features"]
        needed = [math.log(cells.rows_needed(x, G)) for x in xs]
        heights = np.interp(needed, np.log(ns), range(len(ns)), left=-0.5, right=len(ns) - 0.5)
        ax.plot(range(len(xs)), heights, color="white", linestyle="--", linewidth=0.8)
    ax.set_xticks(range(len(xs)), [str(x) for x in xs])
    ax.set_yticks(range(len(ns)), [f"{n:,}" for n in ns])
    _entitle(ax, style.entry(results.labels[method]))
    ax.set_xlabel(across)
    ax.set_ylabel("n")
