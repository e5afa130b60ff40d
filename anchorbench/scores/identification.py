"""What of an identified representation is left: purity of codes, groups of anchor features.

Shapes: codes (N, K) learned, factors (N, K*) true, on the same rows. All values are defined for
constant columns.
"""

import numpy as np
from sklearn.preprocessing import SplineTransformer

from anchorbench.scores.recovery import correlations, match, standardise

LEAST_R2 = 0.05
"""Share of a code's variance that factors must explain; below it, its purity is noise and 0."""


def purity(codes: np.ndarray, factors: np.ndarray, spline: bool = False) -> float:
    """Mean over true factors of the share that a code's own factor has of what explains it.

    Each code is regressed on all factors at once (standardised, least squares): beta_own^2 / sum_k
    beta_k^2. With `spline` it is regressed on a cubic spline of each factor, and the variances of
    these components take the place of beta^2. Codes are matched to factors one to one by
    |correlation|, with `spline` by their components' shares, since a code that is an even function
    of its factor correlates with none.

    The correlation of the factors does not move it: 1 for codes that are the factors, 1/2 for a
    rotation by 45 degrees, 0 for a copy of another factor, a constant code, one of which factors
    explain less than 5 % of the variance, and a factor left without a code.
    """
    shares = (_spline_shares if spline else _linear_shares)(codes, factors)
    matched = match(shares if spline else correlations(codes, factors))
    own = [shares[code, k] if code >= 0 else 0.0 for k, code in enumerate(matched)]
    return float(np.mean(own))


def _linear_shares(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """beta^2 as shares (K, K*) of their sum; zeros where factors explain too little."""
    design, target = standardise(factors), standardise(codes)
    beta = np.linalg.lstsq(design, target, rcond=None)[0].T
    return _shares(beta**2, (target - design @ beta.T).var(axis=0), target)


def _spline_shares(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Variances of additive components as shares (K, K*) of their sum."""
    target = standardise(codes)
    blocks = []
    for factor in factors.T:
        knots = np.unique(np.quantile(factor, np.linspace(0, 1, 6)))
        if len(knots) < 2:
            blocks.append(np.zeros((len(factor), 1)))
            continue
        basis = SplineTransformer(knots=knots[:, None]).fit_transform(factor[:, None])
        blocks.append(basis - basis.mean(axis=0))
    weights = np.linalg.lstsq(np.hstack(blocks), target, rcond=None)[0]
    ends = np.cumsum([block.shape[1] for block in blocks])
    parts = [b @ w for b, w in zip(blocks, np.split(weights, ends[:-1]), strict=True)]
    variances = np.stack([part.var(axis=0) for part in parts], axis=1)
    return _shares(variances, (target - sum(parts)).var(axis=0), target)


def _shares(sizes: np.ndarray, unexplained: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rows of sizes (K, K*) over their sums; zeros where R^2 is too low."""
    explained = target.any(axis=0) & (1 - unexplained >= LEAST_R2)
    totals = sizes.sum(axis=1, keepdims=True)
    usable = explained[:, None] & (totals > 0)
    return np.where(usable, sizes, 0.0) / np.where(usable, totals, 1.0)


def groups_of_support(support: np.ndarray) -> np.ndarray:
    """The factor (G,) of each feature that depends on one alone, -1 of all others."""
    return np.where(support.sum(axis=1) == 1, support.argmax(axis=1), -1)


def pairs_f1(found: np.ndarray, true: np.ndarray) -> float:
    """F1 of the pairs of features that lie in one group.

    Parameters
    ----------
    found, true : ndarray of shape (G,)
        A feature's group, -1 for none; their numbers mean nothing.

    Returns
    -------
    float
        1 where neither side has pairs.
    """
    one, other = (
        np.triu((groups[:, None] == groups) & (groups >= 0), k=1) for groups in (found, true)
    )
    claimed = one.sum() + other.sum()
    return float(2 * (one & other).sum() / claimed) if claimed else 1.0
