"""Do models of counts find planted factors better than a Gaussian model of their logarithms?

    python benchmarks/counts.py [--replicates 10]

Counts drawn word by word (`simulated_counts`, likelihood poisson or negative_binomial), a third of
them held out. Each method is trained on the counts with their own likelihood, and as a Gaussian on
log(1 + x); nothing is tuned. Printed: the share of fits that had converged, MCC of test codes (mean
|correlation| of the true factors with the codes matched to them) and F1 of the support of matched
loadings, means with standard deviations over replicates, and paired differences with their 95 %
intervals.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from anchorbench.scores.effects import claimed_support
from anchorbench.scores.recovery import (
    correlations,
    f1,
    in_true_order,
    match,
    matched_mean,
)
from anchorbench.scores.statistics import draws_interval
from anchorbench.study.plugins import discover, load

DATA = {"n": 1500, "length": 80, "n_features": 40, "n_factors": 4, "anchors": 2}
TRAINING = {"n_hidden": 50, "epochs": 800, "batch_size": 100, "learning_rate": 0.003}
SIZE = {"size_factor": "none"}  # a row's sum depends on its factors here
N_LATENT = 6
CASES = [("vae", "poisson"), ("sparse_vae", "negative_binomial")]


def scores(model, seen, split):
    """MCC of test codes, and F1 of the support (NaN for a model without one)."""
    similarity = correlations(model.transform(seen), split.factors[1])
    found = {"MCC": matched_mean(similarity), "support F1": np.nan}
    found["converged"] = float(bool(model.converged_))
    if hasattr(model, "support_"):
        claimed = claimed_support(model.support_, model.loadings_)
        learned, _ = in_true_order(claimed, match(similarity))
        found["support F1"] = f1(learned, split.support)
    return found


def compare(name, likelihood, replicates):
    """Scores under the counts' own likelihood and under a Gaussian on log(1 + x), by metric."""
    plugin = load(discover("datasets")["simulated_counts"])
    params = {**plugin.DATASET["params"], **DATA, "likelihood": likelihood}
    splits = [plugin.split(plugin.prepare({}, **params), r, r, **params) for r in range(replicates)]
    build = load(discover("methods")[name]).build
    found = {}
    for own, change in ((likelihood, np.asarray), ("gaussian", np.log1p)):
        model = build(own, N_LATENT, 0, **TRAINING, **SIZE)
        models = model.fit_many([change(s.train) for s in splits], range(replicates))
        rows = [scores(m, change(s.test), s) for m, s in zip(models, splits, strict=True)]
        found[own] = {metric: np.array([row[metric] for row in rows]) for metric in rows[0]}
    return found


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicates", type=int, default=10)
    replicates = parser.parse_args().replicates
    torch.set_num_threads(1)
    for name, likelihood in CASES:
        found = compare(name, likelihood, replicates)
        for metric, own in found[likelihood].items():
            other = found["gaussian"][metric]
            if np.isnan(own).all():
                continue
            gain = draws_interval(own - other)
            print(
                f"{name:10s} {likelihood:18s} {metric:10s} own {own.mean():.3f} (sd "
                f"{own.std(ddof=1):.3f}), gaussian on log1p {other.mean():.3f} (sd "
                f"{other.std(ddof=1):.3f}), difference {gain.estimate:+.3f} "
                f"[{gain.low:+.3f}, {gain.high:+.3f}], n {replicates}",
                flush=True,
            )


if __name__ == "__main__":
    main()
