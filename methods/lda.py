"""Latent Dirichlet allocation with scikit-learn's defaults, as in the paper (appendix C.3)."""

from anchorbench.models.factorisation import TopicModel

METHOD = {
    "label": "LDA",
    "likelihoods": ["counts"],
    "params": {"max_iter": 10},
    "cite": "Blei et al. 2003",
}


def build(likelihood, n_latent, seed, **params):
    return TopicModel(n_latent, seed=seed, **params)
