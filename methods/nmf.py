"""Non-negative matrix factorisation, as in the paper (appendix C.3): scikit-learn, alpha = 1.0.

The paper used scikit-learn before 1.2, whose `alpha` has another scale than today's alpha_W and
alpha_H; `anchorbench.models.factorisation` translates. Columns with negative values are shifted,
which the paper, whose NMF saw only non-negative data, did not need.
"""

from anchorbench.models.factorisation import NonNegativeFactors

METHOD = {
    "label": "NMF",
    "likelihoods": ["real", "counts"],
    "params": {"alpha": 1.0, "max_iter": 200, "shift": True},
    "search": {"alpha": {"low": 0.001, "high": 10.0, "log": True}},
    "cite": "Lee and Seung 1999; Moran et al. 2022, appendix C.3",
}


def build(likelihood, n_latent, seed, **params):
    return NonNegativeFactors(n_latent, loss="frobenius", seed=seed, **params)
