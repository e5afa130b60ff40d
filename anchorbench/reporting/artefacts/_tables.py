"""Summaries over replicates, intervals, and how numbers are set for readers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts._paper import other_scale
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import NOTHING, Results
from anchorbench.reporting.standing import Entry, standing
from anchorbench.study.protocols import SEARCHED

NUMBERS = [
    "dataset",
    "setting",
    "method",
    "protocol",
    "metric",
    "mean",
    "sd",
    "n",
    "failed",
    "published_mean",
    "published_sd",
]
CONVENTION = (
    "Mean (population sd, ddof = 0, as in the paper) over the replicates that finished; "
    "[a/b]: only a of b did; [n runs]: others have more. Bold: a test shows it to be better than "
    "every other method of its protocol, controls left out. ↓: predicts no better than the "
    "training mean, and is compared with nothing. †: runs that had not converged are among these."
)
MARKS = ["median", "group", "below_floor", "unconverged"]
LOW, UNCONVERGED = "↓", "†"
STAND_INS = {"peerread": "simulated_counts"}  # for runs without the real data, such as the demo


def chosen(results: Results, plugin: str) -> tuple[list[str], list[str]]:
    """Return the instances that stand for a dataset of the paper, and notes that say so.

    Where it was not run, its stand-in takes the place, if that was.
    """
    instances = results.namesakes(plugin)
    if instances:
        return instances, []
    for name in results.instances(STAND_INS.get(plugin, "")):
        label = results.datasets[name]["label"]
        return [name], [f"Dataset: {label}, in place of {plugin}, which was not run."]
    return [], [f"{plugin} was not run."]


def summarise(
    results: Results,
    datasets: Sequence[str],
    metrics: Sequence[str],
    quirks: bool = False,
    any_scale: bool = False,
) -> pd.DataFrame:
    """Return the numbers table (columns NUMBERS, then MARKS) of some datasets and metrics.

    `group` counts from 1, the best; methods of a group share it; NaN where no test bears any
    (`standing.Entry`). A number of the paper that was not measured keeps a row with n = 0 and
    failed = 0; one of another scale than ours is left out unless `any_scale`. Where else a method
    has finished runs but no score, the metric does not apply to it and there is no row. Variants
    that measure a single quirk are left out unless `quirks`. `failed` counts the runs that did not
    finish and the finished ones on which the metric failed.
    """
    rows = []
    for dataset in datasets:
        for metric in metrics:
            for method, protocol in cells(results, dataset, quirks):
                key = (dataset, method, protocol)
                entry = standing(results, dataset, metric, protocol).entries.get(method)
                runs, failed = results.counts.get(key, (0, 0))[0], results.failed(*key, metric)
                x = results.measured(*key, metric)
                paper = results.paper(dataset, method, metric)
                if not any_scale and other_scale(results, dataset, protocol, metric):
                    paper = NOTHING
                missing = not math.isnan(paper[0])
                if x.size or failed >= max(runs, 1) or missing:
                    numbers = _numbers(results, key, metric, x, failed, paper)
                    rows.append([dataset, *numbers, *_marks(entry)])
    return pd.DataFrame(rows, columns=[*NUMBERS, *MARKS])


def _marks(entry: Entry | None) -> list[object]:
    """Group, whether below the floor, and unconverged runs of an entry."""
    if entry is None:
        return [math.nan, False, 0]
    group = math.nan if entry.group is None else float(entry.group)
    return [group, entry.below_floor, entry.unconverged]


def _numbers(
    results: Results,
    key: tuple[str, str, str],
    metric: str,
    x: np.ndarray,
    failed: int,
    paper: tuple[float, float],
) -> list[object]:
    dataset, method, protocol = key
    setting = results.about(dataset)["setting"]
    mean, sd, median = (f(x) if x.size else math.nan for f in (np.mean, np.std, np.median))
    return [setting, method, protocol, metric, mean, sd, int(x.size), failed, *paper, median]


def cells(results: Results, dataset: str, quirks: bool = False) -> list[tuple[str, str]]:
    """Return the (method, protocol) pairs of a dataset, protocol by protocol.

    Included are those run and those that the paper has numbers of.
    """
    about = results.about(dataset)
    table = results.published
    here = (table["dataset"] == about["plugin"]) & (table["setting"] == about["setting"])
    paper = list(dict.fromkeys(table["method"][here]))
    known = results.present.get(dataset, set())
    present = {protocol for _, protocol in known}
    protocols = [p for p in results.protocols if p in present] or ["published"]
    names = [m for m in results.methods if quirks or not results.is_quirk(m)]
    names += [m for m in paper if m not in names]
    return [
        (m, p)
        for p in protocols
        for m in names
        if (m, p) in known or (m in paper and p not in SEARCHED)
    ]


def decimals(values: Iterable[float], spreads: Iterable[float] = ()) -> int:
    """Return how many decimals a column deserves: two digits of the spread, three of the value."""
    spread = [s for s in spreads if math.isfinite(s) and s > 0]
    size = [abs(v) for v in values if math.isfinite(v) and v != 0]
    if spread:
        return int(np.clip(1 - math.floor(math.log10(float(np.median(spread)))), 0, 3))
    if size:
        return int(np.clip(2 - math.floor(math.log10(float(np.median(size)))), 0, 3))
    return 0


def number(value: float, places: int) -> str:
    """Return a number for readers: fixed decimals, powers of ten from 100,000 on, – for NaN."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.1e}" if abs(value) >= 1e5 else f"{value:.{places}f}"


