"""Mult-VAE (Liang et al. 2018): the VAE of recommenders, a denoising one of clicks.

One hidden tanh layer on each side, rows of length 1 of which half of the items are hidden while it
trains, a multinomial likelihood, and a KL divergence that never gets its full weight.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.models import nets
from anchorbench.models.base import DeepGenerative
from anchorbench.models.state import State
from anchorbench.models.training import Batch

METHOD = {
    "label": "Mult-VAE",
    "likelihoods": ["multinomial"],
    "cite": "Liang, Krishnan, Hoffman and Jebara (2018), Variational Autoencoders for "
    "Collaborative Filtering, WWW",
    "gpu": True,
    "params": {
        # The paper's: dropout .5, KL weight .2 at the end of its rise; its layers have 600 and its
        # codes 200 units.
        "dropout": 0.5,
        "kl_weight": 0.2,
        "n_hidden": 50,
        "epochs": 200,
        "batch_size": 100,
        "learning_rate": 0.01,
        "kl_warmup": 0.3,
        "device": "auto",
    },
    "search": {"like": "deep"},
}


@dataclass(eq=False, repr=False)
class MultVAE(DeepGenerative):
    """Mult-VAE as a scikit-learn estimator.

    Parameters
    ----------
    dropout : float
        Probability that an entry of a training row is hidden from the encoder; at least 0, below 1.
    """

    likelihood: str = "multinomial"
    kl_weight: float | str = 0.2
    dropout: float = 0.5

    choices = DeepGenerative.choices | {"prior_covariance": ("identity",)}

    def check(self) -> None:
        """The base's, and ValueError for a dropout that is no such probability."""
        super().check()
        if isinstance(self.dropout, str | bool) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout!r}: give a number from 0 to below 1")

    def initialise(
        self, X: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One hidden layer for the encoder, one for the decoder."""
        self.n_features_in_ = X.shape[1]
        sizes = {"encoder": (self.n_hidden, X.shape[1])}
        sizes |= {name: (width, self.n_hidden) for name, width in self.encoder_heads().items()}
        sizes |= {"decoder": (self.n_hidden, self.n_latent), "item": (X.shape[1], self.n_hidden)}
        parameters = {}
        for name, size in sizes.items():
            weight, bias = nets.linear_init(generator, *size)
            parameters |= {f"{name}_weight": weight, f"{name}_bias": bias}
        return parameters, {}

    def draw_noise(self, generator: torch.Generator, rows: int) -> Tensor:
        """(rows, K + G): normal draws for the codes, and which entries of a row are kept."""
        kept = torch.rand(rows, self.n_features_in_, generator=generator) >= self.dropout
        return torch.cat([super().draw_noise(generator, rows), kept.float()], -1)

    def sample(self, q: State, noise: Tensor, progress: Tensor) -> Tensor:
        """The base's, from the noise of the codes."""
        return super().sample(q, noise[..., : self.n_latent], progress)

    def loss(self, s: State, batch: Batch) -> Tensor:
        """The base's; the encoder sees what is kept of a row."""
        kept = batch.noise[..., self.n_latent :] / (1 - self.dropout)
        return super().loss(State(**vars(s), kept=kept), batch)

    def encode(self, s: State, x: Tensor) -> State:
        """The posterior of rows (R, B, G), which are scaled to length 1; an empty one stays 0."""
        length = x.square().sum(-1, keepdim=True).sqrt()
        x = x / torch.where(length > 0, length, torch.ones_like(length))
        if "kept" in vars(s):
            x = x * s.kept
        h = torch.tanh(nets.linear(x, s.encoder_weight, s.encoder_bias))
        mean = nets.linear(h, s.mean_weight, s.mean_bias)
        return State(mean=mean, logvar=nets.linear(h, s.logvar_weight, s.logvar_bias))

    def decode(self, s: State, z: Tensor) -> Tensor:
        """Logits of items."""
        h = torch.tanh(nets.linear(z, s.decoder_weight, s.decoder_bias))
        return nets.linear(h, s.item_weight, s.item_bias)

    def decoder_weights(self, s: State) -> list[Tensor]:
        """The weights of both layers."""
        return [s.decoder_weight, s.item_weight]


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> MultVAE:
    """An unfitted Mult-VAE with `n_latent` factors."""
    return MultVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = MultVAE
