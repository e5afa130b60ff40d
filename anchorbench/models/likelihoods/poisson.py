"""Counts, one by one: x_j ~ Poisson(l m_j exp(u_j)), l the row's size and m_j the training mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.special import gammaln
from torch import Tensor

from anchorbench.models.likelihoods.base import LARGEST, Likelihood
from anchorbench.models.state import State

LIKELIHOOD = {"label": "Poisson", "kind": "counts"}
LEAST_MEAN = 1e-6


@dataclass(frozen=True)
class Poisson(Likelihood):
    """x_j ~ Poisson(mu_j), log mu_j = log l + log m_j + u_j, with all constants.

    u is measured from the features' training means m_j, so that training starts near them. Unlike
    the multinomial model of shares, rates need not sum to anything.

    Parameters
    ----------
    size_factor : {"row_sum", "none"}
        l: the row's sum in units of the training rows' mean sum, where it is of no interest (how
        deeply a cell was sequenced); or 1, where the sum depends on the factors, too. The encoder
        sees log(1 + x / l).
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"size_factor": ("row_sum", "none")}

    size_factor: str = "row_sum"

    def initialise(self, X: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Constants: the mean of row sums, and the log of the features' means."""
        means = X.double().mean(0).clamp_min(0.5 / len(X))
        return {}, {"mean_sum": X.double().sum(1).mean().float(), "log_means": means.log().float()}

    def _size(self, s: State, x: Tensor) -> Tensor:
        """l of every row, (R, B, 1); 1 for an empty row."""
        if self.size_factor == "none":
            return x.new_ones(1)
        total = x.sum(-1, keepdim=True)
        return torch.where(total > 0, total / s.mean_sum[:, None, None], torch.ones_like(total))

    def encoder_input(self, s: State, x: Tensor) -> Tensor:
        """log(1 + x / l)."""
        return torch.log1p(x / self._size(s, x))

    def as_rows(self, free: Tensor) -> Tensor:
        """Non-negative numbers."""
        return torch.nn.functional.softplus(free)

    def log_rate(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """log mu of rows, (R, B, G)."""
        return self._bounded(s, u) + torch.log(self._size(s, x))

    def _bounded(self, s: State, u: Tensor) -> Tensor:
        return (s.log_means[:, None] + u).clamp(-LARGEST, LARGEST)

    def log_prob(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """sum_j x_j log mu_j - mu_j - log x_j! of every row, (R, B)."""
        rate = self.log_rate(s, x, u)
        return (x * rate - torch.exp(rate) - torch.lgamma(x + 1)).sum(-1)

    def mean(self, s: State, u: Tensor) -> Tensor:
        """Rates of a row of mean size."""
        return torch.exp(self._bounded(s, u))

    def effect_scale(self, s: State, u: Tensor) -> Tensor:  # noqa: ARG002
        """Logarithms of rates."""
        return u

    @staticmethod
    def plug_in(
        X: np.ndarray,
        expected: np.ndarray,
        residuals: Callable[[], np.ndarray],  # noqa: ARG004
    ) -> np.ndarray:
        """Poisson(x; the row's sum times the expected shares)."""
        mu = np.maximum(X.sum(axis=1, keepdims=True) * expected, LEAST_MEAN)
        return (X * np.log(mu) - mu - gammaln(X + 1)).sum(axis=1)
