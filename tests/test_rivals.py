"""Rivals of the sparse VAE, each against its own source: penalties, limits, closed forms."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deep_cases import (
    AS_THEY_ARE,
    SMALL,
    a_batch,
    a_state,
    count_data,
    data,
    gaussian_data,
    topic_counts,
    untrained,
)
from scipy.special import logsumexp
from scipy.stats import norm

from anchorbench.models.state import State
from anchorbench.models.training import Diverged
from anchorbench.scores.prediction import log_weights
from anchorbench.scores.recovery import correlations, matched_mean
from anchorbench.study.plugins import discover, is_for, load

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = discover("methods")
DEEP = ["tc_vae", "dip_vae", "jl1_vae", "additive_vae", "ldvae", "sparse_ldvae", "mult_vae"]
DEEP += ["mixture_vae", "prodlda"]


def build(name, likelihood="gaussian", n_latent=3, seed=0, **params):
    known = METHODS[name].meta["params"]
    chosen = known | {k: v for k, v in (SMALL | AS_THEY_ARE).items() if k in known} | params
    return untrained(name, likelihood, n_latent, seed, **chosen)


def module(name):
    return load(METHODS[name])


CASES = [
    (name, likelihood)
    for name in DEEP
    for likelihood in ("gaussian", "multinomial", "negative_binomial", "bernoulli")
    if is_for(METHODS[name].meta, likelihood)
]


@pytest.mark.parametrize(("name", "likelihood"), CASES)
def test_the_contract(name, likelihood, tmp_path):
    X = data(likelihood)
    model = build(name, likelihood, seed=4).fit(X)
    Z, (mean, sd) = model.transform(X), model.posterior(X)
    assert Z.shape == mean.shape == sd.shape == (70, 3) and (sd > 0).all()
    assert model.reconstruct(X).shape == X.shape
    assert model.loadings_.shape == (X.shape[1], 3)
    assert hasattr(model, "support_") == (name == "sparse_ldvae")
    assert model.elbo(X).shape == model.log_prior(Z).shape == (70,)
    assert model.prior_mean_.shape == (3,)
    assert np.linalg.eigvalsh(model.prior_covariance_).min() > 0
    model.save(tmp_path)
    again = build(name, likelihood, seed=99).load(tmp_path)
    for what in ("transform", "reconstruct", "elbo", "log_prior"):
        given = Z if what == "log_prior" else X
        assert np.array_equal(getattr(again, what)(given), getattr(model, what)(given))
    assert np.array_equal(again.loadings_, model.loadings_)


@pytest.mark.parametrize(("name", "likelihood"), CASES)
def test_gradients_reach_every_parameter(name, likelihood):
    X = data(likelihood)
    model = build(name, likelihood, n_hidden=20)
    s, names = a_state(model, X)
    model.loss(s, a_batch(model, X, 16)).sum().backward()
    for parameter in names:
        assert getattr(s, parameter).grad.abs().max() > 0, parameter


@pytest.mark.parametrize(("name", "likelihood"), CASES)
def test_the_evidence_bound_lies_below_the_importance_weighted_one(name, likelihood):
    X = data(likelihood)[1:31]
    model = build(name, likelihood, epochs=20).fit(X)
    weights = log_weights(model, X, 200, np.random.default_rng(0))
    bounds = [model.set_params(seed=seed).elbo(X).mean() for seed in range(8)]
    error = 4 * np.std(bounds, ddof=1) / np.sqrt(8)
    assert np.mean(bounds) == pytest.approx(weights.mean(), abs=error + 5e-3)
    assert np.mean(bounds) <= logsumexp(weights, axis=1, b=1 / 200).mean() + error


LIMITS = [
    ("tc_vae", {"beta": 1.0}),
    ("dip_vae", {"lambda_od": 0.0, "lambda_d": 0.0}),
    ("jl1_vae", {"gamma": 0.0}),
    ("mixture_vae", {"n_components": 1}),
]


@pytest.mark.parametrize(("name", "params"), LIMITS)
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_limits_are_the_vae_bit_for_bit(name, params, likelihood):
    X = data(likelihood)
    model, vae = build(name, likelihood, **params).fit(X), build("vae", likelihood).fit(X)
    for tensor in vae.state_:
        assert torch.equal(model.state_[tensor], vae.state_[tensor]), tensor
    assert np.array_equal(model.elbo(X), vae.elbo(X))


BAD = [
    ("additive_vae", "gaussian", {"pool": "max"}, "pool 'max': use one of sum, logsumexp"),
    ("additive_vae", "gaussian", {"pool": "logsumexp"}, "adds rates, which gaussian data do not"),
    ("additive_vae", "gaussian", {"width": 0}, "width 0: give a whole number, 1 or more"),
    ("ldvae", "gaussian", {"noise": "none"}, "noise 'none': use one of feature, common"),
    ("sparse_ldvae", "gaussian", {"lambda1": 0.0}, "both must be positive; the method ldvae has"),
    ("mult_vae", "multinomial", {"dropout": 1.0}, "dropout 1.0: give a number from 0 to below 1"),
    ("mixture_vae", "gaussian", {"n_components": 0}, "n_components 0: give a whole number"),
    ("mixture_vae", "gaussian", {"prior_covariance": "full"}, "use identity, or n_components 1"),
    ("prodlda", "multinomial", {"alpha": 0.0}, "alpha 0.0: give a finite number above 0"),
    ("prodlda", "multinomial", {"n_latent": 1}, "n_latent 1: shares of topics need 2 or more"),
    ("prodlda", "multinomial", {"prior_covariance": "full"}, "'full': use one of identity"),
    ("mult_vae", "multinomial", {"prior_covariance": "diagonal"}, "'diagonal': use one of ident"),
    ("tc_vae", "gaussian", {"beta": -1.0}, "beta -1.0: give a finite number, 0 or more"),
    ("dip_vae", "gaussian", {"lambda_od": float("nan")}, "lambda_od nan: give a finite number"),
    ("jl1_vae", "gaussian", {"gamma": "strong"}, "gamma 'strong': give a finite number"),
]


@pytest.mark.parametrize(("name", "likelihood", "params", "message"), BAD)
def test_bad_parameters_get_a_sentence(name, likelihood, params, message):
    n_latent = params.pop("n_latent", 3) if "n_latent" in params else 3
    model = build(name, likelihood, n_latent)
    model.set_params(**params)
    with pytest.raises(ValueError, match=message):
        model.fit(data(likelihood))


# Total correlation --------------------------------------------------------------------------------


def test_total_correlation_of_collapsed_and_of_independent_codes():
    correlation = module("tc_vae").total_correlation
    generator = torch.Generator().manual_seed(0)

    def drawn(mean, logvar):
        z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
        weight = torch.full(mean.shape[:2], 1 / mean.shape[1])
        return float(correlation(z, mean, logvar, weight))

    nothing = torch.zeros(1, 1000, 4)
    assert drawn(nothing, nothing) == pytest.approx(0, abs=1e-4)
    informative = torch.randn(1, 1000, 2, generator=generator)
    assert abs(drawn(informative, torch.full((1, 1000, 2), -2.0))) < 0.05
    copied = informative[..., :1].expand(-1, -1, 2)
    assert drawn(copied, torch.full((1, 1000, 2), -2.0)) > 0.5


def test_total_correlation_written_out_and_blind_to_padding():
    generator = torch.Generator().manual_seed(1)
    z, mean, logvar = (torch.randn(1, 6, 3, generator=generator) for _ in range(3))
    weight = torch.tensor([[0.25] * 4 + [0.0] * 2])
    found = module("tc_vae").total_correlation(z, mean, logvar, weight)[0]
    z, mean, sd = z[0].numpy(), mean[0].numpy(), np.exp(0.5 * logvar[0].numpy())
    expected = 0.0
    for i in range(4):
        each = norm.logpdf(z[i], mean[:4], sd[:4])
        joint = logsumexp(each.sum(1)) - np.log(4)
        expected += (joint - (logsumexp(each, axis=0) - np.log(4)).sum()) / 4
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n_latent", [1, 3])
def test_the_gradient_of_the_total_correlation_is_that_of_its_formula(n_latent):
    correlation, generator = module("tc_vae").total_correlation, torch.Generator().manual_seed(2)
    shape = (2, 6, n_latent)
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(3)
    ]
    weight = torch.tensor([[0.25] * 4 + [0.0] * 2, [1 / 6] * 6], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *t: correlation(*t, weight), tensors)
    found = torch.autograd.grad(correlation(*tensors, weight)[0], tensors)
    assert not any(by[0, 4:].any() or by[1].any() for by in found)  # padding, the other member


def test_the_total_correlation_keeps_its_digits_for_sharp_posteriors():
    correlation, generator = module("tc_vae").total_correlation, torch.Generator().manual_seed(3)
    mean = torch.randn(1, 64, 4, generator=generator, dtype=torch.float64)
    logvar = torch.full_like(mean, -10.0)
    z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator).double()
    weight = torch.full((1, 64), 1 / 64, dtype=torch.float64)
    both = []
    for kind in (torch.float64, torch.float32):
        tensors = [t.to(kind, copy=True).requires_grad_() for t in (z, mean, logvar)]
        value = correlation(*tensors, weight.to(kind))[0]
        both.append([value.detach(), *torch.autograd.grad(value, tensors)])
    for precise, found in zip(*both, strict=True):
        error = (found.double() - precise).abs().max() / precise.abs().max()
        assert float(error) < 1e-4


# DIP-VAE ------------------------------------------------------------------------------------------


def test_the_covariance_of_codes_written_out_and_whitened_codes_cost_nothing():
    dip = module("dip_vae")
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=(50, 3)), rng.uniform(0.1, 0.5, (50, 3))
    weight = torch.full((1, 50), 1 / 50, dtype=torch.float64)
    tensors = torch.tensor(mean)[None], torch.tensor(np.log(variance))[None], weight
    C = dip.code_covariance(*tensors)
    expected = np.cov(mean.T, bias=True) + np.diag(variance.mean(0))
    np.testing.assert_allclose(C[0], expected, rtol=1e-10)
    off = expected - np.diag(np.diag(expected))
    cost = 2 * (off**2).sum() + 3 * ((np.diag(expected) - 1) ** 2).sum()
    assert float(dip.away_from_identity(C, 2.0, 3.0)) == pytest.approx(cost)

    left, _, right = np.linalg.svd(mean - mean.mean(0), full_matrices=False)
    white = torch.tensor(left @ right * np.sqrt(50 * 0.75))[None]
    noise = torch.full((1, 50, 3), np.log(0.25), dtype=torch.float64)
    assert (
        float(dip.away_from_identity(dip.code_covariance(white, noise, weight), 2.0, 3.0)) < 1e-20
    )


# The L1 norm of the Jacobian ----------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_the_jacobian_is_that_of_autograd(likelihood):
    X = data(likelihood)
    model = build("jl1_vae", likelihood, gamma=0.7, kl_warmup=0.0)
    s, _ = a_state(model, X, dtype=torch.float64)
    batch = a_batch(model, X, 4, dtype=torch.float64)
    q = model.encode(s, batch.x)
    z = model.sample(q, batch.noise, batch.progress)
    norms = []
    for row in z[0].detach():
        J = torch.autograd.functional.jacobian(lambda c: model.decode(s, c[None, None])[0, 0], row)
        J = J / torch.tensor(X.std(0))[:, None] if likelihood == "gaussian" else J - J.mean(0)
        norms.append(J.abs().sum())
    expected = 0.7 * torch.stack(norms).mean()
    torch.testing.assert_close(model.penalty(s, batch, q, z)[0], expected, rtol=1e-5, atol=0)


def test_the_penalty_of_a_linear_map_is_its_l1_norm_and_least_unrotated():
    X = np.random.default_rng(0).normal(size=(20, 6)) * np.arange(1, 7)
    model = build("jl1_vae", n_latent=2, n_hidden=6, gamma=1.0, kl_warmup=0.0)
    s, _ = a_state(model, X, dtype=torch.float64)
    batch = a_batch(model, X, 8, dtype=torch.float64)
    W = torch.zeros(6, 2, dtype=torch.float64)
    W[:3, 0], W[3:, 1] = 2.0, -1.5

    def penalty(angle):
        c, d = np.cos(angle), np.sin(angle)
        R = torch.tensor([[c, -d], [d, c]], dtype=torch.float64)
        with torch.no_grad():  # relu(z) - relu(-z) = z, twice
            both = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1], [0, 0], [0, 0]])
            s.H1.copy_(both[None])
            s.H2.copy_(torch.eye(6)[None])
            s.b2.zero_()
            heads = torch.zeros(6, 6, dtype=torch.float64)
            heads[:, :2], heads[:, 2:4] = W @ R, -(W @ R)
            s.heads.copy_(heads[None])
        z = torch.randn(1, 8, 2, dtype=torch.float64)
        return model.penalty(s, batch, None, z).item()

    unit = X.std(0)
    assert penalty(0.0) == pytest.approx((W.abs().sum(1).numpy() / unit).sum(), rel=1e-6)
    for angle in (0.2, 0.7, 2.0):
        ratio = abs(np.cos(angle)) + abs(np.sin(angle))
        assert penalty(angle) == pytest.approx(ratio * penalty(0.0), rel=1e-6)


def test_logits_of_counts_are_centred():
    X = count_data()
    model = build("jl1_vae", "multinomial")
    s, _ = a_state(model, X)
    batch, z = a_batch(model, X, 16), torch.randn(1, 16, 3)
    before = model.penalty(s, batch, None, z)
    with torch.no_grad():
        s.heads.add_(torch.randn(1, 1, s.heads.shape[2]))  # the same for all features
    torch.testing.assert_close(model.penalty(s, batch, None, z), before, rtol=1e-4, atol=0)
    model.centred = False
    assert abs((model.penalty(s, batch, None, z) / before).item() - 1) > 0.05


def test_a_huge_weight_leaves_no_effects():
    X = gaussian_data(200)
    effects = [
        build("jl1_vae", gamma=gamma, epochs=60, kl_warmup=0.1).fit(X).loadings_.max()
        for gamma in (0.0, 1e3)
    ]
    assert effects[1] < 0.05 * effects[0]


# Additive decoders --------------------------------------------------------------------------------


def a_decoder(n_latent, likelihood="gaussian", **params):
    X = data(likelihood)
    model = build("additive_vae", likelihood, n_latent, **params)
    s, _ = a_state(model, X, dtype=torch.float64)
    return model, s


def test_factors_of_an_additive_decoder_do_not_interact():
    model, s = a_decoder(3)
    z = torch.randn(3, dtype=torch.float64)
    for j in range(6):
        second = torch.autograd.functional.hessian(
            lambda c, j=j: model.decode(s, c[None, None])[0, 0, j], z
        )
        assert (second - torch.diag(torch.diagonal(second))).abs().max() < 1e-6
        assert torch.diagonal(second).abs().max() > 1e-4, "smooth, and not linear"


@pytest.mark.parametrize("pool", ["sum", "logsumexp"])
def test_the_additive_decoder_written_out(pool):
    model, s = a_decoder(3, "multinomial", pool=pool, width=5)
    z = torch.randn(4, 3, dtype=torch.float64)
    out = s.out[0].view(8, 3, 5)
    each = torch.stack(
        [
            torch.log1p(torch.exp(z[:, k, None] * s.scale[0, k] + s.bend[0, k])) @ out[:, k].T
            for k in range(3)
        ]
    )
    pooled = each.sum(0) if pool == "sum" else torch.log(torch.exp(each).sum(0))
    torch.testing.assert_close(model.decode(s, z[None])[0], pooled + s.bias[0])


def test_one_factor_pools_to_itself():
    X = count_data()
    one, other = (build("additive_vae", "multinomial", 1, pool=p) for p in ("sum", "logsumexp"))
    s, _ = a_state(one, X)
    z = torch.randn(1, 7, 1)
    torch.testing.assert_close(one.decode(s, z), other.decode(s, z))


# Linear decoders ----------------------------------------------------------------------------------


def planted(n, seed=0, width=8):
    """Two orthogonal directions of different lengths, and noise of one size."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(width, 2)))[0] * [3.0, 1.2]
    z = rng.standard_normal((n, 2))
    return z @ axes.T + rng.standard_normal((n, width)), z


