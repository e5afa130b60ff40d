"""What each broken assumption costs each method, beside what theory says of the cell."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from anchorbench.data.theory import Assumptions
from anchorbench.reporting.artefacts import _theory as cells
from anchorbench.reporting.artefacts import theory
from anchorbench.reporting.artefacts._tables import with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, each, groups
from anchorbench.scores.statistics import BETTER, SAME, WORSE

ARTEFACT = {
    "kind": "table",
    "label": "Theory, verdicts. What a broken assumption costs",
    "caption": "Loss of MCC (up to a spline of each code) against the base cell, paired over "
    "replicates that share all draws but the dial, with a 95 % interval (Student's t) and its "
    "verdict: worse or better where it lies outside +-0.01 and p < .05 among all cells of the "
    "method (Holm), same inside, else not decided. Holds: in how many replicates A1 (two anchors "
    "a factor with one function), A2 (these anchors dominate) and A3 (factors are no copies) are "
    "true of the decoder, as measured. Theory says: results that identify the factors, and in how "
    "many replicates their conditions hold (structural sparsity: that on the mask alone).",
    "category": "Recovery",
    "datasets": ["theory"],
    "extract": True,
}
ASSUMPTIONS = ("a1", "a2", "a3", "invertible")
BROKEN = {
    "a1": "A1 broken, in all replicates or in some",
    "invertible": "Anchors without an inverse, in all replicates or in some",
    "a3": "A3 broken, in all replicates or in some",
    "a2": "A2 true of fewer replicates than in the base cell",
    "": "Nothing broken that the base cell has",
}
"""Sections in order: a cell is in the first that fits it."""
COLUMNS = ["broken", "dial", "value", "dataset", "method", "protocol", "metric", "base_mean"]
COLUMNS += ["loss", "low", "high", "p", "verdict", "n", "failed"]
COLUMNS += [*ASSUMPTIONS, "measured", "identified"]

extract = theory.extract


def make(results: Results) -> pd.DataFrame:
    """Return a row for each cell that turns one dial of the base cell, method and protocol.

    `loss` is the base cell's MCC minus the cell's; a1, a2, a3 and invertible count the replicates,
    of those `measured`, in which an assumption holds; `identified` lists results with how many
    replicates satisfy each. `broken` is a key of BROKEN. Base cells stand first, without a loss.
    """
    frame = theory.make(results)
    frame = frame[
        (frame["metric"] == theory.METRIC) & ~frame["dial"].str.contains("(", regex=False)
    ]
    measured = _measured(results.extract)
    base = f"{cells.PLUGIN}_{cells.BASE}"
    means = frame[frame["dial"] == "base"].set_index(["method", "protocol"])["mean"]
    rows = []
    for row in each(frame):
        if row.dataset == base and row.dial != "base":
            continue
        found = measured.get(row.dataset, {})
        of = [found.get(name, math.nan) for name in (*ASSUMPTIONS, "measured")]
        loss = [-row.difference, -row.difference_high, -row.difference_low, row.p]
        head = [_broken(found, measured.get(base, {})), row.dial, row.value, row.dataset]
        place = [row.method, row.protocol, row.metric, means.get((row.method, row.protocol))]
        numbers = [*loss, row.verdict, row.n, row.failed, *of, found.get("identified", "")]
        rows.append([*head, *place, *numbers])
    made = pd.DataFrame(rows, columns=COLUMNS)
    notes = ["The dataset theory was not run with a base cell."] if made.empty else []
    if len(made) and not measured:
        notes.append("Which assumptions hold is not measured yet.")
    return with_notes(made, *notes)


def _measured(frame: pd.DataFrame | None) -> dict[str, dict[str, Any]]:
    """Instance -> in how many replicates each assumption holds, and what identifies in how many."""
    found: dict[str, dict[str, Any]] = {}
    for name, part in groups(
        pd.DataFrame(columns=theory.EXTRACT) if frame is None else frame, "dataset"
    ):
        of = [Assumptions(*row) for row in part[list(theory.MEASURED)].itertuples(index=False)]
        counts: dict[str, Any] = {a: sum(bool(getattr(o, a)) for o in of) for a in ASSUMPTIONS}
        kinds = [kind for text in part["identified"] for kind in text.split(", ")]
        most = sorted(set(kinds) - {"none"}, key=lambda kind: (-kinds.count(kind), kind))
        said = ", ".join(f"{kind} {kinds.count(kind)}/{len(of)}" for kind in most)
        found[str(name)] = counts | {"measured": len(of), "identified": said or "none"}
    return found


def _broken(found: dict[str, Any], base: dict[str, Any]) -> str:
    """The assumption that a cell breaks and its base does not; A1 before A2, which needs it."""
    if not found or not base:
        return ""
    lost = [
        name
        for name in BROKEN
        if name and found[name] / found["measured"] < base[name] / base["measured"]
    ]
    return lost[0] if lost else ""


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet a protocol: a section an assumption, a row a cell, a column a method."""
    sheets = []
    for protocol, part in groups(frame, "protocol"):
        methods = [m for m in results.methods if m in set(part["method"])]
        heads = ["Cell", "Holds", "Theory says", *(results.labels[m] for m in methods)]
        sheet = Sheet(heads, [], f"Protocol: {protocol}", left={0, 1, 2})
        base = part["dial"] == "base"
        sections = [("The base cell: its MCC", part[base])]
        sections += [(said, part[~base & (part["broken"] == key)]) for key, said in BROKEN.items()]
        for said, rows in sections:
            if len(rows):
                sheet.rows.append(said)
            for _, of_cell in groups(rows, "dataset"):
                _add_cell(sheet, of_cell, methods)
        sheets.append(sheet)
    return sheets


def _add_cell(sheet: Sheet, of_cell: pd.DataFrame, methods: list[str]) -> None:
    """Add a line: the cell, what holds, what theory says, and each method's loss."""
    first: Any = of_cell.iloc[0]
    name = first["value"] if first["dial"] == "base" else f"{first['dial']} {first['value']}"
    here = {row["method"]: row for row in of_cell.to_dict("records")}
    for column, method in enumerate(methods, start=3):
        if method in here and here[method]["verdict"] in (BETTER, WORSE):
            sheet.bold.add((len(sheet.rows), column))
    texts = [_text(here.get(method)) for method in methods]
    sheet.rows.append([str(name), _holds(first), first["identified"] or "–", *texts])


def _holds(row: Any) -> str:
    """In how many replicates A1, A2 and A3 hold."""
    if math.isnan(row["measured"]):
        return "–"
    of = int(row["measured"])
    return ", ".join(f"{name.upper()} {int(row[name])}/{of}" for name in ("a1", "a2", "a3"))


def _text(row: dict[str, Any] | None) -> str:
    """A loss with its interval and verdict, or the base cell's MCC; failures are counted."""
    if row is None:
        return "–"
    lost = f" [{row['n']}/{row['n'] + row['failed']}]" if row["failed"] else ""
    if math.isnan(row["loss"]):
        return f"{row['base_mean']:.2f}{lost}" if row["dial"] == "base" else "–"
    loss, *ends = (f"{round(row[key], 2) + 0:+.2f}" for key in ("loss", "low", "high"))
    word = row["verdict"] if row["verdict"] in (BETTER, WORSE, SAME) else "not decided"
    return f"{loss} [{', '.join(ends)}]{lost} {word}"
