"""The variational autoencoder: the paper's main baseline, with a dense decoder."""

from anchorbench.models.base import VAE

METHOD = {
    "label": "VAE",
    "cite": "Kingma and Welling (2014), Auto-Encoding Variational Bayes, ICLR",
    "gpu": True,
    "params": {
        "n_hidden": 50,
        "epochs": 200,
        "batch_size": 100,
        "learning_rate": 0.01,
        "kl_weight": 1.0,
        "kl_reduction": "sum",
        "kl_warmup": 0.3,
        "likelihood_reduction": "sum",
        "prior_scale": "data",
        "decoder_weight_prior": False,
        "reconstruct_from": "mean",
        "input_scaling": "row_sum",
        "probability_epsilon": 0.0,
        "size_factor": "row_sum",
        "feature_scaling": "standard",
        "prior_covariance": "identity",
        "device": "auto",
    },
    "search": {"like": "deep"},
    "protocols": {
        # As the released code trains it: the KL is a mean over latents, so its weight is 1/K.
        "published": {
            "feature_scaling": "none",
            "kl_reduction": "mean",
            "kl_warmup": 0.0,
            "likelihood_reduction": "mean",
            "prior_scale": "batch",
            "reconstruct_from": "sample",
            "probability_epsilon": 1e-6,
        },
        "corrected": {},
    },
    "settings": {
        # The released evaluation of MovieLens feeds raw rows to the encoder.
        "movielens": {"published": {"input_scaling": "none"}},
    },
}


ESTIMATOR = VAE


def build(likelihood: str, n_latent: int, seed: int, **params: object) -> VAE:
    """An unfitted VAE with `n_latent` factors."""
    return VAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)  # type: ignore[arg-type]
