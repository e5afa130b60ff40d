"""Metrics of prediction: likelihoods, bounds, completion and ranking."""

import numpy as np
import pytest
from fake_run import Decoder, LinearGaussian, compute, fake_run
from scipy.stats import multivariate_normal, norm


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def test_mse_of_known_errors(rng):
    X = rng.normal(size=(6, 3))
    assert compute("mse", fake_run(test=X, reconstruction=X)) == 0
    assert compute("mse", fake_run(test=X, reconstruction=X + 2)) == pytest.approx(4)


def test_recon_nll_of_counts_is_the_published_form(rng):
    X = rng.integers(0, 4, size=(10, 5)).astype(float)
    P = rng.dirichlet(np.ones(5), size=10)
    values = compute("recon_nll", fake_run(likelihood="multinomial", test=X, reconstruction=P))
    total = -(X * np.log(P + 1e-6)).sum()
    assert values["recon_nll"] == pytest.approx(total / 10)
    assert values["perplexity"] == pytest.approx(np.exp(total / X.sum()))


def test_recon_nll_of_gaussians_has_the_full_density(rng):
    A, sd = rng.normal(size=(4, 2)), np.array([0.5, 1.0, 2.0, 0.1])
    model = LinearGaussian(A, 1.0)
    model.log_prob = lambda X, Z: norm.logpdf(X, Z @ A.T, sd).sum(axis=1)
    X, codes = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    value = compute("recon_nll", fake_run(test=X, codes=codes, model=model))["recon_nll"]
    assert value == pytest.approx(-norm.logpdf(X, codes @ A.T, sd).sum() / 30)
    # Twice the scale of data and noise adds log 2 per feature.
    model.log_prob = lambda X, Z: norm.logpdf(X, 2 * Z @ A.T, 2 * sd).sum(axis=1)
    scaled = compute("recon_nll", fake_run(test=2 * X, codes=codes, model=model))["recon_nll"]
    assert scaled == pytest.approx(value + 4 * np.log(2))


def test_recon_nll_without_log_prob_uses_training_residuals(rng):
    train, test = rng.normal(size=(50, 3)) * [1, 2, 3], rng.normal(size=(9, 3))
    mean_only = Decoder(lambda Z: np.tile(train.mean(axis=0), (len(Z), 1)))
    run = fake_run(
        train=train,
        test=test,
        codes_train=np.zeros((50, 1)),
        reconstruction=np.tile(train.mean(axis=0), (9, 1)),
        model=mean_only,
    )
    expected = -norm.logpdf(test, train.mean(axis=0), train.std(axis=0)).sum() / 9
    assert compute("recon_nll", run)["recon_nll"] == pytest.approx(expected)


# Bounds on a linear Gaussian model, whose likelihood is known


@pytest.fixture
def linear(rng):
    A = np.array([[1.0, 0], [0.5, 0], [0, 2.0], [0, 1.0], [0, 0]])  # orthogonal columns:
    sd = 0.7  # the posterior is diagonal, so N(mean, sd) is exact
    X = rng.normal(size=(300, 2)) @ A.T + sd * rng.normal(size=(300, 5))
    exact = multivariate_normal(np.zeros(5), A @ A.T + sd**2 * np.eye(5)).logpdf(X).mean()
    return A, sd, X, exact


def test_bounds_are_tight_at_the_exact_posterior(linear):
    A, sd, X, exact = linear
    run = fake_run(test=X, model=LinearGaussian(A, sd))
    # All importance weights of a row equal its likelihood: no Monte Carlo error at all.
    assert compute("iwae_nll", run) == pytest.approx(-exact)
    assert compute("elbo", run) == pytest.approx(exact)


def test_iwae_is_within_monte_carlo_error_of_the_likelihood_where_the_elbo_is_loose(linear):
    A, sd, X, exact = linear
    run = fake_run(test=X, model=LinearGaussian(A, sd, inflate=1.5))
    # KL(q || posterior) of two latents with 1.5 times the sd.
    gap = 2 * (0.5 * (1.5**2 - 1) - np.log(1.5))
    elbo, iwae = compute("elbo", run), compute("iwae_nll", run)
    assert elbo == pytest.approx(exact - gap, abs=5 * gap / np.sqrt(300 * 16))
    assert iwae == pytest.approx(-exact, abs=0.02)
    assert elbo <= -iwae


