"""One line that says what the data are. Copy this file to datasets/<name>.py and edit it.

A table of your own in .csv, .tsv, .npz, .mtx or .h5ad needs no plugin: see docs/data.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anchorbench.data.dataset import DataError, Dataset

# Read without importing this file, so it must be a literal: no names, no calls.
DATASET = {
    "label": "My data",  # as tables and figures call it
    "likelihood": "multinomial",  # or a name of anchorbench/models/likelihoods/
    "sources": ["mydata"],  # raw files: names under `sources:` in the config
    "replicates": 5,  # default number of splits
    "resampling": "folds",  # or "draws", where each replicate is new data (docs/statistics.md)
    "headline": {"corrected": "completion_perplexity"},  # the metric that speaks for it
    "params": {"min_total": 10},  # every parameter of prepare and split with its default
    "provides": [],  # of "factors", "support", "labels": what is known about the truth
    "class_name": "Kind",  # what the labels are, if there are any
    # Optional, for draws: all settings of the dataset draw replicate k with one seed, so that they
    # differ in the parameters alone.
    # "paired_settings": True,
    # Optional: only a config that names the dataset runs it, whatever sources it has.
    # "on_request": True,
    "terms": "Who owns the data and what may be done with them.",
    "cite": "Author (year), title, venue",
}


def prepare(raw: dict[str, Path], min_total: int = 10) -> Dataset:
    """From raw files, already downloaded and checked, to a matrix: rows are samples.

    Raise DataError, naming the file, the place and the remedy, where a file is not as expected.
    """
    table = np.genfromtxt(raw["mydata"], delimiter=",", names=True)
    if table.dtype.names is None:
        raise DataError(f"{raw['mydata']} has no header line: add the names of its columns")
    X = np.stack([table[name] for name in table.dtype.names], axis=1)
    kept = X.sum(axis=0) >= min_total
    names = [name for name, keep in zip(table.dtype.names, kept, strict=True) if keep]
    return Dataset(X[:, kept], names)


# Optional. Without it, replicate k is fold k of five. A plugin that knows the truth, or draws its
# data, gives each replicate itself:
#
# def split(dataset: Dataset, replicate: int, seed: int, min_total: int = 10) -> Split:
#     return Split(train=..., test=..., factors=(z_train, z_test), support=W != 0)
