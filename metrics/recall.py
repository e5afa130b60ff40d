"""Recall@k of hidden items with fold-in (Liang et al. 2018).

For each test user with at least 5 items, 20 % are hidden, the rest is encoded and decoded, items
already seen get -inf; recall@k = hits among the k best / min(k, number hidden), averaged over
users, in [0, 1]. The same items are hidden for every method. Ties between scores are broken by one
random order of items, so constant scores give chance level. 0 if no user has 5 items.
"""

from anchorbench.scores.top_k import fold_in_scores, recall_at

METRIC = {
    "label": "Recall",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["counts"],
    "needs": [],
    "datasets": ["movielens"],
    "values": {"recall@20": "Recall@20", "recall@50": "Recall@50", "recall@5": "Recall@5"},
}


def compute(run):
    scores, targets = fold_in_scores(run.model, run.test)
    return {f"recall@{k}": recall_at(scores, targets, k) for k in (20, 50, 5)}
