"""Table 1(a): prediction on MovieLens."""

from __future__ import annotations

import pandas as pd

from anchorbench.reporting.artefacts._tables import (
    CONVENTION,
    chosen,
    named,
    number_sheets,
    summarise,
    with_notes,
)
from anchorbench.reporting.results import Results

ARTEFACT = {
    "kind": "table",
    "label": "Table 1a. Heldout prediction of films",
    "caption": "Negative log-likelihood of heldout users and ranking of their films. Recall@5 and "
    "NDCG@10 without fold-in are the paper's: the encoder sees the very films that it is then "
    "scored on, so that copying the input scores 1. The ranking metrics after them hide 20 % of a "
    "user's films and mask the rest.",
    "category": "Prediction",
    "datasets": ["movielens"],
    "extract": False,
}
METRICS = [
    "recon_nll",
    "recall_nofold@5",
    "ndcg_nofold@10",
    "recall@20",
    "recall@50",
    "ndcg@100",
]


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of MovieLens."""
    instances, notes = chosen(results, "movielens")
    for name in instances:
        rows = results.datasets[name].get("n_rows")
        if rows and rows < 100_000:
            notes.append(f"{rows:,} users were available; the paper drew 100,000.")
    frame = summarise(results, instances or ["movielens"], METRICS)
    return with_notes(frame, CONVENTION, *notes, of=named(results, instances, "MovieLens not run"))


pretty = number_sheets
