"""Non-negative factorisations of scikit-learn behind the estimator contract of this suite."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.exceptions import ConvergenceWarning


class NonNegativeFactors(BaseEstimator, TransformerMixin):
    """NMF: X (N, G) ~ A H with A (N, K) and H (K, G) non-negative.

    Parameters
    ----------
    n_components : int
        Number K of factors.
    loss : {"frobenius", "kullback-leibler"}
        1/2 |X - AH|^2, or the generalised KL divergence, i.e. Poisson counts.
    alpha : float
        Weight of alpha/2 (|A|^2 + |H|^2): the meaning that `alpha` had before scikit-learn 1.2;
        there the penalties are now multiplied by G and N, hence alpha_W = alpha/G and
        alpha_H = alpha/N below.
    max_iter : int
        Most iterations.
    shift : bool
        Subtract the smallest training value of each column that has negative ones first, and add it
        back, so that such data can be factorised; test values below it count as 0.
    seed : int
    """

    def __init__(
        self,
        n_components: int,
        loss: str = "frobenius",
        alpha: float = 1.0,
        max_iter: int = 200,
        shift: bool = True,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.alpha = alpha
        self.max_iter = max_iter
        self.shift = shift
        self.seed = seed

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002
        """Learn H from X of shape (N, G)."""
        self.offset_ = np.minimum(X.min(axis=0), 0.0)
        if not self.shift and self.offset_.any():
            raise ValueError("NMF needs non-negative data; set the parameter shift: true")
        n_rows, n_features = X.shape
        frobenius = self.loss == "frobenius"
        self.model_ = NMF(
            n_components=self.n_components,
            beta_loss=self.loss,
            solver="cd" if frobenius else "mu",
            init=None if frobenius else "nndsvda",
            alpha_W=self.alpha / n_features,
            alpha_H=self.alpha / n_rows,
            max_iter=self.max_iter,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model_.fit(self._shifted(X))
        self.loadings_ = self.model_.components_.T
        self.n_parameters_ = int(self.model_.components_.size)
        self.n_iter_ = int(self.model_.n_iter_)
        self.converged_ = self.n_iter_ < self.max_iter
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return codes A of shape (N, K)."""
        return self.model_.transform(self._shifted(X))

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Return A H, plus what was subtracted, of shape (N, G)."""
        return Z @ self.model_.components_ + self.offset_

    def _shifted(self, X: np.ndarray) -> np.ndarray:
        return np.maximum(X - self.offset_, 0.0)


class TopicModel(BaseEstimator, TransformerMixin):
    """Latent Dirichlet allocation (Blei et al. 2003) by variational Bayes.

    Codes are the topic shares of a document (rows sum to 1); probabilities of words are shares
    times topics.

    Parameters
    ----------
    n_components : int
        Number K of topics.
    max_iter : int
        Passes over the documents.
    seed : int
    """

    def __init__(self, n_components: int, max_iter: int = 10, seed: int = 0) -> None:
        self.n_components = n_components
        self.max_iter = max_iter
        self.seed = seed

    def fit(self, X: np.ndarray, y: object = None) -> Self:  # noqa: ARG002
        """Learn topics from counts X of shape (N, G)."""
        model: Any = LatentDirichletAllocation(
            self.n_components, max_iter=self.max_iter, random_state=self.seed
        )
        self.model_ = model.fit(X)
        topics = model.components_ / model.components_.sum(axis=1, keepdims=True)
        self.loadings_ = topics.T
        self.n_parameters_ = int(topics.size)
        self.n_iter_ = int(model.n_iter_)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return topic shares of shape (N, K)."""
        return self.model_.transform(X)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Return word probabilities of shape (N, G)."""
        return Z @ self.loadings_.T
