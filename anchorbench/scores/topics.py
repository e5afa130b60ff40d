"""Topics read from loadings: top words, coherence (NPMI), diversity."""

from collections.abc import Callable
from itertools import combinations

import numpy as np


def top_words(loadings: np.ndarray, n: int) -> list[np.ndarray]:
    """Indices of the n features with the largest |loading| of each factor, largest first.

    ``loadings`` is (G, K). Features with loading 0 are left out, and a factor whose loadings are
    all equal in size ranks nothing: its list is empty. Ties go to the earlier feature.
    """
    topics = []
    for column in np.abs(loadings).T:
        order = np.argsort(-column, kind="stable")[:n]
        ranks = column.max(initial=0.0) > column.min(initial=np.inf)
        topics.append(order[column[order] > 0] if ranks else order[:0])
    return topics


def document_npmi(counts: np.ndarray, topics: list[np.ndarray]) -> float:
    """Mean over topics of the mean NPMI of their word pairs, by document co-occurrence.

    log(p_ij / p_i p_j) / -log p_ij, with p the share of the rows of ``counts`` (N, G) that hold
    the words. A pair that never meets scores -1; a pair in every document, 0. Topics of fewer than
    two words score 0 (Bouma 2009; Lau et al. 2014).
    """
    present = (counts > 0).astype(float)
    single = present.mean(axis=0)

    def pair(i: int, j: int) -> float:
        joint = float(present[:, i] @ present[:, j]) / len(present)
        if joint in (0.0, 1.0):
            return joint - 1
        return np.log(joint / (single[i] * single[j])) / -np.log(joint)

    return _mean_pairs(topics, pair)


def authors_npmi(counts: np.ndarray, topics: list[np.ndarray]) -> float:
    """NPMI as the paper's code computes it: pairs weighted by products of counts.

    p_ij = (X'X)_ij / sum(X'X), diagonal and both triangles included, p_i = share of tokens, 1e-6
    added in every logarithm. Not a probability of co-occurrence; kept for comparison.
    """
    epsilon = 1e-6
    joint = counts.T @ counts
    log_joint = np.log(joint / max(joint.sum(), epsilon) + epsilon)
    single = counts.sum(axis=0)
    log_single = np.log(single / max(single.sum(), epsilon) + epsilon)

    def pair(i: int, j: int) -> float:
        return (log_joint[i, j] - log_single[i] - log_single[j]) / -log_joint[i, j]

    return _mean_pairs(topics, pair)


def diversity(topics: list[np.ndarray], n: int) -> float:
    """Share of distinct words among the n top words of all topics (Dieng et al. 2020).

    Missing words count as repeated, so topics that rank nothing lower the score.
    """
    distinct = {int(word) for topic in topics for word in topic}
    return len(distinct) / (n * len(topics)) if topics else 0.0


def _mean_pairs(topics: list[np.ndarray], score: Callable[[int, int], float]) -> float:
    means = [
        float(np.mean([score(i, j) for i, j in combinations(topic, 2)])) if len(topic) > 1 else 0.0
        for topic in topics
    ]
    return float(np.mean(means)) if means else 0.0
