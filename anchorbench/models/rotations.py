"""Rotations of loadings to simple structure: orthogonal (orthomax) and oblique.

Factor models say what loadings A (G, K) are only up to a rotation: A A' is all that data can tell
where factors are Gaussian. A criterion of simple structure picks one. Orthogonal: L = A R. Oblique,
factors correlated by Phi = T'T: L = A T'^-1, so that L Phi L' = A A'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STARTS = 10
"""Random orthogonal starts beside the identity: criteria have local optima."""
Criterion = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Rotation:
    """Rotated loadings.

    Attributes
    ----------
    loadings : ndarray of shape (G, K)
        Their columns are signed so that cubes sum to 0 or more.
    matrix : ndarray of shape (K, K)
        R with L = A R; oblique: R = T'^-1.
    phi : ndarray of shape (K, K)
        Correlations of the factors; the identity where the rotation is orthogonal.
    value : float
        The criterion, as `orthomax_criterion` (to be large) or an oblique one (to be small) has it.
    settled : bool
        Whether the search ended before its last step.
    """

    loadings: np.ndarray
    matrix: np.ndarray
    phi: np.ndarray
    value: float
    settled: bool = True


def _oriented(
    A: np.ndarray, matrix: np.ndarray, phi: np.ndarray, value: float, settled: bool
) -> Rotation:
    """A rotation with its columns' signs chosen."""
    sign = np.where(((A @ matrix) ** 3).sum(0) < 0, -1.0, 1.0)
    return Rotation(A @ matrix * sign, matrix * sign, phi * np.outer(sign, sign), value, settled)


def _starts(k: int, starts: int, seed: int) -> list[np.ndarray]:
    """The identity and random orthogonal matrices (K, K)."""
    rng = np.random.default_rng(seed)
    drawn = [np.linalg.qr(rng.standard_normal((k, k)))[0] for _ in range(starts)]
    return [np.eye(k), *drawn]


def orthomax_criterion(L: np.ndarray, gamma: float = 1.0) -> float:
    """sum_k [mean_j l_jk^4 - gamma (mean_j l_jk^2)^2]: the summed variances of squares at 1."""
    squares = L**2
    return float(((squares**2).mean(0) - gamma * squares.mean(0) ** 2).sum())


def orthomax(
    A: np.ndarray,
    gamma: float = 1.0,
    kaiser: bool = True,
    starts: int = STARTS,
    seed: int = 0,
    tolerance: float = 1e-10,
) -> Rotation:
    """Rotate loadings orthogonally: varimax at gamma 1, quartimax at 0.

    Parameters
    ----------
    A : ndarray of shape (G, K)
    gamma : float
        Weight of the squared column means (Kaiser 1958; Crawford and Ferguson 1970).
    kaiser : bool
        Whether rows count alike: they are scaled to length 1 while the rotation is sought.
    starts, seed : int
        Random starts beside the identity; the best value wins.

    Notes
    -----
    Fixed point of R <- polar(A'(B^3 - gamma/G B diag(sum_j B_j^2))), B = A R.
    """
    length = np.sqrt((A**2).sum(1, keepdims=True)) if kaiser else np.ones((len(A), 1))
    scaled = A / np.where(length > 0, length, 1.0)
    found = [_orthomax_from(R, scaled, gamma, tolerance) for R in _starts(A.shape[1], starts, seed)]
    values = [orthomax_criterion(scaled @ R, gamma) for R, _ in found]
    best = int(np.argmax(values))
    R, settled = found[best]
    return _oriented(A, R, np.eye(A.shape[1]), values[best], settled)


def _orthomax_from(
    R: np.ndarray, A: np.ndarray, gamma: float, tolerance: float
) -> tuple[np.ndarray, bool]:
    """The orthogonal matrix (K, K) that the fixed-point iteration reaches from R; if it settled."""
    reached = 0.0
    for _ in range(1000):
        B = A @ R
        left, sizes, right = np.linalg.svd(A.T @ (B**3 - gamma / len(A) * B * (B**2).sum(0)))
        R = left @ right
        if sizes.sum() <= reached * (1 + tolerance):
            return R, True
        reached = sizes.sum()
    return R, False


def quartimin(L: np.ndarray) -> tuple[float, np.ndarray]:
    """Half of sum_{k<l} sum_j l_jk^2 l_jl^2 and its gradient (G, K): direct oblimin at 0."""
    squares = L**2
    others = squares.sum(1, keepdims=True) - squares
    return float((squares * others).sum() / 4), L * others


def geomin(L: np.ndarray, delta: float = 0.01) -> tuple[float, np.ndarray]:
    """sum_j prod_k (l_jk^2 + delta)^(1/K) and its gradient (G, K) (Yates 1987; Browne 2001)."""
    squares = L**2 + delta
    means = np.exp(np.log(squares).mean(1))
    return float(means.sum()), 2 / L.shape[1] * L / squares * means[:, None]


def oblique(
    A: np.ndarray,
    criterion: Criterion = quartimin,
    starts: int = 0,
    seed: int = 0,
    tolerance: float = 1e-6,
    max_iter: int = 4000,
) -> Rotation:
    """Rotate loadings obliquely by gradient projection (Bernaards and Jennrich 2005).

    Minimises criterion(L), L = A T'^-1, over T with columns of length 1.

    Parameters
    ----------
    A : ndarray of shape (G, K)
    criterion : callable
        From loadings to a value and its gradient: `quartimin`, `geomin`.
    starts, seed : int
        Random orthogonal starts beside the identity; the best value wins.
    tolerance : float
        Length of the projected gradient at which the search ends.
    """
    found = [
        _oblique_from(T, A, criterion, tolerance, max_iter)
        for T in _starts(A.shape[1], starts, seed)
    ]
    T, value, settled = min(found, key=lambda reached: reached[1])
    return _oriented(A, np.linalg.inv(T).T, T.T @ T, value, settled)


def _oblique_from(
    T: np.ndarray, A: np.ndarray, criterion: Criterion, tolerance: float, max_iter: int
) -> tuple[np.ndarray, float, bool]:
    """T (K, K) and the criterion that gradient projection reaches from T, and if it settled."""

    def at(T: np.ndarray) -> tuple[float, np.ndarray]:
        inverse = np.linalg.inv(T)
        L = A @ inverse.T
        value, gradient = criterion(L)
        return value, -(L.T @ gradient @ inverse).T

    value, gradient = at(T)
    step = 1.0
    for _ in range(max_iter):
        projected = gradient - T * (T * gradient).sum(0)
        length = float(np.sqrt((projected**2).sum()))
        if length < tolerance:
            return T, value, True
        step *= 2
        for _ in range(11):
            moved = T - step * projected
            moved /= np.sqrt((moved**2).sum(0))
            new_value, new_gradient = at(moved)
            if value - new_value > 0.5 * length**2 * step:
                break
            step /= 2
        T, value, gradient = moved, new_value, new_gradient
    return T, value, False
