"""Semi-synthetic PeerRead: the factors of training and test documents are distributed differently.

Latent Dirichlet allocation with sklearn's defaults is fitted to the abstracts. In training the
second half of the log-factors is the first half plus Gaussian noise, so that factors are
correlated; test documents keep the factors of the fit. `sigma` 0.5, 1 and 3 are the "high",
"medium" and "low" difference between training and test of Moran et al. (2022, table 2).

The released code rounds expected counts (``counts="rounded"``, published): nothing is sampled, and
the counts of a document fall well short of its length. ``counts="drawn"`` (corrected) draws each
document from its multinomial.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import LatentDirichletAllocation

from anchorbench.data.dataset import DataError, Dataset, Split
from anchorbench.data.peerread_words import peerread_counts

DATASET = {
    "label": "Semi-synthetic PeerRead",
    "likelihood": "multinomial",
    "sources": ["peerread", "wordnet", "stopwords"],
    "replicates": 5,
    "resampling": "folds",
    "headline": {"published": "perplexity", "corrected": "completion_perplexity"},
    "params": {
        "sigma": 1.0,
        "counts": "rounded",
        "n_topics": 20,
        "topic_seed": 42,
        "max_df": 0.9,
        "min_df": 0.0007,
        "n_features": 500,
    },
    "provides": ["factors"],
    "protocols": {"published": {"counts": "rounded"}, "corrected": {"counts": "drawn"}},
    "terms": "Made from PeerRead, which states no licence; the abstracts are their authors'. "
    "WordNet 3.0 has the Princeton licence; the stop words come with NLTK's data.",
    "cite": "Kang et al. (2018), A Dataset of Peer Reviews (PeerRead), NAACL; the shift is of "
    "Moran et al. (2022), appendix C",
}


def prepare(
    raw: dict[str, Path],
    n_topics: int = 20,
    topic_seed: int = 42,
    max_df: float = 0.9,
    min_df: float = 0.0007,
    n_features: int = 500,
) -> Dataset:
    """Return the real counts, with `theta` (N, K) and `beta` (K, G) of the fitted topics.

    Rows of both sum to 1. All values of `sigma` and `counts` share it.
    """
    counts, words = peerread_counts(raw, max_df, min_df, n_features)
    theta, beta = topics(fit_topics(counts, n_topics, topic_seed), counts)
    return Dataset(counts, words, arrays={"theta": theta, "beta": beta})


def fit_topics(counts: sp.csr_matrix, n_topics: int, seed: int) -> LatentDirichletAllocation:
    """Latent Dirichlet allocation of counts (N, G) with sklearn's defaults."""
    return LatentDirichletAllocation(n_topics, random_state=seed).fit(counts)


def topics(
    model: LatentDirichletAllocation, counts: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Topic shares theta (N, K) of documents and word probabilities beta (K, G) of topics."""
    return _shares(model.transform(counts)), _shares(model.components_)


def split(
    dataset: Dataset,
    replicate: int,
    seed: int,
    sigma: float = 1.0,
    counts: str = "rounded",
) -> Split:
    """Return training documents with shifted factors and test documents with those of the fit.

    The seed decides the noise, and the draws where counts are drawn: a replicate is one seed.
    Documents without a single count are dropped on either side. Expectations are probabilities.
    """
    if counts not in ("rounded", "drawn"):
        raise DataError(f"peerread_shift: counts is {counts!r}: use 'rounded' or 'drawn'")
    assert dataset.arrays is not None
    theta, beta = dataset.arrays["theta"], dataset.arrays["beta"]
    lengths = np.asarray(dataset.X.sum(axis=1)).ravel().astype(int)
    rng = np.random.default_rng(seed)
    shifted = shift(theta, sigma, rng)
    train, test = (_documents(part, beta, lengths, counts, rng) for part in (shifted, theta))
    return Split(
        train[0],
        test[0],
        factors=(train[1], test[1]),
        expectation=(train[1] @ beta, test[1] @ beta),
    )


def shift(theta: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Replace log-factor K/2 + k by log-factor k plus noise of sd `sigma`, for k < K/2."""
    log = np.log(theta)
    half = theta.shape[1] // 2
    log[:, half : 2 * half] = log[:, :half] + sigma * rng.standard_normal((len(log), half))
    return _shares(np.exp(log - log.max(axis=1, keepdims=True)))


def _documents(
    theta: np.ndarray, beta: np.ndarray, lengths: np.ndarray, counts: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the documents that have any, and their factors."""
    expected = theta @ beta
    if counts == "rounded":
        X = np.rint(lengths[:, None] * expected)
    else:
        X = rng.multinomial(lengths, _shares(expected)).astype(float)
    some = X.sum(axis=1) > 0
    return X[some], theta[some]


def _shares(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=1, keepdims=True)
