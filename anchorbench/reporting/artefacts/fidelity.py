"""Every number that the paper prints, beside ours, with a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts._tables import (
    NUMBERS,
    cell,
    decimals,
    most_runs,
    number,
    summarise,
    with_notes,
)
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import PROTOCOLS, Results, each, groups, with_perplexity

ARTEFACT = {
    "kind": "table",
    "label": "Fidelity. Every published number beside ours",
    "caption": "Reproduced: within two of the paper's standard deviations of the paper's mean. "
    "Same order: not that, but the method stands to every other method as in the paper "
    "(differences that the paper's own sd does not resolve are passed over). Where our data are "
    "not the paper's, only the order can be judged: the verdict is then same order or not "
    "comparable.",
    "category": "Reproducibility",
    "datasets": ["peerread", "peerread_shift", "movielens", "zeisel"],
    "extract": False,
}
VERDICTS = ("reproduced", "same order", "not reproduced", "not comparable", "not run")
COLUMNS = [*NUMBERS, "scaled_mean", "distance", "verdict", "reason", "artefact"]
WITHIN = 2.0  # published standard deviations

# What the paper's data were: rows, and tokens per row where they are known (from the in-sample LDA
# perplexity in the authors' notebook: 552,217 tokens in 11,777 abstracts).
PAPER_ROWS = {"peerread": 11_777, "movielens": 100_000, "zeisel": 3_005}
PAPER_TOKENS = {"peerread": 46.89, "peerread_shift": 46.89}
OTHER_DATA = {  # (dataset, protocol) whose data are meant to differ from the paper's
    ("peerread_shift", "corrected"): "counts are drawn, the paper's are rounded expectations",
    ("zeisel", "corrected"): "cells held out from preprocessing and training, the paper's are not",
}
UNIT = {"movielens": "users", "zeisel": "cells"}

# What is known of the origin of some published numbers (table, method).
REMARKS = {
    ("table_2", "beta_vae"): "the released script never passes beta to the model",
    ("table_1b", "vsc"): "the authors' stored output reads 267.96 (3.53)",
    ("table_2", "vsc"): "the authors' stored outputs read 59.45, 58.22 and 56.28",
}
NO_CODE = {"oi_vae", "nmf"}  # methods whose runs have no released code


def make(results: Results) -> pd.DataFrame:
    """Return a row for each published number and protocol: both numbers, a verdict, a reason.

    `scaled_mean` is our mean, for a likelihood brought to the paper's document length; `distance`
    is its distance from the paper's mean in published standard deviations.
    """
    results = with_perplexity(results)
    judged = []
    keys = ["artefact", "dataset", "setting", "metric"]
    for (artefact, plugin, setting, metric), paper in groups(results.published, keys):
        instance = _instance(results, plugin, setting)
        numbers = summarise(results, [instance], [metric])
        numbers = numbers[numbers["method"].isin(paper["method"])]
        for _, part in groups(numbers, "protocol"):
            judged += _judged(part, results, instance, plugin, metric, artefact)
    notes = [
        "Perplexity has no printed sd; its own follows from that of the likelihood.",
        "Bold: reproduced. ours: mean (population sd); scaled: our mean at the paper's document "
        "length; distance of that from the paper's mean, in published sd.",
    ]
    return with_notes(pd.DataFrame(judged, columns=COLUMNS), *notes)


def _instance(results: Results, plugin: str, setting: str) -> str:
    for name in results.instances(plugin):
        if results.datasets[name]["setting"] == setting:
            return name
    return f"{plugin}_{setting}" if setting else plugin


def _judged(
    part: pd.DataFrame, results: Results, instance: str, plugin: str, metric: str, artefact: str
) -> list[list[object]]:
    """The rows of one (dataset, metric, protocol), each judged against the others."""
    about = results.datasets.get(instance, {})
    scale = _length_scale(plugin, metric, about.get("tokens_per_row"))
    difference = _data_difference(plugin, part["protocol"].iloc[0], about.get("n_rows"))
    part = part.assign(
        scaled=part["mean"] * scale,
        spread=[_spread(results, instance, r.method, metric, r) for r in each(part)],
    )
    judged: list[list[object]] = []
    for place, row in enumerate(part.to_dict("records")):
        others = [
            (other["scaled"], other["published_mean"], other["spread"])
            for i, other in enumerate(part.to_dict("records"))
            if i != place
        ]
        ours = (row["scaled"], row["n"], row["failed"])
        paper = (row["published_mean"], row["spread"])
        verdict, reason = judge(ours, paper, others, difference)
        reasons = [reason, _remark(artefact, row["method"])]
        if scale != 1 and row["n"]:
            reasons.insert(1, f"likelihood brought to {PAPER_TOKENS[plugin]} tokens per row")
        distance = (row["scaled"] - row["published_mean"]) / row["spread"]
        text = "; ".join(r for r in reasons if r)
        judged.append(
            [*(row[c] for c in NUMBERS), row["scaled"], distance, verdict, text, artefact]
        )
    return judged


def judge(
    ours: tuple[float, int, int],
    paper: tuple[float, float],
    others: Sequence[tuple[float, float, float]],
    difference: str = "",
) -> tuple[str, str]:
    """Return verdict and reason for one number.

    ours : mean, finished runs, failed runs; paper : mean, sd; others : (our mean, the paper's mean,
    the paper's sd) of the other methods of the same protocol; difference : in what the data differ
    from the paper's, if they do.
    """
    mean, n, failed = ours
    if n == 0:
        why = f"all {failed} runs failed" if failed else "not measured in these results"
        return ("not comparable", why) if failed else ("not run", why)
    lost = f"{failed} of {n + failed} runs failed" if failed else ""
    if not difference and abs(mean - paper[0]) <= WITHIN * paper[1]:
        return "reproduced", lost
    counted = [
        (mean - other) * (paper[0] - theirs) > 0
        for other, theirs, sd in others
        if math.isfinite(other) and abs(paper[0] - theirs) > _largest(paper[1], sd)
    ]
    agree = f"{sum(counted)} of {len(counted)} comparisons as in the paper"
    reason = "; ".join(r for r in (difference, agree, lost) if r)
    if counted and all(counted):
        return "same order", reason
    return ("not comparable" if difference else "not reproduced"), reason


def _largest(*spreads: float) -> float:
    return max((s for s in spreads if math.isfinite(s)), default=0.0)


def _length_scale(plugin: str, metric: str, tokens: float | None) -> float:
    """Factor that brings a likelihood per row to the paper's document length."""
    known = PAPER_TOKENS.get(plugin)
    return known / tokens if metric == "recon_nll" and known and tokens else 1.0


def _data_difference(plugin: str, protocol: str, rows: int | None) -> str:
    """Say in what the data differ from the paper's: by design, or in rows (1 % allowed)."""
    if (plugin, protocol) in OTHER_DATA:
        return OTHER_DATA[plugin, protocol]
    expected = PAPER_ROWS.get(plugin)
    if not expected or not rows or abs(rows / expected - 1) <= 0.01:
        return ""
    return f"{rows:,} {UNIT.get(plugin, 'rows')} here, {expected:,} in the paper"


def _spread(results: Results, instance: str, method: str, metric: str, row: Any) -> float:
    """The published sd; for a perplexity p = exp(nll / t), p sd(nll) / t."""
    if metric != "perplexity":
        return float(row.published_sd)
    plugin = results.datasets.get(instance, {}).get("plugin", instance)
    nll_sd = results.paper(instance, method, "recon_nll")[1]
    return float(row.published_mean) * nll_sd / PAPER_TOKENS[plugin]


def _remark(artefact: str, method: str) -> str:
    remark = REMARKS.get((artefact, method), "")
    return remark or ("no code was published for this row" if method in NO_CODE else "")


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return a count of the verdicts, then the numbers table by table."""
    return [_verdict_counts(frame), *_by_table(frame, results)]


def _verdict_counts(frame: pd.DataFrame) -> Sheet:
    protocols = list(dict.fromkeys(frame["protocol"])) or [PROTOCOLS[0]]
    lines: list[list[str] | str] = []
    for verdict in VERDICTS:
        hits = frame["protocol"][frame["verdict"] == verdict]
        lines.append([verdict, *(str(int((hits == p).sum())) for p in protocols)])
    return Sheet(["Verdict", *protocols], lines, "Verdicts, by protocol")


def _by_table(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    labels = with_perplexity(results).metrics
    sheets = []
    for artefact, table in groups(frame, "artefact"):
        columns = ["Method", "protocol", "paper", "ours", "scaled", "distance", "verdict", "reason"]
        sheet = Sheet(columns, [], str(artefact).replace("_", " "), left={0, 1, 6, 7})
        for (setting, metric), part in groups(table, ["setting", "metric"]):
            label = labels.get(metric, {}).get("label", metric)
            sheet.rows.append(f"{setting}: {label}" if setting else label)
            places = decimals(part["mean"], part["sd"])
            most = most_runs(part)
            for r in each(part.sort_values("method", key=_order, kind="stable")):
                if r.verdict == "reproduced":
                    sheet.bold.add((len(sheet.rows), columns.index("verdict")))
                sd = f" ({r.published_sd:g})" if math.isfinite(r.published_sd) else ""
                sheet.rows.append(
                    [
                        results.labels.get(r.method, r.method),
                        r.protocol,
                        f"{r.published_mean:g}{sd}",
                        cell(r.mean, r.sd, r.n, r.failed, places, most),
                        number(r.scaled_mean, places),
                        number(r.distance, 1),
                        r.verdict,
                        r.reason,
                    ]
                )
        sheets.append(sheet)
    return sheets


def _order(methods: pd.Series) -> pd.Series:
    """Keep each method's protocols together, methods in order of appearance."""
    return methods.map({method: i for i, method in enumerate(dict.fromkeys(methods))})
