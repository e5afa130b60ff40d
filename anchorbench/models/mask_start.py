"""Where a mask may start: at rotated principal loadings of the training rows."""

import numpy as np

from anchorbench.models.linear import principal
from anchorbench.models.rotations import orthomax


def log_shares(X: np.ndarray) -> np.ndarray:
    """log(1 + x) of counts (N, G), x in shares of the row times the mean row sum."""
    sums = X.sum(axis=1, keepdims=True)
    scaled: np.ndarray = np.log1p(X / np.where(sums > 0, sums, 1.0) * sums.mean())
    return scaled


def varimax_start(X: np.ndarray, n_factors: int) -> np.ndarray:
    """Varimax-rotated loadings of the leading principal components of rows X (N, G).

    Returns
    -------
    ndarray of shape (G, K)
        K is `n_factors`, or the rank that X can have if that is less. Columns have sums of 0 or
        more, all entries together the root mean square 1.
    """
    A, _ = principal(X - X.mean(axis=0), n_factors)
    L = orthomax(A).loadings
    L = L * np.where(L.sum(axis=0) < 0, -1.0, 1.0)
    size = np.sqrt((L**2).mean())
    return L / size if size > 0 else L
