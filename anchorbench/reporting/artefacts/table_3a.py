"""Table 3(a): the films that weigh most on each factor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts import _topics
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results

ARTEFACT = {
    "kind": "table",
    "label": "Table 3a. Top films of each factor",
    "caption": "The films with the largest loadings on each factor, first split. Factors by "
    "falling strength; none was picked by hand.",
    "category": "Interpretation",
    "datasets": ["movielens"],
    "extract": True,
}
TOP = 4
PAPER = {
    "A": "The Fifth Element; Alien; Gattaca; Aliens",
    "B": "A Bug’s Life; Monsters, Inc.; Toy Story 3 & 2",
    "C": "Star Wars V, IV & IV; Indiana Jones 1",
}


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return the top features of each factor, by method."""
    return _topics.extract(runs, "movielens")


def make(results: Results) -> pd.DataFrame:
    """Return a row a factor."""
    return _topics.topics(results, "movielens", TOP)


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return the factors by method."""
    paper = PAPER if _topics.holds(frame, results, "movielens") else None
    return _topics.topic_sheet(frame, results, "Films", paper)