@pytest.fixture(scope="module")
def linear():
    X, _ = planted(1500)
    params = {"epochs": 80, "batch_size": 100, "n_hidden": 10, "kl_warmup": 0.05}
    return X, build("ldvae", n_latent=2, seed=2, noise="common", **params).fit(X)


def test_a_linear_vae_is_probabilistic_pca(linear):
    X, model = linear
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    noise = values[:-2].mean()
    root = vectors[:, -2:] * np.sqrt(values[-2:] - noise)
    exact = root @ root.T + noise * np.eye(8)
    W, sigma = model.loadings_, model.state_["log_sigma"].exp().numpy()
    assert np.ptp(sigma) == 0
    found = W @ W.T + np.diag(sigma**2)
    assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact)
    assert noise == pytest.approx(sigma[0] ** 2, rel=0.02)
    cosines = correlations(model.transform(X), X @ vectors[:, -2:])
    assert matched_mean(cosines) > 0.99, "its axes are those of PCA"


def test_a_linear_decoder_gives_its_weights_as_loadings(linear):
    X, model = linear
    Z = model.transform(X[:3])
    step = model.inverse_transform(Z + np.array([1.0, 0.0])) - model.inverse_transform(Z)
    np.testing.assert_allclose(step, np.tile(model.loadings_[:, 0], (3, 1)), atol=1e-4)


