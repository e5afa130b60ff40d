"""Popularity: every row gets the feature shares of the training data.

A control for ranking: it knows nothing about the row that it predicts.
"""

from __future__ import annotations

import numpy as np

METHOD = {
    "label": "Popularity",
    "likelihoods": ["counts"],
    "datasets": ["movielens"],
    "control": True,
    "params": {"smoothing": 1.0},
    "cite": "",
}


class Popularity:
    """Unigram model: p_j is proportional to the training count of feature j plus `smoothing`."""

    def __init__(self, smoothing: float = 1.0) -> None:
        self.smoothing = smoothing

    def fit(self, X: np.ndarray) -> Popularity:
        """Learn the (G,) shares from counts X (N, G)."""
        counts = np.asarray(X, dtype=float).sum(axis=0) + self.smoothing
        self.shares_ = counts / counts.sum()
        self.n_parameters_ = len(counts)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """One constant code: (N, 1) ones."""
        return np.ones((len(X), 1))

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """The shares, once for each row of Z: (N, G)."""
        return np.tile(self.shares_, (len(Z), 1))


def build(likelihood: str, n_latent: int, seed: int, smoothing: float = 1.0) -> Popularity:
    """Return an unfitted estimator; nothing in it is random and it has no latent space."""
    return Popularity(smoothing)
