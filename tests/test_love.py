"""LOVE and spike-and-slab lasso factor analysis: closed forms, planted truth, degenerate input."""

import numpy as np
import pytest
from deep_cases import untrained

from anchorbench.data.theory import Design, world
from anchorbench.models import pure_features as love
from anchorbench.models import spike_slab_factors as ssl
from anchorbench.models.linear import maximum_likelihood
from anchorbench.scores.effects import claimed_support
from anchorbench.scores.identification import groups_of_support, pairs_f1
from anchorbench.scores.recovery import correlations, f1, in_true_order, match, matched_mean
from anchorbench.study.plugins import discover, load

README = np.array([[1, 0], [-1, 0], [0, 1], [0, 1], [1 / 3, 2 / 3], [1 / 2, -1 / 2]])
"""Loadings of the example of the authors' R package."""


def drawn(n, seed=0, **dials):
    made = world(Design(n=n, link="linear", **dials), seed)
    Z, _, X = made.draw(n, "train")
    return made, Z, X


# --- LOVE ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_population_covariances_give_the_partition_and_all_loadings(rho):
    C = np.array([[1, rho], [rho, 1]])
    S = README @ C @ README.T
    assert love.equal_groups(S + np.eye(6), 1e-9) == [[0, 1], [2, 3]]
    found = love.block(S, [[0, 1], [2, 3]], scaled=False)
    np.testing.assert_allclose(found.C, C)
    np.testing.assert_allclose(love.other_rows(S, found, 1e-9), README, atol=1e-7)
    np.testing.assert_allclose(love.least_squares_rows(S, found), README, atol=1e-9)
    assert love.split_loss(S, README, C, list(range(6))) < 1e-12


def test_scaled_entries_are_found_from_correlations():
    A = README * np.array([[1, 0.5, 2, 1, 1, 1]]).T
    S = A @ np.array([[1, 0.4], [0.4, 1]]) @ A.T + 0.3 * np.eye(6)
    sd = np.sqrt(np.diag(S))
    R = S / np.outer(sd, sd)
    assert love.scaled_groups(R, 1e-7) == [[0, 1], [2, 3]]
    scores = love.proportional_scores(R)
    assert scores[0, 1] < 1e-7 and scores[0, 2] > 0.01 and scores[0, 4] > 0.01
    found = love.block(R, [[0, 1], [2, 3]], scaled=True)
    np.testing.assert_allclose(found.entries[:4], A.sum(1)[:4] / sd[:4], atol=1e-9)
    np.testing.assert_allclose(found.C[0, 1], 0.4, atol=1e-9)


@pytest.mark.parametrize(("c", "exact"), [(0.8, True), (1.6, False)])
def test_the_covariance_rule_needs_dominant_anchors(c, exact):
    for seed in range(5):
        made, _, _ = drawn(10, seed, dominance=c, rho=0.6)
        A = made.expected(np.eye(4)).T
        S = A @ (0.4 * np.eye(4) + 0.6) @ A.T
        groups = [set(group) for group in love.equal_groups(S, 1e-9)]
        truth = [{2 * k, 2 * k + 1} for k in range(4)]
        assert (groups == truth) is exact


def f1_of(found, made):
    return pairs_f1(found.anchors_, groups_of_support(made.support))


def test_with_many_rows_each_rule_finds_its_own_anchors_and_their_number():
    made, Z, X = drawn(10_000, rho=0.5)
    equal = love.Love(n_latent=6, anchors="equal").fit(X)
    assert f1_of(equal, made) == 1 and equal.n_groups_ == 4
    codes = equal.transform(X)
    assert matched_mean(correlations(codes, Z)) > 0.97
    assert not codes[:, 4:].any() and not equal.loadings_[:, 4:].any()
    np.testing.assert_allclose(np.abs(equal.phi_[0, 1:4]), 0.5, atol=0.06)
    np.testing.assert_allclose(equal.noise_variance_, 0.3**2, rtol=0.5)
    made, _, X = drawn(10_000, rho=0.5, form="scaled")
    scaled = love.Love(n_latent=6, anchors="scaled").fit(X)
    assert f1_of(scaled, made) > 0.85 > 0.8 > f1_of(love.Love(n_latent=6).fit(X), made)
    rescaled = love.Love(n_latent=6, anchors="scaled").fit(X * np.arange(1, 25))
    np.testing.assert_array_equal(scaled.anchors_, rescaled.anchors_)


def test_fewer_codes_keep_the_largest_groups_and_all_anchors():
    made, _, X = drawn(3000, anchors=3)
    few = love.Love(n_latent=2).fit(X)
    assert set(few.anchors_) == {-1, 0, 1, 2, 3} and few.n_groups_ == 4 and f1_of(few, made) > 0.7
    assert few.transform(X).shape == (3000, 2) and few.loadings_.any(axis=0).all()


def test_no_pure_feature_and_unknown_words_get_a_sentence():
    noise = np.random.default_rng(0).standard_normal((200, 6))
    with pytest.raises(ValueError, match="no feature is pure"):
        love.Love(n_latent=2, anchors="scaled", c=1.1).fit(noise)
    with pytest.raises(ValueError, match="use equal or scaled"):
        love.Love(anchors="same").fit(noise)
    built = load(discover("methods")["love"]).build("gaussian", 3, 0, anchors="equal", c=None)
    assert built.n_latent == 3


# --- spike-and-slab lasso ------------------------------------------------------------------------


