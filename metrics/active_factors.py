"""Number of factors that a model uses, out of the K it was given.

A factor is active if moving its code by one standard deviation moves some expected feature by more
than 1 % of that feature's standard deviation and, where the model has a posterior, its mean KL to
the model's own prior exceeds 0.01 nats. From 0 (constant codes or decoder) to K; neither direction
is better, but the true number is known for simulated data. Thresholds on p* or |w| alone call
nearly all columns active, because they are not free of scale.
"""

from anchorbench.scores.effects import active

METRIC = {
    "label": "Active factors",
    "direction": None,
    "range": [0, None],
    "needs": ["codes"],
}


def compute(run):
    return float(active(run).sum())
