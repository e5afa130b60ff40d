"""Maximum likelihood factor analysis with correlated factors: geomin."""

from anchorbench.models.linear import RotatedFactors

METHOD = {
    "label": "FA + geomin",
    "likelihoods": ["real"],
    "params": {"starts": 0},
    "cite": "Yates (1987); Browne (2001), An overview of analytic rotation",
}


def build(likelihood, n_latent, seed, **params):
    return RotatedFactors(likelihood, n_latent, seed, extraction="ml", rotation="geomin", **params)
