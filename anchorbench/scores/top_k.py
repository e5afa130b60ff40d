"""Top-k ranking of items for users: fold-in splits, recall and NDCG (Liang et al. 2018).

Rows are users, columns items; a positive entry of X is a liked item.
"""

from typing import Any

import numpy as np

from anchorbench.scores.recovery import evaluation_rng


def top_items(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best items (N, min(k, G)) of each row of ``scores`` (N, G), best first.

    Ties are broken by a fixed random order of items: columns are often sorted by popularity, and a
    constant scorer must not profit from that.
    """
    order = evaluation_rng("ties").permutation(scores.shape[1])
    ranks = np.argsort(-scores[:, order], axis=1, kind="stable")
    return order[ranks[:, :k]]


def recall_at(scores: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Mean over users of hits among the k best items / min(k, number of targets).

    ``targets`` is (N, G) boolean. Users without a target are dropped; with none left it is 0.
    """
    users = targets.any(axis=1)
    if not users.any():
        return 0.0
    scores, targets = scores[users], targets[users]
    hits = np.take_along_axis(targets, top_items(scores, k), axis=1).sum(axis=1)
    return float(np.mean(hits / np.minimum(k, targets.sum(axis=1))))


def ndcg_at(scores: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Mean over users of DCG@k / ideal DCG@k, binary relevance, discount 1/log2(rank + 1).

    Users without a target are dropped; with none left the value is 0.
    """
    users = targets.any(axis=1)
    if not users.any():
        return 0.0
    scores, targets = scores[users], targets[users]
    hits = np.take_along_axis(targets, top_items(scores, k), axis=1)
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.cumsum(discount)[np.minimum(targets.sum(axis=1), len(discount)) - 1]
    return float(np.mean(hits @ discount / ideal))


def fold_in(X: np.ndarray, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Hide a random ``share`` of each user's items (rounded down; users with fewer than 5: none).

    Returns the rest of X (N, G), which the model may see, and the hidden items (N, G) boolean. The
    draw depends on X alone, so all methods are asked for the same items.
    """
    liked = X > 0
    count = liked.sum(axis=1)
    hidden = np.where(count >= 5, np.floor(share * count + 1e-9), 0)
    draw = np.where(liked, evaluation_rng("fold_in").random(X.shape), np.inf)
    rank = np.argsort(np.argsort(draw, axis=1), axis=1)
    targets = liked & (rank < hidden[:, None])
    return np.where(targets, 0.0, X), targets


def fold_in_scores(model: Any, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, G) that ``model`` gives after seeing the fold-in part of X, and the hidden items.

    Items that were seen score -inf, so that they cannot be recommended. Only users with hidden
    items are returned.
    """
    seen, targets = fold_in(X)
    users = targets.any(axis=1)
    seen, targets = seen[users], targets[users]
    if not users.any():
        return np.zeros(seen.shape), targets
    scores = np.asarray(model.inverse_transform(model.transform(seen)), dtype=float)
    return np.where(seen > 0, -np.inf, scores), targets
