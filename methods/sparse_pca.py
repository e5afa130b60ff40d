"""Principal components with an L1 penalty on loadings (minibatches, as the exact one is slow)."""

from sklearn.decomposition import MiniBatchSparsePCA

from anchorbench.models.linear import Standardised

METHOD = {
    "label": "Sparse PCA",
    "likelihoods": ["real"],
    "params": {"alpha": 1.0, "max_iter": 200},
    "search": {"alpha": {"low": 0.01, "high": 10.0, "log": True}},
    "cite": "Zou, Hastie and Tibshirani (2006); Mairal, Bach, Ponce and Sapiro (2009)",
}


def build(likelihood, n_latent, seed, **params):
    return Standardised(MiniBatchSparsePCA(n_latent, random_state=seed, **params))
