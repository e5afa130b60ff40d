"""The sparse VAE, the VAE and the beta-VAE: mathematics, invariances, planted truth."""

import importlib
import json
import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deep_cases import AS_THEY_ARE, SMALL, a_batch, a_state, data, gaussian_data, topic_counts
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis

from anchorbench.models import nets
from anchorbench.models.base import VAE, DeepGenerative
from anchorbench.models.training import Diverged, train
from anchorbench.study.plugins import discover, load

pytestmark = pytest.mark.usefixtures("one_thread")


def meta(name):
    return discover("methods")[name].meta


def build(name, protocol, likelihood="gaussian", n_latent=3, seed=0, **params):
    chosen = meta(name)["params"] | meta(name)["protocols"][protocol] | SMALL | AS_THEY_ARE
    chosen |= params
    return load(discover("methods")[name]).build(likelihood, n_latent, seed, **chosen)


def planted(n, seed):
    """Equation 9 at rho = 0."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    mean = np.stack([a, 2 * a, 3 * a**2, 4 * b, 5 * b, 6 * np.sin(b), 7 * a * b], 1)
    return mean + 0.5 * rng.standard_normal(mean.shape), np.stack([a, b], 1)


# Contracts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse_vae", "vae", "beta_vae"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_shapes_ranges_and_round_trip(name, protocol, likelihood, tmp_path):
    X = data(likelihood)
    model = build(name, protocol, likelihood, seed=4).fit(X)
    Z = model.transform(X)
    mean, sd = model.posterior(X)
    assert Z.shape == mean.shape == sd.shape == (70, 3)
    assert (sd > 0).all()
    expected = model.inverse_transform(Z)
    assert expected.shape == model.reconstruct(X).shape == X.shape
    if likelihood == "multinomial":
        np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-5)
    assert model.loadings_.shape == (X.shape[1], 3)
    assert hasattr(model, "support_") == (name == "sparse_vae")
    assert model.log_prob(X, Z).shape == model.elbo(X).shape == model.log_prior(Z).shape == (70,)

    model.save(tmp_path)
    again = build(name, protocol, likelihood, seed=99).load(tmp_path)
    assert again.get_params() == model.get_params()
    for what in ("transform", "reconstruct", "elbo"):
        assert np.array_equal(getattr(again, what)(X), getattr(model, what)(X))
    assert np.array_equal(again.loadings_, model.loadings_)
    assert again.n_parameters_ == model.n_parameters_ > 0
    json.loads((tmp_path / "model.json").read_text())


def test_scikit_learn_can_clone_it_and_unfitted_use_is_refused():
    model = build("sparse_vae", "corrected", lambda0=7.0)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        model.transform(np.zeros((2, 6)))


def test_a_wrong_word_and_a_foreign_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="kl_reduction 'max': use one of sum, mean"):
        build("vae", "corrected", kl_reduction="max").fit(gaussian_data())
    with pytest.raises(ValueError, match="scale_fix"):
        build("sparse_vae", "corrected", scale_fix="rows").fit(gaussian_data())
    build("vae", "corrected").fit(gaussian_data()).save(tmp_path)
    with pytest.raises(ValueError, match="holds a VAE, not a SparseVAE"):
        build("sparse_vae", "corrected").load(tmp_path)


def test_parameter_count_is_the_architectures():
    G, H, K = 6, 9, 3
    encoder = (G * H + H) + (H * H + H) + 2 * (H * K + K)
    decoder = K * H + (H * H + H) + (H * G + G)
    assert build("vae", "corrected").fit(gaussian_data()).n_parameters_ == encoder + decoder + G
    sparse = build("sparse_vae", "published").fit(gaussian_data())
    assert sparse.n_parameters_ == encoder + decoder + G + G * K


def test_bfloat16_products_move_scores_less_than_another_seed_does():
    """Held-out error and bound of six replicates, paired; sd over replicates is the yardstick."""
    test, seeds = planted(500, 99)[0], range(6)
    scores = []
    for precision in ("float32", "bfloat16"):
        settings = {"n_hidden": 50, "epochs": 40, "batch_size": 100, "precision": precision}
        model = build("sparse_vae", "corrected", n_latent=5, **settings)
        fitted = model.fit_many([planted(500, seed)[0] for seed in seeds], seeds)
        errors = [np.square(test - m.inverse_transform(m.transform(test))).mean() for m in fitted]
        scores.append(np.array([errors, [m.elbo(test).mean() for m in fitted]]))
    exact, rounded = scores
    assert not np.array_equal(exact, rounded)
    moved = np.abs((rounded - exact).mean(1))
    assert (moved < exact.std(1, ddof=1)).all(), (moved, exact)


def test_the_two_protocols_differ_exactly_where_the_released_code_does():
    protocols = meta("sparse_vae")["protocols"]
    published = meta("sparse_vae")["params"] | protocols["published"]
    corrected = meta("sparse_vae")["params"] | protocols["corrected"]
    differing = {name for name in published if published[name] != corrected[name]}
    assert differing == {
        "lambda0", "penalty_step", "lambda0_ladder", "exact_responsibility", "scale_fix",
        "decoder_weight_prior", "support_rule", "kl_reduction", "kl_warmup", "likelihood_reduction",
        "prior_scale", "reconstruct_from", "probability_epsilon", "feature_scaling",
    }  # fmt: skip
    X = gaussian_data()
    first, second = (build("sparse_vae", p).fit(X).transform(X) for p in ("published", "corrected"))
    assert not np.allclose(first, second)


def test_beta_multiplies_the_kl_and_the_unpassed_beta_is_one():
    assert build("beta_vae", "corrected", beta=4).full_kl_weight() == 4
    assert build("beta_vae", "published", beta_passed=False).full_kl_weight() == 1
    shift = meta("beta_vae")["settings"]["peerread_shift"]["published"]
    assert shift == {"beta_passed": False}


# The objective ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse_vae", "vae"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
@pytest.mark.parametrize("covariance", ["identity", "low_rank", "full"])
def test_gradients_reach_every_parameter(name, protocol, likelihood, covariance):
    X = data(likelihood)
    model = build(name, protocol, likelihood, prior_covariance=covariance, n_hidden=20)
    s, names = a_state(model, X)
    model.loss(s, a_batch(model, X, 16)).sum().backward()
    for parameter in names:
        gradient = getattr(s, parameter).grad
        assert gradient is not None, parameter
        assert gradient.abs().max() > 0, parameter


def test_published_objective_written_out():
    """Minus everything the released code adds up, in its own reductions."""
    X, B = gaussian_data(), 16
    model = build("sparse_vae", "published", batch_size=B)
    s, _ = a_state(model, X)
    batch = a_batch(model, X, B)
    x, G = batch.x[0], X.shape[1]
    q = model.encode(s, batch.x)
    mean, logvar = q.mean[0], q.logvar[0]
    z = mean + (0.5 * logvar).exp() * batch.noise[0]
    u = torch.stack(
        [
            torch.relu(torch.relu(s.W[0, j] * z @ s.H1[0].T) @ s.H2[0].T + s.b2[0]) @ s.heads[0, j]
            + s.head_bias[0, j]
            for j in range(G)
        ],
        1,
    )
    sigma = s.log_sigma[0].exp()
    reconstruction = 0.5 * ((x - u) / sigma).square().mean()
    kl = -0.5 * (1 + logvar - mean.square() - logvar.exp()).mean()
    slab = 0.5 * 1.0 + 0.5 * 10.0
    selector = slab * s.W.abs().sum() / B
    noise = (B + 5) * s.log_sigma.sum() + 1.5 * s.xi[0] * (1 / sigma**2).sum()
    torch.testing.assert_close(
        model.loss(s, batch)[0], reconstruction + kl + selector + noise / B, rtol=1e-5, atol=1e-5
    )


def test_corrected_objective_written_out():
    X = gaussian_data()
    model = build("sparse_vae", "corrected", penalty_step="subgradient", lambda0_ladder=0.0)
    s, _ = a_state(model, X)
    batch = a_batch(model, X, 16, progress=0.15)
    q = model.encode(s, batch.x)
    u = model.decode(s, q.mean + (0.5 * q.logvar).exp() * batch.noise)
    density = torch.distributions.Normal(u, s.log_sigma.exp()[:, None]).log_prob(batch.x)
    posterior = torch.distributions.Normal(q.mean, (0.5 * q.logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    bound = density.sum(-1).mean() - 0.5 * kl.sum(-1).mean()  # half way through the warm-up
    priors = 10.5 * s.W.abs().sum()
    priors = priors + sum(0.5 * t.square().sum() for t in (s.H1, s.H2, s.heads))
    priors = priors + 5 * s.log_sigma.sum() + 1.5 * s.xi[0] * torch.exp(-2 * s.log_sigma).sum()
    torch.testing.assert_close(model.loss(s, batch)[0], -bound + priors / len(X))


@pytest.mark.parametrize(
    ("weight", "reduction", "expected"),
    [(1.0, "sum", 1), (1.0, "mean", 1 / 4), ("1/K", "sum", 1 / 4), (2.0, "mean", 0.5)],
)
def test_effective_kl_weight(weight, reduction, expected):
    model = build("vae", "corrected", n_latent=4, kl_weight=weight, kl_reduction=reduction)
    batch = a_batch(model, gaussian_data(), 16, progress=0.9)
    assert float(model.kl_factor(batch)) == pytest.approx(expected)
    assert float(model.kl_factor(a_batch(model, gaussian_data(), 16, progress=0.0))) == 0


@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_masks_of_ones_and_no_penalty_are_the_plain_vae(protocol, likelihood):
    X = data(likelihood)
    plain = {"penalty": "none", "decoder_weight_prior": False}
    sparse = build("sparse_vae", protocol, likelihood, **plain)
    dense = build("vae", protocol, likelihood)
    s, names = a_state(sparse, X, dtype=torch.float64)
    s.W.data.fill_(1.0)
    shared = [getattr(s, name) for name in sorted(names - {"W"})]
    batch = a_batch(sparse, X, 16, progress=0.15, dtype=torch.float64)
    losses = [model.loss(s, batch) for model in (sparse, dense)]
    torch.testing.assert_close(*losses, rtol=1e-10, atol=0)
    gradients = [torch.autograd.grad(loss.sum(), shared) for loss in losses]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sparse_vae", {"kl_weight": 0.0, "penalty": "none", "decoder_weight_prior": False}),
        ("vae", {"kl_weight": 0.0}),
        ("beta_vae", {"beta": 0.0}),
    ],
)
@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_without_kl_it_is_an_autoencoder_with_noise(name, params, protocol, likelihood):
    X, B = data(likelihood), 16
    density = {"likelihood_reduction": "sum", "probability_epsilon": 0.0}
    model = build(name, protocol, likelihood, **density, **params)
    s, _ = a_state(model, X, dtype=torch.float64)
    batch = a_batch(model, X, B, dtype=torch.float64)
    q = model.encode(s, batch.x)
    u = model.decode(s, q.mean + (0.5 * q.logvar).exp() * batch.noise)[0]
    if likelihood == "gaussian":
        sigma = s.log_sigma[0].exp()
        rows = torch.distributions.Normal(u, sigma).log_prob(batch.x[0]).sum(-1)
        noise_prior = (5 * s.log_sigma[0] + 1.5 * s.xi[0] / sigma**2).sum()
        expected = -rows.mean() + noise_prior / (B if protocol == "published" else len(X))
    else:
        expected = -(batch.x[0] * (u - u.logsumexp(-1, keepdim=True))).sum(-1).mean()
    torch.testing.assert_close(model.loss(s, batch)[0], expected, rtol=1e-12, atol=0)


def test_rescaling_leaves_the_function_and_gives_unit_columns():
    X = gaussian_data()
    model = build("sparse_vae", "corrected", penalty="none")
    s, _ = a_state(model, X)
    batch = a_batch(model, X, 16)
    z = torch.randn(1, 5, 3)
    with torch.no_grad():
        before = model.decode(s, z)
        model.after_step(s, batch, step=None)
        torch.testing.assert_close(model.decode(s, z), before)
        torch.testing.assert_close(s.H1[0].norm(dim=0), torch.ones(3))


@pytest.mark.parametrize("rates", [{"lambda0": 0.0}, {"lambda1": 0.0}, {"lambda1": -1.0}])
def test_rates_that_make_no_spike_and_slab_are_refused(rates):
    model = build("sparse_vae", "corrected", **rates)
    with pytest.raises(ValueError, match='both must be positive; use penalty="none"'):
        model.fit(gaussian_data())
    if min(rates.values()) == 0:
        assert build("sparse_vae", "corrected", penalty="none", **rates).fit(gaussian_data())


def test_lambda0_climbs_its_ladder():
    model = build("sparse_vae", "corrected", lambda0=21.0, lambda1=1.0, lambda0_ladder=0.8)
    X = gaussian_data()
    climbed = [float(model.spike(a_batch(model, X, 16, progress=p))) for p in (0.0, 0.4, 0.8, 1.0)]
    assert climbed == pytest.approx([1, 11, 21, 21])


@pytest.mark.parametrize("penalty", ["ssl", "l1", "group_lasso"])
def test_a_huge_penalty_zeroes_every_selector_exactly(penalty):
    model = build("sparse_vae", "corrected", penalty=penalty, lambda1=1e5, lambda0=2e5)
    model.fit(gaussian_data())
    assert (model.loadings_ == 0).all()
    assert not model.support_.any()


def test_the_subgradient_leaves_no_exact_zero():
    model = build("sparse_vae", "corrected", penalty_step="subgradient").fit(gaussian_data())
    assert (model.loadings_ != 0).all()


def test_published_training_is_the_plain_loop_step_by_step(monkeypatch):
    """Adam, minibatches, E-step: the same steps as a loop over one model in plain torch."""
    X, K, G, B = planted(110, 4)[0], 5, 7, 50
    sizes = {"batch_size": B, "epochs": 8, "learning_rate": 0.01}
    model = build("sparse_vae", "published", n_latent=K, **sizes)
    seen = []
    take_step = type(model).after_step

    def record(self, s, batch, step):
        take_step(self, s, batch, step)
        seen.append((batch, s.W[0].detach().clone(), s.p_star[0].clone(), s.eta[0].clone()))

    monkeypatch.setattr(type(model), "after_step", record)
    rows = torch.tensor(X, dtype=torch.float32)
    train(model, [rows], [7], torch.device("cpu"), 1)
    assert len(seen) == 8 * 3

    start, others = model.initialise(rows, torch.Generator().manual_seed(7))
    t = SimpleNamespace(**{name: value.clone().requires_grad_() for name, value in start.items()})
    optimiser = torch.optim.Adam(vars(t).values(), lr=model.learning_rate)
    p_star, eta, linear = others["p_star"], others["eta"], torch.nn.functional.linear
    for batch, W, seen_p_star, seen_eta in seen:
        real = batch.weight[0] > 0
        x, noise = batch.x[0][real], batch.noise[0][real]
        h = torch.relu(linear(x, t.encoder1_weight, t.encoder1_bias))
        h = torch.relu(linear(h, t.encoder2_weight, t.encoder2_bias))
        mean = linear(h, t.mean_weight, t.mean_bias)
        logvar = linear(h, t.logvar_weight, t.logvar_bias)
        z = mean + (0.5 * logvar).exp() * noise
        columns = []
        for j in range(G):
            h = torch.relu(linear(torch.relu(linear(z * t.W[j], t.H1)), t.H2, t.b2))
            columns.append(h @ t.heads[j] + t.head_bias[j])
        error = (x - torch.stack(columns, 1)) / t.log_sigma.exp()
        loss = 0.5 * error.square().mean()
        loss = loss - 0.5 * (1 + logvar - mean.square() - logvar.exp()).mean()
        loss = loss + ((p_star + 10 * (1 - p_star)) * t.W.abs()).sum() / B
        noise_prior = 1.5 * others["xi"] * torch.exp(-2 * t.log_sigma).sum()
        loss = loss + ((B + 5) * t.log_sigma.sum() + noise_prior) / B
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            slab, spike = torch.exp(-t.W.abs()), torch.exp(-10 * t.W.abs())
            p_star = eta * slab / (eta * slab + (1 - eta) * spike)
            eta = p_star.sum(0) / (2 * G - 1)
        torch.testing.assert_close(t.W.detach(), W, atol=2e-5, rtol=0)
        torch.testing.assert_close(p_star, seen_p_star, atol=2e-5, rtol=0)
        torch.testing.assert_close(eta, seen_eta, atol=2e-5, rtol=0)


# Invariances --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse_vae", "vae"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_a_block_changes_no_bit(name, protocol, likelihood):
    Xs = [data(likelihood, n, n) for n in (70, 41, 83, 70, 52)]
    seeds = [3, 1, 4, 1, 5]
    models = build(name, protocol, likelihood).fit_many(Xs, seeds)
    for X, seed, together in zip(Xs, seeds, models, strict=True):
        alone = build(name, protocol, likelihood, seed=seed).fit(X)
        assert together.seed == seed
        assert alone.state_.keys() == together.state_.keys()
        for key, value in alone.state_.items():
            assert torch.equal(value, together.state_[key]), key


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_order_of_features_moves_features_alone(likelihood):
    X = data(likelihood)
    model = build("sparse_vae", "corrected", likelihood).fit(X)
    order = np.random.default_rng(1).permutation(X.shape[1])
    Z = np.random.default_rng(0).standard_normal((len(X), 3))
    expected, loadings, support = model.inverse_transform(Z), model.loadings_, model.support_
    log_prob, elbo = model.log_prob(X, Z), model.elbo(X)
    for name in ("W", "heads", "head_bias", "log_sigma", "effect"):
        if name in model.state_:
            model.state_[name] = model.state_[name][order]
    model.state_["encoder1_weight"] = model.state_["encoder1_weight"][:, order]
    np.testing.assert_allclose(model.inverse_transform(Z), expected[:, order], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.loadings_, loadings[order])
    np.testing.assert_array_equal(model.support_, support[order])
    np.testing.assert_allclose(model.log_prob(X[:, order], Z), log_prob, rtol=1e-5)
    np.testing.assert_allclose(model.elbo(X[:, order]), elbo, rtol=1e-5)
    assert not np.allclose(loadings, loadings[order])


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_order_of_factors_moves_codes_alone(likelihood):
    X = data(likelihood)
    model = build("sparse_vae", "published", likelihood, n_latent=4).fit(X)
    order = np.array([1, 2, 0, 3])
    Z = np.random.default_rng(0).standard_normal((30, 4))
    expected, loadings = model.inverse_transform(Z), model.loadings_
    for name in ("W", "H1"):
        model.state_[name] = model.state_[name][:, order]
    permuted = model.inverse_transform(Z[:, order])
    np.testing.assert_allclose(permuted, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.loadings_, loadings[:, order], rtol=1e-6)
    assert not np.allclose(model.inverse_transform(Z), expected, atol=1e-3)


def test_seeds_make_the_run():
    X = gaussian_data()
    codes = [build("vae", "corrected", seed=s).fit(X).transform(X) for s in (1, 1, 2)]
    assert np.array_equal(codes[0], codes[1])
    assert not np.allclose(codes[0], codes[2])


def test_nan_diverges_alone_and_is_raised_by_fit():
    bad = gaussian_data()
    bad[2, 1] = math.nan
    good = gaussian_data(seed=2)
    outcomes = build("sparse_vae", "corrected").fit_many([bad, good], [1, 2])
    assert isinstance(outcomes[0], Diverged)
    alone = build("sparse_vae", "corrected", seed=2).fit(good)
    assert np.array_equal(outcomes[1].transform(good), alone.transform(good))
    with pytest.raises(Diverged, match="not finite"):
        build("sparse_vae", "corrected").fit(bad)


def test_evaluation_in_chunks_is_evaluation_at_once(monkeypatch):
    X = gaussian_data()
    model = build("sparse_vae", "corrected").fit(X)
    whole = model.transform(X), model.elbo(X)
    monkeypatch.setattr(
        importlib.import_module("anchorbench.models.base"), "EVALUATION_FLOATS", 500
    )
    np.testing.assert_allclose(model.transform(X), whole[0], atol=1e-5)
    np.testing.assert_allclose(model.elbo(X), whole[1], rtol=1e-4)


# Planted truth ------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class LinearVAE(DeepGenerative):
    """x = H z + b: its maximum likelihood is factor analysis."""

    def init_decoder(self, generator, n_features):
        weight, bias = nets.linear_init(generator, n_features, self.n_latent)
        return {"heads": weight, "head_bias": bias}, {}

    def decode(self, s, z):
        return nets.linear(z, s.heads, s.head_bias)


def test_a_linear_decoder_reaches_the_likelihood_of_factor_analysis():
    X = gaussian_data(500, seed=3)
    model = LinearVAE("gaussian", 2, 0, n_hidden=20, epochs=150, batch_size=100).fit(X)
    best = FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(X).score(X)
    s = {name: t.double() for name, t in model.state_.items()}
    covariance = s["heads"] @ s["heads"].T + torch.diag(torch.exp(2 * s["log_sigma"]))
    marginal = torch.distributions.MultivariateNormal(s["head_bias"], covariance)
    reached = marginal.log_prob(torch.tensor(X)).numpy()
    assert best - 0.1 < reached.mean() <= best + 1e-6
    assert best - 0.2 < model.elbo(X).mean() <= reached.mean() + 0.02


@pytest.mark.parametrize(
    ("name", "likelihood", "covariance"),
    [
        ("vae", "gaussian", "identity"),
        ("vae", "gaussian", "full"),
        ("vae", "multinomial", "low_rank"),
        ("sparse_vae", "gaussian", "low_rank"),
        ("sparse_vae", "multinomial", "identity"),
        ("sparse_vae", "multinomial", "full"),
    ],
)
def test_the_elbo_stays_below_the_importance_weighted_bound(name, likelihood, covariance):
    X = gaussian_data(150) if likelihood == "gaussian" else topic_counts(150)
    params = {"prior_covariance": covariance, "epochs": 30, "learning_rate": 0.03}
    if name == "sparse_vae":
        params |= {"lambda0": 5.0, "lambda1": 0.1}
    model = build(name, "corrected", likelihood, **params).fit(X)
    rng, (mean, sd) = np.random.default_rng(0), model.posterior(X)
    weights, divergences = [], []
    for _ in range(200):
        noise = rng.standard_normal(mean.shape)
        Z = mean + sd * noise
        log_q = -0.5 * (noise**2 + np.log(2 * np.pi)).sum(1) - np.log(sd).sum(1)
        divergences.append(log_q - model.log_prior(Z))
        weights.append(model.log_prob(X, Z) - divergences[-1])
    iwae = np.logaddexp.reduce(weights, 0) - np.log(len(weights))
    assert np.mean(divergences) > 0.5  # else the bounds are equal, whatever the code does
    assert model.elbo(X).mean() < iwae.mean()
    assert model.elbo(X).mean() == pytest.approx(np.mean(weights), abs=0.1)


@pytest.mark.parametrize("covariance", ["low_rank", "full"])
def test_a_learned_prior_finds_the_factors_correlation(covariance):
    """The KL is least where the prior's covariance is the second moment of all posteriors.

    With some seeds a factor collapses, which leaves nothing to correlate with; not with this one.
    """
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 600)
    X = np.repeat(z, 3, axis=1) + 0.2 * rng.standard_normal((600, 6))
    params = {"prior_covariance": covariance, "n_hidden": 20, "epochs": 60, "batch_size": 100}
    model = build("sparse_vae", "corrected", n_latent=2, seed=2, **params).fit(X)
    codes, sd = model.posterior(X)
    root = SimpleNamespace(prior_root=model.state_["prior_root"][None])
    prior = model.covariance(root)[0].numpy()
    moment = codes.T @ codes / len(X) + np.diag((sd**2).mean(0))
    learned, aggregate = (S[0, 1] / np.sqrt(S[0, 0] * S[1, 1]) for S in (prior, moment))
    assert abs(np.corrcoef(codes.T)[0, 1]) > 0.5
    assert abs(learned - aggregate) < 0.1


def test_sparse_vae_recovers_planted_factors_and_prunes():
    held_out, Z = planted(500, 99)
    params = {"n_hidden": 50, "epochs": 120, "batch_size": 100, "learning_rate": 0.01}
    estimator = build("sparse_vae", "corrected", n_latent=5, **params)
    worst = []
    for model in estimator.fit_many([planted(500, seed)[0] for seed in range(4)], range(4)):
        error = ((model.reconstruct(held_out) - held_out) ** 2).mean()
        assert error < 1.5  # the mean alone gives 18.6, the true decoder 0.25
        correlations = np.corrcoef(Z.T, model.transform(held_out).T)[:2, 2:]
        worst.append(np.nan_to_num(np.abs(correlations)).max(1).min())
        zero = model.loadings_ == 0
        assert 7 <= zero.sum() <= 27
        assert not model.support_[zero].any()
    assert np.median(worst) > 0.85


def test_training_improves_counts():
    X = topic_counts(300)
    params = {"n_hidden": 20, "epochs": 25, "batch_size": 50}
    model = build("sparse_vae", "published", "multinomial", lambda1=0.01, lambda0=5.0, **params)
    fitted = model.fit(X).reconstruct(X)
    popularity = np.tile(X.mean(0) / X.mean(0).sum(), (len(X), 1))
    nll = [-(X * np.log(p + 1e-6)).sum(1).mean() for p in (fitted, popularity)]
    assert nll[0] < 0.8 * nll[1]


def test_loadings_of_the_vae_are_its_decoders_slopes():
    X = gaussian_data(200)
    model = VAE("gaussian", 2, 0, n_hidden=20, epochs=20, batch_size=50).fit(X)
    z = torch.tensor(model.transform(X), dtype=torch.float32)
    s = SimpleNamespace(**{name: t[None] for name, t in model.state_.items()})
    jacobian = torch.autograd.functional.jacobian(lambda z: model.decode(s, z[None])[0].sum(0), z)
    np.testing.assert_allclose(
        model.loadings_, jacobian.abs().mean(1).numpy(), rtol=0.15, atol=0.02
    )


def test_sparse_loadings_do_not_depend_on_how_scale_is_shared():
    model = build("sparse_vae", "published").fit(gaussian_data())
    before = model.loadings_
    model.state_["W"] *= 4
    model.state_["H1"] /= 4
    np.testing.assert_allclose(model.loadings_, before, rtol=1e-6)


def test_the_template_is_a_method():
    path = discover("methods")["vae"].path.parent / "_template.py"
    spec = importlib.util.spec_from_file_location("template", path)
    template = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(template)
    X = gaussian_data()
    model = template.build("gaussian", 2, 0, **template.METHOD["params"])
    codes = model.fit(X).transform(X)
    assert codes.shape == (70, 2)
    assert model.inverse_transform(codes).shape == X.shape
    assert "_template" not in discover("methods")


def test_plugins_load_by_path():
    module = load(discover("methods")["sparse_vae"])
    assert meta("sparse_vae") == module.METHOD
    model = module.build("gaussian", 2, 0, epochs=2).fit(gaussian_data())
    assert model.transform(gaussian_data()).shape == (70, 2)


def test_loadings_are_of_rows_from_the_whole_file(monkeypatch):
    """A file may be sorted by kind: here all of its second half is far from the first."""
    X = np.vstack([gaussian_data(200), gaussian_data(200) + 50])
    taken = []
    monkeypatch.setattr(VAE, "_slope", lambda self, codes: taken.append(codes) or torch.ones(6, 2))
    model = VAE("gaussian", 2, 0, n_hidden=9, epochs=1).fit(X)
    codes = model.transform(X)
    of_second = (codes[200:, None] == taken[0].double().numpy()).all(-1).any(0)
    assert 16 < of_second.sum() < 48 and len(taken[0]) == 64
