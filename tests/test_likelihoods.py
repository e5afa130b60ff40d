import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats

from anchorbench.models.likelihoods import (
    Gaussian,
    Multinomial,
    make_likelihood,
    noise_prior,
    noise_prior_scale,
)


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
    assert torch.equal(Multinomial().encoder_input(x)[0], torch.tensor([[0.25, 0.75], [0.0, 0.0]]))
    assert torch.equal(Multinomial(input_scaling="none").encoder_input(x), x)


@pytest.mark.parametrize(
    "arguments", [("poisson", "sum", 0.0, "none"), ("gaussian", "max", 0.0, "none"),
                  ("multinomial", "sum", 0.0, "rows")],
)  # fmt: skip
def test_unknown_words_are_refused(arguments):
    with pytest.raises(ValueError, match="use"):
        make_likelihood(*arguments)
