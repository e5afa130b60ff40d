"""Number of true factors that a matched code determines: held-out spline correlation above 0.9.

The correlation is that of mcc_nonlinear, sqrt(R^2) of a spline of one code; codes are matched to
factors one to one (Hungarian). From 0, also for constant codes, to the number of true factors.
"""

import numpy as np

from anchorbench.scores.recovery import match, spline_correlations

METRIC = {
    "label": "Factors found",
    "direction": "max",
    "range": [0, None],
    "needs": ["factors"],
    "datasets": ["theory"],
}
ENOUGH = 0.9


def compute(run):
    train, test = run.truth.factors
    similarity = spline_correlations(run.codes_train, train, run.codes, test)
    matched = match(similarity)
    found = [similarity[code, k] > ENOUGH for k, code in enumerate(matched) if code >= 0]
    return float(np.sum(found))
