"""Quantile normalisation of samples, as the R package preprocessCore does it.

`normalize.quantiles` (Bolstad et al. 2003, Bioinformatics 19(2); preprocessCore, qnorm.c) gives
tied values the reference quantile at their average rank, and half the sum of the two neighbours
where that rank is not whole. The Python package qnorm averages the reference over all tied ranks
instead. Counts are full of ties (most are zero), so the two differ much; hence these few lines.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def reference_quantiles(X: np.ndarray) -> np.ndarray:
    """The (G,) mean of the sorted rows of X (N, G): the distribution that rows are mapped to."""
    return np.sort(X, axis=1).mean(axis=0)


def to_quantiles(X: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Replace the values in each row of X (N, G) by the (G,) reference quantiles of their ranks.

    Rows that the reference was not computed from may be given too. Raises ValueError where X has
    another number of columns than the reference.
    """
    if X.shape[1] != len(reference):
        raise ValueError(f"rows of {X.shape[1]} values, but {len(reference)} reference quantiles")
    result = np.empty(X.shape)
    for row, out in zip(X, result, strict=True):
        rank = rankdata(row, method="average") - 1
        below, above = np.floor(rank).astype(int), np.ceil(rank).astype(int)
        out[:] = (reference[below] + reference[above]) / 2
    return result
