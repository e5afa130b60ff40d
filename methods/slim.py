"""SLIM (Ning and Karypis 2011): every item is predicted from few of a user's other items.

    min over w_j >= 0 with w_jj = 0 of |x_j - X w_j|^2 / 2 + l2 |w_j|^2 / 2 + l1 |w_j|_1

EASE with an L1 penalty and without negative weights. It has no factors: what stands in for a code
is the row itself.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import ElasticNet

METHOD = {
    "label": "SLIM",
    "likelihoods": ["counts"],
    "datasets": ["movielens"],
    "codes": False,
    # l2 as EASE has it; l1 from 0.5 to 5 makes no difference on validation users of MovieLens.
    "params": {"l1": 5.0, "l2": 500.0},
    "cite": "Ning and Karypis (2011), SLIM: Sparse Linear Methods for Top-N Recommender Systems, "
    "ICDM",
}


class SLIM(TransformerMixin, BaseEstimator):
    """Sparse item-item weights, an elastic net for each item.

    Parameters
    ----------
    l1 : float
        Weight of the sum of the entries of W; positive.
    l2 : float
        Weight of half the sum of their squares; 0 or more.

    Attributes
    ----------
    weights_ : ndarray of shape (G, G)
        W: column j has the weights that predict item j, none negative, the diagonal zero.
    """

    def __init__(self, l1: float = 5.0, l2: float = 500.0) -> None:
        self.l1 = l1
        self.l2 = l2

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Solve for W from X (N, G); raises ValueError for weights that are no penalty."""
        for name, least in (("l1", "above 0"), ("l2", "of 0 or more")):
            weight = getattr(self, name)
            wrong = isinstance(weight, str | bool) or not 0 <= weight < np.inf
            if wrong or (name == "l1" and weight == 0):
                raise ValueError(f"{name} {weight!r}: give a finite number {least}")
        # A regression sees X by X'X alone, and so R of X = Q R in its place: G rows, not N.
        R = np.linalg.qr(np.asarray(X, dtype=float), mode="r")
        net = ElasticNet(
            alpha=(self.l1 + self.l2) / len(R),
            l1_ratio=self.l1 / (self.l1 + self.l2),
            positive=True,
            fit_intercept=False,
            precompute=True,
            max_iter=5000,
            tol=1e-6,
        )
        self.weights_ = np.zeros((R.shape[1], R.shape[1]))
        for j in range(R.shape[1]):
            others = R.copy()
            others[:, j] = 0
            self.weights_[:, j] = net.fit(others, R[:, j]).coef_
        self.n_features_in_ = R.shape[1]
        self.n_parameters_ = int(np.count_nonzero(self.weights_))
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """The rows (N, G) themselves."""
        return np.asarray(X, dtype=float)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Scores of all items (N, G) for rows Z (N, G): the larger, the likelier."""
        return Z @ self.weights_


def build(likelihood: str, n_latent: int, seed: int, **params: float) -> SLIM:
    """An unfitted estimator; nothing in it is random and it has no latent space."""
    return SLIM(**params)
