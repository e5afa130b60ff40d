"""Shared mathematics of the metrics against known values, invariances and naive loops."""

from itertools import combinations, permutations

import numpy as np
import pytest
from fake_run import Decoder, factor_run
from scipy.stats import spearmanr

from anchorbench.scores import effects, labels, prediction, recovery, top_k, topics


@pytest.fixture
def rng():
    return np.random.default_rng(1)


# Correlation and matching


def test_correlations_equal_numpy_and_scipy_and_are_zero_for_constants(rng):
    left, right = rng.normal(size=(50, 3)), rng.integers(0, 4, size=(50, 2)).astype(float)
    expected = np.abs(np.corrcoef(left.T, right.T)[:3, 3:])
    assert recovery.correlations(left, right) == pytest.approx(expected)
    by_rank = [[abs(spearmanr(a, b).statistic) for b in right.T] for a in left.T]
    assert recovery.correlations(left, right, ranks=True) == pytest.approx(np.array(by_rank))
    left[:, 1] = 0.1
    for ranks in (False, True):
        assert (recovery.correlations(left, right, ranks)[1] == 0).all()


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 4)])
def test_matching_is_the_best_of_all_assignments(rng, shape):
    similarity = rng.random(shape)
    few = min(shape)
    best = max(
        sum(similarity[r, c] for r, c in zip(rows, columns, strict=True))
        for rows in permutations(range(shape[0]), few)
        for columns in combinations(range(shape[1]), few)
    )
    assert recovery.matched_mean(similarity) == pytest.approx(best / shape[1])
    matched = recovery.match(similarity)
    found = np.flatnonzero(matched >= 0)
    assert len(found) == few and len(set(matched[found])) == few
    assert similarity[matched[found], found].sum() == pytest.approx(best)


def test_in_true_order_reorders_matched_columns_and_fills_missing_ones():
    values = np.arange(8).reshape(2, 4)
    ordered, rest = recovery.in_true_order(values, np.array([2, -1, 0]))
    assert ordered.tolist() == [[2, 0, 0], [6, 0, 4]]
    assert rest.tolist() == [[1, 3], [5, 7]]


def test_multiple_correlation_is_blind_to_rotation_and_counts_lost_information(rng):
    factors = rng.normal(size=(400, 3))
    mixed = factors @ rng.normal(size=(3, 3))
    assert recovery.multiple_correlations(mixed, factors) == pytest.approx(1)
    noise = rng.normal(size=400)
    single = (factors[:, 0] + noise)[:, None]
    expected = abs(np.corrcoef(single[:, 0], factors[:, 0])[0, 1])
    assert recovery.multiple_correlations(single, factors[:, :1]) == pytest.approx(expected)
    # With a code twice and a constant code, least squares has many solutions but one fit.
    redundant = np.hstack([single, single, np.ones((400, 1))])
    assert recovery.multiple_correlations(redundant, factors[:, :1]) == pytest.approx(expected)


def test_spline_correlation_undoes_functions_of_the_code_only(rng):
    codes = rng.normal(size=(1000, 1))
    factors = np.hstack([codes, codes**2, rng.normal(size=(1000, 1))])
    train, test = slice(0, 500), slice(500, None)
    forward = recovery.spline_correlations(codes[train], factors[train], codes[test], factors[test])
    assert forward[0, 0] > 0.99
    assert forward[0, 1] > 0.95
    assert forward[0, 2] < 0.2
    # The sign of z is not in z^2.
    squares = codes**2
    backward = recovery.spline_correlations(
        squares[train], codes[train], squares[test], codes[test]
    )
    assert backward[0, 0] < 0.2


def test_spline_correlation_takes_codes_with_many_ties(rng):
    factors = rng.normal(size=(400, 1))
    codes = np.maximum(factors - 0.5, 0)  # two thirds of the codes are exactly 0
    value = recovery.spline_correlations(codes[:200], factors[:200], codes[200:], factors[200:])
    pearson = recovery.correlations(codes, factors)
    assert abs(value - pearson).max() < 0.1
    assert recovery.spline_correlations(codes * 0, factors, codes, factors) == 0


def test_held_out_r2_is_clipped_and_zero_for_constant_truth():
    truth = np.array([[0.0, 1.0], [2.0, 1.0]])
    assert recovery.held_out_r2(truth, truth).tolist() == [1, 0]
    assert recovery.held_out_r2(truth, np.ones((2, 2))).tolist() == [0, 0]
    assert recovery.held_out_r2(truth, -5 * truth).tolist() == [0, 0]
    assert recovery.held_out_r2(truth, np.array([[0.0, 0], [1.0, 0]]))[0] == pytest.approx(0.5)


# DCI


