"""Prepared data and its splits: the two objects that every dataset plugin returns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from anchorbench.data.errors import DataError as DataError
from anchorbench.data.errors import reading
from anchorbench.data.json_text import json_text
from anchorbench.data.values import numbers

MIN_ROWS = 10
FOLDS = 5
# An (N, G) ndarray, scipy CSR matrix or CSR array; scipy has no types that would say so.
Matrix = Any

KINDS = ("real", "counts", "binary")
"""What likelihoods ask of their data."""
_BLOCK_VALUES = 4_000_000


@dataclass
class Dataset:
    """A prepared dataset.

    X: (N, G) float64 ndarray or scipy CSR matrix; rows are samples, columns are features. Other
        numbers become float64 and other sparse formats CSR, entries stored in parts added up;
        DataError where that would change a number.
    features: G feature names.
    labels: name -> (N,) array of known classes of the rows, or None.
    arrays: name -> array of any shape that the dataset's own `split` needs later, or None.
    notes: what was done to the raw data that a reader should know, a sentence each.
    """

    X: Matrix
    features: list[str]
    labels: dict[str, np.ndarray] | None = None
    arrays: dict[str, np.ndarray] | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.X, repeated = numbers(self.X, "X")
        if repeated:
            parts = f"{repeated} entries of X were stored in parts, which were added up"
            self.notes = [*self.notes, parts]


@dataclass
class Split:
    """One replicate of a dataset.

    train, test: (N_train, G) and (N_test, G) dense float64.
    factors: true factors, (N_train, K*) and (N_test, K*), where they are known.
    support: (G, K*) bool, true where a feature depends on a factor, where it is known.
    keys: (G, K*) in {-1, 0, 1}, the support with signs, where they are known.
    expectation: E[x|z] for train and test rows (for counts: probabilities), where it is known.
    index: rows of Dataset.X in train and in test; None where the split draws its own rows.
    features: G names where the split chooses its columns itself; None: those of the dataset.
    """

    train: np.ndarray
    test: np.ndarray
    factors: tuple[np.ndarray, np.ndarray] | None = None
    support: np.ndarray | None = None
    keys: np.ndarray | None = None
    expectation: tuple[np.ndarray, np.ndarray] | None = None
    index: tuple[np.ndarray, np.ndarray] | None = None
    features: list[str] | None = None


def dense(X: Matrix) -> np.ndarray:
    """X as a dense float64 array."""
    return np.asarray(X.toarray() if sp.issparse(X) else X, dtype=np.float64)


def rows_needed(folds: int, seed: int = 42) -> int:
    """Fewest rows of which `kfold` leaves no fold empty; with more, none is empty either."""
    drawn = np.random.RandomState(seed).randint(0, folds, 100 * folds)
    return int(max(np.argmax(drawn == fold) for fold in range(folds))) + 1


def check_rows(n_rows: int, folds: int, name: str) -> None:
    """Raise DataError, with the number that is needed, where a fold would be empty."""
    if folds < 2:
        raise DataError(f"{name}: folds {folds}: give 2 or more")
    needed = rows_needed(folds)
    if n_rows >= needed:
        return
    fitting = [k for k in range(folds - 1, 1, -1) if rows_needed(k) <= n_rows]
    fewer = f", or take {fitting[0]} (`folds: {fitting[0]}`)" if fitting else ""
    raise DataError(
        f"{name}: {n_rows} rows: {folds} folds need {needed}, with fewer one is empty: give more "
        f"samples{fewer}"
    )


def kfold(dataset: Dataset, replicate: int, folds: int = FOLDS, seed: int = 42) -> Split:
    """Split rows as the released code of Moran et al. (2022) does.

    Row i belongs to fold RandomState(seed).randint(0, folds, N)[i], so folds differ in size;
    the test rows are those of fold `replicate`. Raises DataError where a side would be empty.
    """
    if not 0 <= replicate < folds:
        raise DataError(f"replicate {replicate} does not exist: {folds} folds give 0..{folds - 1}")
    fold = np.random.RandomState(seed).randint(0, folds, dataset.X.shape[0])
    train, test = np.flatnonzero(fold != replicate), np.flatnonzero(fold == replicate)
    if not len(train) or not len(test):
        check_rows(len(fold), folds, f"fold {replicate} is empty")
        raise DataError(f"fold {replicate} leaves no training row of {len(fold)}: use more folds")
    return Split(dense(dataset.X[train]), dense(dataset.X[test]), index=(train, test))


def varying(dataset: Dataset, folds: int = FOLDS, seed: int = 42) -> Dataset:
    """Leave out features that never vary in the training rows of one of `kfold`'s folds.

    Such a feature of real values has no scale there: its noise variance is 0 by maximum likelihood,
    the training density unbounded, and the density of a test row that departs from it whatever a
    floor under the variance makes of it. It is left out of all folds, which so stay comparable, and
    `notes` say so.
    Counts keep theirs: a word that training rows lack has a small probability in every model, and a
    test row that holds it pays for that.
    """
    fold = np.random.RandomState(seed).randint(0, folds, dataset.X.shape[0])
    never = [constant(dataset.X[fold != k]) for k in range(folds) if (fold != k).any()]
    rare = np.any(never, axis=0) & ~constant(dataset.X)
    if not rare.any():
        return dataset
    names = [name for name, out in zip(dataset.features, rare, strict=True) if out]
    note = f"constant in the training rows of a fold, so left out: {', '.join(names)}"
    kept = [name for name, out in zip(dataset.features, rare, strict=True) if not out]
    return replace(dataset, X=dataset.X[:, ~rare], features=kept, notes=[*dataset.notes, note])


def check_varies(split: Split, features: list[str], name: str) -> None:
    """Raise DataError for a feature that never varies in a split's training rows but in its test.

    No density of real values can be said to be the model's there; `varying` says why.
    """
    never = constant(split.train) & (split.test != split.train[:1]).any(axis=0)
    if never.any():
        feature = (split.features or features)[int(np.argmax(never))]
        raise DataError(
            f"{name}: feature {feature!r} is constant in the training rows and not in the test rows"
            f" ({int(never.sum())} such features): leave it out in `prepare` or `split`"
        )


def validate(dataset: Dataset, kind: str, name: str) -> None:
    """Raise DataError, with the place and a remedy, where a dataset cannot be modelled.

    kind: "real", "counts" or "binary", what a likelihood asks of its data.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: use one of {', '.join(KINDS)}")
    X, features = dataset.X, dataset.features
    if X.ndim != 2:
        raise DataError(f"{name}: X has {X.ndim} dimension(s): give a matrix, rows are samples")
    _check_names(features, X.shape[1], name)
    if X.shape[1] < 2:
        raise DataError(f"{name}: {X.shape[1]} feature column(s): a factor model needs 2 or more")
    if X.shape[0] < MIN_ROWS:
        raise DataError(
            f"{name}: {X.shape[0]} rows, fewer than {MIN_ROWS}: give more samples, or transpose "
            "the table if its samples are columns"
        )
    _check_values(X, features, kind, name)
    _check_empty(X, features, kind, name)
    for label, values in (dataset.labels or {}).items():
        if np.shape(values) != (X.shape[0],):
            raise DataError(
                f"{name}: labels {label!r} have shape {np.shape(values)}, the data has "
                f"{X.shape[0]} rows: give one label for each row"
            )


