"""Copy this file to methods/<name>.py and it is a method of the benchmark.

The next `make demo` or `snakemake` finds it, trains it on every dataset whose likelihood it lists,
scores it, and shows it in every table and figure that it fits; no other file changes. Files whose
name begins with `_` are skipped, so this one is never run.

A method is two things: METHOD, a dict that is read without importing the file (so it must be
literal: no calls, no names), and `build`. The file may import anything that is installed and
anything of `anchorbench`, but no other file of methods/. If it fails to import, it fails alone.
This example is PCA, as scikit-learn has it: without the comments, five lines.
"""

from sklearn.decomposition import PCA

METHOD = {
    # How tables and figures call it.
    "label": "PCA",
    # The data it can model: "real", "counts", "binary", or likelihoods by name ("gaussian",
    # "multinomial", "poisson", "negative_binomial", "bernoulli"); without the line, all.
    "likelihoods": ["gaussian"],
    # Every parameter that a config may set, with its default. `build` gets all of them. The names
    # n_hidden, epochs, batch_size and learning_rate, if listed, follow each dataset's own settings.
    "params": {"whiten": False},
    # The rest is optional.
    "cite": "Pearson (1901), On Lines and Planes of Closest Fit to Systems of Points in Space",
    # Two ways to train the same method, e.g. as its authors released it and as their paper says.
    # "protocols": {"published": {"whiten": True}, "corrected": {}},
    # Values for one dataset (its file's name in datasets/), for all protocols or for one.
    # "settings": {"zeisel": {"whiten": True, "published": {"whiten": False}}},
    # What a search tries (docs/tuning.md): a choice, or a range; {"like": "deep"} for deep methods.
    # "search": {"whiten": [True, False], "alpha": {"low": 0.1, "high": 10.0, "log": True}},
    # Libraries in other versions than the suite's, for this method alone: pip installs them once.
    # "requirements": ["scikit-learn==1.5.2"],
    # Or a whole environment of conda's, by its file.
    # "environment": "methods/environments/x.yml",
    # It gains from a GPU.
    # "gpu": True,
    # It is fitted with the truth, fit(X, split=split): an oracle, not a competitor.
    # "needs": ["truth"],
    # What its transform returns is no representation: metrics of codes do not apply.
    # "codes": False,
    # It is a control (a floor or a ceiling), not a competitor.
    # "control": True,
}


def build(likelihood, n_latent, seed, **params):
    """An unfitted estimator with scikit-learn's three methods.

    fit(X): X (N, G), a dense array. transform(X): codes (N, n_latent). inverse_transform(Z):
    expected features (N, G); for counts, probabilities up to the scale of a row. Whatever is random
    comes from `seed`: without save and load below, some metrics fit the method again.

    What else it may have is used where it is there:
        loadings_ (G, K), support_ (G, K) bool     which features a factor moves: recovery, topics
        anchors_ (G,) int                          group of each anchor feature, -1 of the others
        posterior(X) -> mean, sd                   both (N, K): elbo, iwae_nll
        log_prob(X, Z) -> (N,)                     log p(x | z) of every row
        log_prior(Z) -> (N,)                       where the prior of codes is not N(0, I)
        reconstruct(X) -> (N, G)                   if not inverse_transform(transform(X))
        fit_many(Xs, seeds) -> [estimator, ...]    all replicates of a job at once
        save(folder), load(folder)                 so that metrics can use the model again
        n_parameters_                              for the table of costs

    All of these come for free with a subclass of `anchorbench.models.base.DeepGenerative` that
    says how codes become features. A whole deep method, here one with a linear decoder:

        from dataclasses import dataclass
        from anchorbench.models import nets
        from anchorbench.models.base import DeepGenerative

        @dataclass(eq=False, repr=False)
        class LinearVAE(DeepGenerative):
            def init_decoder(self, generator, n_features):
                weight, bias = nets.linear_init(generator, n_features, self.n_latent)
                return {"heads": weight, "head_bias": bias}, {}

            def decode(self, s, z):
                return nets.linear(z, s.heads, s.head_bias)

        def build(likelihood, n_latent, seed, **params):
            return LinearVAE(likelihood=likelihood, n_latent=n_latent, seed=seed, **params)

    methods/sparse_vae.py shows the other hooks: priors of weights, proximal steps, an E-step.
    """
    return PCA(n_components=n_latent, random_state=seed, **params)
