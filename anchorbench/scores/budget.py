"""What a search of n trials can be expected to give (Dodge et al. 2019; Tang et al. 2020)."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln


def weights(size: int) -> np.ndarray:
    """C(i - 1, n - 1) / C(N, n), (N, N): row n - 1, column i - 1.

    The share of the subsets of n of N = `size` trials of which the i-th smallest is the largest.
    """
    n, i = np.arange(1, size + 1)[:, None], np.arange(1, size + 1)[None]
    below = np.maximum(i - n, 0)
    log = gammaln(i) - gammaln(n) - gammaln(below + 1)
    log -= gammaln(size + 1) - gammaln(n + 1) - gammaln(size - n + 1)
    return np.where(i >= n, np.exp(log), 0.0)


def expected(validation: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Expected test score (..., N) of the best of n of N trials, n = 1 .. N.

    E_n = sum_i C(i - 1, n - 1) / C(N, n) s_(i), where s_(i) is the test score of the trial with the
    i-th smallest validation score: unbiased for a search of n trials of the same kind (Tang et al.
    2020; Dodge et al.'s plug-in is biased).

    Parameters
    ----------
    validation, test : ndarray of shape (..., N)
        Scores of exchangeable trials; more validation is better.
    """
    order = np.argsort(validation, axis=-1, kind="stable")
    ordered = np.take_along_axis(np.asarray(test, dtype=float), order, axis=-1)
    found: np.ndarray = ordered @ weights(ordered.shape[-1]).T
    return found
