"""A person's own table (.csv, .tsv, .npz, .mtx, .h5ad) as a dataset, without any code."""

from __future__ import annotations

import difflib
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse as sp

from anchorbench.data.dataset import FOLDS, Dataset, Matrix, check_rows, constant, validate
from anchorbench.data.errors import DataError, reading
from anchorbench.data.local_files import local_path, names_beside, table_suffix
from anchorbench.data.text_tables import (
    column_of_names,
    is_number,
    parse,
    read_columns,
    read_rows,
)
from anchorbench.data.values import classes, numbers, text

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_NO_LAYERS = {"layer": "only an .h5ad has layers"}
_NO_TEXT = dict.fromkeys(("id", "header", "separator", "decimal"), "it is for .csv and .tsv")
_TEXT = {"features": "the header has their names", **_NO_LAYERS}
NO_USE: dict[str, dict[str, str]] = {
    ".csv": _TEXT,
    ".tsv": _TEXT,
    ".npz": {**_NO_LAYERS, **_NO_TEXT},
    ".mtx": {**_NO_LAYERS, **_NO_TEXT, "labels": "an .mtx file has no labels"},
    ".h5ad": {**_NO_TEXT, "features": "var_names has their names"},
}
"""Options that a format has no use for, and why."""

CONSTANT = "constant"
"""The word under `drop` for every feature that never varies."""
INDEX_NAMES = re.compile(
    r"unnamed: ?\d.*|\.\.\.1|x|id|index|row\.?_?(names?|id)|sample_?id|cell_?id|barcodes?", re.I
)
"""What R, pandas and people call a column that numbers or names the rows."""


@dataclass
class _Table:
    """What a format's reader found; rows of X are samples."""

    X: Matrix
    features: list[str]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_table(
    path: str | Path,
    kind: str,
    labels: str | Sequence[str] | None = None,
    transpose: bool = False,
    drop: str | Sequence[str] | None = None,
    features: str | Path | None = None,
    id: str | bool | None = None,
    header: bool | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    layer: str | None = None,
    folds: int = FOLDS,
) -> Dataset:
    """Read and validate a table whose rows are samples and whose columns are features.

    Every name and class is text as it stands in the file; every number is float64 or refused.

    Parameters
    ----------
    path, kind
        The file, and "real", "counts" or "binary" values.
    labels : str or list of str, optional
        What holds known classes of the samples: columns of a .csv or .tsv, keys of `obs` in an
        .h5ad, arrays of an .npz.
    transpose : bool
        The rows of the table are features; those of a .csv or .tsv begin with their names, and
        `labels`, `drop` and `id` name rows.
    drop : str or list of str, optional
        Features, or other columns of a .csv or .tsv, to leave out; "constant": all that never vary.
    features : path, optional
        One name a line (of tab-separated fields, the first), for .npz and .mtx. Without it an .npz
        may hold `features`, an .mtx lie beside <stem>.features.txt, features.tsv, genes.tsv (.gz).
    id : str or False, optional
        Column of a .csv or .tsv that names the rows. Without it one that R or pandas wrote is found
        by its name and content; False: there is none.
    header : bool, optional
        Whether a .csv or .tsv has names in its first line; None: yes, unless it looks like a
        sample, which is refused.
    separator, decimal, layer : str, optional
        Of a .csv or .tsv (comma or tab, point); of an .h5ad (X).
    folds : int
        Of the cross-validation that is to come; the rows must be enough for it.

    Returns
    -------
    Dataset
        With `notes` on all that was left out or added up.

    Raises
    ------
    DataError
        For data, or an option that the format has no use for.
    """
    asked = {"labels": _names(labels) or None, "features": features, "id": id, "header": header}
    asked |= {"separator": separator, "decimal": decimal, "layer": layer}
    dataset = _read(_existing(path, asked), asked, _names(drop), transpose)
    validate(dataset, kind, str(path))
    check_rows(dataset.X.shape[0], folds, str(path))
    return dataset


def _existing(path: str | Path, asked: Mapping[str, Any]) -> Path:
    """The file, of a known kind that has a use for all that was asked for."""
    path = local_path(path) or Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path.absolute()} {what}: correct the path of the data file")
    suffix = table_suffix(path)
    if suffix not in NO_USE:
        raise DataError(f"{path}: unknown kind {suffix!r}: give .csv, .tsv, .npz, .mtx or .h5ad")
    for key, why in NO_USE[suffix].items():
        if asked[key] is not None:
            raise DataError(f"{path}: `{key}` is of no use for {suffix}: {why}; leave it out")
    return path