def test_elbo_of_the_model_goes_first(linear):
    A, sd, X, _ = linear
    model = LinearGaussian(A, sd)
    model.elbo = lambda rows: np.arange(len(rows))
    assert compute("elbo", fake_run(test=X, model=model)) == 149.5


def test_iwae_uses_the_prior_of_the_model(linear):
    A, sd, X, exact = linear
    model = LinearGaussian(A / 2, sd)  # with a prior sd of 2 in place of 1
    model.covariance = np.linalg.inv(np.eye(2) / 4 + (A / 2).T @ (A / 2) / sd**2)
    model.log_prior = lambda Z: norm.logpdf(Z, 0, 2).sum(axis=1)
    assert compute("iwae_nll", fake_run(test=X, model=model)) == pytest.approx(-exact)


def test_iwae_takes_the_weights_of_a_model_with_another_posterior(linear):
    A, sd, X, _ = linear
    model = LinearGaussian(A, sd)
    model.log_weights = lambda rows, draws, rng: np.log(np.full((len(rows), draws), 0.25))
    assert compute("iwae_nll", fake_run(test=X, model=model)) == pytest.approx(np.log(4))


def test_one_draw_is_the_sampled_elbo_and_more_draws_tighten(linear):
    from scipy.special import logsumexp

    from anchorbench.scores.prediction import log_weights

    A, sd, X, exact = linear
    model = LinearGaussian(A, sd, inflate=1.5)
    one = log_weights(model, X, 1, np.random.default_rng(0))
    mean, spread = model.posterior(X)
    noise = np.random.default_rng(0).standard_normal((300, 1, 2))[:, 0]
    Z = mean + spread * noise
    sampled = (
        model.log_prob(X, Z) + norm.logpdf(Z).sum(axis=1) - norm.logpdf(Z, mean, spread).sum(axis=1)
    )
    assert one[:, 0] == pytest.approx(sampled)
    many = log_weights(model, X, 50, np.random.default_rng(0))
    bounds = [logsumexp(many[:, :k], axis=1, b=1 / k).mean() for k in (1, 5, 50)]
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[2] == pytest.approx(exact, abs=0.05)


def test_bounded_calls_to_the_model_change_nothing(linear):
    from anchorbench.scores.prediction import CALL_ROWS, log_weights

    A, sd, X, _ = linear
    model, sizes = LinearGaussian(A, sd, inflate=1.5), []
    inner = model.log_prob
    model.log_prob = lambda X, Z: (sizes.append(len(Z)), inner(X, Z))[1]
    weights = log_weights(model, X, 100, np.random.default_rng(0))
    assert weights.shape == (300, 100) and max(sizes) == CALL_ROWS and sum(sizes) == 30_000
    # Rows do not mix: the weights of a row are those of its own likelihood.
    exact = LinearGaussian(A, sd)
    constant = log_weights(exact, X, 100, np.random.default_rng(0))
    assert constant == pytest.approx(np.tile(constant[:, :1], (1, 100)))


# Document completion


def test_completion_scores_the_hidden_half_by_the_seen_one():
    # Two kinds of documents over disjoint words; the code is the kind, seen from any one token.
    X = np.zeros((100, 6))
    X[:50, :3], X[50:, 3:] = 2, 2

    def encode(rows):
        assert (rows.sum(axis=1) == 3).all()
        return (rows[:, 3:].sum(axis=1) > 0)[:, None]

    def decode(kind):
        return np.where(kind, [0, 0, 0, 2, 2, 2], [2, 2, 2, 0, 0, 0])

    model = Decoder(decode, encode)
    values = compute("completion_nll", fake_run(likelihood="multinomial", test=X, model=model))
    assert values["completion_nll"] == pytest.approx(3 * np.log(3), rel=1e-5)
    assert values["completion_perplexity"] == pytest.approx(3, rel=1e-5)


