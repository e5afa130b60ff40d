"""What the scores of a (dataset, metric, protocol) bear: groups, verdicts and marks.

Tables, figures and the report ask here and nowhere else, so that they say the same:

* `standing`: every method's printed number with its interval, its group, and what marks it;
* `family_of_tests`: paired differences with verdict words, a family of tests at a time;
* `headline` and `prediction`: which metric speaks for a dataset;
* `contrasts`: the comparisons that the configuration names.

The statistics are those of `scores/statistics.py`; docs/statistics.md says which is used when.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import TypeVar

import numpy as np
import pandas as pd

from anchorbench.reporting.results import Results
from anchorbench.scores import statistics
from anchorbench.scores.statistics import Interval
from anchorbench.study import headline as rules
from anchorbench.study.protocols import ORACLE_TUNED

T = TypeVar("T")
FLOOR = "floor"
"""The control that knows the training mean alone."""
GATES = ("mse", "recon_nll")
"""Metrics by which a method must beat the floor; the first that both have counts."""
COMPLETION = "completion_nll"
"""That of the metrics of a hidden part of a row, on which copying the row gains nothing."""
SUNK = "no better than the floor"
FEWEST = 3
"""Finished runs below which a method has no rank, and pairs below which there is no verdict."""
FAR = 10
"""A value has diverged that lies further from its method's median than this many times that median,
and than this many times the median distance from it."""
FEWEST_OF_RANKS = 6
"""Values below which ranks decide nothing: the least p of five signed ranks is .0625."""
COLLAPSED = 0.1
"""Share of the floor's error above which a fit of simulated data has lost a feature or more."""
ROPES: tuple[tuple[str, str | float], ...] = (
    ("mse", "2%"),
    ("perplexity", "1%"),
    ("completion_perplexity", "1%"),
    ("recon_nll", "0.5%"),
    ("completion_nll", "0.5%"),
    ("iwae_nll", "0.5%"),
    ("elbo", "0.5%"),
    ("ndcg", 0.005),
    ("recall", 0.005),
)
"""Half widths of the region of practical equivalence, by the metric's name or its beginning; a
share is one of the floor's value. All other metrics in [0, 1] (or [-1, 1]): `ROPE`."""
ROPE = 0.01
NOT_CONVERGED = ("no", "False")
SWEEP, BASE = 12, "base"
"""A family of more settings than SWEEP is a sweep; BASE is the setting that the others vary, in it
or in another family of the same plugin."""


def once(function: Callable[..., T]) -> Callable[..., T]:
    """Let a function of results and names be worked out once for the same results."""

    @wraps(function)
    def remembering(results: Results, *names: str) -> T:
        key = (function.__name__, *names)
        if key not in results.remembered:
            results.remembered[key] = function(results, *names)
        known: T = results.remembered[key]
        return known

    return remembering


@dataclass(frozen=True)
class Entry:
    """A method's printed number and what marks it.

    value : the mean, or the median where runs diverge (`Standing.kind` "ranks"); NaN without runs.
    low, high : its 95 % interval; unbounded where there are too few runs to say.
    n, runs : values, and runs that were begun; failed : runs that did not end, and those that did
    on which the metric failed.
    control : shown without a rank. group : 1 the best, None without a rank.
    below_floor : it predicts no better than the training mean; no verdict is spoken about it.
    unconverged : finished runs whose training had not converged; `unknown`: nobody knows of how
    many. collapsed : runs that lost a feature or more, None where that cannot be said;
    median_of_others : of the runs that did not, NaN where there are none.
    place : the comparison behind the group; None where there was none.
    """

    method: str
    value: float
    sd: float
    low: float
    high: float
    n: int
    runs: int
    failed: int
    control: bool
    below_floor: bool
    unconverged: int
    unknown: int
    collapsed: int | None
    median_of_others: float
    place: statistics.Place | None

    @property
    def group(self) -> int | None:
        """Group among the methods that are ranked."""
        return None if self.place is None else self.place.group

    @property
    def word(self) -> str:
        """The verdict against the best of the group that it was last compared with, in words."""
        if self.below_floor:
            return SUNK
        return "" if self.place is None else self.place.word


@dataclass(frozen=True)
class Standing:
    """All methods of a (dataset, metric, protocol).

    kind : "folds", "draws" or "ranks", how values are compared. rope : half width of the region of
    practical equivalence. best : the one method that is better than all others, or None.
    """

    dataset: str
    metric: str
    protocol: str
    direction: str | None
    kind: str
    rope: float
    entries: Mapping[str, Entry]

    @property
    def best(self) -> str | None:
        """The method that a test shows to be better than every other ranked one, or None."""
        ranked = [e for e in self.entries.values() if e.place is not None]
        first = [e.method for e in ranked if e.group == 1]
        rest = [e for e in ranked if e.group != 1]
        sure = rest and all(e.group is not None for e in rest)
        return first[0] if len(first) == 1 and sure else None