def _check_names(features: list[str], n_columns: int, name: str) -> None:
    if len(features) != n_columns:
        raise DataError(
            f"{name}: {len(features)} feature names for {n_columns} columns: give one for each"
        )
    seen: set[str] = set()
    for feature in features:
        if feature in seen:
            raise DataError(f"{name}: feature name {feature!r} occurs twice: rename or merge them")
        seen.add(feature)
    if "" in seen:
        raise DataError(f"{name}: feature {features.index('') + 1} has no name: give it one")


def _check_values(X: Matrix, features: list[str], kind: str, name: str) -> None:
    values = X.data if sp.issparse(X) else np.asarray(X)
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name}: X holds {values.dtype} values: give numbers")
    checks = [(~np.isfinite(values), "is not a number or not finite", "fill or drop it")]
    if kind == "counts":
        checks += [
            (values < 0, "is negative", "counts cannot be: use likelihood gaussian"),
            (values != np.floor(values), "is not a whole number",
             "give raw counts, not normalised ones, or use likelihood gaussian"),
        ]  # fmt: skip
    elif kind == "binary":
        either = (values == 0) | (values == 1)
        checks.append((~either, "is neither 0 nor 1", "recode it, or use likelihood gaussian"))
    for wrong, problem, remedy in checks:
        if wrong.any():
            row, column, value = _first(X, wrong)
            raise DataError(
                f"{name}: row {row + 1}, column {features[column]!r}: {value} {problem} "
                f"({int(wrong.sum())} such values): {remedy}"
            )


def _first(X: Matrix, wrong: np.ndarray) -> tuple[int, int, float]:
    """Row, column and value of the first marked entry; `wrong` is shaped like the stored values."""
    if sp.issparse(X):
        k = int(np.flatnonzero(wrong)[0])
        row = int(np.searchsorted(X.indptr, k, side="right")) - 1
        return row, int(X.indices[k]), X.data[k]
    row, column = (int(i) for i in np.argwhere(wrong)[0])
    return row, column, X[row, column]


