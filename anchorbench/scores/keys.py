"""Loadings against a scoring key: each feature belongs to one scale, with a sign.

Where no true factors are known, learned factors are matched to scales by the congruence of their
effects with the key's columns (Hungarian). All scores lie in [0, 1]; a scale without a factor
scores 0, and a feature that no factor moves is wrong.
"""

from __future__ import annotations

import numpy as np

from anchorbench.scores.recovery import (
    correlations,
    f1,
    in_true_order,
    match,
    matched_mean,
    ranking_quality,
)


def signed_effects(loadings: np.ndarray, codes: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Effect of a standard deviation of each code on each feature, in the feature's own (G, K).

    |l_jk| sd(z_k) / sd(x_j), with the sign of the correlation of x_j and z_k: loadings of some
    methods are sizes without a sign.

    Parameters
    ----------
    loadings : ndarray of shape (G, K)
    codes : ndarray of shape (N, K)
    X : ndarray of shape (N, G)
        The rows that the codes are of.
    """
    spread = X.std(axis=0)
    sizes = np.abs(loadings) * codes.std(axis=0) / np.where(spread > 0, spread, 1.0)[:, None]
    covariance = (X - X.mean(axis=0)).T @ (codes - codes.mean(axis=0))
    return sizes * np.where(covariance < 0, -1.0, 1.0)


def congruences(effects: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Tucker's congruence (K, K*) of effects (G, K) and keys (G, K*): cosines of their columns."""
    norms = np.outer(np.linalg.norm(effects, axis=0), np.linalg.norm(keys, axis=0))
    return effects.T @ keys / np.where(norms > 0, norms, 1.0)


def key_scores(effects: np.ndarray, keys: np.ndarray) -> dict[str, float]:
    """How well effects (G, K) recover a key (G, K*) in {-1, 0, 1}.

    Returns
    -------
    dict
        accuracy: share of keyed features whose largest effect is on their scale's factor; of
        equally large ones the share that are.
        congruence: mean |Tucker's congruence| of a scale with its factor.
        auroc: of the matched effects' sizes for the key's entries.
        f1: of as many of the largest matched effects as the key has entries.
        sign: share of the key's entries whose sign is right, each factor being free to turn.
    """
    cosines = congruences(effects, keys)
    matched = match(np.abs(cosines))
    ordered, _ = in_true_order(effects, matched)
    agreement, _ = in_true_order(cosines.T, matched)
    turned = np.where(np.diag(agreement) < 0, -1.0, 1.0) * ordered
    support = keys != 0
    sizes = np.abs(ordered)
    own = np.abs(effects).max(axis=1)
    leads = (sizes == own[:, None]) & (own > 0)[:, None]
    ties = np.maximum((np.abs(effects) == own[:, None]).sum(axis=1), 1)
    right = (leads & support).sum(axis=1) / ties
    largest = np.zeros(support.shape, dtype=bool)
    order = np.argsort(-sizes, axis=None, kind="stable")[: support.sum()]
    largest.ravel()[order] = sizes.ravel()[order] > 0
    return {
        "accuracy": float(right[support.any(axis=1)].mean()),
        "congruence": matched_mean(np.abs(cosines)),
        "auroc": ranking_quality(sizes, support)[0],
        "f1": f1(largest, support),
        "sign": float((np.sign(turned) == keys)[support].mean()),
    }


def scale_scores(X: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Sums of a scale's items, reversed ones subtracted: (N, K*). Not truth: made from X itself."""
    return X @ keys


def matched_scale_correlation(codes: np.ndarray, X: np.ndarray, keys: np.ndarray) -> float:
    """Mean |correlation| of scale scores with the codes matched to them, as MCC is of factors."""
    return matched_mean(correlations(codes, scale_scores(X, keys)))
