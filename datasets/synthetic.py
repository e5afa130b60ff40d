"""Synthetic data of Moran et al. (2022), eq. (9): seven features of two correlated factors.

x = (z1, 2 z1, 3 z1^2, 4 z2, 5 z2, 6 sin z2, 7 z1 z2) + noise, z ~ N(0, [[1, rho], [rho, 1]]).
Every replicate is a draw of its own, seeded by the replicate's seed (the released code left the
generator unseeded), and is cut in two halves by the released rule, about 500 rows each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anchorbench.data.dataset import DataError, Dataset, Split, kfold

DATASET = {
    "label": "Synthetic",
    "likelihood": "gaussian",
    "sources": [],
    "replicates": 25,
    "resampling": "draws",
    "headline": {"published": "dci", "corrected": "mcc"},
    "params": {"rho": 0.0, "n": 1000, "noise_sd": 0.5},
    "provides": ["factors", "support"],
    "terms": "Generated; no terms.",
    "cite": "Moran et al. (2022), Identifiable Deep Generative Models via Sparse Decoding, TMLR",
}

FEATURES = ["z1", "2 z1", "3 z1^2", "4 z2", "5 z2", "6 sin z2", "7 z1 z2"]
SUPPORT = np.array([[1, 1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1, 1]], dtype=bool).T


def expected(z: np.ndarray) -> np.ndarray:
    """E[x|z], (N, 7), of factors (N, 2)."""
    a, b = z.T
    return np.stack([a, 2 * a, 3 * a**2, 4 * b, 5 * b, 6 * np.sin(b), 7 * a * b], axis=1)


def draw(seed: int, rho: float, n: int, noise_sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Factors (n, 2) and features (n, 7)."""
    if not -1 < rho < 1:
        raise DataError(f"synthetic: rho {rho} is no correlation: choose it between -1 and 1")
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 2)) @ np.linalg.cholesky([[1.0, rho], [rho, 1.0]]).T
    return z, expected(z) + noise_sd * rng.standard_normal((n, 7))


def prepare(
    raw: dict[str, Path],
    rho: float = 0.0,
    n: int = 1000,
    noise_sd: float = 0.5,
) -> Dataset:
    """One draw, with seed 0: what the data look like. No replicate uses it."""
    return Dataset(draw(0, rho, n, noise_sd)[1], list(FEATURES))


def split(
    dataset: Dataset,
    replicate: int,
    seed: int,
    rho: float = 0.0,
    n: int = 1000,
    noise_sd: float = 0.5,
) -> Split:
    """A fresh draw with its factors, support and expectation, cut into a train and a test half."""
    z, x = draw(seed, rho, n, noise_sd)
    halves = kfold(Dataset(x, dataset.features), 0, folds=2)
    assert halves.index is not None
    factors = z[halves.index[0]], z[halves.index[1]]
    return Split(
        halves.train,
        halves.test,
        factors=factors,
        support=SUPPORT.copy(),
        expectation=(expected(factors[0]), expected(factors[1])),
    )
