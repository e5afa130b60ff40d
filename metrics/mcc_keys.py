"""Mean correlation of scale scores with the codes matched to them, on test rows.

A scale score is the sum of the scale's items, reversed ones subtracted: a linear function of the
row that the code is of, so not the truth, and no MCC. In [0, 1]; a scale without a code counts 0.
"""

from anchorbench.scores.keys import matched_scale_correlation

METRIC = {
    "label": "Correlation with scale scores",
    "direction": "max",
    "range": [0, 1],
    "likelihoods": ["real"],
    "needs": ["codes", "keys"],
}


def compute(run):
    return matched_scale_correlation(run.codes, run.test, run.truth.keys)
