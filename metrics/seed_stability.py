"""Agreement of the loadings of replicates, which differ in seed and in training rows.

|correlation| of the columns of this run's loadings with those of another replicate of the same
dataset and variant, one-to-one (Hungarian) assignment, mean over factors, mean over the others. In
[0, 1], blind to sign, scale and order. Needs no truth, so it can be read on real data; constant
columns agree 0. Unrelated loadings score above 0, the more so the fewer features there are. Where
replicates choose their own features, the common ones are compared.
"""

import numpy as np

from anchorbench.scores.recovery import correlations, matched_mean

METRIC = {
    "label": "Seed stability",
    "direction": "max",
    "range": [0, 1],
    "needs": ["loadings", "peers"],
}


def compute(run):
    agreement = [_agreement(run, peer) for peer in run.peers()]
    if not agreement:
        raise ValueError("no other replicate has finished, so there is nothing to compare with")
    return float(np.mean(agreement))


def _agreement(run, peer):
    _, mine, theirs = np.intersect1d(run.features, peer.features, return_indices=True)
    return matched_mean(correlations(run.loadings[mine], peer.loadings[theirs]))
