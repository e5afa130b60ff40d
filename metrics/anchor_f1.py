"""Recovery of anchor features: rows of the mask with one effective entry (assumption A1, eq. 12).

Predicted anchors are the pairs (feature, factor) of rows of the learned support with exactly one
entry whose effect sd(z_k) |loading_jk| is at least 1 % of the row's largest; learned factors are
renamed by matching (Hungarian, |corr| of test codes; where no true factors are known, |congruence|
of effects with the mask), those left over count as wrong. Compared with the true pairs: precision,
recall and their F1, in [0, 1]. No predicted anchor gives precision 1 and recall 0; a truth without
anchors gives recall 1, and F1 1 only if none is predicted.
"""

import numpy as np

from anchorbench.scores.effects import effective_support
from anchorbench.scores.matching import match_truth
from anchorbench.scores.recovery import f1, in_true_order

METRIC = {
    "label": "Anchor F1",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "support", "loadings"],
    "values": {
        "anchor_f1": "Anchor F1",
        "anchor_precision": "Anchor precision",
        "anchor_recall": "Anchor recall",
    },
}


def compute(run):
    matched = match_truth(run)
    support = effective_support(run.support, run.loadings, run.codes_train)
    predicted, extra = in_true_order(_anchors(support), matched)
    true = _anchors(run.truth.support)
    hits, claimed = (predicted & true).sum(), predicted.sum() + extra.sum()
    return {
        "anchor_f1": f1(predicted, true, int(extra.sum())),
        "anchor_precision": float(hits / claimed) if claimed else 1.0,
        "anchor_recall": float(hits / true.sum()) if true.any() else 1.0,
    }


def _anchors(support):
    return support & (np.sum(support, axis=1, keepdims=True) == 1)
