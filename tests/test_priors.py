import math

import pytest
import torch
from torch.distributions import Laplace, MultivariateNormal, Normal, kl_divergence

from anchorbench.models import priors


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_standard_kl_equals_torch_and_a_monte_carlo_estimate():
    mean, logvar = draws(2, 3, 4), draws(2, 3, 4, seed=1)
    q = Normal(mean, torch.exp(0.5 * logvar))
    kl = priors.kl_standard(mean, logvar)
    torch.testing.assert_close(kl, kl_divergence(q, Normal(0.0, 1.0)))
    torch.manual_seed(0)
    z = q.sample((200_000,))
    estimate = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean(0)
    torch.testing.assert_close(kl, estimate, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("build", ["low_rank", "cholesky"])
def test_general_kl_equals_torch(build):
    mean, logvar = draws(2, 3, 4), draws(2, 3, 4, seed=1)
    if build == "low_rank":
        C = draws(2, 4, 2, seed=2)
        covariance = priors.low_rank_covariance(C)
        torch.testing.assert_close(covariance, C @ C.mT + torch.eye(4).double())
    else:
        covariance = priors.cholesky_covariance(draws(2, 4, 4, seed=2))
        assert (torch.linalg.eigvalsh(covariance) > 0).all()
    q = MultivariateNormal(mean, torch.diag_embed(torch.exp(logvar)))
    p = MultivariateNormal(torch.zeros(4).double(), covariance[:, None])
    torch.testing.assert_close(priors.kl_covariance(mean, logvar, covariance), kl_divergence(q, p))


def test_general_kl_at_the_identity_is_the_standard_one():
    mean, logvar = draws(1, 5, 3), draws(1, 5, 3, seed=1)
    identity = priors.cholesky_covariance(torch.zeros(1, 3, 3).double())
    torch.testing.assert_close(
        priors.kl_covariance(mean, logvar, identity), priors.kl_standard(mean, logvar).sum(-1)
    )


def responsibility(w, eta, lambda0, lambda1, exact=True):
    value = priors.responsibility(
        torch.tensor([[[w]]]).double(),
        torch.tensor([[eta]]).double(),
        torch.tensor([lambda0]).double(),
        lambda1,
        exact,
    )
    return value.item()


@pytest.mark.parametrize(
    ("lambda0", "lambda1", "eta", "crossing"),
    [(10.0, 1.0, 0.5, 0.256), (10.0, 1.0, 0.1, 0.500), (5.0, 0.01, 0.5, 1.245),
     (5.0, 0.01, 0.1, 1.686), (5.0, 0.001, 0.5, 1.704)],
)  # fmt: skip
def test_slab_and_spike_cross_where_the_closed_form_says(lambda0, lambda1, eta, crossing):
    exact = (math.log((1 - eta) / eta) + math.log(lambda0 / lambda1)) / (lambda0 - lambda1)
    assert exact == pytest.approx(crossing, abs=1e-3)
    assert responsibility(exact, eta, lambda0, lambda1) == pytest.approx(0.5)
    assert responsibility(-exact, eta, lambda0, lambda1) == pytest.approx(0.5)


def test_responsibility_at_zero():
    assert responsibility(0.0, 0.5, 10.0, 1.0) == pytest.approx(1 / 11)
    assert responsibility(0.0, 0.5, 5.0, 0.01) == pytest.approx(0.002, abs=1e-5)
    assert responsibility(0.0, 0.3, 10.0, 1.0, exact=False) == pytest.approx(0.3)


def test_responsibility_is_bayes_rule():
    w, eta = 0.37, 0.2
    slab = eta * Laplace(0.0, 1 / 1.0).log_prob(torch.tensor(w)).exp()
    spike = (1 - eta) * Laplace(0.0, 1 / 8.0).log_prob(torch.tensor(w)).exp()
    assert responsibility(w, eta, 8.0, 1.0) == pytest.approx((slab / (slab + spike)).item())


def test_responsibility_survives_extremes():
    assert responsibility(1e4, 0.5, 500.0, 0.001) == 1.0
    assert responsibility(0.0, 1e-10, 500.0, 0.001) == pytest.approx(0.0, abs=1e-12)


def test_slab_share_is_bounded_by_the_papers_ratio():
    assert priors.slab_share(torch.ones(1, 7, 2), a=1.0, b=7.0)[0, 0].item() == pytest.approx(
        7 / 13
    )
    assert priors.slab_share(torch.zeros(1, 7, 2), a=1.0, b=7.0)[0, 0].item() > 0


def test_expected_rate_mixes_spike_and_slab():
    p_star = torch.tensor([[[0.0, 0.25, 1.0]]])
    rate = priors.expected_rate(p_star, torch.tensor([9.0]), 1.0)
    assert torch.equal(rate, torch.tensor([[[9.0, 7.0, 1.0]]]))


def test_soft_threshold_minimises_its_objective_and_gives_exact_zeros():
    w = torch.linspace(-2, 2, 41)
    shrunk = priors.soft_threshold(w, 0.5)
    assert (shrunk[w.abs() <= 0.5] == 0).all()
    grid = torch.linspace(-3, 3, 6001)
    objective = 0.5 * (grid[None] - w[:, None]).square() + 0.5 * grid.abs()[None]
    torch.testing.assert_close(shrunk, grid[objective.argmin(1)], atol=2e-3, rtol=0)


def test_group_soft_threshold_shrinks_the_norm_and_kills_small_groups():
    W = torch.tensor([[[3.0, 0.1, 0.0], [4.0, 0.1, 0.0]]])
    shrunk = priors.group_soft_threshold(W, 1.0, dim=1)
    torch.testing.assert_close(shrunk[0, :, 0], torch.tensor([2.4, 3.2]))
    assert (shrunk[0, :, 1:] == 0).all()


def test_standard_normal_penalty_sums_over_all_tensors():
    a, b = draws(2, 3, 4), draws(2, 5, seed=1)
    expected = -sum(Normal(0.0, 1.0).log_prob(t).flatten(1).sum(1) for t in (a, b))
    expected -= 0.5 * math.log(2 * math.pi) * 17
    torch.testing.assert_close(priors.standard_normal_penalty(a, b), expected)


def test_a_learned_correlation_has_a_unit_diagonal_and_any_correlations():
    L = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = priors.correlation(L)
    torch.testing.assert_close(torch.diagonal(found, dim1=-2, dim2=-1), torch.ones(3, 4))
    torch.testing.assert_close(found, found.mT)
    assert (torch.linalg.eigvalsh(found) > 0).all()
    assert found.abs().amin(0).max() > 0.05
    torch.testing.assert_close(priors.correlation(torch.zeros(1, 3, 3))[0], torch.eye(3))


def test_a_diagonal_covariance_is_diagonal_and_positive():
    L = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    found = priors.diagonal_covariance(L)
    diagonal = torch.diagonal(found, dim1=-2, dim2=-1)
    torch.testing.assert_close(found, torch.diag_embed(diagonal))
    torch.testing.assert_close(diagonal, torch.exp(2 * torch.diagonal(L, dim1=-2, dim2=-1)))


@pytest.mark.parametrize("word", [priors.correlation, priors.diagonal_covariance])
def test_the_divergence_from_a_learned_prior_is_that_of_torch(word):
    g = torch.Generator().manual_seed(1)
    mean, logvar = torch.randn(1, 5, 3, generator=g), torch.randn(1, 5, 3, generator=g)
    covariance = word(0.5 * torch.randn(1, 3, 3, generator=g))
    found = priors.kl_covariance(mean, logvar, covariance)[0]
    prior = torch.distributions.MultivariateNormal(torch.zeros(3), covariance[0])
    for i in range(5):
        q = torch.distributions.MultivariateNormal(mean[0, i], torch.diag(logvar[0, i].exp()))
        expected = torch.distributions.kl_divergence(q, prior)
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-4)
