"""What scores bear: intervals of paired differences, families of tests, verdicts in words.

Which interval is used depends on how replicates came to be. Folds share their training rows, so
that their differences are correlated: `folds_interval` widens Student's interval accordingly.
Independent draws of simulated data need no such correction: `draws_interval`. Where runs diverge, a
mean says nothing: `rank_interval` is about the median. A verdict needs an interval outside the
region of practical equivalence and a p value that stands among the family's others (`holm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import special, stats

LEVEL = 0.95
BOOTSTRAP_FROM = 20
"""Independent draws from which on the bootstrap is used; below it covers too little."""
RESAMPLES = 10_000
BETTER, SAME, WORSE = "better", "same", "worse"


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and the p value of "no difference".

    n : number of units (folds, draws) that it rests on.
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int


def _nothing(differences: np.ndarray) -> Interval | None:
    """The interval of fewer than two differences, which says nothing; None where there are more."""
    n = len(differences)
    if n >= 2:
        return None
    estimate = float(differences.mean()) if n else np.nan
    return Interval(estimate, -np.inf, np.inf, 1.0, n)


def _student(differences: np.ndarray, variance_factor: float) -> Interval:
    """Student's interval for a mean whose variance is `variance_factor` times that of a value."""
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) * np.sqrt(variance_factor)
    half = special.stdtrit(n - 1, (1 + LEVEL) / 2) * error
    # Equal differences are beyond doubt, and so is their absence.
    p = 2 * special.stdtr(n - 1, -abs(mean) / error) if error > 0 else float(mean == 0)
    return Interval(mean, float(mean - half), float(mean + half), float(p), n)


def folds_interval(differences: np.ndarray, test_to_train: float | None = None) -> Interval:
    """The corrected resampled t interval (Nadeau and Bengio 2003) of differences over folds.

    Parameters
    ----------
    differences : ndarray of shape (k,)
        One difference a fold; several seeds of a fold are averaged first (`by_fold`).
    test_to_train : float, optional
        Test rows per training row; by default 1 / (k - 1), that of k folds.

    Notes
    -----
    The variance of the mean is s^2 (1/k + test_to_train) in place of s^2 / k. It is conservative:
    at level .05 it rejects about 2 % of true null hypotheses of five folds.
    """
    differences = np.asarray(differences, dtype=float)
    k = len(differences)
    if nothing := _nothing(differences):
        return nothing
    ratio = 1 / (k - 1) if test_to_train is None else test_to_train
    return _student(differences, 1 / k + ratio)


def draws_interval(differences: np.ndarray, seed: int = 0) -> Interval:
    """The interval of differences over independent draws, shape (R,).

    Student's below 20 draws, the percentile bootstrap (10,000 resamples) from 20 on; p is that of
    the paired t test.
    """
    differences = np.asarray(differences, dtype=float)
    if nothing := _nothing(differences):
        return nothing
    interval = _student(differences, 1 / len(differences))
    if len(differences) < BOOTSTRAP_FROM:
        return interval
    means = _resamples(len(differences), seed) @ differences
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(interval.estimate, float(low), float(high), interval.p, interval.n)


@cache
def _resamples(n: int, seed: int) -> np.ndarray:
    """Weights (RESAMPLES, n) of n values in the means of bootstrap samples of them."""
    drawn = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    counts = np.zeros((RESAMPLES, n))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], drawn), 1)
    return counts / n


def rank_interval(differences: np.ndarray) -> Interval:
    """Hodges-Lehmann's estimate, its exact interval, and Wilcoxon's signed-rank p.

    The estimate is the median of the Walsh averages (d_i + d_j) / 2, i <= j; the interval leaves
    out as many averages at either end as the signed-rank distribution allows (Hollander, Wolfe and
    Chicken 2014, section 3.2). With fewer than six differences none exists: it is unbounded.
    """
    differences = np.asarray(differences, dtype=float)
    n = len(differences)
    if nothing := _nothing(differences):
        return nothing
    i, j = np.triu_indices(n)
    walsh = np.sort((differences[i] + differences[j]) / 2)
    p = signed_rank_p(differences)
    cut = _signed_rank_cut(n)
    low, high = (walsh[cut], walsh[-cut - 1]) if cut is not None else (-np.inf, np.inf)
    return Interval(float(np.median(walsh)), float(low), float(high), p, n)


