"""Control: what a metric gives the truth itself, where a dataset knows it.

Codes are the true factors, expected features the true expectation, loadings the true support.
"""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import KNeighborsRegressor

METHOD = {
    "label": "Oracle",
    "params": {},
    "needs": ["truth"],
    "control": True,
}
NEIGHBOURS = 10


class Oracle(BaseEstimator):
    """Knows the replicate; answers for its training and its test rows.

    For factors that are not in the data, and where a dataset does not know its expectation, the
    mean over the nearest known factors stands in.
    """

    def fit(self, X, split):
        self.split_ = split
        self.n_parameters_ = 0
        if split.support is not None:
            self.support_ = np.asarray(split.support, dtype=bool)
            self.loadings_ = self.support_.astype(float)
        known = X if split.expectation is None else split.expectation[0]
        self.nearest_ = KNeighborsRegressor(NEIGHBOURS).fit(split.factors[0], known)
        return self

    def transform(self, X):
        """True factors of the training rows, or of the test rows (also when parts are hidden)."""
        train, test = self.split_.train, self.split_.test
        if X.shape == train.shape and np.array_equal(X, train):
            return self.split_.factors[0]
        if X.shape == test.shape:
            return self.split_.factors[1]
        raise ValueError(f"the oracle knows training and test rows only, not {X.shape}")

    def inverse_transform(self, Z):
        for side in (0, 1):
            factors = self.split_.factors[side].astype(np.float32)
            if self.split_.expectation is not None and np.array_equal(np.float32(Z), factors):
                return self.split_.expectation[side]
        return self.nearest_.predict(Z)


def build(likelihood, n_latent, seed):
    return Oracle()
