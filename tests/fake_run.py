"""A tiny stand-in for the Run object that metrics get: arrays and a linear model, no training."""

from types import SimpleNamespace

import numpy as np

from anchorbench.study.plugins import discover, kind_of, load


def compute(name, run):
    """Value of the metric in metrics/<name>.py for a run."""
    return load(discover("metrics")[name]).compute(run)


class LinearGaussian:
    """x = A z + sd * noise, z ~ N(0, I), with its exact posterior scaled by ``inflate``."""

    def __init__(self, A, sd, inflate=1.0):
        self.A, self.sd, self.inflate = A, sd, inflate
        self.covariance = np.linalg.inv(np.eye(A.shape[1]) + A.T @ A / sd**2)

    def transform(self, X):
        return X @ self.A @ self.covariance / self.sd**2

    def inverse_transform(self, Z):
        return Z @ self.A.T

    def posterior(self, X):
        mean = self.transform(X)
        return mean, np.full_like(mean, self.inflate) * np.sqrt(np.diag(self.covariance))

    def log_prob(self, X, Z):
        residual = (X - self.inverse_transform(Z)) / self.sd
        constant = np.log(2 * np.pi * self.sd**2) * X.shape[1]
        return -0.5 * ((residual**2).sum(axis=1) + constant)


class Decoder:
    """A model that codes nothing and decodes by a given function."""

    def __init__(self, decode, encode=None):
        self.inverse_transform = decode
        self.transform = encode


def fake_run(**fields):
    """A Run with the given attributes; rng and record as the scoring step provides them."""
    defaults = {
        "likelihood": "gaussian",
        "loadings": None,
        "support": None,
        "labels": None,
        "record": {"seed": 0, "replicate": 0},
        "rng": lambda name: np.random.default_rng(len(name)),
        "peers": list,
        "truth": SimpleNamespace(factors=None, support=None),
    }
    run = SimpleNamespace(**{**defaults, **fields})
    run.kind = kind_of(run.likelihood)
    return run


def factor_run(codes, factors, train_rows=None, support=None, **fields):
    """A Run whose codes and true factors are split into training and test rows (default half)."""
    n = train_rows or len(codes) // 2
    index = (np.arange(n), np.arange(n, len(codes)))
    truth = SimpleNamespace(factors=(factors[:n], factors[n:]), support=support, index=index)
    return fake_run(codes_train=codes[:n], codes=codes[n:], truth=truth, **fields)
