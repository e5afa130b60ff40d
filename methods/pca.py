"""Principal components, not rotated: the same subspace as `pca_varimax`, other axes in it."""

from anchorbench.models.linear import RotatedFactors

METHOD = {
    "label": "PCA",
    "likelihoods": ["real"],
    "params": {},
    "cite": "Pearson (1901), On Lines and Planes of Closest Fit to Systems of Points in Space",
}


def build(likelihood, n_latent, seed, **params):
    return RotatedFactors(likelihood, n_latent, seed, extraction="pca", rotation="none", **params)
