"""Table 5(a): the films that weigh most on each factor of NMF."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts import _topics
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results

ARTEFACT = {
    "kind": "table",
    "label": "Table 5a. Top films of each factor of NMF",
    "caption": "The films with the largest loadings on each factor of NMF, first split. "
    "Factors by falling strength; none was picked by hand.",
    "category": "Interpretation",
    "datasets": ["movielens"],
    "extract": True,
}
TOP = 5
NMF = ("nmf", "kl_nmf")  # plugins of the family
PAPER = {
    "A": "Alien; Aliens; Terminator 2; Terminator; Blade Runner",
    "B": "Shrek 1 & 2; Monsters, Inc.; Finding Nemo; The Incredibles",
    "C": "Star Wars IV, V & VI; Toy Story",
}


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return the top features of each factor, by method."""
    return _topics.extract(runs, "movielens")


def make(results: Results) -> pd.DataFrame:
    """Return a row a factor."""
    family = [name for name, about in results.methods.items() if about["plugin"] in NMF]
    return _topics.topics(results, "movielens", TOP, family)


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return the factors by method."""
    paper = PAPER if _topics.holds(frame, results, "movielens") else None
    return _topics.topic_sheet(frame, results, "Films", paper)
