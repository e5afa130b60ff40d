"""The VAE with a mixture prior: p(z) = sum_c pi_c N(m_c, diag d_c), all of it learned.

Where factors truly are such a mixture and the decoder is piecewise affine and injective, they are
identified up to an affine map without labels (Kivva et al. 2022): that is, up to what a rotation
would still have to find.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anchorbench.models.base import ELBO_DRAWS, VAE
from anchorbench.models.state import State
from anchorbench.models.training import Batch

METHOD = {
    "label": "Mixture VAE",
    "cite": "Kivva, Rajendran, Ravikumar and Aragam (2022), Identifiability of Deep Generative "
    "Models without Auxiliary Information, NeurIPS",
    "gpu": True,
    "params": {
        "n_components": 10,
        "n_hidden": 50,
        "epochs": 200,
        "batch_size": 100,
        "learning_rate": 0.01,
        "kl_weight": 1.0,
        "kl_warmup": 0.3,
        "input_scaling": "row_sum",
        "size_factor": "row_sum",
        "feature_scaling": "standard",
        "device": "auto",
    },
    "search": {"like": "deep", "n_components": [5, 10, 20]},
}


def log_mixture(z: Tensor, weight: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log sum_c softmax(weight)_c N(z; mean_c, exp logvar_c).

    z (R, B, K), weight (R, C), mean and logvar (R, C, K) -> (R, B).
    """
    squares = (z[:, :, None] - mean[:, None]).square() * torch.exp(-logvar)[:, None]
    each = -0.5 * (squares + logvar[:, None] + math.log(2 * math.pi)).sum(-1)
    return torch.logsumexp(each + torch.log_softmax(weight, -1)[:, None], -1)


@dataclass(eq=False, repr=False)
class MixtureVAE(VAE):
    """The VAE with a Gaussian mixture prior as a scikit-learn estimator.

    Parameters
    ----------
    n_components : int
        Number C of Gaussians; 1 is N(0, I) and the VAE. With more of them the divergence is
        log q(z | x) - log p(z) at the draw that is decoded.
    """

    n_components: int = 10

    def check(self) -> None:
        """The base's, and ValueError for a number of components or a second prior."""
        super().check()
        C = self.n_components
        if isinstance(C, bool) or not isinstance(C, int) or C < 1:
            raise ValueError(f"n_components {C!r}: give a whole number, 1 or more")
        if C > 1 and self.prior_covariance != "identity":
            raise ValueError(
                f"prior_covariance {self.prior_covariance!r}: the mixture has covariances of its "
                "own: use identity, or n_components 1"
            )

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The VAE's; even weights, centres drawn from N(0, I), variances 1."""
        parameters, others = super().init_decoder(generator, n_features)
        if self.n_components > 1:
            centres = torch.randn(self.n_components, self.n_latent, generator=generator)
            parameters |= {"prior_weight": torch.zeros(self.n_components), "prior_mean": centres}
            parameters["prior_logvar"] = torch.zeros_like(centres)
        return parameters, others

    def decoder_floats(self, n_features: int) -> int:
        """The decoder's layers, or every code under every component."""
        return max(super().decoder_floats(n_features), self.n_components * self.n_latent)

    def loss(self, s: State, batch: Batch) -> Tensor:
        """The base's, its divergence at the draw."""
        return super().loss(State(**vars(s), draw=batch.noise), batch)

    def kl(self, s: State, q: State) -> Tensor:
        """KL(q(z | x) || p(z)) of every row, (R, B); of a mixture its estimate from one draw."""
        if self.n_components == 1:
            return super().kl(s, q)
        z = q.mean + torch.exp(0.5 * q.logvar) * s.draw
        log_q = -0.5 * (s.draw.square() + q.logvar + math.log(2 * math.pi)).sum(-1)
        return log_q - log_mixture(z, s.prior_weight, s.prior_mean, s.prior_logvar)

    def elbo(self, X: np.ndarray) -> np.ndarray:
        """Evidence lower bound of every row at KL weight 1, (N,); the mean of 16 draws."""
        if self.n_components == 1:
            return super().elbo(X)
        generator = torch.Generator().manual_seed(self.seed)
        mean, sd = self.posterior(X)
        draws = []
        for _ in range(ELBO_DRAWS):
            noise = self.draw_noise(generator, len(X)).double().numpy()
            Z = mean + sd * noise
            log_q = -0.5 * (noise**2 + np.log(2 * np.pi)).sum(1) - np.log(sd).sum(1)
            draws.append(self.log_prob(X, Z) + self.log_prior(Z) - log_q)
        return np.mean(draws, axis=0)

    def log_prior(self, Z: np.ndarray) -> np.ndarray:
        """log p(z) of every row of codes (N, K): (N,)."""
        if self.n_components == 1:
            return super().log_prior(Z)

        def density(s: State, z: Tensor) -> Tensor:
            return log_mixture(z, s.prior_weight, s.prior_mean, s.prior_logvar)[..., None]

        return self._map(density, Z)[:, 0]

    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shares (C,), means and variances (C, K) of the components."""
        s = self._fitted_state()
        share = torch.softmax(s["prior_weight"], 0)
        found = share, s["prior_mean"], s["prior_logvar"].exp()
        return tuple(values.double().numpy() for values in found)  # type: ignore[return-value]

    @property
    def prior_mean_(self) -> np.ndarray:
        """Means of the factors under the prior, (K,)."""
        if self.n_components == 1:
            return super().prior_mean_
        share, means, _ = self._components()
        mean: np.ndarray = share @ means
        return mean

    @property
    def prior_covariance_(self) -> np.ndarray:
        """Covariance of the factors under the prior, (K, K)."""
        if self.n_components == 1:
            return super().prior_covariance_
        share, means, variances = self._components()
        apart = means - share @ means
        covariance: np.ndarray = np.diag(share @ variances) + (apart.T * share) @ apart
        return covariance


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> MixtureVAE:
    """An unfitted VAE with a mixture prior with `n_latent` factors."""
    return MixtureVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = MixtureVAE
