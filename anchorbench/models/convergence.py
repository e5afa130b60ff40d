"""Whether a fit had converged, read off its curve."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

SHARE = 0.001
"""A change below this share of the bound counts as none."""


def converged(curve: ArrayLike, settled: float = 0.0) -> bool | None:
    """Whether the evidence lower bound per row had stopped to change at the end of training.

    The means of the last two tenths of the epochs differ by no more than .1 % of the bound, or by
    no more than two standard errors of their difference.

    Parameters
    ----------
    curve : the bound per row of every epoch, at KL weight 1.
    settled : share of training after which the objective stays as it is: the end of the KL's
        warm-up and of the ladder of lambda0.

    Returns
    -------
    None where the curve cannot say: fewer than two epochs in a tenth, or an objective that was
    still changing within the last two tenths.
    """
    values = np.asarray(curve, dtype=float)
    epochs = len(values)
    first, middle = round(0.8 * epochs), round(0.9 * epochs)
    if middle - first < 2 or epochs - middle < 2 or round(settled * epochs) > first:
        return None
    before, after = values[first:middle], values[middle:]
    error = np.sqrt(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
    allowed = max(SHARE * abs(values[first:].mean()), 2 * error)
    return bool(abs(after.mean() - before.mean()) <= allowed)


def lower_bound(history: Mapping[str, ArrayLike]) -> np.ndarray:
    """The evidence lower bound per row of every epoch: -(reconstruction + KL)."""
    return -(np.asarray(history["reconstruction"]) + np.asarray(history["kl"]))