def test_dci_of_a_diagonal_matrix_is_one_even_with_unused_codes():
    assert recovery.disentanglement(np.eye(4)) == 1
    assert recovery.completeness(np.eye(4)) == 1
    padded = np.vstack([np.diag([3.0, 1, 1]), np.zeros((2, 3))])
    assert recovery.disentanglement(padded) == 1
    assert recovery.completeness(padded) == 1


def test_dci_of_duplicated_codes_loses_completeness_only():
    duplicated = np.repeat(np.eye(5), 2, axis=0)
    assert recovery.disentanglement(duplicated) == 1
    assert recovery.completeness(duplicated) == pytest.approx(1 - np.log(2) / np.log(10))


def test_dci_of_uniform_and_empty_matrices_is_zero():
    for matrix in (np.ones((4, 3)), np.zeros((4, 3))):
        assert recovery.disentanglement(matrix) == pytest.approx(0)
        assert recovery.completeness(matrix) == pytest.approx(0)


def test_dci_with_one_factor():
    column = np.array([[1.0], [1.0], [0.0]])
    assert recovery.disentanglement(column) == 1
    assert recovery.completeness(column) == pytest.approx(1 - np.log(2) / np.log(3))


def test_dci_is_weighted_by_importance_and_ignores_order():
    # A code that serves both factors equally holds 1/4 of all importance.
    matrix = np.array([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    assert recovery.disentanglement(matrix) == pytest.approx(0.75)
    assert recovery.disentanglement(matrix[::-1, ::-1] * 7) == pytest.approx(0.75)


@pytest.mark.parametrize("importance", [recovery.boosted_importance, recovery.lasso_importance])
def test_importance_finds_the_code_of_each_factor(rng, importance):
    factors = rng.normal(size=(300, 2))
    codes = np.column_stack([factors[:, 1], np.full(300, 2.0), -factors[:, 0]])
    matrix, predicted = importance(codes[:200], factors[:200], codes[200:])
    assert matrix[0, 1] > 50 * matrix[0, 0]
    assert matrix[2, 0] > 50 * matrix[2, 1]
    assert (matrix[1] == 0).all()
    assert recovery.held_out_r2(factors[200:], predicted).min() > 0.9


@pytest.mark.parametrize("importance", [recovery.boosted_importance, recovery.lasso_importance])
def test_importance_of_constants_is_zero_and_predicts_the_mean(rng, importance):
    factors = np.column_stack([rng.normal(size=40), np.full(40, 3.0)])
    matrix, predicted = importance(np.ones((40, 2)), factors, np.ones((5, 2)))
    assert (matrix == 0).all()
    assert predicted == pytest.approx(np.tile(factors.mean(axis=0), (5, 1)))


# Sets and rankings of entries


def test_f1_counts():
    true = np.array([[1, 1, 0, 0]], dtype=bool)
    assert recovery.f1(true, true) == 1
    assert recovery.f1(true, ~true) == 0
    half = np.array([[1, 0, 1, 0]], dtype=bool)
    assert recovery.f1(half, true) == 0.5
    assert recovery.f1(true, true, false_positives=4) == 0.5
    assert recovery.f1(true & False, true) == 0
    assert recovery.f1(true & False, true & False) == 1


def test_ranking_quality_equals_the_share_of_ordered_pairs(rng):
    scores, true = rng.integers(0, 5, size=(6, 4)).astype(float), rng.random((6, 4)) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[true] for b in scores[~true]]
    assert recovery.ranking_quality(scores, true)[0] == pytest.approx(np.mean(pairs))
    assert recovery.ranking_quality(np.zeros((6, 4)), true)[0] == 0.5
    assert recovery.ranking_quality(scores, true | True) == (0.5, 1.0)
    assert recovery.ranking_quality(scores, true & False) == (0.5, 0.0)


# Ranking items


def naive_scores(scores, targets, k):
    recalls, ndcgs = [], []
    for row, wanted in zip(scores, targets, strict=True):
        n = int(wanted.sum())
        if n == 0:
            continue
        order = sorted(range(len(row)), key=lambda j: -row[j])[:k]
        recalls.append(sum(wanted[j] for j in order) / min(k, n))
        gain = sum(1 / np.log2(place + 2) for place, j in enumerate(order) if wanted[j])
        ideal = sum(1 / np.log2(place + 2) for place in range(min(k, n, len(row))))
        ndcgs.append(gain / ideal)
    return np.mean(recalls), np.mean(ndcgs)


@pytest.mark.parametrize("k", [1, 5, 12, 100])
def test_recall_and_ndcg_equal_a_double_loop(rng, k):
    scores = rng.normal(size=(40, 12))
    targets = rng.random((40, 12)) < 0.2
    recall, ndcg = naive_scores(scores, targets, k)
    assert not targets.any(axis=1).all()
    assert top_k.recall_at(scores, targets, k) == pytest.approx(recall)
    assert top_k.ndcg_at(scores, targets, k) == pytest.approx(ndcg)


def test_ranking_without_targets_is_zero():
    nothing = np.zeros((3, 4), dtype=bool)
    assert top_k.recall_at(np.ones((3, 4)), nothing, 2) == 0
    assert top_k.ndcg_at(np.ones((3, 4)), nothing, 2) == 0


def test_ties_do_not_follow_the_order_of_columns():
    order = top_k.top_items(np.zeros((2, 50)), 50)
    assert (order[0] == order[1]).all()
    assert sorted(order[0]) == list(range(50))
    assert not (order[0] == np.arange(50)).all()


def test_fold_in_hides_a_fifth_of_the_items_of_users_with_five(rng):
    X = (rng.random((200, 30)) < rng.uniform(0.02, 0.6, size=(200, 1))).astype(float)
    seen, targets = top_k.fold_in(X)
    assert ((seen > 0) ^ targets == (X > 0)).all()
    count = (X > 0).sum(axis=1)
    assert (count < 5).any() and (count % 5 == 0).any()
    expected = [n // 5 if n >= 5 else 0 for n in count]
    assert targets.sum(axis=1).tolist() == expected
    again = top_k.fold_in(X)[1]
    assert (again == targets).all()


def test_fold_in_hides_every_item_equally_often():
    hidden = top_k.fold_in(np.ones((5000, 10)))[1].mean(axis=0)
    assert hidden == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 5000))


