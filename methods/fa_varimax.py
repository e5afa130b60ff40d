"""Maximum likelihood factor analysis, rotated by varimax: uncorrelated factors."""

from anchorbench.models.linear import RotatedFactors

METHOD = {
    "label": "FA + varimax",
    "likelihoods": ["real"],
    "params": {"starts": 10},
    "cite": "Kaiser (1958), The varimax criterion for analytic rotation in factor analysis",
}


def build(likelihood, n_latent, seed, **params):
    return RotatedFactors(likelihood, n_latent, seed, extraction="ml", rotation="varimax", **params)