def test_the_sparse_linear_vae_finds_a_planted_mask():
    rng = np.random.default_rng(3)
    W = np.kron(np.eye(2), np.ones((5, 1))) * rng.uniform(0.7, 1.3, (10, 1))
    z = rng.standard_normal((800, 2))
    X = z @ W.T + 0.3 * rng.standard_normal((800, 10))
    params = {"n_hidden": 20, "epochs": 100, "batch_size": 100, "feature_scaling": "standard"}
    model = build("sparse_ldvae", n_latent=2, seed=1, **params).fit(X)
    order = correlations(model.transform(X), z).argmax(0)
    found = np.abs(model.loadings_[:, order])
    np.testing.assert_allclose(found[W != 0], W[W != 0], rtol=0.15)
    assert found[W == 0].max() < 0.05


def test_its_mask_is_shrunk_and_its_indicators_are_found_as_the_sparse_vaes():
    X = gaussian_data()
    ours, sparse = build("sparse_ldvae"), build("sparse_vae", scale_fix="none")
    s, _ = a_state(ours, X)
    other, _ = a_state(sparse, X)
    with torch.no_grad():
        for name in ("W", "eta", "p_star"):
            getattr(other, name).copy_(getattr(s, name))
        batch = a_batch(ours, X, 20, progress=0.4)
        step = SimpleNamespace(step_size=lambda name: torch.full((1, 6, 3), 0.7))
        ours.after_step(s, batch, step)
        sparse.after_step(other, batch, step)
    assert (s.W == 0).any() and (s.W != 0).any()
    for name in ("W", "eta", "p_star"):
        assert torch.equal(getattr(s, name), getattr(other, name)), name


