"""Anchor words (Arora et al. 2013): topics from the words that each occur in one topic alone.

Where every topic has such a word, the row-normalised co-occurrences of all words are convex
combinations of those of the anchors, and the weights say which topics a word comes from: for counts
what anchor features are for the sparse VAE.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, TransformerMixin

METHOD = {
    "label": "Anchor words",
    "likelihoods": ["counts"],
    "params": {"min_share": 0.01, "min_documents": 5, "n_steps": 50},
    "cite": "Arora, Ge, Halpern, Mimno, Moitra, Sontag, Wu and Zhu (2013), A Practical Algorithm "
    "for Topic Modeling with Provable Guarantees, ICML",
}

SUM_WEIGHT = 1e3
"""Weight of the row that makes non-negative least squares give coefficients that sum to 1."""


def cooccurrence(X: np.ndarray) -> np.ndarray:
    """Probabilities (G, G) that two tokens drawn from a row are these words; sums to 1.

    The mean over rows of (h h' - diag h) / (n (n - 1)), h a row's counts and n their sum, which is
    unbiased; rows with fewer than 2 tokens are left out.
    """
    n = X.sum(axis=1)
    rows = X[n >= 2]
    if not len(rows):
        raise ValueError("no row has 2 tokens, so that no words occur together")
    weight = 1 / (len(rows) * n[n >= 2] * (n[n >= 2] - 1))
    Q: np.ndarray = (rows * weight[:, None]).T @ rows
    Q[np.diag_indices_from(Q)] -= weight @ rows
    return np.maximum(Q, 0.0)


def greedy_anchors(rows: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
    """Indices (K,) of candidate rows (G, G), each the farthest from the span of those before.

    The first is the farthest from 0, the second from the first, and from there on distances are
    those to the affine span.
    """
    chosen = [int(candidates[np.argmax((rows[candidates] ** 2).sum(1))])]
    left = rows - rows[chosen[0]]
    for _ in range(k - 1):
        chosen.append(int(candidates[np.argmax((left[candidates] ** 2).sum(1))]))
        direction = left[chosen[-1]]
        length = direction @ direction
        if length > 0:
            left = left - np.outer(left @ direction / length, direction)
    return np.array(chosen)


class AnchorWords(TransformerMixin, BaseEstimator):
    """Topics by anchor words; codes by expectation maximisation with the topics fixed.

    Parameters
    ----------
    n_latent : int
        Number K of topics.
    min_share, min_documents : float, int
        An anchor occurs in this share of the rows at least, and in so many rows; where fewer than
        K words do, all words may be anchors.
    n_steps : int
        Steps of expectation maximisation for the topic shares of a row.

    Attributes
    ----------
    anchor_words_ : ndarray of int of shape (K,)
        The anchor word of each topic.
    anchors_ : ndarray of int of shape (G,)
        The topic of each anchor word, -1 of all others.
    loadings_ : ndarray of shape (G, K)
        Topics: columns sum to 1.
    """

    def __init__(
        self,
        n_latent: int = 5,
        min_share: float = 0.01,
        min_documents: int = 5,
        n_steps: int = 50,
    ) -> None:
        self.n_latent = n_latent
        self.min_share = min_share
        self.min_documents = min_documents
        self.n_steps = n_steps

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Find the topics of counts X (N, G); raises ValueError for parameters out of range."""
        X = np.asarray(X, dtype=float)
        if X.shape[1] < 2:
            raise ValueError("1 feature(s): words occur together where there are 2 or more")
        if not 1 <= self.n_latent <= X.shape[1]:
            raise ValueError(
                f"n_latent {self.n_latent}: {X.shape[1]} words have 1 to {X.shape[1]} topics"
            )
        if not 0 <= self.min_share < 1:
            raise ValueError(f"min_share {self.min_share!r}: give a number from 0 to below 1")
        if self.n_steps < 1:
            raise ValueError(f"n_steps {self.n_steps!r}: give a whole number, 1 or more")
        Q = cooccurrence(X)
        word = Q.sum(axis=1)
        normed = Q / np.where(word > 0, word, 1.0)[:, None]
        seen = (X > 0).sum(axis=0)
        often = np.flatnonzero(seen >= max(self.min_documents, self.min_share * len(X)))
        candidates = often if len(often) >= self.n_latent else np.arange(X.shape[1])
        self.anchor_words_ = greedy_anchors(normed, candidates, self.n_latent)
        self.anchors_ = np.full(X.shape[1], -1)
        self.anchors_[self.anchor_words_] = np.arange(self.n_latent)
        shares = np.array([_convex(normed[self.anchor_words_], row) for row in normed])
        topics = shares * word[:, None]
        total = topics.sum(axis=0)
        self.loadings_ = np.where(total > 0, topics / np.where(total > 0, total, 1), 1 / len(word))
        self.n_features_in_ = X.shape[1]
        self.n_parameters_ = int(self.loadings_.size)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Topic shares (N, K) of rows; an empty row has even ones."""
        X = np.asarray(X, dtype=float)
        theta = np.full((len(X), self.n_latent), 1 / self.n_latent)
        for _ in range(self.n_steps):
            expected = np.maximum(theta @ self.loadings_.T, 1e-300)
            theta = theta * ((X / expected) @ self.loadings_) + 1e-12
            theta /= theta.sum(axis=1, keepdims=True)
        return theta

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Word probabilities (N, G) of topic shares (N, K)."""
        return np.asarray(Z) @ self.loadings_.T


def _convex(corners: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Weights (K,), 0 or more and of sum 1, of the corners (K, D) nearest to a point (D,)."""
    rows = np.vstack([corners.T, np.full(len(corners), SUM_WEIGHT)])
    weights = nnls(rows, np.append(point, SUM_WEIGHT))[0]
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(corners), 1 / len(corners))


def build(likelihood: str, n_latent: int, seed: int, **params: float) -> AnchorWords:
    """An unfitted estimator; nothing in it is random."""
    return AnchorWords(n_latent, **params)  # type: ignore[arg-type]


ESTIMATOR = AnchorWords
