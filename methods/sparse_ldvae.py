"""The sparse VAE with a linear decoder: u = W z + b, W under a spike-and-slab lasso prior.

Amortised spike-and-slab factor analysis (Rockova and George 2016). Beside `sparse_vae` and `ldvae`
it tells what the mask does from what the nonlinear decoder does. Equation numbers are those of
Moran et al. (2022), whose algorithm it shares.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anchorbench.models import nets, priors
from anchorbench.models.base import DeepGenerative
from anchorbench.models.state import State
from anchorbench.models.training import Batch, Stack

METHOD = {
    "label": "Sparse LDVAE",
    "cite": "Rockova and George (2016), Fast Bayesian Factor Analysis via Automatic Rotations to "
    "Sparsity, JASA; Moran, Sridhar, Wang and Blei (2022), Identifiable Deep Generative Models via "
    "Sparse Decoding, TMLR",
    "gpu": True,
    "params": {
        # As the sparse VAE's.
        "lambda0": 20.0,
        "lambda1": 1.0,
        "lambda0_ladder": 0.8,
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
        "lambda1": {"low": 0.01, "high": 30.0, "log": True},
        "lambda0": {"low": 2.0, "high": 1000.0, "log": True, "times": "lambda1"},
    },
}


@dataclass(eq=False, repr=False)
class SparseLDVAE(DeepGenerative):
    """The sparse linearly decoded VAE as a scikit-learn estimator.

    Parameters
    ----------
    lambda0, lambda1 : float
        Rates of the spike and of the slab; both positive.
    lambda0_ladder : float
        Share of training over which lambda0 climbs linearly from lambda1; 0 for none.

    Attributes
    ----------
    loadings_ : ndarray of shape (G, K)
        W, in the data's units.
    support_ : ndarray of bool of shape (G, K)
        w is not 0, and a standard deviation of the code moves the feature by more than 1 % of its
        own (of counts, the logarithm of its probability or rate by more than 0.01).
    """

    lambda0: float = 20.0
    lambda1: float = 1.0
    lambda0_ladder: float = 0.8

    scalars = (*DeepGenerative.scalars, "lambda0", "lambda1", "lambda0_ladder")

    def check(self) -> None:
        """The base's, and ValueError for rates that do not make a spike and slab."""
        super().check()
        if not min(self.lambda0, self.lambda1) > 0:
            raise ValueError(
                f"lambda0 {self.lambda0} and lambda1 {self.lambda1}: both must be positive; the "
                "method ldvae has no penalty"
            )

    def settled_after(self) -> float:
        """The end of the KL's warm-up and of the ladder."""
        return max(super().settled_after(), self.lambda0_ladder)

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """W (G, K) and its bias; p* = 1/2 and eta_k ~ U(0, 1) for the E-step."""
        W, bias = nets.linear_init(generator, n_features, self.n_latent)
        eta = torch.rand(self.n_latent, generator=generator)
        return {"W": W, "bias": bias}, {"p_star": torch.full_like(W, 0.5), "eta": eta}

    def decode(self, s: State, z: Tensor) -> Tensor:
        """W z + b."""
        return nets.linear(z, s.W, s.bias)

    def decoder_weights(self, s: State) -> list[Tensor]:
        """None: W has a prior of its own."""
        return []

    def decoder_floats(self, n_features: int) -> int:
        """The features."""
        return n_features

    def spike(self, batch: Batch) -> Tensor:
        """lambda0 now, (R,): it climbs from lambda1 over the ladder's share of training."""
        climbed = torch.ones_like(batch.progress)
        if self.lambda0_ladder:
            climbed = (batch.progress / self.lambda0_ladder).clamp(max=1)
        return self.lambda1 + (self.lambda0 - self.lambda1) * climbed

    def after_step(self, s: State, batch: Batch, step: Stack) -> None:
        """The proximal map of lambda* |w| (eq. 58), then the E-step (eqs. 55 and 56)."""
        spike = self.spike(batch)
        rate = priors.expected_rate(s.p_star, spike, self.lambda1)
        rows = self.prior_rows(batch)
        rows = rows[:, None, None] if isinstance(rows, Tensor) else rows
        s.W.copy_(priors.soft_threshold(s.W, step.step_size("W") * rate / rows))
        s.p_star.copy_(priors.responsibility(s.W, s.eta, spike, self.lambda1))
        s.eta.copy_(priors.slab_share(s.p_star, a=1.0, b=s.W.shape[1]))

    @property
    def loadings_(self) -> np.ndarray:
        """W (G, K), in the data's units."""
        return self.in_units(self._fitted_state()["W"])

    @property
    def support_(self) -> np.ndarray:
        """Which features use which factors, (G, K) bool."""
        s = self._fitted_state()
        return ((s["W"] != 0) & (s["effect"] > 0.01)).numpy()


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> SparseLDVAE:
    """An unfitted sparse linearly decoded VAE with `n_latent` factors."""
    return SparseLDVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = SparseLDVAE