def test_a_huge_spike_and_slab_zeroes_every_loading():
    model = build("sparse_ldvae", lambda0=2e5, lambda1=1e5).fit(gaussian_data())
    assert (model.loadings_ == 0).all() and not model.support_.any()


# Mixtures -----------------------------------------------------------------------------------------


def test_the_density_of_a_mixture():
    rng = np.random.default_rng(0)
    z, mean, logvar = rng.normal(size=(5, 2)), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    share = np.array([0.2, 0.5, 0.3])
    parts = norm.logpdf(z[:, None], mean, np.exp(0.5 * logvar)).sum(-1)
    tensors = (torch.tensor(value)[None] for value in (z, np.log(share) + 4, mean, logvar))
    found = module("mixture_vae").log_mixture(*tensors)[0]
    np.testing.assert_allclose(found, logsumexp(parts, axis=1, b=share), rtol=1e-10)


def test_two_far_clusters_are_two_components():
    rng = np.random.default_rng(2)
    member = rng.integers(0, 2, 600)
    z = np.where(member, 3.0, -3.0)[:, None] + 0.4 * rng.standard_normal((600, 1))
    X = z @ rng.normal(size=(1, 6)) + 0.2 * rng.standard_normal((600, 6))
    params = {"n_components": 2, "n_hidden": 16, "epochs": 60, "batch_size": 60}
    model = build("mixture_vae", n_latent=1, seed=1, **params).fit(X)
    s = State(**{name: value[None] for name, value in model.state_.items()})
    Z = torch.tensor(model.transform(X), dtype=torch.float32)
    each = -(Z - s.prior_mean[0, :, 0]).square() / s.prior_logvar[0, :, 0].exp()
    chosen = (each - s.prior_logvar[0, :, 0]).argmax(1).numpy()
    assert max((chosen == member).mean(), (chosen != member).mean()) > 0.98


