"""Simulated data in which the assumptions of the identifiability theorems are dials.

    x_ij = f_j(w_j * z_i) + noise s_j e_ij    (anchorbench/data/theory.py: links, forms, checks)

Every replicate is a draw of its own: mask, decoder, factors and noise. Settings are paired: with
the same replicate they share every draw that the dial does not touch.
"""

from __future__ import annotations

from pathlib import Path

from anchorbench.data.dataset import Dataset, Split
from anchorbench.data.theory import Design, world

DATASET = {
    "label": "Theory",
    "likelihood": "gaussian",
    "sources": [],
    "replicates": 10,
    "resampling": "draws",
    "headline": {"corrected": "mcc"},
    "paired_settings": True,
    "on_request": True,
    "params": {
        "n": 2000,  # training rows
        "n_test": 1000,
        "n_factors": 4,
        "n_features": 24,
        "anchors": 2,  # of each factor
        "form": "equal",  # of anchors: scaled, different, even, noninvertible
        "dominance": None,  # of the other rows: .8 for the linear link, .5 else
        "rho": 0.3,
        "noise": 0.3,  # its sd over that of the feature; with the linear link, its sd
        "kind": "gaussian",  # of factors: uniform, laplace, lognormal
        "density": 2,  # factors of a row that is no anchor
        "link": "relu",  # linear, relu_any, additive, structural, paper
    },
    "provides": ["factors", "support"],
    "terms": "Generated; no terms.",
    "cite": "Moran et al. (2022), Identifiable Deep Generative Models via Sparse Decoding, TMLR; "
    "Bing et al. (2020); Zheng et al. (2022); Lachapelle et al. (2023)",
}


def prepare(raw: dict[str, Path], n: int = 2000, **design: object) -> Dataset:
    """One draw, with seed 0: what the data look like. No replicate uses it."""
    design.pop("n_test", None)
    _, _, X = world(Design(n=n, **design), 0).draw(n, "train")  # type: ignore[arg-type]
    return Dataset(X, [f"x{j + 1}" for j in range(X.shape[1])])


def split(
    dataset: Dataset, replicate: int, seed: int, n: int = 2000, n_test: int = 1000, **design: object
) -> Split:
    """A draw of its own with its factors, support and expectation."""
    made = world(Design(n=n, **design), seed)  # type: ignore[arg-type]
    train, test = made.draw(n, "train"), made.draw(n_test, "test")
    return Split(
        train[2],
        test[2],
        factors=(train[0], test[0]),
        support=made.support,
        expectation=(train[1], test[1]),
    )
