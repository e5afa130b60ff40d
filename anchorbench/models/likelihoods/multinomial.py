"""Counts of a row given its sum: x ~ Mult(sum_j x_j, softmax(u))."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from anchorbench.models.likelihoods.base import Likelihood
from anchorbench.models.state import State

LIKELIHOOD = {"label": "Multinomial", "kind": "counts"}
LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class Multinomial(Likelihood):
    """x ~ Mult(sum_j x_j, softmax(u)), without the multinomial coefficient.

    Parameters
    ----------
    probability_epsilon : float
        Added to the probabilities inside the log (the released code: 1e-6); 0 takes the
        log-softmax.
    input_scaling : {"row_sum", "none"}
        "row_sum" feeds the encoder rows divided by their sum, "none" the raw rows.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"input_scaling": ("row_sum", "none")}
    own_density = False  # the perplexity of shares, as the paper has it

    probability_epsilon: float = 0.0
    input_scaling: str = "row_sum"

    def encoder_input(self, s: State, x: Tensor) -> Tensor:  # noqa: ARG002
        """Shares of a row, or the row; an empty row stays zero."""
        if self.input_scaling == "none":
            return x
        total = x.sum(-1, keepdim=True)
        return x / torch.where(total > 0, total, torch.ones_like(total))

    def as_rows(self, free: Tensor) -> Tensor:
        """Shares of a row."""
        return torch.softmax(free, -1)

    def loss(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """The training loss of every row, (R, B)."""
        if self.probability_epsilon:
            return -(x * torch.log(torch.softmax(u, -1) + self.probability_epsilon)).sum(-1)
        return -self.log_prob(s, x, u)

    def log_prob(self, s: State, x: Tensor, u: Tensor) -> Tensor:  # noqa: ARG002
        """sum_j x_j log softmax(u)_j of every row, (R, B)."""
        return (x * torch.log_softmax(u, -1)).sum(-1)

    def mean(self, s: State, u: Tensor) -> Tensor:  # noqa: ARG002
        """The probabilities; rows sum to 1."""
        return torch.softmax(u, -1)

    def effect_scale(self, s: State, u: Tensor) -> Tensor:  # noqa: ARG002
        """Log-probabilities."""
        return torch.log_softmax(u, -1)

    @staticmethod
    def plug_in(
        X: np.ndarray,
        expected: np.ndarray,
        residuals: Callable[[], np.ndarray],  # noqa: ARG004
    ) -> np.ndarray:
        """sum_j x_j log(p_j + 1e-6) at the shares p."""
        return (X * np.log(expected + LEAST_SHARE)).sum(axis=1)
