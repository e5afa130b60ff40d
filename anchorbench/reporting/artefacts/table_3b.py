"""Table 3(b): the words that weigh most on each factor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts import _topics
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results

ARTEFACT = {
    "kind": "table",
    "label": "Table 3b. Top words of each factor",
    "caption": "The words with the largest loadings on each factor, first split. Factors by "
    "falling strength; none was picked by hand.",
    "category": "Interpretation",
    "datasets": ["peerread", "simulated_counts"],
    "extract": True,
}
TOP = 5
PAPER = {
    "A": "task; policy; planning; heuristic; decision",
    "B": "information; feature; complex; sparse; probability",
    "C": "given; network; method; bayesian; neural",
}


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return the top features of each factor, by method."""
    return _topics.extract(runs, "peerread")


def make(results: Results) -> pd.DataFrame:
    """Return a row a factor."""
    return _topics.topics(results, "peerread", TOP)


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return the factors by method."""
    paper = PAPER if _topics.holds(frame, results, "peerread") else None
    return _topics.topic_sheet(frame, results, "Words", paper)
