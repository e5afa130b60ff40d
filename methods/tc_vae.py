"""The beta-TCVAE (Chen et al. 2018): a weight on the total correlation of the codes alone.

Averaged over rows, KL(q(z | x) || p(z)) is the sum of three terms: what the code says of the row,
the total correlation KL(q(z) || prod_k q(z_k)), and the divergence of each q(z_k) from its prior.
Beta multiplies the second one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.models.penalised import PenalisedVAE
from anchorbench.models.state import State
from anchorbench.models.training import Batch

METHOD = {
    "label": "β-TCVAE",
    "cite": "Chen, Li, Grosse and Duvenaud (2018), Isolating Sources of Disentanglement in "
    "Variational Autoencoders, NeurIPS",
    "gpu": True,
    "params": {
        "beta": 6.0,  # the paper's; its grid is 1, 2, 4, 6, 8, 10
        "n_hidden": 50,
        "epochs": 200,
        "batch_size": 100,
        "learning_rate": 0.01,
        "kl_weight": 1.0,
        "kl_warmup": 0.3,
        "input_scaling": "row_sum",
        "size_factor": "row_sum",
        "feature_scaling": "standard",
        "prior_covariance": "identity",
        "device": "auto",
    },
    "search": {"like": "deep", "beta": {"low": 1.0, "high": 10.0, "log": True}},
}


def total_correlation(z: Tensor, mean: Tensor, logvar: Tensor, weight: Tensor) -> Tensor:
    """KL(q(z) || prod_k q(z_k)) by minibatch-weighted sampling, (R,).

    Parameters
    ----------
    z, mean, logvar : Tensor of shape (R, B, K)
        A draw from each row's posterior, and the posteriors.
    weight : Tensor of shape (R, B)
        A row's share in its minibatch; 0 for padding.

    Notes
    -----
    q(z) is taken to be the mixture of the minibatch's posteriors. The paper divides by the number
    of all rows as well, which moves no gradient but gives a collapsed code a total correlation of
    (K - 1) log N; with these shares it is 0.
    """
    apart = z[:, :, None] - mean[:, None]
    log_q = -0.5 * (apart.square() * torch.exp(-logvar)[:, None] + logvar[:, None])
    log_q = log_q - 0.5 * math.log(2 * math.pi)
    share = torch.log(weight)[:, None]
    joint = torch.logsumexp(log_q.sum(-1) + share, 2)
    apart_each = torch.logsumexp(log_q + share[..., None], 2).sum(-1)
    return ((joint - apart_each) * weight).sum(-1)


@dataclass(eq=False, repr=False)
class TCVAE(PenalisedVAE):
    """The beta-TCVAE as a scikit-learn estimator.

    Parameters
    ----------
    beta : float
        Weight of the total correlation; 1 is the VAE. The other two terms have weight 1.
    """

    beta: float = 6.0

    scalars = (*PenalisedVAE.scalars, "beta")

    def decoder_floats(self, n_features: int) -> int:
        """The decoder's layers, or a code under the posterior of every row of the minibatch."""
        return max(super().decoder_floats(n_features), self.batch_size * self.n_latent)

    def penalty(self, s: State, batch: Batch, q: State, z: Tensor) -> Tensor:
        """What of beta the divergence does not hold already: beta - 1 total correlations."""
        correlation = total_correlation(z, q.mean, q.logvar, batch.weight)
        return self.kl_factor(batch) * ((self.beta - 1) * correlation)


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> TCVAE:
    """An unfitted beta-TCVAE with `n_latent` factors."""
    return TCVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = TCVAE
