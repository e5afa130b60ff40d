"""Table 5(b): the words that weigh most on each factor of NMF."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts import _topics
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results

ARTEFACT = {
    "kind": "table",
    "label": "Table 5b. Top words of each factor of NMF",
    "caption": "The words with the largest loadings on each factor of NMF, first split. "
    "Factors by falling strength; none was picked by hand.",
    "category": "Interpretation",
    "datasets": ["peerread", "simulated_counts"],
    "extract": True,
}
TOP = 5
NMF = ("nmf", "kl_nmf")  # plugins of the family
PAPER = {
    "A": "agent; action; policy; state; game",
    "B": "word; representation; vector; embeddings; semantic",
    "C": "model; inference; neural; latent; structure",
}


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return the top features of each factor, by method."""
    return _topics.extract(runs, "peerread")


def make(results: Results) -> pd.DataFrame:
    """Return a row a factor."""
    family = [name for name, about in results.methods.items() if about["plugin"] in NMF]
    return _topics.topics(results, "peerread", TOP, family)


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return the factors by method."""
    paper = PAPER if _topics.holds(frame, results, "peerread") else None
    return _topics.topic_sheet(frame, results, "Words", paper)
