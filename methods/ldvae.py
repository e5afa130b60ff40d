"""The linearly decoded VAE (Svensson et al. 2020): u = W z + b, whose W can be read.

With Gaussian features and a noise level of their own it is factor analysis by amortised inference;
with one level for all it is probabilistic PCA, its factors those of PCA, because the posterior has
a diagonal covariance (Lucas et al. 2019).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from anchorbench.models import nets
from anchorbench.models.base import DeepGenerative
from anchorbench.models.state import State
from anchorbench.models.training import Batch, Trained

METHOD = {
    "label": "LDVAE",
    "cite": "Svensson, Gayoso, Yosef and Pachter (2020), Interpretable factor models of "
    "single-cell RNA-seq via variational autoencoders, Bioinformatics",
    "gpu": True,
    "params": {
        "noise": "feature",
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
    "search": {"like": "deep"},
}


@dataclass(eq=False, repr=False)
class LDVAE(DeepGenerative):
    """The linearly decoded VAE as a scikit-learn estimator.

    Parameters
    ----------
    noise : {"feature", "common"}
        Gaussian features have a noise level each, or share one.

    Attributes
    ----------
    loadings_ : ndarray of shape (G, K)
        W, in the data's units.
    """

    noise: str = "feature"

    choices = DeepGenerative.choices | {"noise": ("feature", "common")}

    def initialise(
        self, X: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The base's; a common noise level is one number."""
        parameters, others = super().initialise(X, generator)
        if self.noise == "common" and "log_sigma" in parameters:
            parameters["log_noise"] = parameters.pop("log_sigma").mean(0, keepdim=True)
        return parameters, others

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """W (G, K) and its bias; no other state."""
        W, bias = nets.linear_init(generator, n_features, self.n_latent)
        return {"W": W, "bias": bias}, {}

    def decode(self, s: State, z: Tensor) -> Tensor:
        """W z + b."""
        return nets.linear(z, s.W, s.bias)

    def decoder_weights(self, s: State) -> list[Tensor]:
        """W."""
        return [s.W]

    def decoder_floats(self, n_features: int) -> int:
        """The features."""
        return n_features

    def loss(self, s: State, batch: Batch) -> Tensor:
        """The base's; features that share a noise level get it."""
        if "log_noise" in vars(s):
            s = State(**vars(s), log_sigma=s.log_noise.expand(-1, s.W.shape[1]))
        return super().loss(s, batch)

    def _fitted(
        self, trained: Trained, X: Tensor, units: Mapping[str, np.ndarray], device: torch.device
    ) -> Self:
        if "log_noise" in trained.state:
            trained.state["log_sigma"] = trained.state["log_noise"].repeat(X.shape[1])
        return super()._fitted(trained, X, units, device)

    @property
    def loadings_(self) -> np.ndarray:
        """W (G, K), in the data's units."""
        return self.in_units(self._fitted_state()["W"])


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> LDVAE:
    """An unfitted linearly decoded VAE with `n_latent` factors."""
    return LDVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = LDVAE
