"""What a decoder's output u (R, B, G) says about data x (R, B, G).

`Gaussian` has u = mean and one learned noise level per feature; `Multinomial` has u = logits, one
draw per row. Both offer the same seven functions, so a model never asks which one it has. `s` is a
model's state: attributes are tensors with a leading replicate dimension R.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import chi2
from torch import Tensor

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
class Gaussian:
    """x_j ~ N(u_j, sigma_j^2).

    reduction: "sum" over features, the log-density; "mean" averages the squared errors over
    features but sums the log sigma_j, as the released code does, which underestimates sigma_j^2
    by a factor of about G.
    """

    reduction: str = "sum"

    def initialise(self, X: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(parameters, constants) from training data X (N, G): log sd and the noise prior's xi."""
        sd = X.double().std(0, unbiased=False)
        start = torch.where(sd > 0, sd, torch.full_like(sd, 1e-3))
        return {"log_sigma": start.log().float()}, {"xi": noise_prior_scale(sd)}

    def encoder_input(self, x: Tensor) -> Tensor:
        """What the encoder sees: x itself."""
        return x

    def loss(self, s: Any, x: Tensor, u: Tensor) -> Tensor:
        """The training loss of every row, (R, B)."""
        if self.reduction == "sum":
            return -self.log_prob(s, x, u)
        squared = ((x - u) * torch.exp(-s.log_sigma)[:, None]).square()
        return 0.5 * squared.mean(-1) + s.log_sigma.sum(-1)[:, None]

    def prior(self, s: Any) -> Tensor:
        """-log prior of the likelihood's own parameters, (R,)."""
        return noise_prior(s.log_sigma, s.xi)

    def log_prob(self, s: Any, x: Tensor, u: Tensor) -> Tensor:
        """log p(x | u) of every row with all constants, (R, B)."""
        squared = ((x - u) * torch.exp(-s.log_sigma)[:, None]).square()
        constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
        return -0.5 * squared.sum(-1) - s.log_sigma.sum(-1)[:, None] - constant

    def mean(self, u: Tensor) -> Tensor:
        """The expected features, (R, B, G)."""
        return u

    def effect_scale(self, u: Tensor) -> Tensor:
        """The scale on which a factor's effect is measured: the expected features."""
        return u


@dataclass(frozen=True)
class Multinomial:
    """x ~ Mult(sum_j x_j, softmax(u)), without the multinomial coefficient.

    probability_epsilon: added to the probabilities inside the log (the released code: 1e-6); 0
    takes the log-softmax. input_scaling: "row_sum" feeds the encoder rows divided by their sum,
    "none" the raw rows.
    """

    probability_epsilon: float = 0.0
    input_scaling: str = "row_sum"

    def initialise(
        self,
        X: Tensor,  # noqa: ARG002
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(parameters, constants): none of either."""
        return {}, {}

    def encoder_input(self, x: Tensor) -> Tensor:
        """What the encoder sees; an empty row stays zero."""
        if self.input_scaling == "none":
            return x
        total = x.sum(-1, keepdim=True)
        return x / torch.where(total > 0, total, torch.ones_like(total))

    def loss(self, s: Any, x: Tensor, u: Tensor) -> Tensor:
        """The training loss of every row, (R, B)."""
        if self.probability_epsilon:
            return -(x * torch.log(torch.softmax(u, -1) + self.probability_epsilon)).sum(-1)
        return -self.log_prob(s, x, u)

    def prior(self, s: Any) -> float:  # noqa: ARG002
        """No parameters, no prior."""
        return 0.0

    def log_prob(self, s: Any, x: Tensor, u: Tensor) -> Tensor:  # noqa: ARG002
        """sum_j x_j log softmax(u)_j of every row, (R, B)."""
        return (x * torch.log_softmax(u, -1)).sum(-1)

    def mean(self, u: Tensor) -> Tensor:
        """The probabilities, (R, B, G); rows sum to 1."""
        return torch.softmax(u, -1)

    def effect_scale(self, u: Tensor) -> Tensor:
        """The scale on which a factor's effect is measured: log-probabilities."""
        return torch.log_softmax(u, -1)


Likelihood = Gaussian | Multinomial


def make_likelihood(
    name: str, reduction: str, probability_epsilon: float, input_scaling: str
) -> Likelihood:
    """The likelihood called `name`; ValueError for an unknown name or option."""
    if reduction not in ("sum", "mean"):
        raise ValueError(f"likelihood_reduction {reduction!r}: use 'sum' or 'mean'")
    if input_scaling not in ("row_sum", "none"):
        raise ValueError(f"input_scaling {input_scaling!r}: use 'row_sum' or 'none'")
    if name == "gaussian":
        return Gaussian(reduction)
    if name == "multinomial":
        return Multinomial(probability_epsilon, input_scaling)
    raise ValueError(f"likelihood {name!r}: use 'gaussian' or 'multinomial'")
