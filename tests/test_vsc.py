"""Variational sparse coding: its divergences, what each protocol trains, its bounds."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deep_cases import AS_THEY_ARE, SMALL, a_batch, a_state, data
from scipy.special import logsumexp
from torch.distributions import Bernoulli, Normal, kl_divergence

from anchorbench.study.plugins import discover, load

plugin = load(discover("methods")["vsc"])
PRIOR = {"pseudo", "selector_weight", "selector_bias"}


pytestmark = pytest.mark.usefixtures("one_thread")


def build(protocol="corrected", likelihood="gaussian", n_latent=3, seed=0, **params):
    chosen = plugin.METHOD["params"] | plugin.METHOD["protocols"][protocol] | SMALL
    chosen |= AS_THEY_ARE | params
    return plugin.build(likelihood, n_latent, seed, **chosen)


def variables(*shape, seed=0):
    """mean, logvar, log gamma of random spike-and-slab variables, in float64."""
    g = torch.Generator().manual_seed(seed)
    mean, logvar, gate = (torch.randn(*shape, generator=g, dtype=torch.float64) for _ in range(3))
    return mean, logvar, torch.log(torch.sigmoid(gate))


# Divergences --------------------------------------------------------------------------------------


def test_exact_kl_equals_a_monte_carlo_estimate():
    q, p = variables(4, seed=1), variables(4, seed=2)
    n = 200_000
    g = torch.Generator().manual_seed(3)
    on = torch.rand(n, 4, generator=g, dtype=torch.float64) < torch.exp(q[2])
    eps = torch.randn(n, 4, generator=g, dtype=torch.float64)
    z = q[0] + torch.exp(0.5 * q[1]) * eps

    def log_density(v):
        slab = v[2] + Normal(v[0], torch.exp(0.5 * v[1])).log_prob(z)
        return torch.where(on, slab, torch.log1p(-torch.exp(v[2])))

    ratio = log_density(q) - log_density(p)
    error = 4 * ratio.std(0) / n**0.5
    assert ((plugin.spike_slab_kl(*q, *p) - ratio.mean(0)).abs() < error).all()


def test_exact_kl_with_gates_open_is_that_of_normals():
    q, p = variables(50, seed=1), variables(50, seed=2)
    open_gate = torch.zeros(50, dtype=torch.float64)
    normals = (Normal(v[0], torch.exp(0.5 * v[1])) for v in (q, p))
    actual = plugin.spike_slab_kl(q[0], q[1], open_gate, p[0], p[1], open_gate)
    torch.testing.assert_close(actual, kl_divergence(*normals))


def test_exact_kl_with_equal_slabs_is_that_of_gates():
    q, p = variables(50, seed=1), variables(50, seed=2)
    gates = (Bernoulli(torch.exp(v[2])) for v in (q, p))
    actual = plugin.spike_slab_kl(q[0], q[1], q[2], q[0], q[1], p[2])
    torch.testing.assert_close(actual, kl_divergence(*gates))


def test_exact_kl_is_zero_at_equality_and_never_negative():
    q, p = variables(10_000, seed=1), variables(10_000, seed=2)
    assert plugin.spike_slab_kl(*q, *q).abs().max() < 1e-12
    assert (plugin.spike_slab_kl(*q, *p) > 0).all()
    shut = torch.full((10_000,), -40.0, dtype=torch.float64)
    for gate in (shut, torch.zeros_like(shut)):
        value = plugin.spike_slab_kl(q[0], q[1], gate, *p)
        assert torch.isfinite(value).all() and (value >= 0).all()


def test_the_misprinted_kl_is_written_out_and_goes_negative():
    # sigma = 0.5, sigma_u = 0.25, mu = mu_u, gates open: log(1/2) + 0.5 / (2 * 0.25) - 1/2.
    half, quarter = torch.tensor(np.log([0.25, 0.0625]))
    zero = torch.tensor(0.0, dtype=torch.float64)
    value = plugin.misprinted_kl(zero, half, zero, zero, quarter, zero)
    assert value.item() == pytest.approx(np.log(0.5) + 1 - 0.5, abs=1e-4)
    assert value < 0
    # The optimum is at sigma = 2 sigma_u, not at equality.
    logvar = torch.linspace(-6, 2, 8001, dtype=torch.float64).requires_grad_()
    curve = plugin.misprinted_kl(zero, logvar, zero, zero, quarter, zero)
    assert torch.exp(0.5 * logvar[curve.argmin()]).item() == pytest.approx(0.5, rel=1e-2)
    # A gate that is shut does not shut off the slab's quadratic term.
    shut = torch.tensor(-40.0, dtype=torch.float64)
    far = plugin.misprinted_kl(zero + 3, quarter, shut, zero, quarter, shut)
    near = plugin.misprinted_kl(zero, quarter, shut, zero, quarter, shut)
    assert (far - near).item() == pytest.approx(9 / (2 * 0.25), rel=1e-4)


def test_the_misprinted_kl_is_negative_on_random_inputs_too():
    q, p = variables(5000, seed=1), variables(5000, seed=2)
    assert (plugin.misprinted_kl(*q, *p) < 0).any()


def test_bernoulli_kl_equals_torch_and_is_zero_at_alpha():
    gamma = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    expected = kl_divergence(Bernoulli(gamma), Bernoulli(torch.tensor(0.01, dtype=torch.float64)))
    torch.testing.assert_close(plugin.bernoulli_kl(gamma, 0.01), expected)
    assert plugin.bernoulli_kl(torch.tensor(0.01), 0.01).abs() < 1e-7


@pytest.mark.parametrize("kl_form", ["exact", "misprinted"])
def test_divergences_have_gradients_at_open_and_shut_gates(kl_form):
    divergence = plugin.spike_slab_kl if kl_form == "exact" else plugin.misprinted_kl
    gates = torch.tensor([5.0, 0.0, -1.0, -60.0], requires_grad=True)
    log_gamma = -torch.relu(-gates)
    ones = torch.ones(4)
    divergence(ones, ones, log_gamma, 0 * ones, 0 * ones, log_gamma - 0.1).sum().backward()
    assert torch.isfinite(gates.grad).all()


# The objective ------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_gradients_reach_what_is_trained_and_nothing_else(protocol, likelihood):
    X = data(likelihood)
    model = build(protocol, likelihood)
    s, trained = a_state(model, X)
    assert (trained >= PRIOR) == (protocol == "corrected")
    assert trained.isdisjoint(PRIOR) == (protocol == "published")
    model.loss(s, a_batch(model, X)).sum().backward()
    for name in trained:
        grad = getattr(s, name).grad
        assert grad is not None and grad.abs().sum() > 0, name
    assert all(getattr(s, name).grad is None for name in PRIOR - trained)


def test_a_frozen_prior_stays_as_it_was_drawn_and_a_trained_one_moves():
    X = data("gaussian")
    for protocol, moves in (("published", False), ("corrected", True)):
        model = build(protocol)
        s, _ = a_state(model, X)
        fitted = model.fit(X)
        for name in PRIOR:
            same = torch.equal(fitted.state_[name], getattr(s, name)[0].detach())
            assert same != moves, name


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_kl_written_out_row_by_row(protocol):
    X = data("gaussian", 5)
    model = build(protocol)
    s, _ = a_state(model, X)
    q = model.encode(s, torch.tensor(X, dtype=torch.float32)[None])
    u = model.encode(s, s.pseudo)
    gamma_u = torch.exp(u.log_gamma[0])
    if protocol == "corrected":
        gamma_u = torch.sigmoid(10 * (gamma_u - 0.5))
    divergence = plugin.misprinted_kl if protocol == "published" else plugin.spike_slab_kl
    for i in range(5):
        chosen = q.chosen[0, i]
        expected = 0.0
        for k in range(3):
            for c, weight in enumerate(chosen):
                own = (v[0, i, k] for v in (q.mean, q.logvar, q.log_gamma))
                prior = (u.mean[0, c, k], u.logvar[0, c, k], torch.log(gamma_u[c, k]))
                expected += weight * divergence(*own, *prior)
        if protocol == "published":  # averaged per pseudo-input; factor: the six features
            dense = (chosen * plugin.bernoulli_kl(gamma_u.mean(1), 0.01)).sum() * 6
        else:  # averaged after selection; factor: the three latents
            dense = plugin.bernoulli_kl((chosen @ gamma_u).mean(), 0.01) * 3
        torch.testing.assert_close(model.kl(s, q)[0, i], expected + dense, rtol=1e-4, atol=1e-4)


def test_the_selector_sees_raw_counts_or_what_the_encoder_sees():
    X = torch.tensor(data("multinomial"), dtype=torch.float32)[None]
    for protocol, invariant in (("published", False), ("corrected", True)):
        model = build(protocol, "multinomial")
        s, _ = a_state(model, X[0].numpy())
        chosen = [model.encode(s, scale * X).chosen for scale in (1, 3)]
        assert torch.allclose(*chosen, atol=1e-6) == invariant
        assert torch.allclose(chosen[0].sum(-1), torch.ones(1))


def test_pseudo_inputs_of_counts_are_shares():
    model = build(likelihood="multinomial", pseudo_sharpness=0.0)
    s, _ = a_state(model, data("multinomial"))
    mean, logvar, _ = model.components(s)
    u = model.encode(s, torch.softmax(s.pseudo, -1))
    torch.testing.assert_close((mean, logvar), (u.mean, u.logvar))


# Draws and codes ----------------------------------------------------------------------------------


def posterior(gamma, logvar=-2.0, n=4000):
    full = torch.ones(1, n, 2)
    return SimpleNamespace(mean=3 * full, logvar=logvar * full, log_gamma=np.log(gamma) * full)


def draw(model, q, progress):
    noise = model.draw_noise(torch.Generator().manual_seed(0), q.mean.shape[1])[None]
    return model.sample(q, noise, torch.tensor([progress]))


@pytest.mark.parametrize(
    ("protocol", "progress", "c"),
    [
        ("published", 0.0, 10),
        ("published", 1.0, 10),
        ("corrected", 0.6, 140),
        ("corrected", 1, 200),
    ],
)
def test_gates_are_as_soft_as_their_temperature(protocol, progress, c):
    """E[T(u - 1 + gamma)] = [softplus(c gamma) - softplus(c (gamma - 1))] / c for uniform u."""
    gamma = 0.3
    gates = draw(build(protocol, n_latent=2), posterior(gamma, logvar=-60.0), progress) / 3
    expected = (np.logaddexp(0, c * gamma) - np.logaddexp(0, c * (gamma - 1))) / c
    assert gates.mean().item() == pytest.approx(expected, abs=0.02)
    soft = ((gates > 0.1) & (gates < 0.9)).float().mean().item()
    assert soft == pytest.approx(2 * np.log(9) / c, abs=0.02)


def test_open_gates_let_the_slabs_draw_through():
    z = draw(build(n_latent=2), posterior(1.0), 1.0)
    central = z[(z - 3).abs() < 2]
    assert central.mean().item() == pytest.approx(3, abs=0.05)
    assert central.std().item() == pytest.approx(np.exp(-1), rel=0.1)


def test_warm_up_hides_the_slabs_from_the_decoder():
    model = build(n_latent=2, spike_warmup=0.4, spike_ramp=0.2)
    q = posterior(1.0)
    medians = [draw(model, q, share).median().item() for share in (0.2, 0.5, 0.7)]
    assert medians == pytest.approx([0, 1.5, 3], abs=0.06)
    assert draw(model, q, 0.2).std().item() == pytest.approx(1, rel=0.05)


def test_codes_are_masked_in_one_protocol_and_means_in_the_other():
    X = data("gaussian")
    corrected, published = build().fit(X), build("published").fit(X)
    np.testing.assert_allclose(corrected.transform(X), corrected.posterior(X)[0], rtol=1e-5)
    mean, _, log_gamma = published._spike_slab(X)
    np.testing.assert_allclose(published.transform(X), mean)
    assert not np.allclose(np.exp(log_gamma) * mean, mean)


def test_posterior_moments_are_those_of_draws():
    X = data("gaussian", 3)
    model = build().fit(data("gaussian"))
    values = np.array([[2.0, 0.7, np.log(0.25)]]).repeat(3, 0)
    model._spike_slab = lambda X: [values[:, [i]] for i in range(3)]
    rng = np.random.default_rng(0)
    z = np.where(rng.random(400_000) < 0.25, 2 + 0.7 * rng.standard_normal(400_000), 0)
    mean, sd = model.posterior(X)
    assert mean[0, 0] == pytest.approx(z.mean(), rel=0.02)
    assert sd[0, 0] == pytest.approx(z.std(), rel=0.02)


# Bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_elbo_stays_below_the_importance_weighted_bound(likelihood):
    X = data(likelihood)
    model = build(likelihood=likelihood, epochs=40).fit(X)
    weights = model.log_weights(X, 200, np.random.default_rng(1))
    iwae = logsumexp(weights, axis=1, b=1 / 200)
    assert (weights.mean(1) <= iwae).all()
    assert model.elbo(X).mean() < iwae.mean()
    assert model.elbo(X).mean() == pytest.approx(weights.mean(), rel=0.05)


def test_log_prior_is_a_density_over_spikes_and_slabs():
    model = build(n_latent=1, n_pseudo=4).fit(data("gaussian"))
    grid = np.linspace(-30, 30, 60_001)
    slab = np.exp(model.log_prior(grid[grid != 0][:, None])).sum() * (grid[1] - grid[0])
    spike = np.exp(model.log_prior(np.zeros((1, 1)))[0])
    assert 0 < spike < 1
    assert slab + spike == pytest.approx(1, abs=1e-3)


def test_the_mixture_prior_loosens_the_selected_divergence_by_at_most_log_u():
    """KL(q || even mixture) <= sum_u c_u KL(q || p_u) + KL(c || even), for any weights c."""
    X = data("gaussian")
    model = build(epochs=30, spike_factor="latents").fit(X)
    s = model._stacked()
    with torch.no_grad():
        q = model.encode(s, torch.tensor(X, dtype=torch.float32)[None])
        rows = (v[:, :, None] for v in (q.mean, q.logvar, q.log_gamma))
        apart = plugin.spike_slab_kl(*rows, *(v[:, None] for v in model.components(s))).sum(-1)
        bound = (q.chosen * (apart + torch.log(q.chosen * model.n_pseudo))).sum(-1)[0].numpy()
    draws = model.log_weights(X, 400, np.random.default_rng(0))
    model.log_prob = lambda X, Z: np.zeros(len(Z))
    kl = -model.log_weights(X, 400, np.random.default_rng(0)).mean(1)
    assert np.isfinite(draws).all()
    assert (kl <= bound + 0.3).all() and kl.mean() <= bound.mean()


# The contract -------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_a_block_changes_no_bit_and_a_saved_model_comes_back(protocol, likelihood, tmp_path):
    Xs = [data(likelihood, n, n) for n in (70, 55)]
    together = build(protocol, likelihood).fit_many(Xs, [3, 4])
    for X, seed, fitted in zip(Xs, (3, 4), together, strict=True):
        alone = build(protocol, likelihood, seed=seed).fit(X)
        assert alone.state_.keys() == fitted.state_.keys()
        assert all(torch.equal(alone.state_[k], fitted.state_[k]) for k in alone.state_)
    together[0].save(tmp_path)
    loaded = plugin.VSC().load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(Xs[0]), together[0].transform(Xs[0]))
    np.testing.assert_allclose(loaded.elbo(Xs[0]), together[0].elbo(Xs[0]), rtol=1e-6)
    assert loaded.reconstruct(Xs[0]).shape == Xs[0].shape


def test_the_decoder_ignores_the_order_of_features_and_factors():
    model = build().fit(data("gaussian"))
    Z = np.random.default_rng(0).standard_normal((20, 3))
    before = model.inverse_transform(Z)
    model.state_ |= {k: model.state_[k].flip(0) for k in ("heads", "head_bias")}
    model.state_["H1"] = model.state_["H1"].flip(1)
    after = model.inverse_transform(Z[:, ::-1].copy())
    np.testing.assert_allclose(after[:, ::-1], before, atol=1e-6)


def test_every_parameter_is_named_and_wrong_words_are_refused():
    fields = {f.name for f in dataclasses.fields(plugin.VSC)}
    assert set(plugin.METHOD["params"]) <= fields
    for protocol in plugin.METHOD["protocols"].values():
        assert set(protocol) <= set(plugin.METHOD["params"])
    with pytest.raises(ValueError, match="kl_form 'wrong': use one of exact, misprinted"):
        build(kl_form="wrong").fit(data("gaussian"))


def test_a_curve_says_nothing_while_the_gates_still_sharpen():
    assert build().settled_after() == 1
    settled = build(temperature_start=100.0, temperature_end=100.0, kl_warmup=0.6)
    assert settled.settled_after() == 0.6
