"""Counts that vary more than a Poisson's: variance mu + mu^2 / theta_j, theta_j learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from anchorbench.models.likelihoods.poisson import LEAST_MEAN, Poisson
from anchorbench.models.state import State

LIKELIHOOD = {"label": "Negative binomial", "kind": "counts"}
LEAST_THETA, LARGEST_THETA = 1e-2, 1e4


@dataclass(frozen=True)
class NegativeBinomial(Poisson):
    """x_j ~ NB(mean mu_j, variance mu_j + mu_j^2 / theta_j), mu as in `Poisson`.

    theta_j, a feature's inverse dispersion, starts where moments of x_j / l put it and is trained
    with the rest; it has no prior. theta -> infinity is the Poisson.
    """

    def initialise(self, X: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """log theta by moments, and the Poisson's constants."""
        _, constants = super().initialise(X)
        total = X.double().sum(1, keepdim=True)
        ones = torch.ones_like(total)
        size = torch.where(total > 0, total / total.mean(), ones)
        scaled = X.double() / (size if self.size_factor == "row_sum" else ones)
        mean, variance = scaled.mean(0), scaled.var(0, unbiased=False)
        theta = mean.square() / (variance - mean).clamp_min(1e-6)
        return {"log_theta": theta.clamp(0.1, 100).log().float()}, constants

    def log_prob(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """log NB(x | mu, theta) of every row with all constants, (R, B)."""
        theta = torch.exp(s.log_theta).clamp(LEAST_THETA, LARGEST_THETA)[:, None]
        rate = self.log_rate(s, x, u)
        # log(theta + mu), the larger of the two taken out, so that neither overflows.
        together = torch.logaddexp(rate, torch.log(theta))
        chances = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
        return (chances + theta * (torch.log(theta) - together) + x * (rate - together)).sum(-1)

    @staticmethod
    def plug_in(
        X: np.ndarray, expected: np.ndarray, residuals: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """NB(x; mu, theta), mu the row's sum times the expected shares.

        One theta for each feature by moments, of the rows' mu and the training residuals:
        mean mu^2 / (mean squared residual - mean mu).
        """
        mu = np.maximum(X.sum(axis=1, keepdims=True) * expected, LEAST_MEAN)
        mean, spread = mu.mean(axis=0), (residuals() ** 2).mean(axis=0)
        squares = (mu**2).mean(axis=0)
        theta = np.clip(squares / np.maximum(spread - mean, 1e-6), LEAST_THETA, LARGEST_THETA)
        chances = gammaln(X + theta) - gammaln(theta) - gammaln(X + 1)
        density = chances + theta * np.log(theta / (theta + mu)) + X * np.log(mu / (theta + mu))
        return density.sum(axis=1)
