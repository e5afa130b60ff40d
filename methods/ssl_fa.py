"""Factor analysis with the sparse VAE's prior on loadings: its linear twin.

The pair says what the neural decoder adds.
"""

from anchorbench.models.spike_slab_factors import SpikeSlabFactors

METHOD = {
    "label": "SSL factor analysis",
    "likelihoods": ["real"],
    "params": {
        "start": "varimax",
        "n_starts": 1,
        "spikes": [5.0, 10.0, 20.0, 40.0, 80.0],
        "slab": 0.1,
        "max_iter": 300,
        "tolerance": 1e-3,
        "expand": True,
    },
    "search": {
        "slab": {"low": 0.01, "high": 1.0, "log": True},
        # The last rung, from .2 to 3 times the root of some hundreds of rows.
        "spikes": [
            [5.0],
            [5.0, 10.0],
            [5.0, 10.0, 20.0],
            [5.0, 10.0, 20.0, 40.0],
            [5.0, 10.0, 20.0, 40.0, 80.0],
            [5.0, 10.0, 20.0, 40.0, 80.0, 160.0],
        ],
        "start": ["varimax", "random"],
    },
    "cite": "Rockova and George (2016), Fast Bayesian Factor Analysis via Automatic Rotations to "
    "Sparsity, JASA 111",
}


def build(likelihood, n_latent, seed, **params):
    return SpikeSlabFactors(likelihood, n_latent, seed, **params)