def cell(mean: float, sd: float, n: int, failed: int, places: int, most: int = 0) -> str:
    """Return the text of a cell, with failures: "12.3 (0.4) [4/5]", "failed [0/5]", "not run".

    A single run has no spread: "12.3 [1 run]". most : runs of the cells that it is read beside; one
    with fewer says so: "12.3 (0.4) [4 runs]".
    """
    if n == 0:
        return f"failed [0/{failed}]" if failed else "not run"
    spread = f" ({number(sd, places)})" if n > 1 else ""
    if failed:
        count = f" [{n}/{n + failed}]"
    elif n == 1:
        count = " [1 run]"
    else:
        count = f" [{n} runs]" if n < most else ""
    return number(mean, places) + spread + count


def most_runs(numbers: pd.DataFrame) -> int:
    """Return the most runs, failed ones included, of any row of a numbers table; 0 without rows."""
    return max(numbers["n"] + numbers["failed"], default=0)


def number_sheets(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a numbers table for readers: a row a method, a section a protocol.

    Columns are dataset x metric, each followed by the paper's number where there is one.
    """
    keys = list(dict.fromkeys(zip(frame["dataset"], frame["metric"], strict=True)))
    several = len({dataset for dataset, _ in keys}) > 1
    columns, blocks = ["Method"], []
    for dataset, metric in keys:
        part = frame[(frame["dataset"] == dataset) & (frame["metric"] == metric)]
        head = results.label(metric, dataset)
        if several:
            head = f"{results.about(dataset)['setting'] or dataset}: {head}"
        paper = bool(part["published_mean"].notna().any())
        columns += [head, "paper"] if paper else [head]
        blocks.append((part, metric, paper))
    sheet = Sheet(columns, [])
    for protocol in dict.fromkeys(frame["protocol"]):
        sheet.rows.append(f"Protocol: {protocol}")
        top = len(sheet.rows)
        methods = list(dict.fromkeys(frame["method"][frame["protocol"] == protocol]))
        methods = [m for m in results.methods if m in methods] + [
            m for m in methods if m not in results.methods
        ]
        sheet.rows += [[results.labels.get(method, method)] for method in methods]
        for part, metric, paper in blocks:
            column = len(sheet.rows[top])
            here = part[part["protocol"] == protocol].set_index("method")
            _fill(sheet, here, methods, top, paper)
            dataset = part["dataset"].iloc[0]
            found = standing(results, dataset, metric, protocol)
            if found.best in methods and found.kind != "ranks":  # which are of medians
                sheet.bold.add((top + methods.index(found.best), column))
    _add_paper(sheet, [(part["dataset"].iloc[0], m, paper) for part, m, paper in blocks], results)
    return [sheet]


def _add_paper(sheet: Sheet, blocks: list[tuple[str, str, bool]], results: Results) -> None:
    """Add the paper's numbers that are of another scale than ours, by themselves."""
    apart: dict[int, tuple[str, str]] = {}
    reasons: list[str] = []
    column = 1
    for dataset, metric, beside in blocks:
        present = {p for _, p in results.present.get(dataset, ())}
        said = [other_scale(results, dataset, p, metric) for p in results.protocols if p in present]
        if said and not beside and all(said):
            apart[column] = (dataset, metric)
            reasons += said
        column += 1 + beside
    methods = [
        m
        for m in dict.fromkeys(results.published["method"])
        if any(math.isfinite(results.paper(d, m, metric)[0]) for d, metric in apart.values())
    ]
    if methods:
        sheet.rows.append(f"The paper, another scale: {'; '.join(dict.fromkeys(reasons))}")
    for method in methods:
        row = [results.labels.get(method, method)] + ["–"] * (column - 1)
        for place, (dataset, metric) in apart.items():
            row[place] = _as_printed(*results.paper(dataset, method, metric))
        sheet.rows.append(row)


def _fill(sheet: Sheet, here: pd.DataFrame, methods: list[str], top: int, paper: bool) -> None:
    """Add one metric's cells, and the paper's, to the rows of the methods."""
    places = decimals(here["mean"], here["sd"])
    most = most_runs(here)
    for i, method in enumerate(methods):
        row = sheet.rows[top + i]
        assert isinstance(row, list)
        if method not in here.index:
            row += ["–"] * (1 + paper)
            continue
        r: Any = here.loc[method]
        text = cell(r["mean"], r["sd"], r["n"], r["failed"], places, most)
        row.append(text + marks(r["below_floor"], r["unconverged"]))
        if paper:
            row.append(_as_printed(r["published_mean"], r["published_sd"]))


def marks(below_floor: bool, unconverged: int) -> str:
    """What is put behind a number: that it loses to the floor, that runs had not converged."""
    found = (LOW if below_floor else "") + (UNCONVERGED if unconverged else "")
    return f" {found}" if found else ""


def _as_printed(mean: float, sd: float) -> str:
    if not math.isfinite(mean):
        return "–"
    return f"{mean:g} ({sd:g})" if math.isfinite(sd) else f"{mean:g}"


def plain_sheets(frame: pd.DataFrame) -> list[Sheet]:
    """Return any frame as one sheet, its numbers rounded column by column."""
    cells_of = {}
    for column in frame.columns:
        values = frame[column]
        if pd.api.types.is_float_dtype(values):
            places = decimals(list(values))
            cells_of[column] = [number(v, places) for v in values]
        else:
            cells_of[column] = ["" if v is None or v != v else str(v) for v in values]
    columns = list(frame.columns)
    rows: list[list[str] | str] = [list(row) for row in zip(*cells_of.values(), strict=True)]
    text = {i for i, c in enumerate(columns) if not pd.api.types.is_numeric_dtype(frame[c])}
    return [Sheet([c.replace("_", " ") for c in columns], rows, left={0} | text)]


def named(results: Results, instances: Sequence[str], missing: str) -> str:
    """The data that a table holds, for its title; `missing` where there are none."""
    labels = dict.fromkeys(results.datasets[name]["label"] for name in instances)
    return ", ".join(labels) or missing


def with_notes(frame: pd.DataFrame, *notes: str, of: str = "") -> pd.DataFrame:
    """Return the frame with notes for its readers, and what data its title names."""
    frame.attrs["notes"] = list(notes)
    frame.attrs["of"] = of
    return frame