def _check_roles(path: Path, labels: list[str], drop: list[str], id: str | bool | None) -> None:
    """Raise DataError for a column that is named under two of `labels`, `drop` and `id`."""
    roles = {"labels": labels, "drop": drop, "id": [id] if isinstance(id, str) else []}
    for (one, names), (other, more) in combinations(roles.items(), 2):
        for name in names:
            if name in more:
                raise DataError(f"{path}: {name!r} is under `{one}` and `{other}`: keep it in one")


def _read(path: Path, asked: Mapping[str, Any], drop: list[str], transpose: bool) -> Dataset:
    suffix, labels = table_suffix(path), asked["labels"] or []
    _check_roles(path, labels, drop, asked["id"])
    if suffix in SEPARATORS:
        marks = asked["separator"] or SEPARATORS[suffix], asked["decimal"] or "."
        table = _read_text(path, marks, asked["header"], labels, drop, asked["id"], transpose)
    elif suffix == ".npz":
        table = _read_npz(path, labels, transpose, _feature_file(path, asked["features"]))
    elif suffix == ".mtx":
        table = _read_mtx(path, transpose, _feature_file(path, asked["features"]))
    else:
        table = _read_h5ad(path, labels, transpose, asked["layer"])
    return _finished(path, table, drop, named=suffix not in SEPARATORS)


def _finished(path: Path, table: _Table, drop: list[str], named: bool) -> Dataset:
    """The dataset, without what is to be dropped; named: names under `drop` are all features."""
    X, repeated = numbers(table.X, str(path))
    notes = list(table.notes)
    if repeated:
        notes.append(f"{repeated} entries are stored in parts, which were added up")
    keep = np.ones(len(table.features), dtype=bool)
    for name in drop if named else []:
        if name != CONSTANT or CONSTANT in table.features:
            _pick(path, name, table.features, "feature")
            keep &= np.array(table.features) != name
    if CONSTANT in drop and X.ndim == 2 and X.shape[0]:
        never = constant(X) & keep
        keep &= ~never
        names = [table.features[j] for j in np.flatnonzero(never)]
        if names:
            notes.append(f"{len(names)} constant features were dropped: {_listed(names)}")
    X = X if keep.all() else X[:, keep]
    kept = [name for name, stays in zip(table.features, keep, strict=True) if stays]
    return Dataset(X, kept, table.labels or None, notes=notes)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "none") + more


def _names(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or [])


def _pick(path: Path, name: str, known: Iterable[str], what: str) -> None:
    """Raise DataError unless `name` is known; the message has the nearest or all names."""
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names[:20])}"
        raise DataError(f"{path} has no {what} {name!r}: {hint}")


def _read_text(
    path: Path,
    marks: tuple[str, str],
    header: bool | None,
    labels: list[str],
    drop: list[str],
    id: str | bool | None,
    transpose: bool,
) -> _Table:
    where = "row" if transpose else "column"

    def may_be_index(j: int, name: str) -> bool:
        return id is None and not transpose and (j == 0 or bool(INDEX_NAMES.fullmatch(name)))

    def as_text(j: int, name: str) -> bool:
        unnamed = not transpose and j == 0 and not name.strip()
        return name in labels or name == id or unnamed or may_be_index(j, name)

    def check(names: list[str]) -> None:
        for name in [*labels, *drop, *([id] if isinstance(id, str) else [])]:
            if name != CONSTANT or name in labels:
                _pick(path, name, names, where)

    read = read_rows if transpose else read_columns
    table = read(path, *marks, header, as_text, drop, check)
    columns = {j: table.numbers[:, k] for k, j in enumerate(table.of)}
    notes = [f"{where}s that were dropped: {_listed([n for n in table.names if n in drop])}"]
    notes = notes if any(name in drop for name in table.names) else []
    classes_of = {}
    for j, values in table.text.items():
        name = table.names[j]
        if name in labels:
            classes_of[name] = classes(values, f"{path}: labels {name!r}")
        elif name == id or (j == 0 and not name.strip()) or _is_index(path, name, values):
            notes.append(f"{where} {name!r} names the rows and is no feature")
        else:
            columns[j] = _column(path, name, values, table.lines, marks[1])
    order = sorted(columns)
    X = table.numbers
    if order != table.of:
        X = np.column_stack([columns[j] for j in order])
    return _Table(X, [table.names[j] for j in order], classes_of, notes)


