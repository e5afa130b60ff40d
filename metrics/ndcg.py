"""NDCG@k of hidden items with fold-in (Liang et al. 2018).

Users, hidden items and scores as in recall; NDCG@k = DCG@k / ideal DCG@k with relevance 1 for
hidden items and discount 1/log2(rank + 1), averaged over users, in [0, 1]; k is cut at the number
of items. 0 if no user has 5 items.
"""

from anchorbench.scores.top_k import fold_in_scores, ndcg_at

METRIC = {
    "label": "NDCG",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["counts"],
    "needs": [],
    "datasets": ["movielens"],
    "values": {"ndcg@100": "NDCG@100", "ndcg@10": "NDCG@10"},
}


def compute(run):
    scores, targets = fold_in_scores(run.model, run.test)
    return {f"ndcg@{k}": ndcg_at(scores, targets, k) for k in (100, 10)}