@once
def standing(results: Results, dataset: str, metric: str, protocol: str) -> Standing:
    """Return what the scores of a dataset, metric and protocol bear.

    Variants that switch a single quirk are left out. Nothing is ranked where the metric has no
    direction or values that are not independent, or fewer than two methods are left without
    controls, those with fewer than FEWEST values, those that lost a run (what the others say is not
    what all would) and those that predict no better than the training mean.
    """
    methods = [
        m
        for m in results.methods
        if (m, protocol) in results.present.get(dataset, ()) and not results.is_quirk(m)
    ]
    values = {m: results.series(dataset, m, protocol, metric) for m in methods}
    kind = resampling(results, dataset)
    competing = {m: v for m, v in values.items() if not results.is_control(m, protocol)}
    if kind == "draws" and _diverge(competing.values(), results, metric):
        kind = "ranks"
    low = {m: below_floor(results, dataset, m, protocol, gate_of(metric)) for m in methods}
    width = rope(results, dataset, metric, protocol)
    direction = results.direction(metric)
    places: Mapping[str, statistics.Place] = {}
    if direction is not None and independent(results, metric):
        units = {m: by_split(results, dataset, v) for m, v in competing.items()}
        whole = {m: not results.failed(dataset, m, protocol, metric) for m in units}
        ranked = {m: v for m, v in units.items() if len(v) >= FEWEST and whole[m] and not low[m]}
        if len(ranked) > 1:
            places = statistics.rank_groups(ranked, kind, width, direction)
    entries = {
        m: _entry(results, (dataset, m, protocol), metric, kind, low[m], places.get(m))
        for m in methods
    }
    return Standing(dataset, metric, protocol, direction, kind, width, entries)


def _entry(
    results: Results,
    cell: tuple[str, str, str],
    metric: str,
    kind: str,
    low: bool,
    place: statistics.Place | None,
) -> Entry:
    dataset, method, protocol = cell
    v = results.series(*cell, metric)
    said = results.converged.get(cell, ())
    lost = _lost(results, dataset, metric, protocol, v)
    return Entry(
        method,
        statistics.centre(v, kind) if len(v) else math.nan,
        float(v.std(ddof=0)) if len(v) else math.nan,
        *_interval(by_split(results, dataset, v), kind if independent(results, metric) else ""),
        n=len(v),
        runs=results.counts.get(cell, (0, 0))[0],
        failed=results.failed(*cell, metric),
        control=results.is_control(method, protocol),
        below_floor=low,
        unconverged=sum(s in NOT_CONVERGED for s in said),
        unknown=sum(s == "unknown" for s in said),
        collapsed=None if lost is None else int(lost.sum()),
        median_of_others=math.nan if lost is None else float(v[~lost].median()),
        place=place,
    )


def _interval(values: pd.Series, kind: str) -> tuple[float, float]:
    """The 95 % interval of the printed number; unbounded where none is known (kind "")."""
    x = values.to_numpy(float)
    if not kind:
        return -math.inf, math.inf
    if kind == "ranks":
        return statistics.median_interval(x)
    interval = statistics.INTERVALS[kind](x)
    return interval.low, interval.high


def _diverge(values: Iterable[pd.Series], results: Results, metric: str) -> bool:
    """Whether a run lies so far from its method's others that a mean says nothing."""
    low, high = results.metrics.get(metric, {}).get("range") or (None, None)
    if low is not None and high is not None:
        return False
    for x in (v.to_numpy(float) for v in values if len(v) >= FEWEST_OF_RANKS):
        middle = np.median(x)
        away = np.abs(x - middle)
        counts = np.array_equal(x, np.rint(x))  # of which a mean says what it always does
        if not counts and away.max() > FAR * max(abs(middle), np.median(away)):
            return True
    return False


def resampling(results: Results, dataset: str) -> str:
    """Return "folds" or "draws": how the replicates of a dataset came to be."""
    return str(results.about(dataset).get("resampling") or "folds")


def family(results: Results, dataset: str) -> str:
    """Name of a dataset without its setting: all settings of a simulator are one dataset."""
    setting = results.about(dataset)["setting"]
    return dataset.removesuffix(f"_{setting}") if setting else dataset


