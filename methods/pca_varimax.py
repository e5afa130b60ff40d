"""Principal components, their loadings rotated by varimax: vintage factor analysis."""

from anchorbench.models.linear import RotatedFactors

METHOD = {
    "label": "PCA + varimax",
    "likelihoods": ["real"],
    "params": {"starts": 10},
    "cite": "Kaiser (1958); Rohe and Zeng (2023), Vintage factor analysis with varimax, JRSS B",
}


def build(likelihood, n_latent, seed, **params):
    return RotatedFactors(
        likelihood, n_latent, seed, extraction="pca", rotation="varimax", **params
    )
