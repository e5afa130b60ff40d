"""ProdLDA (Srivastava and Sutton 2017): topics whose logits add up, a product of experts.

    theta = softmax(z),   p = softmax(BN(beta theta)),   z ~ N(0, S I)

The prior of z is Laplace's approximation of a symmetric Dirichlet prior of the shares theta. BN is
batch normalisation, here as in the encoder's heads, without which topics become one. In training
the statistics are those of a minibatch, afterwards of all training rows: heads shrink as they train
and running means of their statistics would lag behind by several sds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from anchorbench.models import nets, priors
from anchorbench.models.base import DeepGenerative
from anchorbench.models.state import State
from anchorbench.models.training import Batch, Trained

METHOD = {
    "label": "ProdLDA",
    "likelihoods": ["multinomial"],
    "cite": "Srivastava and Sutton (2017), Autoencoding Variational Inference for Topic Models, "
    "ICLR",
    "gpu": True,
    "params": {
        "alpha": 1.0,
        "batch_norm": True,
        "n_hidden": 50,
        "epochs": 200,
        "batch_size": 100,
        "learning_rate": 0.01,
        "kl_weight": 1.0,
        "kl_warmup": 0.3,
        "input_scaling": "row_sum",
        "device": "auto",
    },
    "search": {
        "like": "deep",
        "learning_rate": {"low": 0.0005, "high": 0.005, "log": True},
        "alpha": [0.02, 0.1, 1.0],
    },
}

LEAST_VARIANCE = 1e-5
"""PyTorch's default of batch normalisation."""


def laplace_dirichlet(alpha: float, n_topics: int) -> float:
    """Variance of every z_k in Laplace's approximation of a Dirichlet(alpha, ..., alpha).

    In general S_kk = (1/alpha_k)(1 - 2/K) + (1/K^2) sum_l 1/alpha_l, around log alpha_k less the
    mean of these logarithms; with equal alphas (1 - 1/K) / alpha, around 0.
    """
    return (1 - 1 / n_topics) / alpha


