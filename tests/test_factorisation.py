"""Factorisations: today's scikit-learn against the objectives that the paper minimised."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import xlogy
from sklearn.decomposition import NMF, LatentDirichletAllocation

from anchorbench.models.factorisation import NonNegativeFactors, TopicModel


def counts(n=60, width=9, seed=0):
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(width, 0.3), 3)
    shares = rng.dirichlet(np.full(3, 0.3), n)
    return np.array([rng.multinomial(40, p) for p in shares @ topics]).astype(float)


def parts(model, X):
    return model.transform(X), model.model_.components_


def old_objective(X, A, H, alpha):
    """What scikit-learn before 1.2 minimised at alpha, l1_ratio = 0."""
    penalty = 0.5 * alpha * ((A**2).sum() + (H**2).sum())
    return 0.5 * ((X - A @ H) ** 2).sum() + penalty


@pytest.mark.parametrize("alpha", [0.0, 1.0, 20.0])
def test_alpha_has_the_meaning_that_it_had(alpha):
    """A stationary point of the old objective: projected gradients vanish, in A and in H."""
    X = counts()
    model = NonNegativeFactors(3, alpha=alpha, max_iter=20_000)
    model.fit(X)
    A, H = parts(model, X)
    residual = A @ H - X
    for value, gradient in (
        (H, A.T @ residual + alpha * H),
        (A, residual @ H.T + alpha * A),
    ):
        scale = np.abs(X).max() * np.abs(value).max()
        assert np.abs(np.where(value > 0, gradient, np.minimum(gradient, 0))).max() < 0.02 * scale
    assert old_objective(X, A, H, alpha) <= old_objective(X, 1.05 * A, H, alpha)
    assert old_objective(X, A, H, alpha) <= old_objective(X, A, 0.95 * H, alpha)


def test_penalty_of_one_factor_in_closed_form():
    """Rank one: 1/2 |X - s u v'|^2 + alpha s at the best split has s = sigma_1 - alpha."""
    rng = np.random.default_rng(0)
    X = np.outer(rng.uniform(1, 2, 30), rng.uniform(1, 2, 5))
    sigma = np.linalg.svd(X, compute_uv=False)[0]
    for alpha in (0.0, 1.0, 10.0):
        model = NonNegativeFactors(1, alpha=alpha, max_iter=5000).fit(X)
        A, H = parts(model, X)
        assert np.linalg.norm(A) * np.linalg.norm(H) == pytest.approx(sigma - alpha, rel=1e-3)


def test_todays_parameters_are_one_over_the_shape():
    X = counts()
    ours = NonNegativeFactors(3, alpha=1.0, seed=4).fit(X)
    theirs = NMF(3, alpha_W=1 / 9, alpha_H=1 / 60, random_state=4).fit(X)
    np.testing.assert_array_equal(ours.model_.components_, theirs.components_)
    np.testing.assert_array_equal(ours.loadings_, theirs.components_.T)


def test_codes_of_new_rows_minimise_the_old_objective_given_h():
    """A code's penalty is alpha, however many rows are coded at once."""
    model = NonNegativeFactors(3, alpha=5.0, max_iter=5000).fit(counts())
    X = counts(4, seed=1)
    A, H = parts(model, X)
    for x, a in zip(X, A, strict=True):
        best = minimize(
            lambda v, x=x: old_objective(x, v, H, 5.0), np.ones(3), bounds=[(0, None)] * 3
        )
        assert old_objective(x, a, H, 5.0) == pytest.approx(best.fun, rel=1e-3)


def test_kl_loss_is_the_poisson_likelihood():
    """At the optimum of the generalised KL, margins are matched; no other divergence does that."""
    X = counts() + 0.5
    model = NonNegativeFactors(3, loss="kullback-leibler", alpha=0.0, max_iter=5000).fit(X)
    fitted = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(fitted.sum(1), X.sum(1), rtol=1e-3)
    np.testing.assert_allclose(fitted.sum(0), X.sum(0), rtol=1e-2)

    def divergence(Y):
        return (xlogy(X, X / Y) - X + Y).sum()

    frobenius = NonNegativeFactors(3, alpha=0.0, max_iter=5000).fit(X)
    other = np.maximum(frobenius.inverse_transform(frobenius.transform(X)), 1e-9)
    assert divergence(fitted) < divergence(other)
    assert ((X - fitted) ** 2).sum() > ((X - other) ** 2).sum()


def test_shift_moves_columns_with_negative_values_to_zero_and_back():
    X = counts() - np.arange(9) * 3
    low = np.minimum(X.min(0), 0)
    assert (low < 0).any() and (X.min(0) > 0).sum() == 0
    with pytest.raises(ValueError, match="shift: true"):
        NonNegativeFactors(3, shift=False).fit(X)
    shifted = NonNegativeFactors(3, max_iter=2000).fit(X)
    plain = NonNegativeFactors(3, shift=False, max_iter=2000).fit(X - low)
    np.testing.assert_allclose(shifted.loadings_, plain.loadings_)
    expected = plain.inverse_transform(plain.transform(X - low)) + low
    np.testing.assert_allclose(shifted.inverse_transform(shifted.transform(X)), expected)
    below = np.where(low < 0, low - 5, 0)[
        None
    ]  # below everything seen: as if at the smallest value
    np.testing.assert_allclose(shifted.transform(below), shifted.transform(low[None]))


def test_shift_leaves_data_without_negative_values_alone():
    X = counts() + 7.0
    shifted, plain = (NonNegativeFactors(3, shift=on).fit(X) for on in (True, False))
    np.testing.assert_array_equal(shifted.loadings_, plain.loadings_)
    np.testing.assert_array_equal(shifted.offset_, 0)


def test_rank_is_recovered_and_parameters_are_counted():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (50, 3)) @ rng.uniform(0, 1, (3, 8))
    model = NonNegativeFactors(3, alpha=0.0, max_iter=20_000).fit(X)
    assert ((model.inverse_transform(model.transform(X)) - X) ** 2).mean() < 1e-4 * X.var()
    assert model.n_parameters_ == 24 and model.loadings_.shape == (8, 3)


def test_topics_are_scikit_learns_with_its_defaults():
    X = counts()
    ours, theirs = TopicModel(3, seed=2).fit(X), LatentDirichletAllocation(3, random_state=2).fit(X)
    np.testing.assert_array_equal(ours.transform(X), theirs.transform(X))
    topics = theirs.components_ / theirs.components_.sum(1, keepdims=True)
    np.testing.assert_array_equal(ours.loadings_, topics.T)


def test_topic_model_finds_planted_topics_and_gives_probabilities():
    rng = np.random.default_rng(0)
    topics = np.kron(np.eye(3), np.full(4, 0.25))
    X = np.array([rng.multinomial(60, topics[i % 3]) for i in range(150)]).astype(float)
    model = TopicModel(3, max_iter=30).fit(X)
    shares = model.transform(X)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(model.inverse_transform(shares).sum(1), 1)
    best = shares.argmax(1)
    assert {len(set(best[i::3])) for i in range(3)} == {1} and len(set(best)) == 3
    assert np.abs(np.sort(model.loadings_, axis=1)[:, -1] - 0.25).max() < 0.05


def test_it_says_whether_it_had_converged():
    X = np.abs(np.random.default_rng(0).normal(size=(50, 8)))
    assert not NonNegativeFactors(3, max_iter=2).fit(X).converged_
    assert NonNegativeFactors(3, max_iter=5000).fit(X).converged_
