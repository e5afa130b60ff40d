"""The beta-TCVAE (Chen et al. 2018): a weight on the total correlation of the codes alone.

Averaged over rows, KL(q(z | x) || p(z)) is the sum of three terms: what the code says of the row,
the total correlation KL(q(z) || prod_k q(z_k)), and the divergence of each q(z_k) from its prior.
Beta multiplies the second one.
"""

import math
from dataclasses import dataclass
from typing import Any

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
    terms: Tensor = _TotalCorrelation.apply(z, mean, logvar, weight)
    return terms


class _TotalCorrelation(torch.autograd.Function):
    """Of B^2 K densities each is computed and exponentiated once, and its gradient is written out.

    With s = exp(-logvar / 2) / sqrt(2) and u = (z_i - mean_j) s_j, a product of rank two for every
    latent, log q(z_ik | x_j) = c_jk - u_ijk^2. Tensors are (R, K, B, B): latents are the batches of
    products, and i, j their rows and columns.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor, logvar: Tensor, weight: Tensor) -> Tensor:
        R, B, K = z.shape
        z, mean, logvar = (t.transpose(1, 2) for t in (z, mean, logvar))
        s = torch.exp(-0.5 * logvar) * math.sqrt(0.5)
        rows = torch.stack([z, torch.ones_like(z)], -1).reshape(R * K, B, 2)
        columns = torch.stack([s, -mean * s], -2).reshape(R * K, 2, B)
        u = torch.bmm(rows, columns).view(R, K, B, B)
        share = torch.log(weight)[:, None]
        c = -0.5 * logvar - 0.5 * math.log(2 * math.pi) + share
        each = torch.addcmul(c[:, :, None], u, u, value=-1)
        # The sum over latents has K shares, and one is meant; padding's stay at minus infinity.
        joint = each.sum(1) - (K - 1) * torch.where(weight > 0, share[:, 0], 0.0)[:, None]
        log_joint, joint, of_joint = _exponentials(joint)
        log_each, each, of_each = _exponentials(each)
        ctx.save_for_backward(u, s, weight, joint, of_joint, each, of_each)
        return ((log_joint - log_each.sum(1)) * weight).sum(-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        u, s, weight, joint, of_joint, each, of_each = ctx.saved_tensors
        own = (gradient[:, None] * weight)[:, None, :, None]
        # By log q(z_ik | x_j): a share of the joint mixture less one of the latent's own.
        d = torch.addcmul(joint[:, None] * (own / of_joint[:, None]), each, own / of_each, value=-1)
        by_c = d.sum(2)
        d = d.mul_(u)
        by_z = -2 * torch.matmul(d, s[..., None])[..., 0]
        by_mean = 2 * s * d.sum(2)
        by_logvar = d.mul_(u).sum(2) - 0.5 * by_c
        # In memory as other gradients are, for products further down round by that.
        found = (t.transpose(1, 2).contiguous() for t in (by_z, by_mean, by_logvar))
        return (*found, None)


def _exponentials(logs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log sum exp of the last axis; exp(logs) up to a factor, in their place; and its sum."""
    largest = logs.amax(-1, keepdim=True)
    found = logs.sub_(largest).exp_()
    total = found.sum(-1, keepdim=True)
    return (largest + torch.log(total))[..., 0], found, total


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
