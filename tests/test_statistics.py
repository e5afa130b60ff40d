"""Intervals, families of tests and verdicts against R's values, closed forms and simulation.

Values marked R were computed with R 4.2.2 (stats; Nemenyi's quantile from qtukey).
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from anchorbench.scores import statistics
from anchorbench.scores.statistics import Interval


@pytest.fixture
def rng():
    return np.random.default_rng(1)


FOLDS = np.array([0.02, 0.05, -0.01, 0.04, 0.03])


def test_the_corrected_t_interval_is_that_of_nadeau_and_bengio():
    interval = statistics.folds_interval(FOLDS)
    assert interval.estimate == pytest.approx(0.026)
    assert interval.high - interval.estimate == pytest.approx(0.04287788)  # R
    assert interval.p == pytest.approx(0.1675532)  # R
    assert interval.high - interval.low == pytest.approx(2 * 1.862 * FOLDS.std(ddof=1), rel=1e-3)


def test_sizes_of_the_corrected_and_the_naive_test():
    """Two ridge models on disjoint halves of the features, equal in expectation."""
    rng = np.random.default_rng(0)
    n, features, trials = 150, 20, 2000
    X = rng.normal(size=(trials, n, features))
    y = X.sum(-1) / 4 + rng.normal(size=(trials, n))
    fold = np.arange(n) % 5
    errors = np.empty((2, trials, 5))
    for half in range(2):
        part = X[..., half * 10 : half * 10 + 10]
        for k in range(5):
            a, b = part[:, fold != k], y[:, fold != k, None]
            weights = np.linalg.solve(a.mT @ a + np.eye(10), a.mT @ b)
            rest = y[:, fold == k] - (part[:, fold == k] @ weights)[..., 0]
            errors[half, :, k] = (rest**2).mean(-1)
    differences = errors[0] - errors[1]
    corrected = [statistics.folds_interval(d).p < 0.05 for d in differences]
    naive = [stats.ttest_1samp(d, 0).pvalue < 0.05 for d in differences]
    assert np.mean(corrected) < 0.03
    assert 0.05 < np.mean(naive) < 0.1
    assert np.mean(naive) > 2.5 * np.mean(corrected)


def test_draws_take_students_interval_below_twenty_and_the_bootstrap_from_there(rng):
    few, many = rng.normal(1, 1, 10), rng.normal(1, 1, 25)
    half = stats.t.ppf(0.975, 9) * few.std(ddof=1) / np.sqrt(10)
    interval = statistics.draws_interval(few)
    assert (interval.low, interval.high) == pytest.approx((few.mean() - half, few.mean() + half))
    interval = statistics.draws_interval(many)
    half = 1.96 * many.std() / np.sqrt(25)
    assert interval.low == pytest.approx(many.mean() - half, abs=0.04)
    assert interval.high == pytest.approx(many.mean() + half, abs=0.04)
    assert interval == statistics.draws_interval(many)


def test_the_rank_interval_is_that_of_hodges_and_lehmann():
    interval = statistics.rank_interval(np.array([1.2, 3.4, 2.2, 5.1, 4.4, 0.3, 2.9]))
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((2.8, 1.2, 4.4))  # R
    # Differences 1, ..., 6: the Walsh averages run from 1 to 6, the exact interval is all of them.
    interval = statistics.rank_interval(np.arange(1.0, 7))
    assert (interval.estimate, interval.low, interval.high) == (3.5, 1, 6)
    assert interval.p == pytest.approx(2 / 64)
    wild = np.array([1.0, 2, 3, 4, 5, 1e6])
    assert statistics.rank_interval(wild).estimate < 10
    shifted = statistics.rank_interval(wild + 5)
    assert shifted.low == pytest.approx(statistics.rank_interval(wild).low + 5)


def test_five_folds_can_never_decide_by_ranks():
    interval = statistics.rank_interval(np.array([1.0, 2, 3, 4, 5]))
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    assert interval.p == pytest.approx(2 / 32)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 9, 13])
def test_the_signed_rank_p_is_wilcoxons_by_all_signs(rng, n, ties):
    x = rng.normal(0.4, 1, n)
    x = np.round(2 * x) / 2 if ties else x
    x = x[x != 0]
    signs = np.array(list(itertools.product([0, 1], repeat=len(x))))
    ranks = stats.rankdata(np.abs(x))
    every, own = signs @ ranks, ranks[x > 0].sum()
    exact = 2 * min((every <= own + 1e-9).mean(), (every >= own - 1e-9).mean())
    assert statistics.signed_rank_p(x) == pytest.approx(min(1, exact))
    if not ties:
        assert statistics.signed_rank_p(x) == pytest.approx(stats.wilcoxon(x).pvalue)
    assert statistics.signed_rank_p(np.append(x, [0.0, 0.0])) == statistics.signed_rank_p(x)


def test_coverage_of_the_rank_interval(rng):
    samples = rng.laplace(size=(400, 15))
    covered = [i.low <= 0 <= i.high for i in map(statistics.rank_interval, samples)]
    assert 0.92 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize("values", [[], [0.3]])
@pytest.mark.parametrize("kind", ["folds_interval", "draws_interval", "rank_interval"])
def test_fewer_than_two_differences_say_nothing(kind, values):
    interval = getattr(statistics, kind)(np.array(values))
    assert (interval.low, interval.high, interval.p) == (-np.inf, np.inf, 1)
    assert statistics.verdict(interval, 0.01, "max") == f"not decided by n = {len(values)}"


def test_wilson():
    assert statistics.wilson(12, 25) == pytest.approx((0.3003129, 0.6650148), abs=1e-6)  # R
    assert statistics.wilson(0, 10)[0] == 0
    assert statistics.wilson(10, 10)[1] == pytest.approx(1)
    assert statistics.wilson(0, 0) == (0, 1)


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )  # R
    assert statistics.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(statistics.holm([])) == 0


@pytest.mark.parametrize(
    ("k", "datasets", "expected"),
    [(4, 5, 2.097606), (4, 20, 1.048803), (8, 5, 4.695417), (8, 10, 3.320161), (12, 5, 7.452196)],
)
def test_critical_differences(k, datasets, expected):
    assert statistics.critical_difference(k, datasets) == pytest.approx(expected, abs=1e-4)  # R


def test_average_ranks_put_the_best_first_and_failures_last():
    scores = np.array([[0.9, 0.5, np.nan], [0.8, 0.8, 0.1]])
    assert statistics.average_ranks(scores, "max").tolist() == [1.25, 1.75, 3]
    assert statistics.average_ranks(-scores, "min").tolist() == [1.25, 1.75, 3]


def test_seeds_of_a_fold_are_averaged_first():
    values = pd.Series({0: 1.0, 1: 2.0, 5: 3.0, 6: 4.0, 2: 7.0})
    assert statistics.by_fold(values, 5).to_dict() == {0: 2, 1: 3, 2: 7}


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [
        (0.02, 0.05, 0.01, "better"),
        (-0.05, -0.02, 0.01, "worse"),
        (-0.005, 0.009, 0.4, "same"),
        (0.001, 0.009, 0.001, "same"),
        (-0.02, 0.03, 0.5, "not decided by n = 5"),
        (0.005, 0.05, 0.01, "not decided by n = 5"),
        (0.02, 0.05, 0.08, "not decided by n = 5"),
    ],
)
def test_verdicts_on_hand_made_intervals(low, high, p, word):
    interval = Interval((low + high) / 2, low, high, p, 5)
    assert statistics.verdict(interval, 0.01, "max") == word
    mirrored = Interval(-(low + high) / 2, -high, -low, p, 5)
    assert statistics.verdict(mirrored, 0.01, "min") == word


def test_a_family_can_undo_a_verdict():
    interval = Interval(0.04, 0.02, 0.06, 0.03, 5)
    assert statistics.verdict(interval, 0.01, "max") == "better"
    assert statistics.verdict(interval, 0.01, "max", p=0.09) == "not decided by n = 5"


@pytest.mark.parametrize("direction", ["max", "min"])
def test_groups_hold_what_no_test_tells_apart(rng, direction):
    sign = 1 if direction == "max" else -1
    noise = rng.normal(0, 0.01, (4, 25))
    level = {"a": 0.9, "b": 0.9, "c": 0.5, "d": 0.5}
    scores = {n: pd.Series(sign * (m + noise[i])) for i, (n, m) in enumerate(level.items())}
    scores["never finished"] = pd.Series(dtype=float)
    places = statistics.rank_groups(scores, "draws", 0.01, direction)
    assert {name: at.group for name, at in places.items()} == {"a": 1, "b": 1, "c": 2, "d": 2}
    assert places["c"].word == "" and places["a"].leader in ("a", "b")


def test_nobody_stands_before_a_method_of_a_better_mean(rng):
    """A noisy method behind one that is shown to be worse is not decided: it has no group."""
    noise = rng.normal(0, 1, (3, 5))
    scores = {
        "best": pd.Series(10 + 0.01 * noise[0]),
        "worse": pd.Series(9 + 0.01 * noise[1]),
        "noisy": pd.Series(5 + 8 * noise[2]),
    }
    places = statistics.rank_groups(scores, "folds", 0.1, "max")
    assert [places[name].group for name in scores] == [1, 2, None]
    assert places["noisy"].leader == "best" and places["noisy"].word == "not decided by n = 5"


def test_ranks_stand_where_draws_diverge(rng):
    """One draw of 10^6 hides from a mean what the other 24 say."""
    good, bad = 1 + 0.1 * rng.normal(size=25), 2 + 0.1 * rng.normal(size=25)
    good[3] = 1e6
    scores = {"good": pd.Series(good), "bad": pd.Series(bad)}
    by_mean = statistics.rank_groups(scores, "draws", 0.1, "min")
    assert by_mean["bad"].group == 1
    by_rank = statistics.rank_groups(scores, "ranks", 0.1, "min")
    assert (by_rank["good"].group, by_rank["bad"].group) == (1, 2)
    assert statistics.centre(scores["good"], "ranks") < 2


def test_the_interval_of_a_median_is_made_of_order_statistics(rng):
    # Conover, Practical Nonparametric Statistics: n = 10 takes the 2nd and 9th, n = 25 8th and 18th
    assert statistics.median_interval(np.arange(1.0, 11)) == (2, 9)
    assert statistics.median_interval(np.arange(25.0, 0, -1)) == (8, 18)
    assert statistics.median_interval(np.arange(1.0, 7)) == (1, 6)
    assert statistics.median_interval(np.arange(5.0)) == (-np.inf, np.inf)
    bounds = [statistics.median_interval(x) for x in rng.exponential(size=(500, 25))]
    assert np.mean([low <= np.log(2) <= high for low, high in bounds]) >= 0.94


def test_friedman_is_that_of_demsars_example():
    """Four versions of C4.5 on 14 datasets (Demsar 2006, table 6)."""
    F, p = statistics.friedman(np.array([3.143, 2.000, 2.893, 1.964]), 14)
    assert pytest.approx(3.69, abs=0.01) == F and p == pytest.approx(0.0197, abs=5e-4)
    assert statistics.friedman(np.array([1.0, 2.0, 3.0]), 5) == (np.inf, 0.0)
    assert statistics.friedman(np.full(4, 2.5), 6)[1] == pytest.approx(1.0)