EXACT = 50
"""Differences up to which the signed-rank distribution is counted out, ties or not."""


def signed_rank_p(differences: np.ndarray) -> float:
    """Wilcoxon's two-sided signed-rank p; zeros are left out, ties share their mean rank.

    Exact up to EXACT differences, given the ties; beyond that from the normal distribution.
    """
    x = np.asarray(differences, dtype=float)
    x = x[x != 0]
    if len(x) > EXACT:
        return float(stats.wilcoxon(x).pvalue)
    ranks = stats.rankdata(np.abs(x))
    doubled = np.rint(2 * ranks).astype(int)  # whole numbers, ties or not
    share = _subset_sums(doubled) / 2.0 ** len(x)
    above = int(doubled[x > 0].sum())
    return float(min(1.0, 2 * min(share[: above + 1].sum(), share[above:].sum())))


def _subset_sums(ranks: np.ndarray) -> np.ndarray:
    """How many subsets of whole numbers have each sum, 0 to that of all."""
    counts = np.ones(1)
    for rank in ranks:
        longer = np.zeros(len(counts) + int(rank))
        longer[: len(counts)] += counts
        longer[int(rank) :] += counts
        counts = longer
    return counts


@cache
def _signed_rank_cut(n: int) -> int | None:
    """Walsh averages to leave out at either end; None where no interval reaches the level."""
    below = np.cumsum(_subset_sums(np.arange(1, n + 1))) / 2.0**n
    quantile = int(np.searchsorted(below, (1 - LEVEL) / 2))
    return quantile - 1 if quantile > 0 else None


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """The distribution-free 95 % interval of a median: two order statistics; unbounded below six.

    x_(k) and x_(n - k + 1) with the largest k such that P(B < k) <= .025, B binomial with n and
    one half (Hollander, Wolfe and Chicken 2014, section 3.6).
    """
    x = np.sort(np.asarray(values, dtype=float))
    if len(x) < 6:
        return -np.inf, np.inf
    k = int(stats.binom.ppf((1 - LEVEL) / 2, len(x), 0.5))
    return float(x[k - 1]), float(x[-k])


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n: collapse rates, failures."""
    if not n:
        return 0.0, 1.0
    z = stats.norm.ppf((1 + LEVEL) / 2)
    share, scale = successes / n, 1 + z**2 / n
    middle = (share + z**2 / (2 * n)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = float(middle - half) if successes else 0.0  # exactly: no rounding shows
    return low, float(middle + half) if successes < n else 1.0


def holm(p: Sequence[float]) -> np.ndarray:
    """p values adjusted for being tested as one family (Holm 1979), in their order."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def critical_difference(k: int, datasets: int) -> float:
    """Nemenyi's critical difference of average ranks of k methods at level .05 (Demsar 2006)."""
    quantile = stats.studentized_range.ppf(LEVEL, k, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(k * (k + 1) / (6 * datasets)))


def friedman(average: np.ndarray, datasets: int) -> tuple[float, float]:
    """F and p of Friedman's test on average ranks (k,), after Iman and Davenport (Demsar 2006).

    Without a correction for ties. Where all datasets agree F is infinite and p 0.
    """
    k = len(average)
    chi = 12 * datasets / (k * (k + 1)) * ((average**2).sum() - k * (k + 1) ** 2 / 4)
    rest = datasets * (k - 1) - chi
    if rest <= 1e-9 * datasets:
        return np.inf, 0.0
    F = (datasets - 1) * chi / rest
    return float(F), float(stats.f.sf(F, k - 1, (k - 1) * (datasets - 1)))


def average_ranks(scores: np.ndarray, direction: str) -> np.ndarray:
    """Average ranks (k,) of k methods on scores (datasets, k), 1 the best; NaN ranks last."""
    worst = -np.inf if direction == "max" else np.inf
    filled = np.where(np.isnan(scores), worst, scores)
    return stats.rankdata(-filled if direction == "max" else filled, axis=1).mean(0)


