"""Dictionary learning: sparse codes, dense loadings: the control that the two are not the same."""

from sklearn.decomposition import MiniBatchDictionaryLearning

from anchorbench.models.linear import Standardised

METHOD = {
    "label": "Dictionary learning",
    "likelihoods": ["real"],
    "params": {"alpha": 1.0, "max_iter": 200},
    "search": {"alpha": {"low": 0.01, "high": 10.0, "log": True}},
    "cite": "Mairal, Bach, Ponce and Sapiro (2009), Online Dictionary Learning for Sparse Coding",
}


def build(likelihood, n_latent, seed, **params):
    return Standardised(
        MiniBatchDictionaryLearning(
            n_latent, transform_algorithm="lasso_lars", random_state=seed, **params
        )
    )
