"""Reconstruction NLL of held-out rows, each encoded whole: the paper's "NLL" (tables 1 and 2).

Counts: mean_i -sum_j x_ij log(p_ij + 1e-6), no multinomial coefficient, in [0, 13.8 tokens]; and
perplexity exp(total NLL / total tokens). Gaussian: mean_i -log p(x_i | z_i) summed over features,
constants and log sigma included, at the code z_i with the model's own noise (``log_prob``), else
around the reconstruction with each feature's mean squared training residual (at least 1e-6).
No KL: not a bound on log p(x). A model that copies its input does best, so read it beside elbo,
iwae_nll and completion_nll. Rows without mass in the reconstruction are taken as uniform.
"""

from anchorbench.scores.prediction import gaussian_nll, token_nll

METRIC = {
    "label": "Reconstruction NLL",
    "direction": "min",
    "range": [None, None],
    "likelihoods": ["gaussian", "multinomial"],
    "needs": [],
    "values": {"recon_nll": "Reconstruction NLL", "perplexity": "Perplexity"},
}


def compute(run):
    if run.likelihood == "multinomial":
        nll, perplexity = token_nll(run.test, run.reconstruction)
        return {"recon_nll": nll, "perplexity": perplexity}
    if hasattr(run.model, "log_prob"):
        return {"recon_nll": float(-run.model.log_prob(run.test, run.codes).mean())}
    residuals = run.train - run.model.inverse_transform(run.codes_train)
    return {"recon_nll": gaussian_nll(run.test, run.reconstruction, residuals)}
