"""DIP-VAE-II (Kumar, Sattigeri and Balakrishnan 2018): codes whose covariance is the identity.

    + lambda_od sum_{k != l} C_kl^2 + lambda_d sum_k (C_kk - 1)^2
    C = Cov(mu(x)) + E diag sigma^2(x)

C is the covariance of z under q(z), taken over the minibatch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.models import nets
from anchorbench.models.penalised import PenalisedVAE
from anchorbench.models.state import State
from anchorbench.models.training import Batch

METHOD = {
    "label": "DIP-VAE-II",
    "cite": "Kumar, Sattigeri and Balakrishnan (2018), Variational Inference of Disentangled "
    "Latent Concepts from Unlabeled Observations, ICLR",
    "gpu": True,
    "params": {
        # Searched over 1, 2, 5, 10, 20, 50 in comparisons, with equal weights.
        "lambda_od": 10.0,
        "lambda_d": 10.0,
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
    "search": {
        "like": "deep",
        "lambda_od": {"low": 1.0, "high": 50.0, "log": True},
        "lambda_d": "lambda_od",
    },
}


def code_covariance(mean: Tensor, logvar: Tensor, weight: Tensor) -> Tensor:
    """Cov(mean) + E diag exp(logvar) over rows of these shares.

    mean, logvar (R, B, K), weight (R, B) -> (R, K, K).
    """
    share = weight[..., None]
    centred = mean - (mean * share).sum(1, keepdim=True)
    between = nets.linear((centred * share).mT.contiguous(), centred.mT.contiguous())
    return between + torch.diag_embed((torch.exp(logvar) * share).sum(1))


def away_from_identity(C: Tensor, lambda_od: float, lambda_d: float) -> Tensor:
    """lambda_od sum_{k != l} C_kl^2 + lambda_d sum_k (C_kk - 1)^2 of C (R, K, K): (R,)."""
    diagonal = torch.diagonal(C, dim1=-2, dim2=-1)
    off = C - torch.diag_embed(diagonal)
    between = off.square().flatten(1).sum(-1)
    return lambda_od * between + lambda_d * (diagonal - 1).square().sum(-1)


@dataclass(eq=False, repr=False)
class DIPVAE(PenalisedVAE):
    """DIP-VAE-II as a scikit-learn estimator.

    Parameters
    ----------
    lambda_od : float
        Weight of the squared covariances of codes.
    lambda_d : float
        Weight of the squared differences of their variances from 1.
    """

    lambda_od: float = 10.0
    lambda_d: float = 10.0

    scalars = (*PenalisedVAE.scalars, "lambda_od", "lambda_d")

    def penalty(self, s: State, batch: Batch, q: State, z: Tensor) -> Tensor:
        """How far the codes' covariance is from the identity."""
        if not (self.lambda_od or self.lambda_d):
            return torch.zeros_like(batch.progress)
        C = code_covariance(q.mean, q.logvar, batch.weight)
        return away_from_identity(C, self.lambda_od, self.lambda_d)


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> DIPVAE:
    """An unfitted DIP-VAE-II with `n_latent` factors."""
    return DIPVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = DIPVAE