@once
def listed(results: Results) -> list[str]:
    """The datasets that the leaderboard, the comparisons and the report list one by one.

    All that have runs or scores, but of a sweep its base setting alone: artefacts of its own show
    the rest, and scores.csv has every number. Without a base setting of its plugin no family is a
    sweep: nothing else would show it.
    """
    about = {dataset: results.about(dataset) for dataset in results.datasets}
    varied = {of["plugin"] for of in about.values() if of["setting"] == BASE}
    families: dict[str, list[str]] = {}
    for dataset in results.datasets:
        if dataset in results.present:
            families.setdefault(family(results, dataset), []).append(dataset)
    return [
        dataset
        for members in families.values()
        for dataset in members
        if len(members) <= SWEEP
        or about[dataset]["setting"] == BASE
        or about[dataset]["plugin"] not in varied
    ]


def prediction(results: Results, dataset: str) -> str:
    """The metric of prediction that stands beside the headline one."""
    return rules.prediction(str(results.about(dataset)["likelihood"]))


def headline(results: Results, dataset: str, protocol: str) -> str:
    """The metric that speaks for a dataset: the configuration's, its own, or that of prediction.

    A protocol that a DATASET's `headline` does not name has that of `corrected`.
    """
    about = results.about(dataset)
    return rules.headline(about.get("headline"), str(about["likelihood"]), protocol)


@once
def rope(results: Results, dataset: str, metric: str, protocol: str) -> float:
    """Half width of the region of practical equivalence, in the metric's units.

    From the configuration's `rope`, else from ROPES. A share is one of the floor's mean (of the
    best mean where the floor has none); that of the MSE of simulated data one of the noise's
    variance.
    """
    named = (results.manifest.get("config") or {}).get("rope") or {}
    width = named.get(metric)
    if width is None:
        begins = (
            w
            for name, w in ROPES
            if metric == name or metric.startswith((f"{name}@", f"{name}_nofold@"))
        )
        whole = results.metrics.get(metric, {}).get("range") or [None, None]
        width = next(begins, ROPE if None not in whole else 0.0)
        noise = (results.about(dataset).get("params") or {}).get("noise_sd")
        if metric == "mse" and noise is not None:
            return float(_share(str(width)) * noise**2)
    if not isinstance(width, str):
        return float(width)
    return _share(width) * abs(_scale(results, dataset, metric, protocol))


def _share(text: str) -> float:
    """A share such as "2%" as a number."""
    return float(text.rstrip("% ")) / 100


def _scale(results: Results, dataset: str, metric: str, protocol: str) -> float:
    """What a share is one of: the floor's mean; a bound on it counts by the floor's likelihood."""
    asked = [metric, "recon_nll"] if metric in ("elbo", "iwae_nll") else [metric]
    for name in asked:
        at_floor = _floor(results, dataset, protocol, name)
        if len(at_floor) and "perplexity" not in name:
            return float(at_floor.mean())
    direction = results.direction(metric)
    means = [
        results.series(dataset, m, p, metric).mean()
        for m, p in results.present.get(dataset, ())
        if p == protocol and not results.methods[m]["control"]
    ]
    known = [m for m in means if math.isfinite(m)]
    return (max(known) if direction == "max" else min(known)) if known else 0.0


def _floor(results: Results, dataset: str, protocol: str, metric: str) -> pd.Series:
    """The floor's values; none where it was not run."""
    names = [m for m, about in results.methods.items() if about["plugin"] == FLOOR]
    series = (results.series(dataset, m, protocol, metric) for m in names)
    return next((s for s in series if len(s)), pd.Series(dtype=float))


def independent(results: Results, metric: str) -> bool:
    """Whether a test may speak of a metric: values of one that needs peers share their fits."""
    return "peers" not in (results.metrics.get(metric, {}).get("needs") or ())


def gate_of(metric: str) -> str:
    """By which metric a method must beat the floor to be spoken of; "" for the usual GATES."""
    return COMPLETION if metric.startswith("completion") else ""


@once
def below_floor(results: Results, dataset: str, method: str, protocol: str, gate: str = "") -> bool:
    """Whether a method predicts no better than the training mean, by more than makes a difference.

    On the replicates that both have, by the mean (the median where runs diverge) of `gate`, by
    default of the first of GATES that both have. False for controls and where nothing says so.
    """
    if results.methods.get(method, {}).get("control", False):
        return False
    for metric in [gate] if gate else GATES:
        own = results.series(dataset, method, protocol, metric)
        both = pd.concat([own, _floor(results, dataset, protocol, metric)], axis=1, join="inner")
        if not len(both):
            continue
        wild = resampling(results, dataset) == "draws" and _diverge([own], results, metric)
        mine, floor = both.median() if wild else both.mean()
        return bool(mine >= floor - rope(results, dataset, metric, protocol))
    return False


