"""MCC, element-wise splines, with the absolute values of the true factors.

Anchors that are even functions tell |z| and not z: a code equal to z^2 has MCC 0 with z and 1 with
|z|. In [0, 1]; a constant code counts 0, a factor left without a code 0.
"""

import numpy as np

from anchorbench.scores.recovery import matched_mean, spline_correlations

METRIC = {
    "label": "MCC with absolute factors",
    "direction": "max",
    "range": [0, 1],
    "needs": ["codes", "factors"],
    "datasets": ["theory"],
}


def compute(run):
    train, test = (np.abs(factors) for factors in run.truth.factors)
    return matched_mean(spline_correlations(run.codes_train, train, run.codes, test))
