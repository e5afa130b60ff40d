"""The VAE with a penalty beside its bound, on what it codes or decodes."""

from dataclasses import dataclass

from torch import Tensor

from anchorbench.models.base import VAE
from anchorbench.models.state import State
from anchorbench.models.training import Batch


@dataclass(eq=False, repr=False)
class PenalisedVAE(VAE):
    """The VAE's objective plus `penalty`, which sees the posterior and the draw from it."""

    def penalty(self, s: State, batch: Batch, q: State, z: Tensor) -> Tensor:
        """What is added to the loss, (R,), given the posterior q of the rows and a draw z."""
        raise NotImplementedError

    def loss(self, s: State, batch: Batch) -> Tensor:
        """The VAE's loss, term by term as the base has it, plus the penalty: (R,)."""
        q = self.encode(s, batch.x)
        z = self.sample(q, batch.noise, batch.progress)
        u = self.decode(s, z)
        fit, kl = batch.mean(self._likelihood.loss(s, batch.x, u)), batch.mean(self.kl(s, q))
        batch.parts.update(reconstruction=self._minus_log_prob(s, batch, u, fit), kl=kl)
        bound = fit + self.kl_factor(batch) * kl
        bound = bound + self.prior(s, batch) / self.prior_rows(batch)
        return bound + self.penalty(s, batch, q, z)

    def ramp(self, batch: Batch) -> Tensor | float:
        """The share, (R,), of its full weight that a term has during the KL's warm-up."""
        if self.kl_warmup:
            return (batch.progress / self.kl_warmup).clamp(max=1)
        return 1.0
