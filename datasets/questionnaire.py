"""Personality and ability questionnaires with published scoring keys: real data, known answer.

Each item belongs to one scale of its key, with a sign, so the mask W is known: every row of it is
an anchor row, 4 to 24 a factor. Scales were themselves found by factor analysis with rotations, so
that what is measured here is whether a method finds what psychometrics put there.

Rows with more than 20 % of answers missing are left out. Within a split, missing answers become the
training median of their item, and items are standardised by their training rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from anchorbench.data.dataset import DataError, Dataset, Split, kfold
from anchorbench.data.r_objects import read_objects

DATASET = {
    "label": "Questionnaire",
    "likelihood": "gaussian",
    "sources": ["psychtools"],
    "replicates": 5,
    "resampling": "folds",
    "headline": {"corrected": "key_accuracy"},
    "params": {"set": "bfi", "rows": None},
    "provides": ["support"],
    "terms": "psychTools: GPL (>= 2). IPIP items are in the public domain; responses are the "
    "SAPA project's. The user's machine fetches the package; nothing of it is redistributed.",
    "cite": "Revelle (2024), psychTools; Condon (2018), The SAPA Personality Inventory; Revelle, "
    "Wilt and Rosenthal (2010), Individual differences in cognition; Holzinger, Swineford (1939)",
}

# The answers' object and the keys' object.
SETS: dict[str, tuple[str, str | None]] = {
    "spi": ("spi", "spi.keys"),
    "bfi": ("bfi", "bfi.keys"),
    "adjectives": ("big5.100.adjectives", "big5.adjectives.keys"),
    "ability": ("ability", "ability.keys"),
    "epi": ("epi", "epi.keys"),
    "holzinger": ("holzinger.raw", None),
}
Keys = dict[str, dict[str, int]]

# Keys of a second level, or parts of another one: the scales are those that are left.
NO_SCALES = {
    "spi": {"Agree", "Consc", "Neuro", "Extra", "Open"},
    "ability": {"ICAR16"},
    "epi": {"Imp", "Soc"},
}
# The textbook's domains of the first nineteen tests, first to last test.
HOLZINGER = {"spatial": (1, 4), "verbal": (5, 9), "speed": (10, 13), "memory": (14, 19)}
MOST_MISSING = 0.2


def keys_of(name: str, keys: dict[str, list[str]] | None, columns: list[str]) -> Keys:
    """Return scale -> {item: +1 or -1}, "-" before an item's name saying that it is reversed.

    Raises DataError for an item that two scales claim or that the answers lack.
    """
    if keys is None:
        numbers = {int(c[1:3]): c for c in columns if c[:1] == "t" and c[1:3].isdigit()}
        keys = {s: [numbers[i] for i in range(a, b + 1)] for s, (a, b) in HOLZINGER.items()}
    scales = {
        scale: {item.lstrip("-"): -1 if item.startswith("-") else 1 for item in items}
        for scale, items in keys.items()
        if scale not in NO_SCALES.get(name, ())
    }
    seen: dict[str, str] = {}
    for scale, items in scales.items():
        for item in items:
            if item in seen:
                raise DataError(
                    f"questionnaire {name}: {item} is keyed by {seen[item]} and {scale}"
                )
            if item not in columns:
                claims = f"{scale} has {item}, which nobody answered"
                raise DataError(f"questionnaire {name}: {claims}")
            seen[item] = scale
    return scales


def answers(name: str, path: Path) -> tuple[pd.DataFrame, Keys]:
    """Answers (people, keyed items) with NaN where missing, and the scales' keys."""
    if name not in SETS:
        raise DataError(f"questionnaire: there is no set {name!r}; known: {', '.join(SETS)}")
    table, keys = SETS[name]
    objects = read_objects(path, "psychTools", [table, *([keys] if keys else [])])
    frame = objects[table]
    scales = keys_of(name, objects.get(keys or ""), list(frame.columns))
    keyed = {item for items in scales.values() for item in items}
    frame = frame[[column for column in frame.columns if column in keyed]]
    frame = frame.apply(pd.to_numeric).astype(float)
    return frame[frame.isna().mean(axis=1) <= MOST_MISSING].reset_index(drop=True), scales


def prepare(raw: dict[str, Path], set: str = "bfi") -> Dataset:
    """Answers as they are, a missing one standing as its item's median.

    arrays: keys (G, K*) in {-1, 0, 1}; missing (N, G) bool; scales (K*,) their names.
    """
    frame, scales = answers(set, raw["psychtools"])
    keys = np.array(
        [[items.get(item, 0) for items in scales.values()] for item in frame.columns], dtype=np.int8
    )
    return Dataset(
        frame.fillna(frame.median()).to_numpy(),
        list(frame.columns),
        arrays={
            "keys": keys,
            "missing": frame.isna().to_numpy(),
            "scales": np.array(list(scales)),
        },
    )


def split(dataset: Dataset, replicate: int, seed: int, rows: int | None = None) -> Split:
    """Five folds; `rows` keeps the first training rows only."""
    assert dataset.arrays is not None
    fold = kfold(dataset, replicate)
    assert fold.index is not None
    train, test = fold.index
    if rows is not None:
        if not 1 < rows <= len(train):
            raise DataError(f"questionnaire: rows {rows}, but fold {replicate} has {len(train)}")
        train = train[:rows]
    X = np.where(dataset.arrays["missing"], np.nan, dataset.X)
    median = np.nanmedian(X[train], axis=0)
    X = np.where(np.isnan(X), median, X)
    mean, sd = X[train].mean(axis=0), X[train].std(axis=0)
    if not sd.all():
        item = dataset.features[int(np.flatnonzero(sd == 0)[0])]
        raise DataError(f"questionnaire: everybody of the training rows answers {item} alike")
    X = (X - mean) / sd
    keys = dataset.arrays["keys"]
    return Split(X[train], X[test], support=keys != 0, keys=keys, index=(train, test))
