"""Factor analysis with spike-and-slab lasso loadings, by PXL-EM (Rockova and George 2016).

    x = mean + B z + e,    z ~ N(0, I),    e ~ N(0, diag sigma^2),    b_jk ~ SSL(theta_k)

The linear twin of the sparse VAE: its mask has the same prior. Every rung of a ladder of spikes
lambda0 starts where the one before ended. After each step the loadings are rotated by the Cholesky
factor of the codes' second moments (parameter expansion); the sparse estimate is the one before
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anchorbench.models import rotations
from anchorbench.models.linear import LinearFactors, principal

ETA = XI = 1.0
"""Degrees of freedom and scale of the prior of noise variances."""
LEAST_NOISE = 1e-6
SWEEPS = 50


@dataclass
class Fit:
    """Where the algorithm stands.

    Attributes
    ----------
    B : ndarray of shape (G, K)
        Loadings, sparse.
    expanded : ndarray of shape (G, K)
        Loadings after the expansion's rotation, where the next E-step starts.
    noise, theta : ndarray of shape (G,), (K,)
        sigma^2, and the shares of slab entries, non-increasing.
    slab : ndarray of shape (G, K)
        Probabilities that entries come from the slab.
    settled : bool
        Whether the last rung ended before its last step.
    """

    B: np.ndarray
    expanded: np.ndarray
    noise: np.ndarray
    theta: np.ndarray
    slab: np.ndarray
    settled: bool = False


def _is_positive(value: Any) -> bool:
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return numeric and bool(0 < value < np.inf)


def slab_probability(B: np.ndarray, theta: np.ndarray, spike: float, slab: float) -> np.ndarray:
    """P(slab | b_jk), (G, K), with Laplace densities of rates `spike` and `slab`."""
    odds = np.log((1 - theta) / theta) + np.log(spike / slab) - (spike - slab) * np.abs(B)
    return 1 / (1 + np.exp(np.clip(odds, -50, 50)))


def lasso_rows(
    B: np.ndarray, cross: np.ndarray, second: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    """Minimise (b'Mb - 2 b'c)/2 + sum_k penalty_k |b_k| for every row b of B, from B.

    Coordinate descent, all rows at once. cross, penalty : (G, K); second: M (K, K).
    """
    B = B.copy()
    for _ in range(SWEEPS):
        moved = 0.0
        for k in range(B.shape[1]):
            rest = cross[:, k] - B @ second[:, k] + B[:, k] * second[k, k]
            b = np.sign(rest) * np.maximum(np.abs(rest) - penalty[:, k], 0) / second[k, k]
            moved = max(moved, float(np.abs(b - B[:, k]).max()))
            B[:, k] = b
        if moved < 1e-5:
            break
    return B


def em_step(fit: Fit, XX: np.ndarray, n: int, spike: float, slab: float, expand: bool) -> Fit:
    """One step of PXL-EM from X'X (G, G) of n centred rows."""
    G, K = fit.B.shape
    scaled = fit.expanded / fit.noise[:, None]
    M = np.linalg.inv(fit.expanded.T @ scaled + np.eye(K))
    project = M @ scaled.T  # codes are project x
    second = project @ XX @ project.T + n * M
    cross = XX @ project.T
    responsible = slab_probability(fit.expanded, fit.theta, spike, slab)
    rates = responsible * slab + (1 - responsible) * spike
    B = lasso_rows(fit.expanded, cross, second, fit.noise[:, None] * rates)
    residual = np.diag(XX) - 2 * (B * cross).sum(1) + ((B @ second) * B).sum(1)
    noise = np.maximum((residual + ETA * XI) / (n + ETA + 2), LEAST_NOISE)
    theta = np.clip(responsible.sum(0) / (G + 1 / G), 1e-6, 1 - 1e-6)
    order = np.argsort(-theta, kind="stable")  # the ordered Indian buffet: shares fall
    B, second = B[:, order], second[np.ix_(order, order)]
    expanded = B @ np.linalg.cholesky(second / n + 1e-10 * np.eye(K)) if expand else B
    return Fit(B, expanded, noise, theta[order], responsible[:, order])