def test_moments_of_a_mixture_prior_are_those_of_its_draws():
    model = build("mixture_vae", n_latent=2, n_components=3, seed=1).fit(gaussian_data(300))
    share, means, variances = model._components()
    rng = np.random.default_rng(0)
    chosen = rng.choice(3, 200_000, p=share / share.sum())
    draws = means[chosen] + np.sqrt(variances[chosen]) * rng.standard_normal((200_000, 2))
    spread = draws.std(0).max()
    np.testing.assert_allclose(model.prior_mean_, draws.mean(0), atol=0.02 * spread)
    np.testing.assert_allclose(model.prior_covariance_, np.cov(draws.T), atol=0.03 * spread**2)


# Topics and items ---------------------------------------------------------------------------------


def test_the_prior_of_topic_shares_is_laplaces():
    for alpha, K in itertools.product((0.3, 1.0), (2, 7)):
        alphas = np.full(K, alpha)
        general = (1 - 2 / K) / alphas + (1 / alphas).sum() / K**2
        assert module("prodlda").laplace_dirichlet(alpha, K) == pytest.approx(general[0])
    model = build("prodlda", "multinomial", alpha=0.3)
    q = State(mean=torch.randn(1, 5, 3), logvar=torch.randn(1, 5, 3))
    posterior = torch.distributions.Normal(q.mean, (0.5 * q.logvar).exp())
    prior = torch.distributions.Normal(0.0, ((1 - 1 / 3) / 0.3) ** 0.5)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(model.kl(None, q), expected)


