"""Likelihoods: densities, gradients, limits; and that every method trains with each of them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deep_cases import count_data, data, topic_counts
from scipy import stats
from test_deep_methods import build

from anchorbench.data.dataset import DataError, Dataset, validate
from anchorbench.models.likelihoods.base import find, make, names
from anchorbench.models.likelihoods.gaussian import Gaussian, noise_prior, noise_prior_scale
from anchorbench.models.likelihoods.multinomial import Multinomial
from anchorbench.models.likelihoods.negative_binomial import NegativeBinomial
from anchorbench.models.likelihoods.poisson import Poisson
from anchorbench.study import plugins


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_gaussian_log_prob_is_the_density_with_all_constants():
    x, u, log_sigma = draws(2, 4, 3), draws(2, 4, 3, seed=1), draws(2, 3, seed=2)
    got = Gaussian().log_prob(SimpleNamespace(log_sigma=log_sigma), x, u)
    density = torch.distributions.Normal(u, log_sigma.exp()[:, None])
    torch.testing.assert_close(got, density.log_prob(x).sum(-1))
    torch.testing.assert_close(Gaussian().loss(SimpleNamespace(log_sigma=log_sigma), x, u), -got)


def test_published_gaussian_loss_underestimates_the_variance_by_the_number_of_features():
    # At the optimum in sigma, "mean" gives MSE / G, "sum" gives MSE.
    x, u = 2 * draws(1, 5000, 7), torch.zeros(1, 5000, 7)
    for reduction, factor in (("sum", 1), ("mean", 7)):
        log_sigma = torch.zeros(1, 7, requires_grad=True)
        optimiser = torch.optim.LBFGS([log_sigma], max_iter=100, line_search_fn="strong_wolfe")

        def closure(log_sigma=log_sigma, optimiser=optimiser, reduction=reduction):
            optimiser.zero_grad()
            s = SimpleNamespace(log_sigma=log_sigma)
            loss = Gaussian(reduction).loss(s, x, u).mean()
            loss.backward()
            return loss

        optimiser.step(closure)
        torch.testing.assert_close(
            torch.exp(2 * log_sigma[0]).detach() * factor, x[0].square().mean(0), rtol=1e-3, atol=0
        )


def test_noise_prior_scale_is_the_papers_constant():
    sd = torch.linspace(1, 3, 201)
    q = 1.1  # the 5 % quantile
    assert noise_prior_scale(sd).item() == pytest.approx(0.19479 * q**2, rel=1e-4)
    assert noise_prior_scale(torch.zeros(5)).item() == pytest.approx(0.19479e-6, rel=1e-4)


def test_the_noise_priors_upper_quantile_is_the_smallest_variances():
    xi = noise_prior_scale(torch.full((9,), 1.7)).item()
    # sigma^2 ~ InverseGamma(3/2, 3 xi / 2)
    assert stats.invgamma(1.5, scale=1.5 * xi).ppf(0.9) == pytest.approx(1.7**2, rel=1e-5)


def test_noise_prior_is_minus_the_inverse_gamma_log_density():
    log_sigma, xi = draws(1, 6), torch.tensor([0.4])
    density = stats.invgamma(1.5, scale=1.5 * 0.4).logpdf(torch.exp(2 * log_sigma[0]).numpy())
    difference = -density.sum() - noise_prior(log_sigma, xi).item()
    other = -stats.invgamma(1.5, scale=0.6).logpdf([1.0] * 6).sum()
    other -= noise_prior(torch.zeros(1, 6), xi).item()
    assert difference == pytest.approx(other, rel=1e-5)  # a constant


def test_noise_starts_at_the_standard_deviation():
    X = draws(50, 4) * torch.tensor([1.0, 2.0, 3.0, 0.0])
    parameters, constants = Gaussian().initialise(X)
    torch.testing.assert_close(parameters["log_sigma"].exp()[:3], X.std(0, unbiased=False)[:3])
    assert torch.isfinite(parameters["log_sigma"]).all()
    assert constants["xi"] > 0


def test_multinomial_log_prob_lacks_only_the_coefficient():
    x, u = torch.tensor([[[2.0, 0.0, 3.0]]]), draws(1, 1, 3)
    full = torch.distributions.Multinomial(5, logits=u[0, 0]).log_prob(x[0, 0])
    coefficient = math.log(math.factorial(5) / (2 * 6))
    got = Multinomial().log_prob(SimpleNamespace(), x, u)
    assert got.item() == pytest.approx(full.item() - coefficient, rel=1e-5)


def test_published_multinomial_loss_caps_a_tokens_loss():
    x, u = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[-100.0, 0.0]]])
    capped = Multinomial(probability_epsilon=1e-6).loss(SimpleNamespace(), x, u)
    assert capped.item() == pytest.approx(-math.log(1e-6), rel=1e-4)
    assert Multinomial().loss(SimpleNamespace(), x, u).item() == pytest.approx(100.0)


def test_encoder_input_is_scaled_by_row_sums_and_survives_empty_rows():
    x = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    assert torch.equal(
        Multinomial().encoder_input(None, x)[0], torch.tensor([[0.25, 0.75], [0.0, 0.0]])
    )
    assert torch.equal(Multinomial(input_scaling="none").encoder_input(None, x), x)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("poison", {}, "likelihood 'poison': use one of bernoulli"),
        ("gaussian", {"likelihood_reduction": "max"}, "'max': use one of sum, mean"),
        ("multinomial", {"input_scaling": "rows"}, "'rows': use one of row_sum, none"),
        ("poisson", {"size_factor": "total"}, "'total': use one of row_sum, none"),
    ],
)
def test_unknown_words_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, options)


# All of them, those to come too -------------------------------------------------------------------

MODELS = ("vae", "beta_vae", "sparse_vae", "oi_vae", "vsc")
DENSITIES = {
    "bernoulli": lambda s, u, m: torch.distributions.Bernoulli(logits=u),
    "poisson": lambda s, u, m: torch.distributions.Poisson(m),
    "negative_binomial": lambda s, u, m: torch.distributions.NegativeBinomial(
        s.log_theta.exp()[:, None], logits=m.log() - s.log_theta[:, None]
    ),
}


def case(name, **options):
    """A likelihood, its state and rows x and outputs u in double precision, (1, 70, G)."""
    X = torch.tensor(data(name))
    likelihood = make(name, options)
    state = {n: t[None].double() for part in likelihood.initialise(X) for n, t in part.items()}
    u = 0.5 * torch.randn(1, *X.shape, generator=torch.Generator().manual_seed(3)).double()
    return likelihood, SimpleNamespace(**state), X[None], u


def test_files_and_classes_agree_with_what_study_discovers():
    assert names() == sorted(plugins.likelihoods())
    for name, about in plugins.likelihoods().items():
        assert about["kind"] in ("real", "counts", "binary") and about["label"]
        assert find(name).__doc__


@pytest.mark.parametrize("size_factor", ["row_sum", "none"])
@pytest.mark.parametrize("name", DENSITIES)
def test_log_probabilities_are_torchs(name, size_factor):
    likelihood, s, x, u = case(name, size_factor=size_factor)
    m = likelihood.mean(s, u)
    if size_factor == "row_sum" and name != "bernoulli":
        total = x.sum(-1, keepdim=True)
        m = m * torch.where(total > 0, total / s.mean_sum, torch.ones_like(total))
    expected = DENSITIES[name](s, u, m).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(s, x, u), expected, rtol=1e-6, atol=1e-6)


def test_densities_of_counts_are_rs():
    # R 4.2.2: dpois(3, 2.5, log), dnbinom(4, size = 1.7, mu = 3.2, log), dnbinom(0, .5, mu = 10)
    x = torch.tensor([[[3.0], [4.0], [0.0]]]).double()
    for value, row, theta, mu in (
        (-1.542887, 0, None, 2.5), (-2.302248, 1, 1.7, 3.2), (-1.522261, 2, 0.5, 10.0),
    ):  # fmt: skip
        s = SimpleNamespace(log_means=torch.zeros(1, 1).double())
        u = torch.tensor([[[math.log(mu)]]]).double()
        likelihood = Poisson(size_factor="none")
        if theta:
            likelihood = NegativeBinomial(size_factor="none")
            s.log_theta = torch.tensor([[math.log(theta)]]).double()
        assert likelihood.log_prob(s, x[:, row : row + 1], u).item() == pytest.approx(
            value, abs=1e-6
        )


@pytest.mark.parametrize("name", names())
def test_gradients_are_those_of_finite_differences(name):
    likelihood, s, x, u = case(name)
    x, u = x[:, :4], u[:, :4].requires_grad_()
    inputs = [u]
    own = [n for n in ("log_sigma", "log_theta") if hasattr(s, n)]
    inputs += [getattr(s, n).requires_grad_() for n in own]

    def loss(u, *values):
        state = SimpleNamespace(**(vars(s) | dict(zip(own, values, strict=True))))
        return likelihood.loss(state, x, u)

    assert torch.autograd.gradcheck(loss, inputs)


def test_a_negative_binomial_of_little_dispersion_is_a_poisson():
    poisson, s, x, u = case("poisson")
    s.log_theta = torch.full((1, x.shape[-1]), math.log(9e3)).double()
    other = NegativeBinomial()
    torch.testing.assert_close(
        other.log_prob(s, x, u), poisson.log_prob(s, x, u), rtol=0.02, atol=0.02
    )


def test_dispersion_starts_where_moments_put_it():
    g = torch.Generator().manual_seed(0)
    gamma = torch.distributions.Gamma(torch.tensor([2.0, 8.0]), torch.tensor([0.5, 0.5]))
    torch.manual_seed(0)
    X = torch.poisson(gamma.sample((20_000,)), generator=g)
    parameters, constants = NegativeBinomial(size_factor="none").initialise(X)
    torch.testing.assert_close(
        parameters["log_theta"].exp(), torch.tensor([2.0, 8.0]), rtol=0.1, atol=0
    )
    torch.testing.assert_close(constants["log_means"].exp(), X.mean(0))


def test_a_larger_row_has_larger_rates_and_the_same_input():
    likelihood, s, x, u = case("poisson")
    x = x[:, 1:]  # without the empty row
    u = u[:, 1:]
    torch.testing.assert_close(
        likelihood.log_rate(s, 3 * x, u), likelihood.log_rate(s, x, u) + math.log(3)
    )
    torch.testing.assert_close(likelihood.encoder_input(s, 3 * x), likelihood.encoder_input(s, x))
    plain = Poisson(size_factor="none")
    torch.testing.assert_close(plain.log_rate(s, 3 * x, u), plain.log_rate(s, x, u))


@pytest.mark.parametrize("name", names())
def test_far_outputs_and_empty_rows_stay_finite(name):
    likelihood, s, x, u = case(name)
    s = SimpleNamespace(**{n: t.float() for n, t in vars(s).items()})
    x = torch.cat([x, 0 * x[:, :1]], 1).float()
    for far in (-1e4, 0.0, 1e4):
        u = torch.full(x.shape, far, requires_grad=True)
        if name == "gaussian":
            u = (u / 1e4).detach().requires_grad_()
        loss = likelihood.loss(s, x, u)
        (gradient,) = torch.autograd.grad(loss.sum(), u)
        for values in (loss, gradient, likelihood.mean(s, u), likelihood.encoder_input(s, x)):
            assert torch.isfinite(values).all()


@pytest.mark.parametrize("name", names())
def test_plug_in_densities_agree_with_the_models_own(name):
    """At the truth: noise by residuals, dispersion by moments, shares of the row."""
    likelihood, s, x, u = case(name)
    X = x[0].numpy()
    expected = likelihood.mean(s, u)[0].numpy()
    if plugins.kind_of(name) == "counts":
        expected = expected / expected.sum(1, keepdims=True)
    sigma = np.exp(s.log_sigma[0].numpy()) if name == "gaussian" else 1.0
    signs = np.where(np.arange(len(X)) % 2, 1.0, -1.0)[:, None]
    density = type(likelihood).plug_in(X, expected, lambda: sigma * signs * np.ones_like(X))
    assert density.shape == (len(X),) and np.isfinite(density).all()
    if name in ("gaussian", "bernoulli", "multinomial"):
        own = likelihood.log_prob(s, x, u)[0].numpy()
        np.testing.assert_allclose(density, own, rtol=1e-3, atol=1e-3)
    if name == "poisson":
        mu = X.sum(1, keepdims=True) * expected
        np.testing.assert_allclose(density[1:], stats.poisson(mu[1:]).logpmf(X[1:]).sum(1))


@pytest.fixture(scope="module")
def fitted():
    """Two replicates of every method under every likelihood, trained in a stack."""
    torch.set_num_threads(1)
    models = {}
    for name in MODELS:
        for likelihood in names():
            Xs = [data(likelihood, seed=0), data(likelihood, n=61, seed=1)]
            model = build(name, "corrected", likelihood)
            models[name, likelihood] = model.fit_many(Xs, [3, 4]), Xs
    return models


@pytest.mark.parametrize("likelihood", names())
@pytest.mark.parametrize("name", MODELS)
def test_every_method_trains_with_every_likelihood(fitted, name, likelihood, tmp_path, one_thread):
    (first, second), (X, other) = fitted[name, likelihood]
    alone = build(name, "corrected", likelihood, seed=4).fit(other)
    for key, value in alone.state_.items():
        assert torch.equal(value, second.state_[key]), key
    Z = first.transform(X)
    for values in (Z, first.loadings_, first.log_prob(X, Z), first.elbo(X), first.reconstruct(X)):
        assert np.isfinite(values).all()
    expected = first.inverse_transform(Z)
    if plugins.kind_of(likelihood) != "real":
        assert (expected >= 0).all()
    first.save(tmp_path)
    again = build(name, "corrected", likelihood).load(tmp_path)
    assert np.array_equal(again.elbo(X), first.elbo(X))


def test_training_on_counts_beats_the_training_mean():
    X = topic_counts(300)
    for likelihood in ("multinomial", "poisson", "negative_binomial"):
        options = {"epochs": 60, "n_hidden": 20, "batch_size": 50}
        model = build("vae", "corrected", likelihood, **options).fit(X)
        own = find(likelihood).plug_in
        shares = model.reconstruct(X) / model.reconstruct(X).sum(1, keepdims=True)
        mean = np.tile(X.mean(0) / X.mean(0).sum(), (len(X), 1))
        left = X - X.sum(1, keepdims=True) * shares
        assert own(X, shares, lambda: left).mean() > own(X, mean, lambda: X - X.mean(0)).mean() + 1  # noqa: B023


WRONG = {"real": np.nan, "counts": 0.5, "binary": 2.0}


@pytest.mark.parametrize("name", names())
def test_data_of_another_kind_are_refused_with_their_place_and_a_remedy(name):
    kind = plugins.kind_of(name)
    X = data(name)[1:]
    X[0] += kind == "counts"  # no column is empty
    validate(Dataset(X, [f"x{j}" for j in range(X.shape[1])]), kind, "mine")
    wrong = [WRONG[kind], np.inf] + ([-1.0] if kind != "real" else [])
    for value in wrong:
        bad = X.copy()
        bad[4, 2] = value
        with pytest.raises(DataError, match=r"mine: row 5, column 'x2': .*: .+"):
            validate(Dataset(bad, [f"x{j}" for j in range(X.shape[1])]), kind, "mine")


def test_a_file_is_all_that_a_new_likelihood_needs(tmp_path, monkeypatch):
    import anchorbench.models.likelihoods as room

    text = find("poisson").__module__.rsplit(".", 1)[1]
    source = (plugins.LIKELIHOODS / f"{text}.py").read_text()
    (tmp_path / "rates.py").write_text(source.replace("class Poisson", "class Rates"))
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    monkeypatch.setattr(plugins, "LIKELIHOODS", tmp_path)
    monkeypatch.setattr("anchorbench.models.likelihoods.base.names", lambda: ["rates"])
    for cached in (plugins.likelihoods, plugins._discover, find):
        cached.cache_clear()
    try:
        assert plugins.kind_of("rates") == "counts"
        assert plugins.is_for({"likelihoods": ["counts"]}, "rates")
        assert np.isfinite(build("vae", "corrected", "rates").fit(count_data()).loadings_).all()
    finally:
        for cached in (plugins.likelihoods, plugins._discover, find):
            cached.cache_clear()


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ('"likelihoods": ["gausian"]', "no likelihood 'gausian'; did you mean 'gaussian'"),
        ('"likelihoods": ["count"]', "did you mean 'counts'"),
        ('"likelihoods": "gaussian"', "likelihoods must be a list"),
        ('"likelihoods": 3', "likelihoods must be a list"),
    ],
)
def test_a_plugin_of_an_unknown_likelihood_is_broken_and_says_so(tmp_path, literal, message):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.py").write_text(f'METHOD = {{"label": "Mine", {literal}}}')
    assert message in (plugins.discover("methods", tmp_path)["mine"].broken or "")


def test_the_plug_in_dispersion_is_that_of_rows_of_unlike_sizes():
    rng = np.random.default_rng(0)
    shares, theta = rng.dirichlet(np.full(60, 5.0)), 2.0
    size = 900 * np.exp(rng.standard_normal((3000, 1)))
    X = rng.poisson(size * shares * rng.gamma(theta, 1 / theta, (3000, 60))).astype(float)
    mu = X.sum(1, keepdims=True) * shares
    plug_in = find("negative_binomial").plug_in
    found = plug_in(X, np.tile(shares, (len(X), 1)), lambda: X - mu).mean()
    true = stats.nbinom.logpmf(X, theta, theta / (theta + np.maximum(mu, 1e-6))).sum(1).mean()
    assert found == pytest.approx(true, abs=1.0)  # a theta of a third costs 11