def differences(first: pd.Series, second: pd.Series) -> pd.Series:
    """first - second on the replicates (the index) that both have."""
    mine, theirs = first.index.to_numpy(), second.index.to_numpy()
    if np.array_equal(mine, theirs):
        return pd.Series(first.to_numpy(float) - second.to_numpy(float), index=mine)
    both, i, j = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    return pd.Series(first.to_numpy(float)[i] - second.to_numpy(float)[j], index=both)


def by_fold(values: pd.Series, folds: int) -> pd.Series:
    """Mean of a fold's seeds: replicate r is of fold r mod `folds` (index: replicates)."""
    if not len(values) or values.index.max() < folds:  # a seed each
        return values
    return values.groupby(values.index.to_numpy() % folds).mean()


def verdict(interval: Interval, rope: float, direction: str, p: float | None = None) -> str:
    """Say in a word what an interval of (method - reference) bears.

    Parameters
    ----------
    interval : Interval
    rope : float
        Half width of the region of practical equivalence, in the metric's units.
    direction : {"max", "min"}
        Whether large values are good.
    p : float, optional
        The p value among its family's (`holm`); by default the interval's own.

    Returns
    -------
    str
        "better" or "worse": wholly outside the region, and p < .05. "same": wholly inside.
        Otherwise "not decided by n = ...".
    """
    p = interval.p if p is None else p
    sign = 1 if direction == "max" else -1
    low, high = sorted((sign * interval.low, sign * interval.high))
    if low > rope and p < 1 - LEVEL:
        return BETTER
    if high < -rope and p < 1 - LEVEL:
        return WORSE
    if low > -rope and high < rope:
        return SAME
    return f"not decided by n = {interval.n}"


@dataclass(frozen=True)
class Place:
    """Where a method stands among others, and the comparison that says so.

    group : 1 the best; None where no test bears any. leader : the method that it was compared with
    last, the best of its own group or of the one before. interval, p, word : of (method - leader),
    with p among its family's (`holm`); None, 1 and "" for a leader.
    """

    group: int | None
    leader: str
    interval: Interval | None
    p: float
    word: str


def rank_groups(
    scores: Mapping[str, pd.Series], kind: str, rope: float, direction: str
) -> dict[str, Place]:
    """Groups of methods that no test tells apart, in the order of the printed means.

    The best mean leads a group; with it are those that follow until one is worse than it, by
    Holm's p over all methods compared with it. From there on methods that are worse go on to the
    next group, formed likewise; those that are neither worse nor in the group have none: their
    mean stands behind one that is shown to be worse, and no test says where they belong.

    Parameters
    ----------
    scores : mapping of name to Series
        Values by fold or draw; only those that both of a pair have are compared.
    kind : {"folds", "draws", "ranks"}
        Which of `INTERVALS`; by "ranks" medians stand in the place of means.
    rope, direction
        As in `verdict`.
    """
    sign = 1 if direction == "max" else -1
    left = sorted((name for name in scores if len(scores[name])), key=lambda n: (
        -sign * centre(scores[n], kind), n
    ))  # fmt: skip
    found: dict[str, Place] = {}
    group = 0
    while left:
        group += 1
        leader, rest = left[0], left[1:]
        found[leader] = Place(group, leader, None, 1.0, "")
        apart = [INTERVALS[kind](differences(scores[n], scores[leader]).to_numpy()) for n in rest]
        left, behind = [], False
        for name, a, p in zip(rest, apart, holm([a.p for a in apart]), strict=True):
            word = verdict(a, rope, direction, p)
            behind = behind or word == WORSE
            found[name] = Place(None if behind else group, leader, a, float(p), word)
            left += [name] if word == WORSE else []
    return found


def centre(values: pd.Series, kind: str) -> float:
    """What is printed of values: their mean, by "ranks" their median."""
    return float(values.median() if kind == "ranks" else values.mean())


INTERVALS = {"folds": folds_interval, "draws": draws_interval, "ranks": rank_interval}
"""By how replicates came to be; "ranks" for draws some of which diverge."""
