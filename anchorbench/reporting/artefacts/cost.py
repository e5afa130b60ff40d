"""What a run costs: time, memory, parameters."""

from __future__ import annotations

from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts._tables import (
    NUMBERS,
    cell,
    cells,
    decimals,
    number,
    with_notes,
)
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import CELL, Results, groups
from anchorbench.runs.status import Status

ARTEFACT = {
    "kind": "table",
    "label": "Cost. Time, memory and parameters of a run",
    "caption": "Seconds to fit one replicate (a block of replicates trained together counts by its "
    "share), largest resident memory of the process in MB, and number of trained parameters.",
    "category": "Cost",
    "datasets": None,
    "extract": False,
}
MEASURES = {"seconds": "Seconds", "peak_mb": "Peak memory, MB", "n_parameters": "Parameters"}


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of seconds, peak_mb and n_parameters over finished runs."""
    done = results.runs[results.runs["status"] == Status.DONE]
    grouped = dict(groups(done, CELL))
    rows = []
    for dataset, about in results.datasets.items():
        for method, protocol in cells(results, dataset):
            key = (dataset, method, protocol)
            if key not in results.counts:
                continue
            part = grouped.get(key, done.iloc[:0])
            devices = ", ".join(sorted({str(d) for d in part["device"] if d}))
            for measure in MEASURES:
                x = part[measure].dropna()
                numbers = [x.mean(), x.std(ddof=0), len(x), results.counts[key][1]]
                paper = [float("nan")] * 2
                head = [dataset, about["setting"], method, protocol, measure]
                rows.append([*head, *numbers, *paper, x.median(), devices])
    frame = pd.DataFrame(rows, columns=[*NUMBERS, "median", "device"])
    return with_notes(frame, "Mean (population sd) over finished runs; [a/b]: only a of b did.")


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a section for each dataset and protocol."""
    sheet = Sheet(["Method", *MEASURES.values(), "device"], [], left={0, 4})
    for (dataset, protocol), part in groups(frame, ["dataset", "protocol"]):
        label = results.datasets.get(dataset, {}).get("label", dataset)
        setting = part["setting"].iloc[0]
        sheet.rows.append(", ".join(t for t in (label, setting, f"protocol {protocol}") if t))
        places = {m: decimals(part["mean"][part["metric"] == m]) for m in MEASURES}
        for method, rows in groups(part, "method"):
            at: Any = rows.set_index("metric")
            seconds, memory = at.loc["seconds"], at.loc["peak_mb"]
            sheet.rows.append(
                [
                    results.labels.get(method, method),
                    cell(
                        seconds["mean"],
                        seconds["sd"],
                        seconds["n"],
                        seconds["failed"],
                        places["seconds"],
                    ),
                    number(memory["mean"], 0),
                    _count(at.loc["n_parameters", "mean"]),
                    seconds["device"],
                ]
            )
    return [sheet]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == value else "–"
