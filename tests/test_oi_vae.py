"""OI-VAE: generators against a loop, its steps, its scaling in both protocols, recovery of bars."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deep_cases import AS_THEY_ARE, SMALL, a_batch, a_state, data
from scipy.optimize import minimize
from scipy.special import logsumexp

from anchorbench.models import nets, priors
from anchorbench.models.base import VAE
from anchorbench.models.training import Batch
from anchorbench.scores.prediction import log_weights
from anchorbench.study.plugins import discover, load

plugin = load(discover("methods")["oi_vae"])


pytestmark = pytest.mark.usefixtures("one_thread")


def build(protocol="corrected", likelihood="gaussian", n_latent=3, seed=0, **params):
    chosen = plugin.METHOD["params"] | plugin.METHOD["protocols"][protocol] | SMALL
    chosen |= AS_THEY_ARE | params
    return plugin.build(likelihood, n_latent, seed, **chosen)


# Generators ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "activation"), [(0, "linear"), (0, "tanh"), (7, "tanh")])
def test_all_generators_at_once_equal_the_loop(hidden, activation):
    model = build(generator_hidden=hidden, activation=activation)
    s, parameters = a_state(model, data("gaussian"), dtype=torch.float64)
    z = torch.randn(1, 11, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z.requires_grad_()
    loop = []
    for j in range(6):
        h = z[0] @ s.W[0, j].T
        if hidden:
            h = h @ s.V[0, j].T + s.c[0, j]
        if activation == "tanh":
            h = torch.tanh(h)
        loop.append(h @ s.heads[0, j] + s.head_bias[0, j])
    expected, actual = torch.stack(loop, 1), model.decode(s, z)[0]
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-14)
    weight = torch.randn(11, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    used = [getattr(s, k) for k in ("W", "V", "c", "heads", "head_bias") if k in parameters]
    torch.testing.assert_close(
        torch.autograd.grad((weight * actual).sum(), [z, *used]),
        torch.autograd.grad((weight * expected).sum(), [z, *used]),
        rtol=1e-10,
        atol=1e-14,
    )


def test_a_zero_column_cuts_the_factor_from_the_feature_alone():
    model = build().fit(data("gaussian"))
    model.state_["W"][2, :, 1] = 0
    Z = np.random.default_rng(0).standard_normal((30, 3))
    moved = Z + np.eye(3)[1]
    same = np.isclose(model.inverse_transform(Z), model.inverse_transform(moved)).all(0)
    assert same.tolist() == [False, False, True, False, False, False]
    assert not model.support_[2, 1]


def test_order_of_features_and_factors_does_not_matter():
    model = build().fit(data("gaussian"))
    Z = np.random.default_rng(0).standard_normal((20, 3))
    before, loadings = model.inverse_transform(Z), model.loadings_
    model.state_ |= {k: model.state_[k].flip(0) for k in ("W", "V", "c", "heads", "head_bias")}
    model.state_["W"] = model.state_["W"].flip(2)
    after = model.inverse_transform(Z[:, ::-1].copy())
    np.testing.assert_allclose(after[:, ::-1], before, atol=1e-6)
    np.testing.assert_allclose(model.loadings_[::-1, ::-1], loadings)


def test_tanh_of_w_z_alone_is_odd_and_a_hidden_layer_is_not():
    Z = np.random.default_rng(0).standard_normal((20, 3))
    for hidden, odd in ((0, True), (5, False)):
        model = build(generator_hidden=hidden).fit(data("gaussian"))
        even_part = model.inverse_transform(Z) + model.inverse_transform(-Z)
        assert np.allclose(even_part, 2 * model.inverse_transform(0 * Z), atol=1e-5) == odd


# Steps --------------------------------------------------------------------------------------------


def test_proximal_map_minimises_its_objective():
    w = np.array([0.6, -0.3, 0.2])
    for t in (0.1, 0.5):
        found = minimize(
            lambda v, t=t: 0.5 * ((v - w) ** 2).sum() + t * np.linalg.norm(v), w, tol=1e-12
        ).x
        mapped = priors.group_soft_threshold(torch.tensor(w), t, dim=0).numpy()
        np.testing.assert_allclose(mapped, found, atol=1e-6)
    assert (priors.group_soft_threshold(torch.tensor(w), 0.71, dim=0) == 0).all()


@pytest.mark.parametrize(
    ("scale", "rows"), [("data", 1000.0), ("batch", 70.0), ("row", 1.0)], ids=lambda v: str(v)
)
def test_a_step_shrinks_every_column_by_rate_times_lambda(scale, rows):
    model = build(prior_scale=scale, penalty_rate=3.0, w_rate=0.25)
    s, _ = a_state(model, data("gaussian"))
    s.W = s.W.detach()
    s.W[0, 4, :, 2] *= 1e-4
    before = s.W.clone()
    step = SimpleNamespace(step_size=lambda name: model.sgd_rates()[name])
    model.after_step(s, a_batch(model, data("gaussian"), rows=1000), step)
    norms, after = (W.square().sum(2).sqrt() for W in (before, s.W))
    torch.testing.assert_close(after, torch.relu(norms - 0.75 / rows))
    assert (s.W[0, 4, :, 2] == 0).all() == (0.75 / rows > norms[0, 4, 2])
    kept = after > 0
    cosine = (before * s.W).sum(2)[kept] / (norms * after)[kept]
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_w_takes_plain_gradient_steps_and_no_penalty_gradient():
    """One step from the same start: W moves by its rate times the gradient, then shrinks."""
    X = data("gaussian", 20)
    model = build(epochs=1, penalty_rate=40.0, prior_scale="row", kl_warmup=0.0)
    s, _ = a_state(model, X)
    fitted = model.fit(X)
    generator = torch.Generator().manual_seed(0)
    model.initialise(torch.tensor(X, dtype=torch.float32), generator)
    noise = model.draw_noise(generator, 20)[None]
    x = torch.tensor(X, dtype=torch.float32)[None]
    order = torch.randperm(20, generator=generator)
    one = torch.ones(1)
    batch = Batch(x[:, order], torch.full((1, 20), 0.05), noise, 0 * one, 20 * one, 20)
    (gradient,) = torch.autograd.grad(model.loss(s, batch).sum(), [s.W])
    moved = s.W[0] - 0.005 * gradient[0]
    norm = moved.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(fitted.state_["W"], moved * torch.relu(1 - 0.2 / norm))


def test_a_huge_penalty_gives_exact_zeros_and_none_gives_none():
    X = data("gaussian")
    cut = build(penalty_rate=1e6).fit(X)
    assert (cut.state_["W"] == 0).all() and not cut.support_.any()
    assert np.ptp(cut.inverse_transform(cut.transform(X)), axis=0).max() == 0
    free = build(penalty_rate=0.0, support_rule="exact").fit(X)
    assert free.support_.all()


def test_support_by_effect_is_a_part_of_the_exact_one():
    exact = build(support_rule="exact").fit(data("gaussian"))
    effect = build(support_rule="effect").fit(data("gaussian"))
    effect.state_["effect"][0, 0] = 0.009
    assert torch.equal(exact.state_["W"], effect.state_["W"])
    assert (exact.support_ >= effect.support_).all() and not effect.support_[0, 0]


# The objective ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_objective_written_out(protocol):
    X = data("gaussian")
    model = build(protocol)
    s, _ = a_state(model, X)
    batch = a_batch(model, X, progress=0.15, rows=1000)
    q = model.encode(s, batch.x)
    z = q.mean + torch.exp(0.5 * q.logvar) * batch.noise
    density = torch.distributions.Normal(model.decode(s, z), torch.exp(s.log_sigma)[:, None])
    nll = -density.log_prob(batch.x).sum(-1).mean()
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, torch.exp(0.5 * q.logvar)),
        torch.distributions.Normal(0.0, 1.0),
    )
    kl = kl.sum(-1).mean()
    weights = [s.heads, s.head_bias] + ([s.V, s.c] if protocol == "corrected" else [])
    theta = sum(0.5 * w.square().sum() for w in weights)
    if protocol == "published":  # log p(theta) undivided, no noise prior, no warm-up
        expected = nll + kl + theta
    else:  # both priors beside 1,000 rows, the divergence half way through its warm-up
        noise = 5 * s.log_sigma + 1.5 * s.xi * torch.exp(-2 * s.log_sigma)
        expected = nll + 0.5 * kl + (theta + noise.sum()) / 1000
    torch.testing.assert_close(model.loss(s, batch)[0], expected)


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_gradients_reach_every_parameter(protocol, likelihood):
    X = data(likelihood)
    model = build(protocol, likelihood)
    s, parameters = a_state(model, X)
    model.loss(s, a_batch(model, X, rows=1000)).sum().backward()
    for name in parameters:
        assert getattr(s, name).grad.abs().sum() > 0, name


@dataclasses.dataclass(eq=False, repr=False)
class PerFeatureVAE(VAE):
    """A VAE whose features have heads tanh(W_j z) of their own: nothing of the OI-VAE in it."""

    def init_decoder(self, generator, n_features):
        W = torch.randn(n_features, 5, self.n_latent, generator=generator)
        heads, bias = nets.linear_init(generator, n_features, 5)
        return {"W": W, "heads": heads, "head_bias": bias}, {}

    def decode(self, s, z):
        h = torch.tanh(torch.einsum("rbk,rjpk->rbjp", z, s.W))
        return torch.einsum("rbjp,rjp->rbj", h, s.heads) + s.head_bias[:, None]

    def sgd_rates(self):
        return {"W": 0.005}


def test_without_penalty_and_prior_it_is_a_vae_with_heads_for_every_feature():
    X = data("gaussian")
    ours = build(penalty_rate=0.0, decoder_weight_prior=False, generator_hidden=0).fit(X)
    plain = PerFeatureVAE(**SMALL, n_latent=3, kl_warmup=0.3).fit(X)
    for name, value in plain.state_.items():
        torch.testing.assert_close(ours.state_[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_elbo_stays_below_the_importance_weighted_bound(likelihood):
    X = data(likelihood)
    model = build(likelihood=likelihood, epochs=30).fit(X)
    weights = log_weights(model, X, 200, np.random.default_rng(0))
    assert model.elbo(X).mean() < logsumexp(weights, axis=1, b=1 / 200).mean()
    assert model.elbo(X).mean() == pytest.approx(weights.mean(), rel=0.03)


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
    loaded = plugin.OIVAE().load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(Xs[0]), together[0].transform(Xs[0]))
    np.testing.assert_array_equal(loaded.support_, together[0].support_)
    assert loaded.loadings_.shape == loaded.support_.shape == (Xs[0].shape[1], 3)


def test_every_parameter_is_named():
    fields = {f.name for f in dataclasses.fields(plugin.OIVAE)}
    assert set(plugin.METHOD["params"]) <= fields
    for protocol in plugin.METHOD["protocols"].values():
        assert set(protocol) <= set(plugin.METHOD["params"])


def test_training_improves_counts():
    X = np.random.default_rng(0).multinomial(30, [0.7, 0.1, 0.1, 0.1], 200).astype(float)
    X[:100] = X[:100, ::-1]
    model = build(likelihood="multinomial", epochs=40).fit(X)
    shares = np.log(X.sum(0) / X.sum())
    assert model.log_prob(X, model.transform(X)).mean() > (X @ shares).mean() + 3


def test_bars_every_row_of_the_image_gets_a_factor_of_its_own():
    """4 x 4 images whose rows light up independently, every pixel a group; two factors to spare.

    A row that shares a factor with another is a local optimum, which one seed in five may reach.
    """
    rng = np.random.default_rng(0)
    lit = rng.integers(2, size=(5, 1024, 4))
    Xs = 0.5 * np.repeat(lit, 4, axis=2) + 0.05 * rng.standard_normal((5, 1024, 16))
    settings = {"group_width": 1, "generator_hidden": 0, "activation": "linear", "n_hidden": 32}
    steps = {"epochs": 150, "batch_size": 64, "kl_warmup": 0.9, "w_rate": 0.01}
    model = build(n_latent=6, penalty_rate=200.0, **settings, **steps)
    recovered = 0
    for fitted in model.fit_many(list(Xs), list(range(5))):
        assert (fitted.loadings_ == 0).any()
        effect = fitted.state_["effect"].numpy().reshape(4, 4, 6).mean(1)
        own = effect.argmax(1)
        others = effect.copy()
        others[np.arange(4), own] = 0
        recovered += len(set(own)) == 4 and effect.max(1).min() > 0.7 and others.max() < 0.1
    assert recovered >= 3
