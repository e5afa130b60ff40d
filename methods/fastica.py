"""Independent components: identified where at most one factor is Gaussian; loadings are dense."""

from sklearn.decomposition import FastICA

from anchorbench.models.linear import Standardised

METHOD = {
    "label": "FastICA",
    "likelihoods": ["real"],
    "params": {"max_iter": 1000},
    "cite": "Hyvarinen and Oja (2000), Independent Component Analysis: Algorithms and Applications",
}


def build(likelihood, n_latent, seed, **params):
    return Standardised(FastICA(n_latent, whiten="unit-variance", random_state=seed, **params))
