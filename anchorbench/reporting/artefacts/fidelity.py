"""Every number that the paper prints, beside ours, with a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts._paper import PAPER_TOKENS, other_data
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
from anchorbench.reporting.standing import family_of_tests
from anchorbench.scores.statistics import BETTER, WORSE
from anchorbench.study.protocols import SEARCHED

ARTEFACT = {
    "kind": "table",
    "label": "Fidelity. Every published number beside ours",
    "caption": "Reproduced: within two of the paper's standard deviations of the paper's mean. "
    "Same order: not that, but to every method from which the paper's own sd tells it apart it "
    "stands as in the paper, and a test bears each of these differences. Not comparable: fewer "
    "than five finished runs, a standard error of ours above the paper's sd, a method that "
    "predicts no better than the training mean, or data that are not the paper's and an order "
    "that is not its. Not counted: what another row has said already.",
    "category": "Reproducibility",
    "datasets": ["peerread", "peerread_shift", "movielens", "zeisel"],
    "extract": False,
}
REPRODUCED, SAME_ORDER, NOT_REPRODUCED = "reproduced", "same order", "not reproduced"
NOT_COMPARABLE, NOT_RUN, NOT_COUNTED = "not comparable", "not run", "not counted"
VERDICTS = (REPRODUCED, SAME_ORDER, NOT_REPRODUCED, NOT_COMPARABLE, NOT_RUN, NOT_COUNTED)
COLUMNS = [*NUMBERS, "scaled_mean", "distance", "verdict", "reason", "artefact"]
WITHIN = 2.0  # published standard deviations
FEWEST = 5  # finished runs

# What is known of the origin of some published numbers (table, method).
REMARKS = {
    ("table_2", "beta_vae"): "the released script never passes beta to the model",
    ("table_1b", "vsc"): "the authors' stored output reads 267.96 (3.53)",
    ("table_2", "vsc"): "the authors' stored outputs read 59.45, 58.22 and 56.28",
}
NO_CODE = {"oi_vae", "nmf"}  # methods whose runs have no released code
BETA_ONE = {("table_2", "beta_vae")}  # rows of the paper whose beta is 1


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
        numbers = summarise(results, [instance], [metric], any_scale=True)
        numbers = numbers[numbers["method"].isin(paper["method"])]
        for _, part in groups(numbers[~numbers["protocol"].isin(SEARCHED)], "protocol"):
            judged += _judged(part, results, instance, artefact)
    notes = [
        "A perplexity follows from the likelihood above it: that is counted, once.",
        "Bold: reproduced. ours: mean (population sd); scaled: our mean at the paper's document "
        "length; distance of that from the paper's mean, in published sd.",
    ]
    return with_notes(pd.DataFrame(judged, columns=COLUMNS), *notes)


def _instance(results: Results, plugin: str, setting: str) -> str:
    for name in results.namesakes(plugin):
        if results.datasets[name]["setting"] == setting:
            return name
    return f"{plugin}_{setting}" if setting else plugin


def _judged(
    part: pd.DataFrame, results: Results, instance: str, artefact: str
) -> list[list[object]]:
    """The rows of one (dataset, metric, protocol), each judged against the others."""
    metric, protocol = part["metric"].iloc[0], part["protocol"].iloc[0]
    about = results.about(instance)
    scale = _length_scale(about["plugin"], metric, about.get("tokens_per_row"))
    difference = other_data(results, instance, protocol)
    part = part.assign(
        scaled=part["mean"] * scale,
        spread=[_spread(results, instance, r.method, metric, r) for r in each(part)],
    )
    orders = _orders(part, results, artefact)
    judged: list[list[object]] = []
    for row in part.to_dict("records"):
        n = row["n"]
        error = scale * row["sd"] / math.sqrt(n - 1) if n > 1 else math.inf
        apart = _counted_elsewhere(results, row, artefact)
        if apart:
            verdict, reason = NOT_COUNTED, apart
        else:
            ours = (row["scaled"], error, n, row["failed"])
            paper = (row["published_mean"], row["spread"])
            sunk = row["below_floor"]
            verdict, reason = judge(ours, paper, orders[row["method"]], difference, sunk)
        reasons = [reason, _remark(artefact, row["method"])]
        if scale != 1 and row["n"]:
            reasons.insert(1, f"likelihood brought to {PAPER_TOKENS[about['plugin']]} tokens")
        distance = (row["scaled"] - row["published_mean"]) / row["spread"]
        text = "; ".join(r for r in reasons if r)
        judged.append(
            [*(row[c] for c in NUMBERS), row["scaled"], distance, verdict, text, artefact]
        )
    return judged


def _counted_elsewhere(results: Results, row: dict[Any, Any], artefact: str) -> str:
    """Say why a row states what another row states; "" where it does not."""
    if row["metric"] == "perplexity":
        return "made from the likelihood, which is counted"
    if (artefact, row["method"]) in BETA_ONE:
        return "the paper's beta is 1: a VAE"
    for cell_ in results.manifest.get("settings", []):
        if all(cell_[key] == row[key] for key in ("dataset", "method", "protocol")):
            params = cell_["params"]
            if params.get("beta") == 1 or params.get("beta_passed") is False:
                return "its beta is 1: a VAE"
    return ""


def _orders(part: pd.DataFrame, results: Results, artefact: str) -> dict[str, list[bool | None]]:
    """By method: for each other one that the paper tells it apart from, whether ours agree.

    None where no test bears our difference; those that predict no better than the training mean are
    passed over. The differences of a part are one family of tests.
    """
    rows = [
        r for r in each(part) if r.n and not r.below_floor and (artefact, r.method) not in BETA_ONE
    ]
    pairs = [
        (a, b)
        for place, a in enumerate(rows)
        for b in rows[place + 1 :]
        if abs(a.published_mean - b.published_mean) > _largest(a.spread, b.spread)
    ]
    tested = family_of_tests(
        results, [(a.dataset, a.metric, a.protocol, a.method, b.method) for a, b in pairs]
    )
    found: dict[str, list[bool | None]] = {str(m): [] for m in part["method"]}
    for (a, b), comparison in zip(pairs, tested, strict=True):
        decided = comparison.word in (BETTER, WORSE)
        same = comparison.interval.estimate * (a.published_mean - b.published_mean) > 0
        for method in (a.method, b.method):
            found[str(method)].append(same if decided else None)
    return found


def judge(
    ours: tuple[float, float, int, int],
    paper: tuple[float, float],
    orders: Sequence[bool | None],
    difference: str = "",
    below_floor: bool = False,
) -> tuple[str, str]:
    """Return verdict and reason for one number.

    ours : mean, its standard error, finished runs, failed runs; paper : mean, sd; orders : for each
    method from which the paper tells it apart, whether ours stands to it in the same way, None
    where no test says; difference : in what the data differ from the paper's, if they do.
    """
    mean, error, n, failed = ours
    if n == 0:
        why = f"all {failed} runs failed" if failed else "not measured in these results"
        return (NOT_COMPARABLE, why) if failed else (NOT_RUN, why)
    lost = f"{failed} of {n + failed} runs failed" if failed else ""
    gates = [
        (below_floor, "it predicts no better than the training mean"),
        (n < FEWEST, f"{n} finished runs, {FEWEST} are needed"),
        (error > paper[1], f"our standard error, {error:.2g}, is above the paper's sd"),
    ]
    closed = [why for shut, why in gates if shut]
    if closed:
        return NOT_COMPARABLE, "; ".join(r for r in (closed[0], difference, lost) if r)
    if not difference and abs(mean - paper[0]) <= WITHIN * paper[1]:
        return REPRODUCED, lost
    borne = [order for order in orders if order is not None]
    agree = f"{sum(borne)} of {len(orders)} orders as in the paper"
    undecided = len(orders) - len(borne)
    agree += f", {undecided} not decided" if undecided else ""
    reason = "; ".join(r for r in (difference, agree, lost) if r)
    if orders and not undecided and all(borne):
        return SAME_ORDER, reason
    return (NOT_COMPARABLE if difference else NOT_REPRODUCED), reason


def _largest(*spreads: float) -> float:
    return max((s for s in spreads if math.isfinite(s)), default=0.0)


def _length_scale(plugin: str, metric: str, tokens: float | None) -> float:
    """Factor that brings a likelihood per row to the paper's document length."""
    known = PAPER_TOKENS.get(plugin)
    return known / tokens if metric == "recon_nll" and known and tokens else 1.0


def _spread(results: Results, instance: str, method: str, metric: str, row: Any) -> float:
    """The published sd; for a perplexity p = exp(nll / t), p sd(nll) / t."""
    if metric != "perplexity":
        return float(row.published_sd)
    plugin = results.about(instance)["plugin"]
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
