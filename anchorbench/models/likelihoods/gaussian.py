"""Real values with one noise level a feature: x_j ~ N(u_j, sigma_j^2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from anchorbench.models.likelihoods.base import Likelihood
from anchorbench.models.state import State

LIKELIHOOD = {"label": "Gaussian", "kind": "real"}

LEAST_VARIANCE = 1e-6
"""So that a model which copies its input stays finite."""
NOISE_DF = 3
"""Degrees of freedom nu of the inverse-gamma prior on the noise variances (eq. 60)."""


def noise_prior_scale(sd: Tensor, df: int = NOISE_DF) -> Tensor:
    """xi of eq. 60 from the features' standard deviations (G,): a scalar.

    The prior's 90 % quantile of sigma^2 equals q^2, q being the 5 % quantile of `sd`:
    xi = q^2 chi2_df(0.10) / df, which is 0.19479 q^2 at 3 degrees of freedom.
    """
    q = torch.quantile(sd.double(), 0.05).float()
    q = torch.where(q > 0, q, torch.full_like(q, 1e-3))
    return q.square() * float(chi2.ppf(0.10, df) / df)


def noise_prior(log_sigma: Tensor, xi: Tensor, df: int = NOISE_DF) -> Tensor:
    """-log p(sigma^2) of eq. 60 up to a constant: log_sigma (R, G), xi (R,) -> (R,)."""
    return ((df + 2) * log_sigma + 0.5 * df * xi[:, None] * torch.exp(-2 * log_sigma)).sum(-1)


@dataclass(frozen=True)
class Gaussian(Likelihood):
    """x_j ~ N(u_j, sigma_j^2), sigma_j learned.

    Parameters
    ----------
    likelihood_reduction : {"sum", "mean"}
        "sum" over features is the log-density. "mean" averages the squared errors over features but
        sums the log sigma_j, as the released code does, which underestimates sigma_j^2 by a factor
        of about G.
    feature_scaling : {"none", "standard"}
        "standard": the model is of features less their training mean and in their training sd, and
        all that it gives is in the data's units: expected features, effects, and densities, which
        lose sum_j log sd_j.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "likelihood_reduction": ("sum", "mean"),
        "feature_scaling": ("none", "standard"),
    }

    likelihood_reduction: str = "sum"
    feature_scaling: str = "none"

    def units(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Training mean and sd of every feature, (G,); a constant one has the sd 1."""
        if self.feature_scaling == "none":
            return {}
        sd = X.std(axis=0)
        return {"feature_mean": X.mean(axis=0), "feature_sd": np.where(sd > 0, sd, 1.0)}

    def initialise(self, X: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """log sigma starts at the features' sd; xi is the noise prior's."""
        sd = X.double().std(0, unbiased=False)
        start = torch.where(sd > 0, sd, torch.full_like(sd, 1e-3))
        return {"log_sigma": start.log().float()}, {"xi": noise_prior_scale(sd)}

    def loss(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """The training loss of every row, (R, B)."""
        if self.likelihood_reduction == "sum":
            return -self.log_prob(s, x, u)
        squared = ((x - u) * torch.exp(-s.log_sigma)[:, None]).square()
        return 0.5 * squared.mean(-1) + s.log_sigma.sum(-1)[:, None]

    def prior(self, s: State) -> Tensor:
        """-log prior of the noise levels (eq. 60), (R,)."""
        return noise_prior(s.log_sigma, s.xi)

    def log_prob(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """log p(x | u) of every row with all constants, (R, B)."""
        squared = ((x - u) * torch.exp(-s.log_sigma)[:, None]).square()
        constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
        density = -0.5 * squared.sum(-1) - s.log_sigma.sum(-1)[:, None] - constant
        unit = vars(s).get("feature_sd")
        return density if unit is None else density - torch.log(unit).sum(-1)[:, None]

    def mean(self, s: State, u: Tensor) -> Tensor:
        """u, in the data's units."""
        unit = vars(s).get("feature_sd")
        return u if unit is None else u * unit[:, None] + s.feature_mean[:, None]

    def effect_scale(self, s: State, u: Tensor) -> Tensor:  # noqa: ARG002
        """The expected features, as they are modelled."""
        return u

    def effect_unit(self, X: Tensor) -> Tensor:
        """The features' standard deviations, as they are modelled."""
        return X.double().std(0, unbiased=False)

    @staticmethod
    def plug_in(
        X: np.ndarray, expected: np.ndarray, residuals: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """N(x; expected, v), v_j the mean square of training residuals, at least 1e-6."""
        variance = np.maximum((residuals() ** 2).mean(axis=0), LEAST_VARIANCE)
        density = np.log(2 * np.pi * variance) + (X - expected) ** 2 / variance
        return -0.5 * density.sum(axis=1)
