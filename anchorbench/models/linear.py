"""Linear factor models on standardised columns, given back in the data's units.

    x = mean + L z + e,    z ~ N(0, Phi),    e ~ N(0, diag psi)

What data can tell of L is L Phi L' + diag psi; a rotation (`anchorbench.models.rotations`) picks
the factors.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

from anchorbench.models import rotations
from anchorbench.models.rotations import Rotation

STEPS = 5000
"""Most iterations of EM."""
LEAST_NOISE = 1e-6
"""Share of a feature's variance below which its noise does not fall."""


class Columns:
    """Mean and standard deviation of training columns; a constant column has the sd 1."""

    def __init__(self, X: np.ndarray) -> None:
        self.mean = X.mean(axis=0)
        sd = X.std(axis=0)
        self.sd = np.where(sd > 0, sd, 1.0)

    def standard(self, X: np.ndarray) -> np.ndarray:
        """Columns of X (N, G) with the training rows' mean taken off and in their sd."""
        return (X - self.mean) / self.sd

    def back(self, X: np.ndarray) -> np.ndarray:
        """Standardised X (N, G) in the data's units."""
        return X * self.sd + self.mean


class LinearFactors(TransformerMixin, BaseEstimator):
    """A linear Gaussian factor model; subclasses say how loadings are estimated (`estimate`).

    Parameters
    ----------
    likelihood : {"gaussian"}
    n_latent : int
        Number K of factors.
    seed : int
        Of whatever is drawn.

    Attributes
    ----------
    loadings_ : ndarray of shape (G, K)
        L, in the data's units.
    phi_ : ndarray of shape (K, K)
        Correlations of the factors.
    noise_variance_ : ndarray of shape (G,)
        psi, in the data's units squared.
    """

    def __init__(self, likelihood: str = "gaussian", n_latent: int = 5, seed: int = 0) -> None:
        self.likelihood = likelihood
        self.n_latent = n_latent
        self.seed = seed

    def estimate(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings (G, K), correlations of factors (K, K) and noise (G,) of standardised X."""
        raise NotImplementedError

    def fit(self, X: np.ndarray, y: None = None) -> Self:  # noqa: ARG002
        """Estimate from X (N, G); raises ValueError for more factors than rows or features."""
        X = np.asarray(X, dtype=float)
        if not 1 <= self.n_latent <= min(X.shape):
            raise ValueError(
                f"n_latent {self.n_latent}: a linear model of {X.shape[0]} rows and {X.shape[1]} "
                f"features has 1 to {min(X.shape)} factors"
            )
        self.columns_ = Columns(X)
        L, self.phi_, psi = self.estimate(self.columns_.standard(X))
        self.loadings_ = L * self.columns_.sd[:, None]
        self.noise_variance_ = np.maximum(psi, LEAST_NOISE) * self.columns_.sd**2
        self.n_features_in_ = X.shape[1]
        self.n_parameters_ = int(L.size + psi.size)
        return self

    @property
    def _precision(self) -> np.ndarray:
        """L' Psi^-1 L + Phi^-1, the posterior's precision (K, K)."""
        scaled = self.loadings_ / self.noise_variance_[:, None]
        return self.loadings_.T @ scaled + np.linalg.inv(self.phi_)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Codes (N, K): posterior means, the regression scores."""
        scaled = self.loadings_ / self.noise_variance_[:, None]
        return np.linalg.solve(self._precision, ((X - self.columns_.mean) @ scaled).T).T

    def posterior(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of p(z | x), both (N, K)."""
        mean = self.transform(X)
        sd = np.sqrt(np.diag(np.linalg.inv(self._precision)))
        return mean, np.tile(sd, (len(X), 1))

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Expected features (N, G) of codes (N, K)."""
        return Z @ self.loadings_.T + self.columns_.mean

    def log_prob(self, X: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """log p(x | z) of every row, (N,)."""
        squares = (X - self.inverse_transform(Z)) ** 2 / self.noise_variance_
        return -0.5 * (squares + np.log(2 * np.pi * self.noise_variance_)).sum(axis=1)

    def elbo(self, X: np.ndarray) -> np.ndarray:
        """log p(x) of every row, (N,): the bound is reached by the exact posterior.

        The log density of N(mean, L Phi L' + Psi), by Woodbury's identity and the determinant
        lemma. `posterior` has the standard deviations alone, and a bound made of them would be
        lower the more a rotation correlates the factors, which leaves the density as it is.
        """
        residuals = X - self.columns_.mean
        scaled = residuals @ (self.loadings_ / self.noise_variance_[:, None])
        explained = (scaled * np.linalg.solve(self._precision, scaled.T).T).sum(axis=1)
        squares = (residuals**2 / self.noise_variance_).sum(axis=1) - explained
        volume = np.linalg.slogdet(self._precision)[1] + np.linalg.slogdet(self.phi_)[1]
        volume += np.log(2 * np.pi * self.noise_variance_).sum()
        return -0.5 * (squares + volume)

    def log_weights(self, X: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """log p(x, z) - log p(z | x) (N, draws) at draws of the exact posterior: log p(x)."""
        return np.repeat(self.elbo(X)[:, None], draws, axis=1)

    def log_prior(self, Z: np.ndarray) -> np.ndarray:
        """log p(z) of every row of codes (N, K), (N,)."""
        root = np.linalg.cholesky(self.phi_)
        white = np.linalg.solve(root, Z.T)
        constant = 2 * np.log(np.diag(root)).sum() + len(root) * np.log(2 * np.pi)
        return -0.5 * ((white**2).sum(axis=0) + constant)


class RotatedFactors(LinearFactors):
    """Principal components or maximum likelihood factors, rotated to simple structure.

    Parameters
    ----------
    likelihood, n_latent, seed
        As in `LinearFactors`.
    extraction : {"pca", "ml"}
        "pca": the leading components; noise is what they leave of each feature. "ml": maximum
        likelihood factor analysis (scikit-learn's).
    rotation : {"none", "varimax", "quartimin", "geomin"}
        "varimax" is orthogonal, with Kaiser's normalisation; the last two let factors correlate.
    starts : int
        Random starts of the rotation beside the identity.
    """

    words: ClassVar[tuple[str, ...]] = ("none", "varimax", "quartimin", "geomin")

    def __init__(
        self,
        likelihood: str = "gaussian",
        n_latent: int = 5,
        seed: int = 0,
        extraction: str = "pca",
        rotation: str = "none",
        starts: int = rotations.STARTS,
    ) -> None:
        super().__init__(likelihood, n_latent, seed)
        self.extraction = extraction
        self.rotation = rotation
        self.starts = starts

    def estimate(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings, correlations of factors and noise; raises ValueError for an unknown word."""
        if self.extraction not in ("pca", "ml"):
            raise ValueError(f"extraction {self.extraction!r}: use pca or ml")
        if self.extraction == "pca":
            A, psi = principal(X, self.n_latent)
            settled = True
        else:
            A, psi, settled = maximum_likelihood(X, self.n_latent)
        rotation = self.rotated(A)
        if self.extraction == "ml" or self.rotation != "none":
            self.converged_ = settled and rotation.settled
        return rotation.loadings, rotation.phi, psi

    def rotated(self, A: np.ndarray) -> Rotation:
        """The rotation of loadings A (G, K) that `rotation` names."""
        if self.rotation == "none":
            return Rotation(A, np.eye(A.shape[1]), np.eye(A.shape[1]), 0.0)
        if self.rotation == "varimax":
            return rotations.orthomax(A, starts=self.starts, seed=self.seed)
        if self.rotation not in self.words:
            raise ValueError(f"rotation {self.rotation!r}: use one of {', '.join(self.words)}")
        return rotations.oblique(A, getattr(rotations, self.rotation), self.starts, self.seed)


def principal(X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Loadings (G, K) of the leading components of standardised X, and the variance they leave."""
    _, sizes, axes = np.linalg.svd(X, full_matrices=False)
    A = axes[:k].T * sizes[:k] / np.sqrt(len(X))
    return A, X.var(axis=0) - (A**2).sum(axis=1)


def maximum_likelihood(X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Maximum likelihood loadings (G, K) and noise variances (G,) of standardised X.

    Returns also whether the iterations had settled. Raises ValueError for as many factors as
    features: nothing is left for the noise, and the likelihood has no maximum that EM would find.
    """
    if k >= X.shape[1]:
        raise ValueError(
            f"n_latent = {k}, n_features = {X.shape[1]}: by maximum likelihood there are fewer "
            "factors than features, for each feature has a noise of its own"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = FactorAnalysis(k, max_iter=STEPS, tol=1e-4, svd_method="lapack").fit(X)
    return model.components_.T, model.noise_variance_, model.n_iter_ < STEPS


class Standardised(TransformerMixin, BaseEstimator):
    """A decomposition of scikit-learn on standardised columns; loadings in the data's units.

    Parameters
    ----------
    model : estimator
        With `components_` (K, G) after `fit`; expected features are codes times components.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: np.ndarray, y: None = None) -> Self:  # noqa: ARG002
        """Fit the decomposition to X (N, G)."""
        self.columns_ = Columns(np.asarray(X, dtype=float))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model_ = self.model.fit(self.columns_.standard(X))
        basis = getattr(self.model_, "mixing_", None)  # of independent components
        basis = self.model_.components_.T if basis is None else basis
        self.basis_ = np.asarray(basis, dtype=float)
        self.loadings_ = self.basis_ * self.columns_.sd[:, None]
        self.n_features_in_ = X.shape[1]
        self.n_parameters_ = int(self.basis_.size)
        self.n_iter_ = int(np.max(self.model_.n_iter_))
        self.converged_ = self.n_iter_ < self.model_.max_iter
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Codes (N, K)."""
        codes = np.asarray(self.model_.transform(self.columns_.standard(X)), dtype=float)
        return codes.reshape(len(X), -1)

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Expected features (N, G)."""
        return self.columns_.back(Z @ self.basis_.T)
