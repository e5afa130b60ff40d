"""Table 1(b): prediction on PeerRead, or on the counts that were run in its place."""

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
from anchorbench.reporting.results import Results, with_perplexity

ARTEFACT = {
    "kind": "table",
    "label": "Table 1b. Heldout prediction of documents",
    "caption": "Negative log-likelihood of heldout documents given their codes (the reconstruction "
    "term, as in the paper), and perplexity: its exponential per token, which is what to compare "
    "where documents differ in length. The paper's perplexities follow from its 46.89 tokens per "
    "abstract.",
    "category": "Prediction",
    "datasets": ["peerread", "simulated_counts"],
    "extract": False,
}
METRICS = ["recon_nll", "perplexity"]


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of PeerRead, or of the count dataset run in its place."""
    results = with_perplexity(results)
    instances, notes = chosen(results, "peerread")
    for name in instances:
        tokens = results.datasets[name].get("tokens_per_row")
        if tokens:
            notes.append(f"{results.datasets[name]['label']}: {tokens:.2f} tokens per document.")
    frame = summarise(results, instances or ["peerread"], METRICS)
    return with_notes(frame, CONVENTION, *notes, of=named(results, instances, "PeerRead not run"))


def pretty(frame: pd.DataFrame, results: Results) -> list:
    """Return the sheet, with perplexity known as a metric."""
    return number_sheets(frame, with_perplexity(results))