class SpikeSlabFactors(LinearFactors):
    """Factor analysis with sparse loadings.

    Parameters
    ----------
    likelihood, n_latent, seed
        As in `LinearFactors`; columns of loadings that become empty stay empty.
    start : {"varimax", "random"}
        Loadings to start from: those of the leading components rotated by varimax, or normal
        draws, which end in local optima.
    n_starts : int
        Random starts; the one that ends with the best objective is kept.
    spikes : sequence of float
        The ladder of lambda0. Rungs above about 2 sqrt(n) make results worse.
    slab : float
        lambda1.
    max_iter, tolerance
        Of each rung; steps end where no loading moves by more than the tolerance.
    expand : bool
        Whether parameters are expanded (the rotation after each step).

    Attributes
    ----------
    support_ : ndarray of shape (G, K), bool
        Entries that come from the slab with probability above one half.
    n_iter_ : int
        Steps of all starts and rungs together.
    """

    def __init__(
        self,
        likelihood: str = "gaussian",
        n_latent: int = 5,
        seed: int = 0,
        start: str = "varimax",
        n_starts: int = 1,
        spikes: Sequence[float] = (5.0, 10.0, 20.0, 40.0, 80.0),
        slab: float = 0.1,
        max_iter: int = 300,
        tolerance: float = 1e-3,
        expand: bool = True,
    ) -> None:
        super().__init__(likelihood, n_latent, seed)
        self.start = start
        self.n_starts = n_starts
        self.spikes = spikes
        self.slab = slab
        self.max_iter = max_iter
        self.tolerance = tolerance
        self.expand = expand

    def estimate(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings, correlations (none) and noise; raises ValueError for what cannot be."""
        self._check()
        XX, n = X.T @ X, len(X)
        self.n_iter_ = 0
        fits = [self._climb(start, XX, n) for start in self._starts(X)]
        best = max(fits, key=lambda fit: self.objective(fit, XX, n))
        self.support_ = best.slab > 0.5
        self.converged_ = best.settled
        return best.B, np.eye(self.n_latent), best.noise

    def _check(self) -> None:
        """Raise ValueError for a parameter out of its range."""
        spikes = self.spikes
        if not isinstance(spikes, list | tuple) or not spikes or not all(map(_is_positive, spikes)):
            raise ValueError(f"spikes {spikes!r}: give a list of numbers above 0")
        for name in ("slab", "tolerance", "n_starts", "max_iter"):
            if not _is_positive(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r}: give a number above 0")

    def _starts(self, X: np.ndarray) -> list[np.ndarray]:
        if self.start == "varimax":
            A, _ = principal(X, self.n_latent)
            return [rotations.orthomax(A, seed=self.seed).loadings]
        if self.start != "random":
            raise ValueError(f"start {self.start!r}: use varimax or random")
        rng = np.random.default_rng(self.seed)
        return list(rng.standard_normal((self.n_starts, X.shape[1], self.n_latent)))

    def _climb(self, B: np.ndarray, XX: np.ndarray, n: int) -> Fit:
        """Go up the ladder from loadings B."""
        K = B.shape[1]
        noise = np.maximum(np.diag(XX) / n, LEAST_NOISE)
        fit = Fit(B, B, noise, np.full(K, 0.5), np.full(B.shape, 0.5))
        for spike in self.spikes:
            for _ in range(self.max_iter):
                before = fit.expanded
                fit = em_step(fit, XX, n, spike, self.slab, self.expand)
                self.n_iter_ += 1
                moved = np.abs(fit.expanded - before).max()
                settled = bool(moved < self.tolerance * max(1.0, np.abs(before).max()))
                if settled:
                    break
        fit.settled = settled
        fit.slab = slab_probability(fit.B, fit.theta, self.spikes[-1], self.slab)
        return fit

    def objective(self, fit: Fit, XX: np.ndarray, n: int) -> float:
        """Log likelihood of the rows plus log prior of loadings and noise, at the last rung."""
        spike, theta = self.spikes[-1], fit.theta
        covariance = fit.B @ fit.B.T + np.diag(fit.noise)
        fits = n * np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, XX))
        size = np.abs(fit.B)
        density = theta * self.slab * np.exp(-self.slab * size)
        density = density + (1 - theta) * spike * np.exp(-spike * size)
        noise = ((ETA / 2 + 1) * np.log(fit.noise) + ETA * XI / (2 * fit.noise)).sum()
        return float(-fits / 2 + np.log(density).sum() - noise)
