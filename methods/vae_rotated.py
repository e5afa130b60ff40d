"""A deep method whose codes are rotated to simple structure after training.

Standardised features are regressed on the codes, the coefficients are rotated as loadings are, and
the codes with them; the decoder gets the codes rotated back, so that no reconstruction and no
likelihood changes. What differs from the method itself is what a rotation is worth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from anchorbench.models.base import DeepGenerative
from anchorbench.models.kinds import kind
from anchorbench.models.linear import Columns
from anchorbench.models.mask_start import log_shares
from anchorbench.models.rotations import oblique, orthomax
from anchorbench.models.training import Diverged
from anchorbench.scores.prediction import log_weights

METHOD = {
    "label": "VAE, codes rotated",
    "cite": "Kaiser (1958), The varimax criterion for analytic rotation in factor analysis, "
    "Psychometrika; Jennrich and Sampson (1966), Rotation for simple loadings, Psychometrika",
    "gpu": True,
    "wraps": "base",
    "params": {"base": "vae", "base_params": None, "rotation": "varimax"},
}

KEPT = ("history_", "converged_", "n_parameters_", "seconds_before_", "device_", "n_features_in_")


class Rotated(BaseEstimator):
    """A deep model with rotated codes.

    Parameters
    ----------
    base : str
        The method whose codes are rotated, a file of methods/. (Where the estimator is made, the
        unfitted deep model that it builds.)
    base_params : dict, optional
        Parameters of the base; by default its own, by protocol and dataset.
    rotation : {"varimax", "quartimin"}
        "varimax" is orthogonal, with Kaiser's normalisation; "quartimin" lets factors correlate.

    Attributes
    ----------
    rotation_ : ndarray of shape (K, K)
        M: loadings are A M for coefficients A of codes in their sds, and codes (z / sd) M'^-1.
    loadings_ : ndarray of shape (G, K)
        A M, in the data's units; of counts, for the logarithms of 1 + shares times the mean sum.

    Notes
    -----
    `elbo` and `log_weights` are those of the model before rotation, whose posterior is the same.
    """

    def __init__(self, base: DeepGenerative, rotation: str = "varimax") -> None:
        self.base = base
        self.rotation = rotation

    def fit(self, X: np.ndarray, y: None = None) -> Self:
        """Fit the base to X (N, G), then rotate; raises ValueError for an unknown rotation."""
        self._check()
        return self._rotate(self.base.fit(X), X)

    def fit_many(self, Xs: Sequence[np.ndarray], seeds: Sequence[int]) -> list[Self | Diverged]:
        """One model per training set and seed, the bases trained together."""
        self._check()
        return [
            fitted
            if isinstance(fitted, Diverged)
            else type(self)(fitted, self.rotation)._rotate(fitted, X)
            for fitted, X in zip(self.base.fit_many(Xs, seeds), Xs, strict=True)
        ]

    def _check(self) -> None:
        if not isinstance(self.base, DeepGenerative) or hasattr(self.base, "log_weights"):
            raise ValueError(
                f"base {type(self.base).__name__}: name a deep method whose codes are Gaussian, "
                "such as vae"
            )
        if self.rotation not in ("varimax", "quartimin"):
            raise ValueError(f"rotation {self.rotation!r}: use one of varimax, quartimin")

    def _rotate(self, fitted: DeepGenerative, X: np.ndarray) -> Self:
        """Takes the fitted base, and the rotation of its codes on its training rows X (N, G)."""
        self.base = fitted
        seen = log_shares(X) if kind(fitted.likelihood) == "counts" else np.asarray(X, dtype=float)
        columns, codes = Columns(seen), Columns(fitted.transform(X))
        Z = codes.standard(fitted.transform(X))
        A = np.linalg.lstsq(Z, columns.standard(seen), rcond=None)[0].T
        try:
            found = orthomax(A) if self.rotation == "varimax" else oblique(A)
        except np.linalg.LinAlgError:
            raise ValueError(
                "quartimin made two factors one: the codes hold less than n_latent factors; use "
                "varimax, or fewer factors"
            ) from None
        self.rotation_, self.scale_ = found.matrix, codes.sd
        self.loadings_ = found.loadings * columns.sd[:, None]
        return self._take_over()

    def _take_over(self) -> Self:
        """The base's attributes that describe the fit."""
        for name in KEPT:
            if hasattr(self.base, name):
                setattr(self, name, getattr(self.base, name))
        return self

    @property
    def _to(self) -> np.ndarray:
        """Codes of the base times this (K, K) are the rotated ones."""
        to: np.ndarray = np.linalg.inv(self.rotation_).T / self.scale_[:, None]
        return to

    def _back(self, Z: np.ndarray) -> np.ndarray:
        """The base's codes (N, K) of rotated ones."""
        back: np.ndarray = np.asarray(Z) @ self.rotation_.T * self.scale_
        return back

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Rotated codes (N, K)."""
        codes: np.ndarray = self.base.transform(X) @ self._to
        return codes

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Expected features (N, G) of rotated codes (N, K)."""
        return self.base.inverse_transform(self._back(Z))

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """The base's expected features (N, G)."""
        return self.base.reconstruct(X)

    def posterior(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each rotated code, both (N, K); they are correlated."""
        mean, sd = self.base.posterior(X)
        return mean @ self._to, np.sqrt(sd**2 @ self._to**2)

    @property
    def prior_mean_(self) -> np.ndarray:
        """Means of the rotated codes under the prior, (K,)."""
        mean: np.ndarray = self.base.prior_mean_ @ self._to
        return mean

    @property
    def prior_covariance_(self) -> np.ndarray:
        """Covariance of the rotated codes under the prior, (K, K)."""
        covariance: np.ndarray = self._to.T @ self.base.prior_covariance_ @ self._to
        return covariance

    def log_prob(self, X: np.ndarray, Z: np.ndarray) -> np.ndarray:
        """log p(x | z) of every row, (N,), at rotated codes (N, K)."""
        return self.base.log_prob(X, self._back(Z))

    def elbo(self, X: np.ndarray) -> np.ndarray:
        """The base's evidence lower bound of every row, (N,)."""
        return self.base.elbo(X)

    def log_weights(self, X: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """The base's importance weights (N, draws)."""
        return log_weights(self.base, X, draws, rng)

    def save(self, folder: str | Path) -> None:
        """Writes the base and the rotation into `folder`."""
        self.base.save(Path(folder) / "base")
        arrays = {
            name: getattr(self, name).tolist() for name in ("rotation_", "scale_", "loadings_")
        }
        (Path(folder) / "rotation.json").write_text(json.dumps(arrays))

    def load(self, folder: str | Path) -> Self:
        """Reads what `save` wrote."""
        self.base.load(Path(folder) / "base")
        arrays = json.loads((Path(folder) / "rotation.json").read_text())
        for name, values in arrays.items():
            setattr(self, name, np.array(values))
        return self._take_over()


def build(
    likelihood: str,
    n_latent: int,
    seed: int,
    base: Any,
    rotation: str = "varimax",
) -> Rotated:
    """An unfitted model around an unfitted `base`, which has likelihood, factors and seed."""
    return Rotated(base, rotation)


ESTIMATOR = Rotated
