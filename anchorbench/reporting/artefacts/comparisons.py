"""Every method against the sparse VAE on the same replicates: baselines, variants and ablations."""

from __future__ import annotations

import pandas as pd

from anchorbench.reporting.artefacts._paired import EFFECT, add_effects, paired_effect
from anchorbench.reporting.artefacts._tables import cells, decimals, with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, groups

ARTEFACT = {
    "kind": "table",
    "label": "Comparisons. Every method against the sparse VAE, pair by pair",
    "caption": "Mean of (method - sparse VAE) over replicates of the same data and protocol, with "
    "a 95 % bootstrap interval. Bold: at least five pairs, and the interval leaves out zero.",
    "category": "Reproducibility",
    "datasets": None,
    "extract": False,
}
REFERENCE = "sparse_vae"
COLUMNS = ["dataset", "setting", "method", "protocol", "metric", *EFFECT]
COLUMNS += ["better", "failed", "base_failed"]
SHOWN = [
    *("mse", "perplexity", "completion_perplexity", "elbo", "dci", "mcc", "support_f1"),
    *("recall@5", "ndcg@10", "recall_nofold@5", "ndcg_nofold@10"),
    *("cell_type_accuracy", "cell_type_accuracy_cv", "active_factors"),
]


def make(results: Results) -> pd.DataFrame:
    """Return a row for each dataset, method, protocol and metric that the sparse VAE has, too.

    Columns are those of `paired_effect`, with `better`, the number of pairs in which the method
    does better (NaN for a metric without a direction), and runs that did not finish, the method's
    and the sparse VAE's.
    """
    rows = []
    for dataset, data in results.datasets.items():
        for method, protocol in cells(results, dataset):
            runs, failed = results.counts.get((dataset, method, protocol), (0, 0))
            if method == REFERENCE or not runs:
                continue
            base_failed = results.counts.get((dataset, REFERENCE, protocol), (0, 0))[1]
            for metric in results.metrics:
                base = results.values.get((dataset, REFERENCE, protocol, metric))
                other = results.values.get((dataset, method, protocol, metric))
                if base is None or (other is None and failed < runs):
                    continue
                row = {"dataset": dataset, "setting": data["setting"], "method": method}
                row |= {"protocol": protocol, "metric": metric, **paired_effect(base, other)}
                row["better"] = better(base, other, results.direction(metric))
                rows.append(row | {"failed": failed, "base_failed": base_failed})
    notes = ["Difference [95 % interval], and the number of pairs where runs were lost."]
    notes += [] if rows else ["Nothing to compare: the sparse VAE has no finished run."]
    return with_notes(pd.DataFrame(rows, columns=COLUMNS), *notes)


def better(base: pd.Series, other: pd.Series | None, direction: str | None) -> float:
    """Return the number of pairs in which `other` is better; NaN without a direction."""
    if direction is None or other is None:
        return float("nan")
    sign = 1 if direction == "max" else -1
    return float((sign * (other - base) > 0).sum())


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a sheet for each dataset and protocol: a row a method, a column a number."""
    sheets = []
    for (dataset, protocol), part in groups(frame, ["dataset", "protocol"]):
        metrics = [m for m in SHOWN if m in set(part["metric"])]
        if not metrics:
            continue
        heads = [results.label(m, str(dataset)) for m in metrics]
        sheet = Sheet(["Method", *heads], [], f"{results.title(dataset)}, {protocol}")
        places = {m: decimals(part["difference"][part["metric"] == m]) for m in metrics}
        for method, rows in groups(part, "method"):
            add_effects(sheet, results.labels[method], rows, metrics, places)
        sheets.append(sheet)
    return sheets or [Sheet(["Method"], [])]
