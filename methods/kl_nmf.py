"""NMF under the Kullback-Leibler divergence: the linear model whose noise fits counts.

The Frobenius loss of the paper's NMF is a Gaussian likelihood; this is the fair linear baseline
for counts (it is maximum likelihood for Poisson counts, and equivalent to PLSA).
"""

from anchorbench.models.factorisation import NonNegativeFactors

METHOD = {
    "label": "KL-NMF",
    "likelihoods": ["counts"],
    "params": {"alpha": 0.0, "max_iter": 200},
    "cite": "Lee and Seung 1999; Gaussier and Goutte 2005",
}


def build(likelihood, n_latent, seed, **params):
    return NonNegativeFactors(n_latent, loss="kullback-leibler", seed=seed, **params)
