"""Recall@5 as the paper measures it (table 1a): on the very items that the encoder was given.

mean over users of |top 5 of the reconstruction that are liked| / min(5, number liked), in [0, 1].
Nothing is held out and nothing is masked, so returning the input scores 1: it measures copying.
Users without items are dropped (0/0 in the paper's code). See recall for the fold-in protocol.
"""

from anchorbench.scores.top_k import recall_at

METRIC = {
    "label": "Recall@5 (no fold-in)",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["counts"],
    "needs": [],
    "datasets": ["movielens"],
    "values": {"recall_nofold@5": "Recall@5 (no fold-in)"},
}


def compute(run):
    return {"recall_nofold@5": recall_at(run.reconstruction, run.test > 0, 5)}