def _is_index(path: Path, name: str, values: list[str]) -> bool:
    """Whether a column numbers or names the rows.

    Raises DataError for one that counts the rows under a name that says nothing of the kind.
    """
    whole = all(re.fullmatch(r"\d+(\.0+)?", value.strip()) for value in values)
    numbered = [int(float(value)) for value in values] if whole else []
    counts = bool(numbered) and numbered == list(range(numbered[0], numbered[0] + len(values)))
    counts = counts and numbered[0] in (0, 1)
    if INDEX_NAMES.fullmatch(name):
        if (name.lower() == "x" and whole and not counts) or not (
            whole or not any(map(is_number, values))
        ):
            return False  # measured: a coordinate, say
        if len(set(values)) < len(values):
            raise DataError(
                f"{path}: column {name!r} does not tell the rows apart: set `id: {name}` if it "
                "names them nevertheless, or `id: false` if it is a feature"
            )
        return True
    if counts and len(values) > 2:
        raise DataError(
            f"{path}: column {name!r} counts the rows from {values[0]} to {values[-1]}: set "
            f"`id: {name}` if it numbers them, or `id: false` if it is a feature"
        )
    return False


def _column(
    path: Path, name: str, values: list[str], lines: Sequence[int], decimal: str
) -> np.ndarray:
    """A column that was kept as text as numbers, after all."""
    return np.array(
        [
            parse([value], decimal, [name], f"{path}: line {line}", "column")[0]
            for value, line in zip(values, lines, strict=True)
        ]
    )


def _read_npz(path: Path, labels: list[str], transpose: bool, names: list[str] | None) -> _Table:
    remedy = "object arrays are pickles and refused, save text with dtype=str"
    with reading(path, "an .npz of plain arrays", remedy):
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is no .npz archive: write it with numpy.savez or save_npz")
        with np.load(path, allow_pickle=False) as stored:
            if "format" in stored.files and "shape" in stored.files:
                arrays = {k: stored[k] for k in labels if k in stored.files}
                if "features" in stored.files:
                    arrays["features"] = stored["features"]
                X: Matrix = sp.load_npz(path)
            else:
                arrays = {k: stored[k] for k in stored.files}
                X = _only_matrix(path, arrays)
    for name in labels:
        _pick(path, name, arrays, "array")
    if names is None and "features" in arrays:
        names = text(arrays["features"])
    return _matrix(path, X, labels, transpose, names, arrays)


def _only_matrix(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    matrices = ["X"] if "X" in arrays else [k for k, v in arrays.items() if v.ndim == 2]
    if len(matrices) != 1:
        raise DataError(
            f"{path} holds {len(matrices)} matrices among {', '.join(arrays) or 'no arrays'}: "
            "name the data X"
        )
    return arrays[matrices[0]]


def _read_mtx(path: Path, transpose: bool, names: list[str] | None) -> _Table:
    with reading(path, "a Matrix Market file", "write it anew"):
        X = scipy.io.mmread(path)
    return _matrix(path, X, [], transpose, names, {})


def _matrix(
    path: Path,
    X: Matrix,
    labels: list[str],
    transpose: bool,
    names: list[str] | None,
    arrays: Mapping[str, np.ndarray],
) -> _Table:
    X = X.T if transpose else X
    if names is None:
        names = [f"feature{j + 1}" for j in range(X.shape[1] if X.ndim == 2 else 0)]
    if X.ndim == 2 and len(names) != X.shape[1]:
        remedy = "give one for each"
        if len(names) == X.shape[0]:
            remedy = "the table looks transposed, set transpose"
        elif len(names) == X.shape[1] + 1:
            remedy = f"is {names[0]!r} a header? remove that line"
        raise DataError(f"{path}: {len(names)} feature names for {X.shape[1]} columns: {remedy}")
    return _Table(X, names, {k: classes(arrays[k], f"{path}: labels {k!r}") for k in labels})


def _feature_file(path: Path, given: str | Path | None) -> list[str] | None:
    """Feature names of a file that was given, or lies beside the matrix by one of its names."""
    chosen = names_beside(path) if given is None else local_path(given)
    if chosen is None:
        return None
    if not chosen.is_file():
        raise DataError(f"{chosen.absolute()} does not exist: correct the features file")
    return column_of_names(chosen)


def _read_h5ad(path: Path, labels: list[str], transpose: bool, layer: str | None) -> _Table:
    import anndata

    remedy = "write it anew with anndata; of a MuData, one modality"
    with (
        reading(path, "an .h5ad file", remedy, also=(Exception,)),  # anndata's own are not public
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # names that occur twice are refused below
        stored = anndata.read_h5ad(path)
        if layer is not None:
            _pick(path, layer, map(str, stored.layers), "layer")
        X = stored.X if layer is None else stored.layers[layer]
        rows, columns = (stored.var, stored.obs) if transpose else (stored.obs, stored.var)
        names = text(columns.index)
        for name in labels:
            _pick(path, name, map(str, rows.columns), "obs key")
        found = {k: classes(rows[k].to_numpy(object), f"{path}: labels {k!r}") for k in labels}
    if X is None:
        there = f"`layer:` {' or '.join(map(str, stored.layers))}" if stored.layers else "X"
        raise DataError(f"{path} has no X: name the data by {there}")
    return _Table(X.T if transpose else X, names, found)