def _lost(
    results: Results, dataset: str, metric: str, protocol: str, values: pd.Series
) -> pd.Series | None:
    """Which runs have an error above COLLAPSED of the floor's, on simulated data of known noise."""
    if metric != "mse" or "noise_sd" not in (results.about(dataset).get("params") or {}):
        return None
    floor = _floor(results, dataset, protocol, metric)
    return values > COLLAPSED * floor.mean() if len(floor) and len(values) else None


@once
def compare(
    results: Results, dataset: str, metric: str, protocol: str, method: str, reference: str
) -> tuple[Interval, str]:
    """Return the interval of (method - reference) and its kind: "folds", "draws", or "ranks" where
    one of the two diverges. Paired over replicates that both have, those of one split averaged."""
    pair = [results.series(dataset, m, protocol, metric) for m in (method, reference)]
    kind = resampling(results, dataset)
    if kind == "draws" and _diverge(pair, results, metric):
        kind = "ranks"
    difference = by_split(results, dataset, statistics.differences(*pair))
    interval = statistics.INTERVALS[kind](difference.to_numpy(float))
    if not independent(results, metric):
        interval = replace(interval, low=-math.inf, high=math.inf, p=1.0)
    return interval, kind


def by_split(results: Results, dataset: str, values: pd.Series) -> pd.Series:
    """Values by replicate, those of one split averaged: the split is what is drawn anew."""
    splits = results.about(dataset).get("splits")
    return statistics.by_fold(values, splits) if splits else values


@dataclass(frozen=True)
class Comparison:
    """A pair of methods of a dataset, with its p value among its family's and its verdict.

    kind : of the interval, see `compare`. word : "better", "same", "worse", "not decided by
    n = ..."; SUNK where that is said of the method or the reference; "" for a metric without a
    direction and for controls. p is NaN where nothing was tested.
    """

    dataset: str
    metric: str
    protocol: str
    method: str
    reference: str
    kind: str
    interval: Interval
    p: float
    rope: float
    word: str


Pair = tuple[str, str, str, str, str]
"""Dataset, metric, protocol, method, reference."""


def family_of_tests(results: Results, pairs: Sequence[Pair]) -> list[Comparison]:
    """Return the comparisons of pairs that are tested as one family (Holm), in their order.

    Pairs with a method that loses to the floor, with a control, or with fewer than FEWEST
    replicates are shown and not tested.
    """
    compared = [compare(results, *pair) for pair in pairs]
    intervals = [interval for interval, _ in compared]
    low = [_sunk(results, pair) for pair in pairs]
    judged = [
        results.direction(metric) is not None
        and independent(results, metric)
        and not low[i]
        and not any(results.is_control(m, protocol) for m in methods)
        for i, (_, metric, protocol, *methods) in enumerate(pairs)
    ]
    tested = [i for i, interval in enumerate(intervals) if judged[i] and interval.n >= FEWEST]
    adjusted = dict(zip(tested, statistics.holm([intervals[i].p for i in tested]), strict=True))
    found = []
    for i, (pair, (interval, kind)) in enumerate(zip(pairs, compared, strict=True)):
        dataset, metric, protocol, *_ = pair
        width = rope(results, dataset, metric, protocol)
        p, word = float(adjusted.get(i, math.nan)), SUNK if low[i] else ""
        if i in adjusted:
            word = statistics.verdict(interval, width, str(results.direction(metric)), p)
        elif judged[i]:
            word = f"not decided by n = {interval.n}"
        found.append(Comparison(*pair, kind, interval, p, width, word))
    return found


def _sunk(results: Results, pair: Pair) -> bool:
    """Whether one of a pair predicts no better than the training mean."""
    dataset, metric, protocol, *methods = pair
    return any(below_floor(results, dataset, m, protocol, gate_of(metric)) for m in methods)


def contrasts(results: Results) -> list[Comparison]:
    """The comparisons that the configuration names, on every headline metric.

    Those of a protocol are one family.
    """
    named = (results.manifest.get("config") or {}).get("contrasts") or []
    found: list[Comparison] = []
    for protocol in results.protocols:
        if protocol == ORACLE_TUNED:
            continue
        pairs = [
            (dataset, headline(results, dataset, protocol), protocol, method, reference)
            for dataset in listed(results)
            for method, reference in named
            if {(method, protocol), (reference, protocol)} <= results.present[dataset]
        ]
        found += family_of_tests(results, pairs)
    return found
