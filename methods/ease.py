"""EASE (Steck 2019): every item is predicted from a user's other items, by ridge regression.

    min over B of |X - X B|^2 + l2 |B|^2,  diag(B) = 0

It has no factors: what stands in for a code is the row itself.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

METHOD = {
    "label": "EASE",
    "likelihoods": ["counts"],
    "datasets": ["movielens"],
    "codes": False,
    "params": {"l2": 500.0},  # the paper's for the 20 million ratings of MovieLens
    "search": {"l2": {"low": 1.0, "high": 10000.0, "log": True}},
    "cite": "Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, WWW",
}


class EASE(TransformerMixin, BaseEstimator):
    """The shallow autoencoder with a zero diagonal, in closed form.

    Parameters
    ----------
    l2 : float
        Weight of the squared entries of B; positive.

    Attributes
    ----------
    weights_ : ndarray of shape (G, G)
        B: column j has the weights that predict item j.

    Notes
    -----
    With P = (X'X + l2 I)^-1, B_ij = -P_ij / P_jj off the diagonal (equation 8).
    """

    def __init__(self, l2: float = 500.0) -> None:
        self.l2 = l2

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Solve for B from X (N, G); raises ValueError for a weight that is not positive."""
        if isinstance(self.l2, str | bool) or not 0 < self.l2 < np.inf:
            raise ValueError(f"l2 {self.l2!r}: give a finite number above 0")
        X = np.asarray(X, dtype=float)
        P = np.linalg.inv(X.T @ X + self.l2 * np.eye(X.shape[1]))
        self.weights_ = -P / np.diag(P)
        np.fill_diagonal(self.weights_, 0.0)
        self.n_features_in_ = X.shape[1]
        self.n_parameters_ = int(self.weights_.size)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """The rows (N, G) themselves."""
        return np.asarray(X, dtype=float)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Scores of all items (N, G) for rows Z (N, G): the larger, the likelier."""
        return Z @ self.weights_


def build(likelihood: str, n_latent: int, seed: int, **params: float) -> EASE:
    """An unfitted estimator; nothing in it is random and it has no latent space."""
    return EASE(**params)