def test_completion_does_not_reward_copying_and_leaves_short_rows_out(rng):
    X = (rng.random((200, 40)) < 0.3).astype(float)
    copy = Decoder(lambda Z: Z, lambda rows: rows)
    uniform = Decoder(lambda Z: np.ones((len(Z), 40)), lambda rows: rows)
    runs = [fake_run(likelihood="multinomial", test=X, model=m) for m in (copy, uniform)]
    copied, flat = (compute("completion_nll", run)["completion_perplexity"] for run in runs)
    assert flat == pytest.approx(40, rel=1e-3)
    assert copied == pytest.approx(1e6)  # no token of a binary row is in both halves
    short = fake_run(likelihood="multinomial", test=np.eye(40), model=uniform)
    assert compute("completion_nll", short)["completion_nll"] == 0


def test_completion_asks_for_the_codes_of_all_rows_in_their_order(rng):
    """A model that knows its rows by their place, such as the oracle, is asked for all of them."""
    X = rng.integers(0, 3, size=(60, 5)).astype(float)
    X[::4] = np.eye(5)[0]  # rows of a single token, which cannot be split
    seen = []
    model = Decoder(lambda Z: np.ones((len(Z), 5)), lambda rows: seen.append(rows.shape) or rows)
    compute("completion_nll", fake_run(likelihood="multinomial", test=X, model=model))
    assert seen == [(60, 5)]


# Ranking


def movies(model, X):
    reconstruction = model.inverse_transform(model.transform(X))
    return fake_run(likelihood="multinomial", test=X, reconstruction=reconstruction, model=model)


def test_copying_the_input_is_perfect_without_fold_in_and_chance_with_it(rng):
    X = (rng.random((400, 60)) < 0.25).astype(float)
    run = movies(Decoder(lambda Z: Z, lambda rows: rows), X)
    assert compute("recall_nofold", run) == {"recall_nofold@5": 1}
    assert compute("ndcg_nofold", run) == pytest.approx({"ndcg_nofold@10": 1})
    recall = compute("recall", run)
    assert list(recall) == ["recall@20", "recall@50", "recall@5"]
    # About 48 unseen items, 3 of them targets, in random order.
    assert recall["recall@20"] == pytest.approx(20 / 48, abs=0.06)
    assert recall["recall@5"] == pytest.approx(5 / 48, abs=0.04)


def test_knowing_the_user_is_perfect_with_fold_in_and_seen_items_are_masked(rng):
    # Two kinds of users, each of whom likes all 10 items of the kind.
    kinds = rng.integers(0, 2, size=50)
    X = np.zeros((50, 20))
    X[kinds == 0, :10], X[kinds == 1, 10:] = 1, 1

    def decode(kind):
        return np.where(kind, np.arange(20) >= 10, np.arange(20) < 10).astype(float)

    model = Decoder(decode, lambda rows: (rows[:, 10:].sum(axis=1) > 0)[:, None])
    run = movies(model, X)
    # 2 items are hidden; were the 8 seen ones not masked, they would fill the top of the list.
    assert compute("recall", run) == pytest.approx(dict.fromkeys(compute("recall", run), 1.0))
    assert compute("ndcg", run) == pytest.approx({"ndcg@100": 1, "ndcg@10": 1})


def test_no_user_with_five_items_scores_zero():
    run = movies(Decoder(lambda Z: Z, lambda rows: rows), np.eye(8))
    assert set(compute("recall", run).values()) == {0}
    assert set(compute("ndcg", run).values()) == {0}
    assert compute("recall_nofold", run)["recall_nofold@5"] == 1


def test_nofold_drops_users_without_items():
    X = np.vstack([np.eye(8), np.zeros((8, 8))])
    run = movies(Decoder(lambda Z: Z, lambda rows: rows), X)
    assert compute("recall_nofold", run)["recall_nofold@5"] == 1
    assert compute("ndcg_nofold", run)["ndcg_nofold@10"] == pytest.approx(1)
