"""The additive decoder: u_j = b_j + sum_k g_jk(z_k), one small network for every factor.

Factors do not interact, so that each has an effect that can be drawn as a curve, and smooth
additive decoders identify them up to element-wise transforms without sparsity or anchors
(Lachapelle et al. 2023). DRVI (Moinfar and Theis 2024) pools log rates in place of adding them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.models import nets
from anchorbench.models.base import DeepGenerative
from anchorbench.models.kinds import kind
from anchorbench.models.state import State

METHOD = {
    "label": "Additive VAE",
    "cite": "Lachapelle, Mahajan, Mitliagkas and Lacoste-Julien (2023), Additive Decoders for "
    "Latent Variables Identification and Cartesian-Product Extrapolation, NeurIPS; Moinfar and "
    "Theis (2024), Unsupervised Deep Disentangled Representation of Single-Cell Omics, bioRxiv",
    "gpu": True,
    "params": {
        "pool": "sum",
        "width": 32,
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
    "search": {"like": "deep", "width": [16, 32, 64]},
}


@dataclass(eq=False, repr=False)
class AdditiveVAE(DeepGenerative):
    """The VAE with an additive decoder as a scikit-learn estimator.

    Parameters
    ----------
    pool : {"sum", "logsumexp"}
        How the factors' outputs u^(k) make u: their sum (of logits: a product of experts), or
        log sum_k exp u^(k) (rates or probabilities add up; of counts alone).
    width : int
        Hidden units of each factor's network, with softplus, which has the derivatives that the
        theory asks for and ReLU lacks.
    """

    pool: str = "sum"
    width: int = 32

    choices = DeepGenerative.choices | {"pool": ("sum", "logsumexp")}

    def check(self) -> None:
        """The base's, and ValueError for a width or a pooling that there is not."""
        super().check()
        if isinstance(self.width, bool) or not isinstance(self.width, int) or self.width < 1:
            raise ValueError(f"width {self.width!r}: give a whole number, 1 or more")
        if self.pool == "logsumexp" and kind(self.likelihood) != "counts":
            raise ValueError(
                f"pool 'logsumexp' adds rates, which {self.likelihood} data do not have: use sum"
            )

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every factor's layers, side by side: scale, bend (K, H), out (G, K H), bias (G,)."""
        K, H = self.n_latent, self.width
        out, bias = nets.linear_init(generator, n_features, K * H)
        scale, bend = nets.uniform(generator, 1.0, K, H), nets.uniform(generator, 1.0, K, H)
        return {"scale": scale, "bend": bend, "out": out, "bias": bias}, {}

    def decode(self, s: State, z: Tensor) -> Tensor:
        """The pooled outputs of the factors' networks, (R, B, G)."""
        R, B, K = z.shape
        h = torch.nn.functional.softplus(z[..., None] * s.scale[:, None] + s.bend[:, None])
        if self.pool == "sum":
            return nets.linear(h.reshape(R, B, -1), s.out, s.bias)
        h = h.transpose(1, 2).reshape(R * K, B, -1)
        out = s.out.view(R, -1, K, self.width).transpose(1, 2).reshape(R * K, -1, self.width)
        each = nets.linear(h, out).view(R, K, B, -1)
        return torch.logsumexp(each, 1) + s.bias[:, None]

    def decoder_weights(self, s: State) -> list[Tensor]:
        """The layers' weights."""
        return [s.scale, s.out]

    def decoder_floats(self, n_features: int) -> int:
        """All hidden units; pooled rates have every feature for every factor."""
        if self.pool == "sum":
            return n_features + self.n_latent * self.width
        return self.n_latent * (n_features + self.width)


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> AdditiveVAE:
    """An unfitted additive VAE with `n_latent` factors."""
    return AdditiveVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = AdditiveVAE
