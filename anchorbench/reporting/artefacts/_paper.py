"""What the paper's data were, and where its numbers may stand beside ours."""

from __future__ import annotations

from anchorbench.reporting.results import Results

# Rows, and tokens per row where they are known (from the in-sample LDA perplexity in the authors'
# notebook: 552,217 tokens in 11,777 abstracts).
PAPER_ROWS = {"peerread": 11_777, "movielens": 100_000, "zeisel": 3_005}
PAPER_TOKENS = {"peerread": 46.89, "peerread_shift": 46.89}
PAPER_FEATURES = {"peerread": 500, "peerread_shift": 500, "movielens": 300}
DRAWN = "counts are drawn, the paper's are rounded expectations"
OTHER_DATA = {  # (dataset, protocol) whose data are meant to differ from the paper's
    ("peerread_shift", "corrected"): DRAWN,
    ("zeisel", "corrected"): "cells held out from preprocessing and training, the paper's are not",
}
UNIT = {"movielens": "users", "zeisel": "cells"}
TOLERANCE = 0.01  # share by which rows and tokens may differ
LIKELIHOODS = ("recon_nll",)
BY_FEATURES = ("perplexity", "recall", "ndcg", "recon_nll")
"""Measures whose size depends on how many features there are to choose from."""


def other_scale(results: Results, dataset: str, protocol: str, metric: str) -> str:
    """Say why a number of the paper is of another scale than ours; "" where it is not.

    A likelihood per document grows with the document, perplexity and ranking measures with the
    number of words or films. What is not known of a dataset counts as the paper's.
    """
    about = results.about(dataset)
    plugin, features = about["plugin"], about.get("n_features")
    likelihood = metric in LIKELIHOODS
    if likelihood and (plugin, protocol) == ("peerread_shift", "corrected"):
        return DRAWN
    expected = PAPER_FEATURES.get(plugin)
    if expected and features and features != expected and metric.startswith(BY_FEATURES):
        return f"{features} features here, {expected} in the paper"
    known, tokens = PAPER_TOKENS.get(plugin), about.get("tokens_per_row")
    if likelihood and known and tokens and abs(tokens / known - 1) > TOLERANCE:
        return f"{tokens:.2f} tokens per document here, {known:.2f} in the paper"
    return ""


def other_data(results: Results, dataset: str, protocol: str) -> str:
    """Say in what the data differ from the paper's, by design, in rows or in tokens."""
    about = results.about(dataset)
    plugin, rows, tokens = about["plugin"], about.get("n_rows"), about.get("tokens_per_row")
    if (plugin, protocol) in OTHER_DATA:
        return OTHER_DATA[plugin, protocol]
    expected = PAPER_ROWS.get(plugin)
    if expected and rows and abs(rows / expected - 1) > TOLERANCE:
        return f"{rows:,} {UNIT.get(plugin, 'rows')} here, {expected:,} in the paper"
    known = PAPER_TOKENS.get(plugin)
    if known and tokens and abs(tokens / known - 1) > TOLERANCE:
        return f"{tokens:.2f} tokens per document here, {known:.2f} in the paper"
    return ""
