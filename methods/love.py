"""LOVE (Bing, Bunea, Ning and Wegkamp 2020): factors from features that depend on one alone.

Finds the number of factors itself. `anchors: equal` compares covariances of the columns as they
are, the rule of Theorem 2 of Moran et al. (2022); `anchors: scaled` takes anchors of any size.
"""

from anchorbench.models.pure_features import Love

METHOD = {
    "label": "LOVE",
    "likelihoods": ["real"],
    "params": {"anchors": "equal", "c": None},
    "search": {"c": {"low": 0.1, "high": 1.1}, "anchors": ["equal", "scaled"]},
    "cite": "Bing, Bunea, Ning and Wegkamp (2020), Adaptive estimation in structured factor models "
    "with applications to overlapping clustering, Annals of Statistics 48; Bing, Bunea and Wegkamp "
    "(2020), arXiv 2010.02288",
}


def build(likelihood, n_latent, seed, **params):
    return Love(likelihood, n_latent, seed, **params)
