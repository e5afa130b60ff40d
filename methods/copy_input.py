"""Copy the input: the reconstruction of a row is the row.

A control for ranking: it learns nothing, and is perfect where a method is scored on the very
items that it was shown (recall_nofold), and useless where they are held out (recall).
"""

from __future__ import annotations

import numpy as np

METHOD = {
    "label": "Copy of the input",
    "likelihoods": ["counts"],
    "datasets": ["movielens"],
    "control": True,
    "params": {},
    "cite": "",
}


class CopyInput:
    """The identity: codes are the data, expected features are the codes."""

    n_parameters_ = 0

    def fit(self, X: np.ndarray) -> CopyInput:
        """Learn nothing."""
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """X itself (N, G)."""
        return np.asarray(X, dtype=float)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Z itself (N, G)."""
        return np.asarray(Z, dtype=float)


def build(likelihood: str, n_latent: int, seed: int) -> CopyInput:
    """Return an estimator; the arguments change nothing."""
    return CopyInput()
