"""Every method against the sparse VAE on the same replicates: baselines, variants and ablations."""

from __future__ import annotations

import pandas as pd

from anchorbench.reporting.artefacts._paired import (
    EFFECT,
    RULES,
    TESTED,
    add_effects,
    effect,
    effect_text,
)
from anchorbench.reporting.artefacts._tables import cells, decimals, with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, each, groups
from anchorbench.reporting.standing import (
    Comparison,
    Pair,
    contrasts,
    family,
    family_of_tests,
    listed,
)
from anchorbench.scores.statistics import BETTER, differences

ARTEFACT = {
    "kind": "table",
    "label": "Comparisons. Every method against the sparse VAE, pair by pair",
    "caption": "(method - sparse VAE) over replicates of the same data and protocol. One metric of "
    "one dataset with all its settings is one family of tests. First, by themselves: the contrasts "
    "of the configuration, on each dataset's headline metric; they are more than exploration where "
    "the configuration named them before the runs (docs/statistics.md).",
    "category": "Reproducibility",
    "datasets": None,
    "extract": False,
}
REFERENCE = "sparse_vae"
HEAD = ["dataset", "setting", "method", "protocol", "metric"]
COLUMNS = [*HEAD, *EFFECT, "better", "failed", "base_failed", *TESTED, "reference", "family"]
NAMED = "contrasts"  # the family of those that the configuration names
SHOWN = [
    *("mse", "perplexity", "completion_perplexity", "elbo", "dci", "mcc", "support_f1"),
    *("recall@5", "ndcg@10", "recall_nofold@5", "ndcg_nofold@10"),
    *("cell_type_accuracy", "cell_type_accuracy_cv", "active_factors"),
]


def make(results: Results) -> pd.DataFrame:
    """Return a row for each dataset, method, protocol and metric that the sparse VAE has, too.

    Columns are those of `effect`, with `better`, the number of pairs in which the method does
    better (NaN for a metric without a direction), runs that did not finish, the method's and the
    reference's, and the family that it was tested in. Named contrasts come first.
    """
    rows = [_row(results, c, NAMED) for c in contrasts(results)]
    for name, pairs in _families(results).items():
        rows += [_row(results, c, name) for c in family_of_tests(results, pairs)]
    order = {name: place for place, name in enumerate(results.datasets)}
    rows.sort(key=lambda r: (r["family"] != NAMED, order[str(r["dataset"])]))
    notes = [RULES] + ([] if rows else ["Nothing to compare: the sparse VAE has no finished run."])
    return with_notes(pd.DataFrame(rows, columns=COLUMNS), *notes)


def _families(results: Results) -> dict[str, list[Pair]]:
    """The pairs that are tested together, by name."""
    found: dict[str, list[Pair]] = {}
    for dataset in listed(results):
        for method, protocol in cells(results, dataset):
            runs, failed = results.counts.get((dataset, method, protocol), (0, 0))
            if method == REFERENCE or not runs:
                continue
            for metric in results.metrics:
                base = results.values.get((dataset, REFERENCE, protocol, metric))
                other = results.values.get((dataset, method, protocol, metric))
                if base is None or (other is None and failed < runs):
                    continue
                name = f"{family(results, dataset)}/{protocol}/{metric}"
                pair = (dataset, metric, protocol, method, REFERENCE)
                found.setdefault(name, []).append(pair)
    return found


def _row(results: Results, c: Comparison, name: str) -> dict[str, object]:
    base, other = (
        results.series(c.dataset, m, c.protocol, c.metric) for m in (c.reference, c.method)
    )
    counts = results.counts
    return {
        **dict.fromkeys(HEAD),
        **{key: getattr(c, key) for key in ("dataset", "method", "protocol", "metric")},
        "setting": results.about(c.dataset)["setting"],
        **effect(results, c),
        "better": better(base, other, results.direction(c.metric)),
        "failed": counts.get((c.dataset, c.method, c.protocol), (0, 0))[1],
        "base_failed": counts.get((c.dataset, c.reference, c.protocol), (0, 0))[1],
        "reference": c.reference,
        "family": name,
    }


def better(base: pd.Series, other: pd.Series | None, direction: str | None) -> float:
    """Return the number of pairs in which `other` is better; NaN without a direction."""
    if direction is None or other is None or not len(other):
        return float("nan")
    sign = 1 if direction == "max" else -1
    return float((sign * differences(other, base).to_numpy() > 0).sum())


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return the named contrasts, then a sheet for each dataset and protocol: a row a method."""
    named = frame["family"] == NAMED
    sheets = _named(frame[named], results) if named.any() else []
    for (dataset, protocol), part in groups(frame[~named], ["dataset", "protocol"]):
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


def _named(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """The contrasts of the configuration: a sheet a protocol."""
    sheets = []
    for protocol, part in groups(frame, "protocol"):
        columns = ["Dataset", "Metric", "Contrast", "Difference and verdict"]
        title = f"Contrasts of the configuration, {protocol}"
        sheet = Sheet(columns, [], title, left={0, 1, 2, 3})
        for r in each(part):
            label, against = (results.labels[m] for m in (r.method, r.reference))
            if r.verdict == BETTER:
                sheet.bold.add((len(sheet.rows), 3))
            places = decimals([r.difference], [r.high - r.low])
            text = effect_text(r._asdict(), places)
            line = [results.title(r.dataset), results.label(r.metric, r.dataset)]
            sheet.rows.append([*line, f"{label} - {against}", text])
        sheets.append(sheet)
    return sheets
