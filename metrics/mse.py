"""Mean squared error of the held-out reconstruction, over rows and features (figure 3a).

mean_ij (x_ij - xhat_ij)^2 in [0, inf). ``run.reconstruction`` is what the model reconstructs: one
posterior draw in the published protocol, the posterior mean in the corrected one (posterior
variance adds to the former). A model that predicts the mean scores the variance of the data.
"""

METRIC = {
    "label": "MSE",
    "direction": "min",
    "range": [0, None],
    "likelihoods": ["real"],
    "needs": [],
}


def compute(run):
    return float(((run.test - run.reconstruction) ** 2).mean())
