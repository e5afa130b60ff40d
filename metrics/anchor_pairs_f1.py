"""How well a method groups anchor features: F1 of the pairs of features with one factor in common.

For methods that say which features are anchors of which factor (`anchors_`, a group for each
feature, -1 for none). True pairs are those of features that depend on the same factor alone. In
[0, 1]; 1 where neither side has a pair.
"""

import numpy as np

from anchorbench.scores.identification import groups_of_support, pairs_f1

METRIC = {
    "label": "Anchor pairs F1",
    "direction": "max",
    "range": [0, 1],
    "needs": ["support", "anchors"],
}


def compute(run):
    return pairs_f1(np.asarray(run.model.anchors_), groups_of_support(run.truth.support))
