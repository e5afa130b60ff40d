"""Reconstruction NLL of held-out rows, each encoded whole: the paper's "NLL" (tables 1 and 2).

mean_i -log p(x_i | z_i) summed over features, constants included, at the code z_i, with the model's
own noise (``log_prob``), else around the reconstruction (the likelihood's ``plug_in``: Gaussian
noise is each feature's mean squared training residual, at least 1e-6). Multinomial rows:
mean_i -sum_j x_ij log(p_ij + 1e-6) of the reconstruction, without the coefficient, in [0, 13.8
tokens]. For all counts also perplexity, exp(total NLL / total tokens) of the reconstruction's
shares; rows without mass in it are taken as uniform. No KL: not a bound on log p(x). A model that
copies its input does best, so read it beside elbo, iwae_nll and completion_nll.
"""

from anchorbench.models.likelihoods.base import find
from anchorbench.scores.prediction import probabilities, token_nll

METRIC = {
    "label": "Reconstruction NLL",
    "direction": "min",
    "range": [None, None],
    "needs": [],
    "values": {"recon_nll": "Reconstruction NLL", "perplexity": "Perplexity"},
}


def compute(run):
    likelihood = find(run.likelihood)
    if likelihood.own_density and hasattr(run.model, "log_prob"):
        density = run.model.log_prob(run.test, run.codes)
    else:
        density = likelihood.plug_in(run.test, expected(run), lambda: residuals(run))
    values = {"recon_nll": float(-density.mean())}
    if run.kind == "counts":
        values["perplexity"] = token_nll(run.test, run.reconstruction)[1]
    return values


def expected(run):
    """The reconstruction; of counts, shares of a row."""
    return probabilities(run.reconstruction) if run.kind == "counts" else run.reconstruction


def residuals(run):
    """What the model's expected features leave of the training rows, (N_train, G)."""
    fitted = run.model.inverse_transform(run.codes_train)
    if run.kind == "counts":
        fitted = run.train.sum(axis=1, keepdims=True) * probabilities(fitted)
    return run.train - fitted
