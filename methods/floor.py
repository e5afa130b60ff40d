"""Control: what a method scores that learns no representation.

Every row is expected to be the training mean (for counts: the unigram distribution).
"""

import numpy as np
from sklearn.base import BaseEstimator

METHOD = {
    "label": "Floor",
    "params": {},
    "control": True,
}


class Floor(BaseEstimator):
    """Codes of zeros (N, K), expected features the training mean."""

    def __init__(self, n_latent=1):
        self.n_latent = n_latent

    def fit(self, X):
        self.mean_ = X.mean(axis=0)
        self.loadings_ = np.zeros((X.shape[1], self.n_latent))
        self.support_ = np.zeros((X.shape[1], self.n_latent), dtype=bool)
        self.n_parameters_ = X.shape[1]
        return self

    def transform(self, X):
        return np.zeros((len(X), self.n_latent))

    def inverse_transform(self, Z):
        return np.tile(self.mean_, (len(Z), 1))


def build(likelihood, n_latent, seed):
    return Floor(n_latent)
