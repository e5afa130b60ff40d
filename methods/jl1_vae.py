"""The JL1-VAE (Rhodes and Lee 2021): an L1 penalty on the Jacobian of the decoder.

    + gamma E_q sum_jk |d u_j / d z_k| / sd(x_j)

Locally, every factor is to move few features and every feature to depend on few factors. Softmax
probabilities do not change when a number is added to all logits of a row, so that the penalty means
something for counts only once the mean over features is taken off the derivatives.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from anchorbench.models import nets
from anchorbench.models.penalised import PenalisedVAE
from anchorbench.models.state import State
from anchorbench.models.training import Batch

METHOD = {
    "label": "JL1-VAE",
    "cite": "Rhodes and Lee (2021), Local Disentanglement in Variational Auto-Encoders Using "
    "Jacobian L1 Regularization, NeurIPS",
    "gpu": True,
    "params": {
        "gamma": 0.1,
        "centred": True,
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
    "search": {"like": "deep", "gamma": {"low": 0.001, "high": 1.0, "log": True}},
    "protocols": {
        # The paper's on images: beta 4, both weights rising over a third of training, gamma from
        # 0, .05, .1, .2, .4; derivatives as they are.
        "published": {"kl_weight": 4.0, "kl_warmup": 0.333, "centred": False},
        "corrected": {},
    },
}


@dataclass(eq=False, repr=False)
class JL1VAE(PenalisedVAE):
    """The JL1-VAE as a scikit-learn estimator.

    Parameters
    ----------
    gamma : float
        Weight of the penalty; it rises with the KL's weight.
    centred : bool
        Take the mean over features off the derivatives of logits (likelihood "multinomial").
    """

    gamma: float = 0.1
    centred: bool = True

    scalars = (*PenalisedVAE.scalars, "gamma")

    def initialise(
        self, X: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The VAE's, and the features' units (G,), 1 for counts."""
        parameters, others = super().initialise(X, generator)
        unit = self._likelihood.effect_unit(X).float().clamp_min(1e-12)
        return parameters, others | {"unit": unit}

    def decoder_floats(self, n_features: int) -> int:
        """The Jacobian has a decoder's layers for every factor."""
        return (1 + self.n_latent) * super().decoder_floats(n_features)

    def jacobian(self, s: State, z: Tensor) -> Tensor:
        """d u_j / d z_k at codes z (R, B, K): (R, K, B, G), exact where no hidden unit is at 0.

        Forward mode: the columns of H1 go through the layers behind the units that are on.
        """
        R, B, K = z.shape
        h = nets.linear(z, s.H1)
        on1 = (h > 0).to(z.dtype)
        on2 = (nets.linear(torch.relu(h), s.H2, s.b2) > 0).to(z.dtype)
        tangent = on1[:, None] * s.H1.mT[:, :, None]
        tangent = nets.linear(tangent.reshape(R, K * B, -1), s.H2).view(R, K, B, -1)
        tangent = (tangent * on2[:, None]).reshape(R, K * B, -1)
        return nets.linear(tangent, s.heads).view(R, K, B, -1)

    def penalty(self, s: State, batch: Batch, q: State, z: Tensor) -> Tensor:
        """gamma times the rows' mean L1 norm of the Jacobian, in the features' units."""
        J = self.jacobian(s, z) / s.unit[:, None, None]
        if self.centred and self.likelihood == "multinomial":
            J = J - J.mean(-1, keepdim=True)
        norm = J.abs().sum(-1).sum(1)
        return self.ramp(batch) * (self.gamma * batch.mean(norm))


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> JL1VAE:
    """An unfitted JL1-VAE with `n_latent` factors."""
    return JL1VAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]


ESTIMATOR = JL1VAE
