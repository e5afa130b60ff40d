"""Maximum likelihood factor analysis with correlated factors: quartimin (direct oblimin at 0)."""

from anchorbench.models.linear import RotatedFactors

METHOD = {
    "label": "FA + quartimin",
    "likelihoods": ["real"],
    "params": {"starts": 0},
    "cite": "Jennrich and Sampson (1966); Bernaards and Jennrich (2005), Gradient projection",
}


def build(likelihood, n_latent, seed, **params):
    return RotatedFactors(
        likelihood, n_latent, seed, extraction="ml", rotation="quartimin", **params
    )