def _check_empty(X: Matrix, features: list[str], kind: str, name: str) -> None:
    never = np.flatnonzero(constant(X))
    if len(never):
        j = int(never[0])
        value = X[0, j]
        what = "all zero" if value == 0 else f"constant ({value:g})"
        raise DataError(
            f"{name}: column {features[j]!r} is {what} ({len(never)} such columns): drop it; an "
            "own table's `drop: constant` drops all of them"
        )
    if kind == "counts":
        empty = np.flatnonzero(np.asarray(X.sum(axis=1)).ravel() == 0)
        if len(empty):
            raise DataError(
                f"{name}: row {empty[0] + 1} is all zero ({len(empty)} such rows): drop it, "
                "a row of counts needs at least one"
            )


def constant(X: Matrix) -> np.ndarray:
    """Which columns of (N, G) have one value in all rows: (G,) bool."""
    return _extreme(X, "min") == _extreme(X, "max")


def _extreme(X: Matrix, kind: str) -> np.ndarray:
    extreme = getattr(X, kind)(axis=0)
    return extreme.toarray().ravel() if sp.issparse(extreme) else extreme


def _row_blocks(X: Matrix) -> Iterator[np.ndarray]:
    step = max(1, _BLOCK_VALUES // max(1, X.shape[1]))
    for start in range(0, X.shape[0], step):
        # Adding zero turns -0.0 into 0.0: equal values then have equal bytes.
        yield np.ascontiguousarray(dense(X[start : start + step]) + 0.0)


def content_digest(dataset: Dataset) -> str:
    """sha256 (hex) of the shape, values, feature names, labels and arrays of a dataset.

    Equal content gives an equal digest, be it dense or sparse, now or on another machine.
    """
    head = {
        "shape": list(dataset.X.shape),
        "features": list(dataset.features),
        "labels": {k: np.asarray(v).tolist() for k, v in (dataset.labels or {}).items()},
    }
    sha = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for block in _row_blocks(dataset.X):
        sha.update(block.astype("<f8", copy=False).data)
    for name, array in sorted((dataset.arrays or {}).items()):
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def save_dataset(directory: str | Path, dataset: Dataset) -> None:
    """Write a dataset as X.npz (sparse stays sparse), labels.npz, arrays.npz, features.json."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if sp.issparse(dataset.X):
        sp.save_npz(directory / "X.npz", sp.csr_matrix(dataset.X))
    else:
        np.savez_compressed(directory / "X.npz", X=dense(dataset.X))
    _save_arrays(directory / "labels.npz", dataset.labels)
    _save_arrays(directory / "arrays.npz", dataset.arrays)
    text = {
        "features": list(dataset.features),
        "labels": list(dataset.labels) if dataset.labels is not None else None,
        "arrays": list(dataset.arrays) if dataset.arrays is not None else None,
        "shape": list(dataset.X.shape),
    }
    (directory / "features.json").write_text(json_text(text), encoding="utf-8")


def _save_arrays(path: Path, arrays: dict[str, np.ndarray] | None) -> None:
    # Stored by number: names may hold characters that file names must not.
    plain = {str(i): _plain(np.asarray(v)) for i, v in enumerate((arrays or {}).values())}
    np.savez_compressed(path, allow_pickle=False, **plain)


def _load_arrays(path: Path, names: list[str] | None) -> dict[str, np.ndarray] | None:
    with np.load(path, allow_pickle=False) as stored:
        return None if names is None else {name: stored[str(i)] for i, name in enumerate(names)}


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(str) if values.dtype.kind == "O" else values


def load_dataset(directory: str | Path) -> Dataset:
    """Read what `save_dataset` wrote. Raises DataError where files are missing or disagree."""
    directory = Path(directory)
    with reading(directory, "a prepared dataset", "delete it and prepare again"):
        text = json.loads((directory / "features.json").read_text(encoding="utf-8"))
        with np.load(directory / "X.npz", allow_pickle=False) as stored:
            X = stored.get("X")
        X = sp.load_npz(directory / "X.npz").tocsr() if X is None else X
        labels = _load_arrays(directory / "labels.npz", text["labels"])
        arrays = _load_arrays(directory / "arrays.npz", text["arrays"])
    if list(X.shape) != text["shape"]:
        raise DataError(f"{directory}: X is {X.shape}, not {text['shape']}: prepare it again")
    return Dataset(X, text["features"], labels, arrays)
