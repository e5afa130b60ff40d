"""DCI fitted on 16 training points, as in the paper's code (batch_size=16): figure 3b as published.

The same score as dci, with the 16 rows that numpy's seed 42 draws, for every method alike. In
[0, 1], constant codes give 0. So few points make it noise: perfect codes score about .9 and pure
noise about .2 (5 codes, 2 factors). Kept to compare with the published figure; use dci.
"""

import numpy as np

from anchorbench.scores.recovery import boosted_importance, completeness, disentanglement

METRIC = {
    "label": "DCI (16 points)",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "factors"],
    "values": {
        "dci_n16": "DCI disentanglement (16 points)",
        "dci_n16_completeness": "DCI completeness (16 points)",
    },
}


def compute(run):
    factors = run.truth.factors[0]
    rows = np.random.RandomState(42).permutation(len(factors))[:16]
    importance, _ = boosted_importance(run.codes_train[rows], factors[rows], run.codes[:1])
    return {
        "dci_n16": disentanglement(importance),
        "dci_n16_completeness": completeness(importance),
    }