def test_fold_in_scores_mask_what_was_seen():
    X = np.ones((4, 10))
    X[3, 2:] = 0
    given = []

    def encode(rows):
        given.append(rows)
        return rows

    scores, targets = top_k.fold_in_scores(Decoder(lambda Z: Z + 1.0, encode), X)
    assert scores.shape == targets.shape == (3, 10)  # the user with 2 items is left out
    assert not (given[0] * targets).any()
    assert (np.isinf(scores) == (given[0] > 0)).all()


# Predictive scores


def test_probabilities_scale_clip_and_fall_back_to_uniform():
    rows = prediction.probabilities(np.array([[1, 3], [-2, 5], [0, 0]]))
    assert rows.tolist() == [[0.25, 0.75], [0, 1], [0.5, 0.5]]


def test_token_nll_by_hand():
    counts = np.array([[2.0, 0, 1], [0, 3, 0]])
    shares = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    rows = [-2 * np.log(0.5 + 1e-6) - np.log(0.25 + 1e-6), -3 * np.log(1 + 1e-6)]
    nll, perplexity = prediction.token_nll(counts, 9 * shares)
    assert nll == pytest.approx(np.mean(rows))
    assert perplexity == pytest.approx(np.exp(sum(rows) / 6))
    uniform = prediction.token_nll(counts, np.ones((2, 3)))[1]
    assert uniform == pytest.approx(3, rel=1e-5)
    assert prediction.token_nll(0 * counts, shares) == (0, 1)


def test_halves_are_a_multivariate_hypergeometric_draw():
    counts = np.tile([4.0, 2.0, 1.0, 0.0], (20_000, 1))
    first, second = prediction.halve_tokens(counts, np.random.default_rng(0))
    assert (first + second == counts).all() and (first >= 0).all() and (second >= 0).all()
    assert (first.sum(axis=1) == 3).all()
    share, n, drawn = np.array([4, 2, 1, 0]) / 7, 7, 3
    assert first.mean(axis=0) == pytest.approx(drawn * share, abs=0.03)
    variance = drawn * share * (1 - share) * (n - drawn) / (n - 1)
    assert first.var(axis=0) == pytest.approx(variance, abs=0.03)
    covariance = -drawn * share[0] * share[1] * (n - drawn) / (n - 1)
    assert np.cov(first.T)[0, 1] == pytest.approx(covariance, abs=0.03)


# Effects


def test_decoder_effect_of_a_linear_model_is_loading_times_sd_ratio(rng):
    A = np.array([[1.0, 0.0], [-2.0, 0.5], [0.0, 0.0]])
    codes = rng.normal(size=(300, 2)) * [1, 4]
    X = codes @ A.T
    run = factor_run(codes, codes, model=Decoder(lambda Z: Z @ A.T), train=X[:150])
    sd_x, sd_z = X[:150].std(axis=0), codes[:150].std(axis=0)
    expected = np.abs(A) * sd_z / np.where(sd_x > 0, sd_x, 1)[:, None]
    assert effects.decoder_effects(run) == pytest.approx(expected)


def test_decoder_effect_of_counts_is_on_shares(rng):
    codes = rng.normal(size=(100, 1))

    def decode(Z):  # any row scale means the same
        return np.exp(Z @ np.array([[1.0, -1.0]])) * 17

    shares = prediction.probabilities(decode(codes))
    lengths = rng.integers(1, 9, size=(100, 1))
    both = [
        effects.decoder_effects(
            factor_run(
                codes, codes, model=Decoder(decode), train=train[:50], likelihood="multinomial"
            )
        )
        for train in (shares, shares * lengths)
    ]
    assert both[0] == pytest.approx(both[1])
    assert (both[0] > 0.1).all()