def test_batch_normalisation_is_torchs():
    X = count_data()
    model = build("prodlda", "multinomial")
    s, _ = a_state(model, X)
    layer = torch.nn.BatchNorm1d(8, affine=False)
    values = 3 + 2 * torch.randn(1, 16, 8)
    s.share = torch.full((1, 16, 1), 1 / 16)
    torch.testing.assert_close(model.normalised(s, "logits", values)[0], layer(values[0]))


def test_after_training_batch_normalisation_has_the_statistics_of_all_rows():
    X = count_data(300)
    model = build("prodlda", "multinomial").fit(X)
    s = model._stacked()
    x = torch.tensor(X, dtype=torch.float32)[None]
    q = model.encode(s, x)
    for name in ("mean", "logvar"):
        head, shift = getattr(q, name)[0], getattr(s, f"{name}_bias")[0]
        torch.testing.assert_close(head.mean(0), shift, atol=1e-4, rtol=1e-4)
        raw = s.__dict__[f"{name}_var"][0]
        expected = (raw / (raw + 1e-5)).sqrt()
        torch.testing.assert_close(head.std(0, unbiased=False), expected, atol=1e-3, rtol=1e-3)
    u = model.decode(s, torch.tensor(model.transform(X), dtype=torch.float32)[None])
    assert (u[0] - s.bias[0]).mean(0).abs().max() < 1  # logits are those of draws, not of means