@dataclass(eq=False, repr=False)
class ProdLDA(DeepGenerative):
    """ProdLDA as a scikit-learn estimator.

    Parameters
    ----------
    alpha : float
        Of the symmetric Dirichlet prior of topic shares; positive.
    batch_norm : bool
        Normalise the encoder's heads, which keep a learned shift, and the logits.

    Attributes
    ----------
    loadings_ : ndarray of shape (G, K)
        What a topic's share adds to a word's logit.

    Notes
    -----
    Codes are z; the shares of topics are softmax(z).
    """

    likelihood: str = "multinomial"
    alpha: float = 1.0
    batch_norm: bool = True

    choices = DeepGenerative.choices | {"prior_covariance": ("identity",)}

    def check(self) -> None:
        """The base's, and ValueError for a prior that is none or a single topic."""
        super().check()
        if isinstance(self.alpha, str | bool) or not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha {self.alpha!r}: give a finite number above 0")
        if self.n_latent < 2:
            raise ValueError(f"n_latent {self.n_latent}: shares of topics need 2 or more")

    def init_decoder(
        self, generator: torch.Generator, n_features: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Topics (G, K) and a bias; no other state."""
        topics, bias = nets.linear_init(generator, n_features, self.n_latent)
        return {"topics": topics, "bias": bias}, {}

    def normalised(self, s: State, name: str, values: Tensor) -> Tensor:
        """Values (R, B, D) by the minibatch's statistics in training, else by all rows'."""
        if not self.batch_norm:
            return values
        if "share" in vars(s):
            at = (values * s.share).sum(1)
            var = ((values - at[:, None]).square() * s.share).sum(1)
        else:
            at, var = getattr(s, f"{name}_at"), getattr(s, f"{name}_var")
        return (values - at[:, None]) * (var + LEAST_VARIANCE).rsqrt()[:, None]

    def _heads(self, s: State, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The encoder's heads without their biases, and these, which normalising would undo."""
        shifts = {name: getattr(s, f"{name}_bias")[:, None] for name in self.encoder_heads()}
        q = vars(super().encode(s, x))
        return {name: value - shifts[name] for name, value in q.items()}, shifts

    def encode(self, s: State, x: Tensor) -> State:
        """The posterior of rows (R, B, G)."""
        heads, shifts = self._heads(s, x)
        return State(
            **{name: self.normalised(s, name, head) + shifts[name] for name, head in heads.items()}
        )

    def decode(self, s: State, z: Tensor) -> Tensor:
        """Normalised logits of words."""
        theta = torch.softmax(z, -1)
        return self.normalised(s, "logits", nets.linear(theta, s.topics)) + s.bias[:, None]

    def loss(self, s: State, batch: Batch) -> Tensor:
        """The base's, with the minibatch's statistics."""
        return super().loss(State(**vars(s), share=batch.weight[..., None]), batch)

    def _fitted(
        self, trained: Trained, X: Tensor, units: Mapping[str, np.ndarray], device: torch.device
    ) -> Self:
        if self.batch_norm:
            self.state_, self.n_features_in_, self.device_ = trained.state, X.shape[1], str(device)
            self._take_statistics(X.numpy())
        return super()._fitted(trained, X, units, device)

    def _take_statistics(self, X: np.ndarray) -> None:
        """Add means and variances over rows X of heads, then of logits at a draw, to the state."""

        def heads(s: State, x: Tensor) -> Tensor:
            return torch.cat(list(self._heads(s, x)[0].values()), -1)

        def logits(s: State, x: Tensor, e: Tensor) -> Tensor:
            z = self.sample(self.encode(s, x), e, torch.ones(1, device=x.device))
            return nets.linear(torch.softmax(z, -1), s.topics)

        widths = list(self.encoder_heads().values())
        parts = np.split(self._map(heads, X), np.cumsum(widths)[:-1], axis=1)
        self._keep(dict(zip(self.encoder_heads(), parts, strict=True)))
        noise = self.draw_noise(torch.Generator().manual_seed(self.seed), len(X))
        self._keep({"logits": self._map(logits, X, noise.numpy())})

    def _keep(self, values: Mapping[str, np.ndarray]) -> None:
        for name, rows in values.items():
            self.state_[f"{name}_at"] = torch.from_numpy(rows.mean(0)).float()
            self.state_[f"{name}_var"] = torch.from_numpy(rows.var(0)).float()

    def kl(self, s: State, q: State) -> Tensor:
        """KL(q(z | x) || N(0, S)) of every row, (R, B)."""
        variance = laplace_dirichlet(self.alpha, self.n_latent)
        standard = q.mean / math.sqrt(variance), q.logvar - math.log(variance)
        return priors.kl_standard(*standard).sum(-1)

    def log_prior(self, Z: np.ndarray) -> np.ndarray:
        """log p(z) of every row of codes (N, K): (N,)."""
        variance = laplace_dirichlet(self.alpha, self.n_latent)
        return -0.5 * (np.asarray(Z) ** 2 / variance + np.log(2 * np.pi * variance)).sum(1)

    @property
    def prior_covariance_(self) -> np.ndarray:
        """Covariance of z under the prior, (K, K)."""
        return laplace_dirichlet(self.alpha, self.n_latent) * np.eye(self.n_latent)

    def decoder_weights(self, s: State) -> list[Tensor]:
        """The topics."""
        return [s.topics]

    @property
    def loadings_(self) -> np.ndarray:
        """What a topic's share adds to a word's logit, (G, K)."""
        s = self._fitted_state()
        topics = s["topics"].double()
        if self.batch_norm:
            topics = topics / (s["logits_var"].double() + LEAST_VARIANCE).sqrt()[:, None]
        return topics.numpy()


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> ProdLDA:
    """An unfitted ProdLDA with `n_latent` factors."""
    return ProdLDA(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = ProdLDA