def test_latent_kl_closed_form():
    mean, sd = np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 0.5]])
    narrow = 0.5 * (0.25 - 1) - np.log(0.5)
    assert effects.latent_kl(mean, sd) == pytest.approx([0, (2 + narrow) / 2])


def test_effective_support_drops_entries_without_effect():
    loadings = np.array([[1.0, 0.001, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    codes = np.array([[1.0, 1.0, 3.0], [-1.0, -1.0, 3.0]])  # the third never varies
    assert effects.claimed_support(None, loadings).sum() == 4
    found = effects.effective_support(None, loadings, codes)
    assert found.tolist() == [[True, False, False], [False, True, False], [False] * 3]
    own = np.zeros((3, 3), dtype=bool)
    assert not effects.effective_support(own, loadings, codes).any()


# Topics


def test_top_words_rank_by_size_and_leave_out_zeros_and_constants():
    loadings = np.array([[0.1, 0.0, 1.0], [-3.0, 2.0, -1.0], [2.0, 0.0, 1.0], [0.2, 0.0, 1.0]])
    words = topics.top_words(loadings, 2)
    assert [list(w) for w in words] == [[1, 2], [1], []]


CORPUS = np.array([[2, 1, 0, 0], [1, 3, 0, 1], [0, 0, 4, 1], [1, 0, 0, 1]], dtype=float)


def test_document_npmi_by_hand():
    # Words 0, 1 meet in 2 of 4 documents; they are in 3 and 2.
    pair = np.log(0.5 / (0.75 * 0.5)) / -np.log(0.5)
    assert topics.document_npmi(CORPUS, [np.array([0, 1])]) == pytest.approx(pair)
    assert topics.document_npmi(CORPUS, [np.array([0, 2])]) == -1
    three = [np.array([0, 1, 2])]
    assert topics.document_npmi(CORPUS, three) == pytest.approx((pair - 1 - 1) / 3)
    both = [np.array([0, 1]), np.array([3])]
    assert topics.document_npmi(CORPUS, both) == pytest.approx(pair / 2)


def test_document_npmi_is_one_for_words_that_only_meet_and_zero_for_independent_ones():
    together = np.array([[1, 1], [0, 0]])
    assert topics.document_npmi(together, [np.array([0, 1])]) == pytest.approx(1)
    independent = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    assert topics.document_npmi(independent, [np.array([0, 1])]) == pytest.approx(0)
    always = np.ones((3, 2))
    assert topics.document_npmi(always, [np.array([0, 1])]) == 0


def test_authors_npmi_by_hand():
    # X'X has the products of counts: (0, 1) is 2*1 + 1*3 = 5 and all of it sums to sum_i n_i^2.
    joint = np.log(5 / (9 + 25 + 25 + 4) + 1e-6)
    single = np.log(4 / 15 + 1e-6) + np.log(4 / 15 + 1e-6)
    value = topics.authors_npmi(CORPUS, [np.array([0, 1])])
    assert value == pytest.approx((joint - single) / -joint)
    assert np.isfinite(topics.authors_npmi(0 * CORPUS, [np.array([0, 1])]))


def test_diversity():
    same, apart = [np.array([0, 1])] * 4, [np.array([0, 1]), np.array([2, 3])]
    assert topics.diversity(same, 2) == 0.25
    assert topics.diversity(apart, 2) == 1
    assert topics.diversity([np.array([0, 1]), np.array([], dtype=int)], 2) == 0.5


# Classification


def test_accuracy_of_separated_and_constant_codes(rng):
    classes = np.repeat(["a", "b", "c"], [60, 30, 10])
    codes = np.eye(3)[[0] * 60 + [1] * 30 + [2] * 10] + 0.01 * rng.normal(size=(100, 3))
    assert labels.accuracy(codes, classes, codes, classes) == 1
    assert labels.cross_validated_accuracy(codes, classes) == 1
    assert labels.accuracy(0 * codes, classes, 0 * codes, classes) == 0.6
    assert labels.cross_validated_accuracy(0 * codes, classes) == pytest.approx(0.6)


def test_accuracy_takes_rare_and_single_labels(rng):
    codes = rng.normal(size=(12, 2))
    assert labels.accuracy(codes, np.full(12, 1), codes, np.arange(12) % 4) == 0.25
    classes = np.array(["common"] * 11 + ["rare"])
    assert 0.8 < labels.cross_validated_accuracy(codes, classes) < 1
    assert labels.cross_validated_accuracy(codes, np.arange(12)) == 0
