"""Yes or no: x_j ~ Bern(sigmoid(u_j))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anchorbench.models.likelihoods.base import LARGEST, Likelihood
from anchorbench.models.state import State

LIKELIHOOD = {"label": "Bernoulli", "kind": "binary"}
LEAST_CHANCE = 1e-6


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """x_j ~ Bern(sigmoid(u_j)), features independent given the codes."""

    def as_rows(self, free: Tensor) -> Tensor:
        """Chances in (0, 1)."""
        return self.mean(State(), free)

    def log_prob(self, s: State, x: Tensor, u: Tensor) -> Tensor:  # noqa: ARG002
        """sum_j x_j u_j - log(1 + exp u_j) of every row, (R, B)."""
        u = u.clamp(-LARGEST, LARGEST)
        return (x * u - torch.log1p(torch.exp(-u.abs())) - torch.relu(u)).sum(-1)

    def mean(self, s: State, u: Tensor) -> Tensor:  # noqa: ARG002
        """The chances of a one."""
        return 1 / (1 + torch.exp(-u.clamp(-LARGEST, LARGEST)))

    def effect_scale(self, s: State, u: Tensor) -> Tensor:  # noqa: ARG002
        """Log-odds."""
        return u

    @staticmethod
    def plug_in(
        X: np.ndarray,
        expected: np.ndarray,
        residuals: Callable[[], np.ndarray],  # noqa: ARG004
    ) -> np.ndarray:
        """Bern(x; expected), chances kept 1e-6 away from 0 and 1."""
        p = np.clip(expected, LEAST_CHANCE, 1 - LEAST_CHANCE)
        return (X * np.log(p) + (1 - X) * np.log1p(-p)).sum(axis=1)