def test_a_row_is_soft_thresholded_where_codes_are_orthogonal():
    cross = np.array([[3.0], [-0.5], [0.2]])
    B = ssl.lasso_rows(np.zeros((3, 1)), cross, np.array([[2.0]]), np.full((3, 1), 0.4))
    np.testing.assert_allclose(B, [[1.3], [-0.05], [0.0]])


def test_slab_probabilities_are_bayes_rule():
    B, theta = np.array([[0.0, 0.3], [1.0, -0.3]]), np.array([0.5, 0.2])
    slab = theta * 0.05 * np.exp(-0.1 * np.abs(B))
    spike = (1 - theta) * 10 * np.exp(-20 * np.abs(B))
    np.testing.assert_allclose(ssl.slab_probability(B, theta, 20.0, 0.1), slab / (slab + spike))


def standard(X):
    return (X - X.mean(0)) / X.std(0)


def test_without_a_penalty_the_marginal_covariance_is_that_of_maximum_likelihood():
    X = standard(drawn(1000)[2])
    model = ssl.SpikeSlabFactors(
        n_latent=4, spikes=[1e-6], slab=1e-6, max_iter=3000, tolerance=1e-7
    )
    model.columns_ = None
    B, _, noise = model.estimate(X)
    L, psi, _ = maximum_likelihood(X, 4)
    np.testing.assert_allclose(B @ B.T + np.diag(noise), L @ L.T + np.diag(psi), atol=3e-3)


def test_expansion_leaves_the_expanded_models_covariance_and_steps_without_it_climb():
    X = standard(drawn(500)[2])
    n, XX = len(X), X.T @ X
    B = np.random.default_rng(0).standard_normal((24, 4))
    start = ssl.Fit(B, B, np.ones(24), np.full(4, 0.5), np.full((24, 4), 0.5))
    step = ssl.em_step(start, XX, n, 5.0, 0.1, expand=True)
    M = np.linalg.inv(B.T @ B + np.eye(4))
    second = M @ B.T @ XX @ B @ M / n + M
    shares = ssl.slab_probability(B, start.theta, 5.0, 0.1).sum(0)
    order = np.argsort(-shares, kind="stable")
    np.testing.assert_allclose(
        step.expanded @ step.expanded.T, step.B @ second[np.ix_(order, order)] @ step.B.T, atol=1e-6
    )
    model, values = ssl.SpikeSlabFactors(n_latent=4, spikes=[5.0]), []
    fit = start
    for _ in range(30):
        fit = ssl.em_step(fit, XX, n, 5.0, 0.1, expand=False)
        fit.theta = np.full(4, 0.5)  # the step of theta is a rule of its own
        values.append(model.objective(fit, XX, n))
    assert (np.diff(values) > -1e-6 * np.abs(values[0])).all() and values[-1] > values[0]


def test_planted_loadings_are_found_from_the_varimax_start():
    matched_to, overlap = [], []
    for seed in range(3):
        made, Z, X = drawn(500, seed, rho=0.0)
        model = ssl.SpikeSlabFactors(n_latent=5, seed=seed).fit(X)
        similarity = correlations(model.transform(X), Z)
        support, extra = in_true_order(
            claimed_support(model.support_, model.loadings_), match(similarity)
        )
        matched_to.append(matched_mean(similarity))
        overlap.append(f1(support, made.support, int(extra.sum())))
    assert min(matched_to) > 0.97 and np.mean(overlap) > 0.93


def test_random_starts_pick_the_best_and_unknown_starts_are_refused():
    X = drawn(300, rho=0.0)[2]
    model = ssl.SpikeSlabFactors(n_latent=4, start="random", n_starts=3).fit(X)
    scaled = model.columns_.standard(X)
    n, XX = len(X), scaled.T @ scaled
    fits = [model._climb(start, XX, n) for start in model._starts(scaled)]
    values = [model.objective(fit, XX, n) for fit in fits]
    assert len(set(np.round(values, 3))) > 1
    best = fits[int(np.argmax(values))]
    np.testing.assert_allclose(model.loadings_, best.B * model.columns_.sd[:, None])
    with pytest.raises(ValueError, match="use varimax or random"):
        ssl.SpikeSlabFactors(start="pca").fit(X)


def test_the_last_rung_says_whether_it_had_converged():
    X = drawn(300)[2]
    assert not ssl.SpikeSlabFactors(n_latent=4, max_iter=1).fit(X).converged_
    assert ssl.SpikeSlabFactors(n_latent=4, max_iter=3000).fit(X).converged_


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("ssl_fa", {"spikes": []}, r"spikes \[\]: give a list of numbers above 0"),
        ("ssl_fa", {"spikes": 5.0}, r"spikes 5.0: give a list"),
        ("ssl_fa", {"spikes": [1.0, "2"]}, "give a list of numbers"),
        ("ssl_fa", {"slab": 0}, "slab 0: give a number above 0"),
        ("ssl_fa", {"tolerance": float("nan")}, "tolerance nan"),
        ("ssl_fa", {"start": "random", "n_starts": 0}, "n_starts 0"),
        ("love", {"c": "0.3"}, "c '0.3': give a number above 0"),
        ("love", {"c": -1}, "c -1: give a number above 0"),
    ],
)
def test_parameters_out_of_range_get_a_sentence(name, params, message):
    with pytest.raises(ValueError, match=message):
        untrained(name, "gaussian", 4, 0, **params).fit(drawn(300)[2])
