"""Simulated counts of known truth: short documents from a sparse decoder with anchor words.

logit_j(z) = b_j + strength * sum_k s_jk tanh(z_k) with s >= 0 sparse; a document of n_i words is
Mult(n_i, softmax(logit(z_i))), z ~ N(0, C), C_kk = 1 and C_kl = rho. With `likelihood` poisson or
negative_binomial words are drawn one by one with mean mu_ij proportional to n_i exp(logit_j(z_i)),
so that a row's sum depends on its factors, too; the latter has the variance mu + mu^2 / dispersion.
Every factor has `anchors` words that depend on it alone and on the same scale (assumption A1 of
Moran et al. 2022). Of the other words a tenth depend on nothing, and the rest, in turn, on one
factor with a weight of their own or on two. Feature names tell the truth: "topic1_anchor2",
"topic3_word1", "topic1+2_word1", "common1". All replicates share the
decoder; factors and words are drawn by the replicate's seed.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations, cycle
from pathlib import Path
from typing import Any

import numpy as np

from anchorbench.data.dataset import DataError, Dataset, Split, kfold

DATASET: dict[str, Any] = {
    "label": "Simulated counts",
    "likelihood": "multinomial",
    "sources": [],
    "replicates": 5,
    "resampling": "draws",
    "headline": {"corrected": "mcc"},
    "params": {
        "n": 600,  # documents, of which a third are test documents
        "length": 40,  # mean number of words in a document
        "n_features": 40,
        "n_factors": 4,
        "anchors": 2,  # anchor words of each factor
        "rho": 0.0,  # correlation of factors
        "strength": 2.5,  # effect of a factor on the logit of its anchor words
        "decoder_seed": 0,
        "likelihood": "multinomial",  # or poisson, negative_binomial
        "dispersion": 2.0,  # of the negative binomial: small values vary much
    },
    "provides": ["factors", "support"],
    "terms": "Generated; no terms.",
    "cite": "",
}


def decoder(
    n_features: int, n_factors: int, anchors: int, decoder_seed: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Intercepts (G,), weights (G, K*) that are zero off the support, and feature names."""
    n_rest = n_features - n_factors * anchors
    if n_factors < 2 or anchors < 1 or n_rest < 0:
        raise DataError(
            f"simulated_counts: {n_factors} factors with {anchors} anchors do not fit "
            f"{n_features} features: give 2 factors or more, and a feature for each anchor"
        )
    rng = np.random.default_rng(decoder_seed)
    rows: list[tuple[int, ...]] = [(k,) for k in range(n_factors) for _ in range(anchors)]
    singles, pairs = cycle(range(n_factors)), cycle(combinations(range(n_factors), 2))
    n_common = n_rest // 10
    rows += [(next(singles),) if i % 2 else next(pairs) for i in range(n_rest - n_common)]
    rows += [()] * n_common
    weights, names = np.zeros((n_features, n_factors)), []
    seen: Counter[str] = Counter()
    for j, factors in enumerate(rows):
        is_anchor = j < n_factors * anchors
        weights[j, list(factors)] = 1.0 if is_anchor else rng.uniform(0.4, 0.9, len(factors))
        topic = "+".join(str(k + 1) for k in factors)
        stem = f"topic{topic}_{'anchor' if is_anchor else 'word'}" if factors else "common"
        seen[stem] += 1
        names.append(f"{stem}{seen[stem]}")
    return 0.5 * rng.standard_normal(n_features), weights, names


def probabilities(
    z: np.ndarray, intercepts: np.ndarray, weights: np.ndarray, strength: float
) -> np.ndarray:
    """Word probabilities (N, G) of factors (N, K*)."""
    logits = intercepts + strength * np.tanh(z) @ weights.T
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _draw(
    seed: int, params: dict[str, Any], intercepts: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors (n, K*), word probabilities (n, G) and counts (n, G)."""
    n, rho, n_factors = int(params["n"]), params["rho"], weights.shape[1]
    if not -1 / (n_factors - 1) < rho < 1:
        raise DataError(
            f"simulated_counts: {n_factors} factors cannot all correlate by rho {rho}: choose it "
            f"between {-1 / (n_factors - 1):.2f} and 1"
        )
    rng = np.random.default_rng(seed)
    covariance = (1 - rho) * np.eye(n_factors) + rho
    z = rng.standard_normal((n, n_factors)) @ np.linalg.cholesky(covariance).T
    p = probabilities(z, intercepts, weights, params["strength"])
    lengths = 1 + rng.poisson(params["length"] - 1, n)
    if params["likelihood"] == "multinomial":
        return z, p, rng.multinomial(lengths, p).astype(np.float64)
    rates = np.exp(intercepts + params["strength"] * np.tanh(z) @ weights.T)
    mu = lengths[:, None] * rates / rates.sum(axis=1).mean()
    if params["likelihood"] == "negative_binomial":
        theta = params["dispersion"]
        if not theta > 0:
            raise DataError(f"simulated_counts: dispersion {theta}: give a positive number")
        mu = rng.gamma(theta, mu / theta)
    elif params["likelihood"] != "poisson":
        raise DataError(
            f"simulated_counts: likelihood {params['likelihood']!r}: use multinomial, poisson or "
            "negative_binomial"
        )
    return z, p, rng.poisson(mu).astype(np.float64)


def _decoder_of(params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    shape = ("n_features", "n_factors", "anchors", "decoder_seed")
    return decoder(**{name: int(params[name]) for name in shape})


def prepare(raw: dict[str, Path], **params: Any) -> Dataset:
    """One draw, with seed 0: what the data look like. No replicate uses it."""
    params = DATASET["params"] | params
    intercepts, weights, names = _decoder_of(params)
    return Dataset(_draw(0, params, intercepts, weights)[2], names)


def split(dataset: Dataset, replicate: int, seed: int, **params: Any) -> Split:
    """A fresh draw with its factors, support and word probabilities; a third of it is the test."""
    params = DATASET["params"] | params
    intercepts, weights, names = _decoder_of(params)
    z, p, counts = _draw(seed, params, intercepts, weights)
    parts = kfold(Dataset(counts, names), 0, folds=3)
    assert parts.index is not None
    train, test = parts.index
    return Split(
        parts.train,
        parts.test,
        factors=(z[train], z[test]),
        support=weights > 0,
        expectation=(p[train], p[test]),
    )
