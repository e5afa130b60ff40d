"""What a search chose and what that gives: default, tuned and oracle side by side."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from anchorbench.reporting import standing
from anchorbench.reporting.artefacts import _trials
from anchorbench.reporting.artefacts._tables import decimals, number, with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, groups
from anchorbench.runs.status import Status
from anchorbench.scores import statistics
from anchorbench.study.protocols import DEFAULT, SEARCHED, TUNED
from anchorbench.study.tuning import FLAGGED

ARTEFACT = {
    "kind": "table",
    "label": "Tuning. What a search of equal budget chose, and what that gives",
    "caption": "The headline score on test rows with default settings (corrected), with those that "
    "predict validation rows best (tuned), with those of them on which two seeds agree most "
    "(tuned_stable), and with those that score best on the test rows themselves (oracle_tuned: "
    "an upper line of choosing, which nobody could reach; where it is below another column, the "
    "last fit on all rows undid what was chosen, and seeds outweigh settings). The difference of "
    "tuned and default is paired, with its 95 % interval. Every method has the same number of "
    "trials.",
    "category": "Recovery",
    "datasets": None,
    "extract": False,
}
SHOWN = (DEFAULT, *SEARCHED)
COLUMNS = [
    *("dataset", "setting", "method", "metric", *SHOWN, "n", "difference", "low", "high"),
    *("selected_by", "validation_default", "validation_tuned", "trials"),
    *("tried", "failed", "flagged"),
    *("kept_default", "fits", "seconds", "passes_at", "chosen"),
]
HEADS = [
    *("Method", "default", *SEARCHED, "tuned - default", "trials", "seconds", "passes at"),
    "chosen",
]
NEVER = "never"


def make(results: Results) -> pd.DataFrame:
    """Return a row for each dataset and method whose parameters were searched (COLUMNS).

    Scores are means over finished replicates. `kept_default` is the share of replicates in which
    the default was chosen; `seconds` those of a replicate's trials and last fit; `passes_at` the
    number of trials after which the expected score is better than the best default of the others;
    `chosen` the median of numbers and the most common of words that `tuned` chose where it did not
    keep the default.
    """
    cells = list(_trials.cells(results))
    defaults = {key: _default(results, part) for key, part in cells}
    rows = []
    for (dataset, method), part in cells:
        others = [s for (d, m), s in defaults.items() if d == dataset and m != method and s]
        rows.append(_row(results, dataset, method, part, others))
    notes = [] if rows else ["No dataset has `tuning`: nothing was searched."]
    notes += ["!: more than half of the trials failed."] if any(r["flagged"] for r in rows) else []
    return with_notes(pd.DataFrame(rows, columns=COLUMNS), *notes)


def _default(results: Results, part: pd.DataFrame) -> float | None:
    """The mean test score of the default as a trial, None where it has none."""
    found = _trials.scores(results, part)
    return None if found is None else float(found[1][:, 0].mean())


def _row(
    results: Results, dataset: str, method: str, part: pd.DataFrame, others: list[float]
) -> dict[str, Any]:
    metric = standing.headline(results, dataset, TUNED)
    by = {p: results.series(dataset, method, p, metric) for p in SHOWN}
    paired = statistics.differences(by[TUNED], by[DEFAULT])
    difference = standing.by_split(results, dataset, paired)
    kind = standing.resampling(results, dataset)
    interval = statistics.INTERVALS[kind](difference.to_numpy(float))
    taken = part[part["chosen"].str.split().map(lambda names: TUNED in names)]
    runs = results.runs[
        (results.runs[["dataset", "method", "protocol"]] == [dataset, method, TUNED]).all(axis=1)
    ]
    count = int(part["trial"].max()) + 1
    failed = int((part["status"] != Status.DONE).sum())
    return {
        "dataset": dataset,
        "setting": results.about(dataset)["setting"],
        "method": method,
        "metric": metric,
        **{p: float(series.mean()) for p, series in by.items()},
        "n": len(by[TUNED]),
        "difference": float(difference.mean()),
        "low": interval.low,
        "high": interval.high,
        "selected_by": next((m for m in part["metric"] if m), ""),
        "validation_default": float(part["value"][part["trial"] == 0].mean()),
        "validation_tuned": float(taken["value"].mean()),
        "trials": count,
        "tried": len(part),
        "failed": failed,
        "flagged": failed > FLAGGED * len(part),
        "kept_default": float((taken["trial"] == 0).mean()),
        "fits": count + 1,
        "seconds": float(runs["seconds"].mean()),
        "passes_at": _passes(results, part, others),
        "chosen": _chosen(taken),
    }


def _passes(results: Results, part: pd.DataFrame, others: list[float]) -> str:
    """After how many trials the expected score passes the best default of the others."""
    found = _trials.scores(results, part)
    if found is None or not others or found[0].shape[1] < 2:
        return ""
    validation, test, metric = found
    less = _trials.direction(results, metric) == "min"
    expected = _trials.curve(validation, test)
    beyond = expected < min(others) if less else expected > max(others)
    return str(int(np.argmax(beyond)) + 1) if beyond.any() else NEVER


def _chosen(taken: pd.DataFrame) -> str:
    """What was chosen, over replicates: the median of numbers, the most common of words.

    Of those that did not keep the default; how many did is said.
    """
    kept = int((taken["trial"] == 0).sum())
    params = [json.loads(text) for text in taken["params"] if text]
    said = []
    for name in sorted({name for one in params for name in one}):
        values = [one[name] for one in params if name in one]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            text = f"{np.median(values):.3g}"
        else:
            texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
            text = max(sorted(set(texts)), key=texts.count)
        said.append(f"{name} {text}")
    return "; ".join(said) + (f" (default in {kept} of {len(taken)})" if said and kept else "")


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each dataset: a row a method."""
    sheets = []
    for dataset, part in groups(frame, "dataset"):
        metric = part["metric"].iloc[0]
        title = f"{results.title(str(dataset))}: {results.label(metric, str(dataset))}"
        sheet = Sheet(HEADS, [], title, left={0, len(HEADS) - 1})
        places = max(2, decimals(part[list(SHOWN)].to_numpy().ravel()))
        for row in part.to_dict("records"):
            sheet.rows.append(_line(row, results, places))
        sheets.append(sheet)
    return sheets or [Sheet(HEADS, [])]


def _line(row: dict[Any, Any], results: Results, places: int) -> list[str]:
    lost = f"{row['failed']} of {row['tried']} failed{'!' if row['flagged'] else ''}"
    failed = f" [{lost}]" if row["failed"] else ""
    text = number(row["difference"], places)
    if math.isfinite(row["low"]):
        text += f" [{number(row['low'], places)}, {number(row['high'], places)}]"
    return [
        results.labels[row["method"]],
        *(number(row[p], places) for p in SHOWN),
        text,
        f"{row['trials']}{failed}",
        number(row["seconds"], decimals([row["seconds"]])),
        row["passes_at"] or "–",
        row["chosen"] or ("default" if math.isfinite(row["kept_default"]) else "–"),
    ]
