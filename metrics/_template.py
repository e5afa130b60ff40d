"""Name of the metric: copy this file, drop the underscore, and the metric is in every table.

Say here: the formula, where it comes from, the range, and the value for degenerate input
(constant codes, zero loadings): a metric gives a defined number, never NaN and never an exception;
or None, where it means nothing for a run.

METRIC is a literal dict, read without importing this file:
    label        for tables and figures; {classes} stands for what a dataset's labels are
    direction    "max", "min", or None where neither is better
    range        [lowest, highest], None where unbounded
    likelihoods  the data it fits: "real", "counts", "binary", or likelihoods by name; left out: all
    needs        what must exist, otherwise "not applicable": any of "factors", "support", "keys"
                 (true ones), "labels", "codes" (a representation, which a method with
                 "codes": False has not), "loadings", "anchors", "posterior", "log_prob", "elbo" (of
                 the model), "peers" (the other replicates)
    datasets     optional: the dataset plugins it is meant for; left out: all
    values       for a metric that returns a dict: all its names and their labels
"""

METRIC = {
    "label": "Explained variance",
    "direction": "max",
    "range": [None, 1],
    "likelihoods": ["real"],
    "needs": [],
}


def compute(run):
    # run.train, run.test (N, G); run.codes_train, run.codes (N, K); run.reconstruction (N, G);
    # run.loadings (G, K), run.support (G, K) or None; run.truth.factors (train, test) and
    # run.truth.support; run.labels {name: (train, test)}; run.model (run.model.copy() may be
    # fitted again); run.likelihood; run.features; run.record; run.rng(name); run.peers()
    total = ((run.test - run.train.mean(axis=0)) ** 2).sum()
    error = ((run.test - run.reconstruction) ** 2).sum()
    return float(1 - error / total) if total > 0 else 0.0
