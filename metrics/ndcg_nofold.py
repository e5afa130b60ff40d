"""NDCG@10 as the paper measures it (table 1a): on the very items that the encoder was given.

mean over users of DCG@10 / ideal DCG@10, relevance 1 for liked items, discount 1/log2(rank + 1), in
[0, 1]. Nothing is held out and nothing is masked, so returning the input scores 1. Users without
items are dropped. See ndcg for the fold-in protocol.
"""

from anchorbench.scores.top_k import ndcg_at

METRIC = {
    "label": "NDCG@10 (no fold-in)",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["counts"],
    "needs": [],
    "datasets": ["movielens"],
    "values": {"ndcg_nofold@10": "NDCG@10 (no fold-in)"},
}


def compute(run):
    return {"ndcg_nofold@10": ndcg_at(run.reconstruction, run.test > 0, 10)}
