"""Whether two models of the same data find the same factors: 0 by chance, 1 where they do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anchorbench.scores.recovery import correlations, match, standardise

ROTATIONS = 50


@dataclass(frozen=True)
class Stability:
    """Agreement of two sets of codes of the same rows.

    Attributes
    ----------
    value : float
        (m - b) / (1 - b), cut at 0.
    m : float
        Mean |correlation| of codes matched on half of the rows, measured on the other half; codes
        without a partner count 0.
    b : float
        What m is without a common meaning of single codes: the larger of the mean over unmatched
        pairs, and of m's mean over random rotations of one model's whitened codes.
    """

    value: float
    m: float
    b: float


def agreement(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> Stability:
    """Return the stability of codes (N, K) and (N, L) of the same rows.

    Blind to order, sign and scale. With few factors b is large (about .9 at K = 2), so that single
    values say little there; one factor cannot be rotated, so that b is m and the value 0.
    """
    if not first.shape[1] or not second.shape[1]:
        return Stability(0.0, 0.0, 0.0)
    rows = rng.permutation(len(first))
    half, other = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    m, unmatched = _matched(first, second, half, other)
    white = _whitened(second)
    by_chance = []
    for _ in range(ROTATIONS):
        turn, _ = np.linalg.qr(rng.standard_normal((white.shape[1], white.shape[1])))
        by_chance.append(_matched(first, white @ turn, half, other)[0])
    b = min(max(unmatched, float(np.mean(by_chance))), 1 - 1e-9)
    return Stability(max(0.0, (m - b) / (1 - b)), m, b)


def _matched(
    first: np.ndarray, second: np.ndarray, half: np.ndarray, other: np.ndarray
) -> tuple[float, float]:
    """Mean |correlation| on other rows of pairs matched on half of them, and of all other pairs."""
    matched = match(correlations(first[half], second[half]))
    found = correlations(first[other], second[other])
    pairs = np.flatnonzero(matched >= 0)
    chosen = np.zeros(found.shape, dtype=bool)
    chosen[matched[pairs], pairs] = True
    m = float(found[chosen].sum() / max(found.shape))
    return m, float(found[~chosen].mean()) if (~chosen).any() else 0.0


def _whitened(codes: np.ndarray) -> np.ndarray:
    """Codes (N, L) with covariance 1, in the directions in which they vary."""
    left, sizes, _ = np.linalg.svd(standardise(codes), full_matrices=False)
    return left[:, sizes > 1e-8 * sizes.max()] * np.sqrt(len(codes))