CURVES = [case for case in CASES if case[0] != "mult_vae"]  # which trains on rows with holes


@pytest.mark.parametrize(("name", "likelihood"), [*CURVES, ("vae", "multinomial")])
def test_what_is_scored_is_what_was_trained(name, likelihood):
    """The curve's end is the bound of the training rows."""
    X = np.tile(data(likelihood, 80)[1:], (4, 1))
    model = build(name, likelihood, n_hidden=20, epochs=40, learning_rate=0.003).fit(X)
    curve = -(model.history_["reconstruction"] + model.history_["kl"])
    assert model.elbo(X).mean() == pytest.approx(curve[-1], rel=0.03, abs=0.3)


@pytest.fixture(scope="module")
def topics():
    """ProdLDA with and without batch normalisation on rows of three topics."""
    X = topic_counts(400)
    params = {"n_hidden": 20, "epochs": 60, "batch_size": 50, "learning_rate": 0.01}
    return X, {
        norm: build("prodlda", "multinomial", 6, batch_norm=norm, seed=1, **params).fit(X)
        for norm in (True, False)
    }


def test_prodlda_beats_the_unigram(topics):
    X, models = topics
    shares = models[True].reconstruct(X)
    unigram = X.sum(0) / X.sum()
    entropy = -(X.sum(0) * np.log(unigram + 1e-12)).sum() / X.sum()
    assert -(X * np.log(shares)).sum() / X.sum() < entropy - 0.2
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)


def test_topics_die_without_batch_normalisation(topics):
    X, models = topics
    spread = {norm: model.transform(X).std(0) for norm, model in models.items()}
    assert spread[True].min() > 0.9
    assert spread[False].min() < 0.4


def test_mult_vae_hides_items_while_it_trains_alone():
    X = count_data()[1:]
    model = build("mult_vae", "multinomial", dropout=0.5)
    s, _ = a_state(model, X)
    batch = a_batch(model, X, 40)
    kept = batch.noise[..., 3:]
    assert set(kept.unique().tolist()) == {0.0, 1.0} and 0.3 < kept.mean() < 0.7
    seen = X[:40] / np.linalg.norm(X[:40], axis=1, keepdims=True)
    hidden = torch.tensor(seen, dtype=torch.float32)[None] * kept * 2

    def means(x):
        h = torch.tanh(x[0] @ s.encoder_weight[0].T + s.encoder_bias[0])
        return h @ s.mean_weight[0].T + s.mean_bias[0]

    torch.testing.assert_close(
        model.encode(s, batch.x).mean[0], means(torch.tensor(seen, dtype=torch.float32)[None])
    )
    trained = State(**vars(s), kept=kept * 2)
    torch.testing.assert_close(model.encode(trained, batch.x).mean[0], means(hidden))
    assert not isinstance(model.fit_many([X], [0])[0], Diverged)
