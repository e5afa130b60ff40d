"""Predictive scores of held-out rows: token likelihoods, completion, importance weights.

The multinomial leaves out its coefficient: log p(x | z) = sum_j x_j log p_j.
"""

from typing import Any

import numpy as np

FLOOR = 1e-6
CALL_ROWS = 1000


def probabilities(expected: np.ndarray) -> np.ndarray:
    """Rows of non-negative expected features (N, G) scaled to sum 1.

    Negative entries count as 0; a row with nothing left becomes uniform.
    """
    expected = np.maximum(np.asarray(expected, dtype=float), 0.0)
    total = expected.sum(axis=1, keepdims=True)
    uniform = np.full_like(expected, 1 / expected.shape[1])
    return np.divide(expected, total, out=uniform, where=total > 0)


def token_nll(counts: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Mean over rows of -sum_j x_j log(p_j + 1e-6), and perplexity exp(total NLL / total tokens).

    ``expected`` (N, G) is scaled by :func:`probabilities`. Without tokens: (0, 1).
    """
    if not counts.sum() > 0:
        return 0.0, 1.0
    total = -(counts * np.log(probabilities(expected) + FLOOR)).sum()
    return float(total / len(counts)), float(np.exp(total / counts.sum()))


def halve_tokens(counts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves (N, G) of each row's tokens, the first with the smaller half.

    A multivariate hypergeometric draw, feature after feature. Entries are rounded to integers.
    """
    counts = np.rint(counts).astype(np.int64)
    left = counts.sum(axis=1)
    wanted = left // 2
    first = np.zeros_like(counts)
    for j, column in enumerate(counts.T):
        left = left - column
        first[:, j] = rng.hypergeometric(column, left, wanted)
        wanted = wanted - first[:, j]
    return first.astype(float), (counts - first).astype(float)


def log_weights(model: Any, X: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """log p(x|z) + log p(z) - log q(z|x) (N, draws) at draws z ~ q(z|x).

    q is N(mean, sd) from ``model.posterior``; log p(z) is ``model.log_prior(Z)`` if there is one,
    else that of N(0, I). The mean over draws estimates the ELBO, log-mean-exp the IWAE bound (Burda
    et al. 2016). Calls to the model have at most max(draws, 1000) rows, which bounds memory. A
    model whose q is not Gaussian has its own ``log_weights(X, draws, rng)``.
    """
    if hasattr(model, "log_weights"):
        return model.log_weights(X, draws, rng)
    mean, sd = (np.asarray(values, dtype=float) for values in model.posterior(X))
    sd = np.maximum(sd, FLOOR)
    log_prior = getattr(model, "log_prior", _log_standard_normal)
    weights = np.empty((len(X), draws))
    step = max(1, CALL_ROWS // draws)
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        noise = rng.standard_normal((len(mean[rows]), draws, mean.shape[1]))
        codes = (mean[rows, None] + sd[rows, None] * noise).reshape(-1, mean.shape[1])
        log_q = _log_standard_normal(noise.reshape(codes.shape)).reshape(-1, draws)
        log_q -= np.log(sd[rows]).sum(axis=1, keepdims=True)
        log_p = model.log_prob(np.repeat(X[rows], draws, axis=0), codes) + log_prior(codes)
        weights[rows] = np.asarray(log_p, dtype=float).reshape(-1, draws) - log_q
    return weights


def _log_standard_normal(codes: np.ndarray) -> np.ndarray:
    return -0.5 * (codes**2 + np.log(2 * np.pi)).sum(axis=1)
