"""A person's own table (.csv, .tsv, .npz, .mtx, .h5ad) as a dataset, without any code."""

from __future__ import annotations

import difflib
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp

from anchorbench.data.dataset import DataError, Dataset, Matrix, validate
from anchorbench.data.local_files import local_path, names_beside, table_suffix

Labels = dict[str, np.ndarray]


def read_table(
    path: str | Path,
    kind: str,
    labels: str | Sequence[str] | None = None,
    transpose: bool = False,
    drop: str | Sequence[str] | None = None,
    features: str | Path | None = None,
) -> Dataset:
    """Read and validate a table whose rows are samples and whose columns are features.

    kind: "real", "counts" or "binary" values (see `dataset.validate`).
    labels: what holds known classes of the samples: columns of a .csv or .tsv, keys of `obs` in an
        .h5ad, arrays of an .npz.
    transpose: the rows of the table are features. In a .csv or .tsv the first column then holds
        their names, and `labels` and `drop` name rows.
    drop: columns of a .csv or .tsv that are neither features nor labels. A first column without a
        name, as R and pandas write it, is taken for row names and dropped.
    features: file with one feature name a line (of tab-separated fields, the first), for .npz and
        .mtx. Without it an .npz may hold an array `features`, and an .mtx lies beside
        <stem>.features.txt, features.tsv or genes.tsv (the latter two .gz, too).

    An .npz holds `X` (or one matrix alone), or is what scipy.sparse.save_npz writes.
    Raises DataError that names the file, row, column and remedy.
    """
    path = local_path(path) or Path(path)
    if not path.is_file():
        raise DataError(f"{path.absolute()} does not exist: correct the path of the data file")
    suffix = table_suffix(path)
    wanted, unwanted = _names(labels), _names(drop)
    names = _feature_file(path, features) if suffix in (".npz", ".mtx") else None
    if suffix in (".csv", ".tsv"):
        dataset = _read_text(path, suffix, wanted, unwanted, transpose)
    elif suffix == ".npz":
        dataset = _read_npz(path, wanted, transpose, names)
    elif suffix == ".mtx":
        dataset = _read_mtx(path, wanted, transpose, names)
    elif suffix == ".h5ad":
        dataset = _read_h5ad(path, wanted, transpose)
    else:
        raise DataError(f"{path}: unknown kind {suffix!r}: give .csv, .tsv, .npz, .mtx or .h5ad")
    validate(dataset, kind, str(path))
    return dataset


def _names(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or [])


def _pick(path: Path, name: str, known: Iterable[Any], what: str) -> None:
    """Raise DataError unless `name` is known; the message has the nearest or all names."""
    names = [str(k) for k in known]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names[:20])}"
        raise DataError(f"{path} has no {what} {name!r}: {hint}")


def _classes(path: Path, name: str, values: Any) -> np.ndarray:
    series = pd.Series(np.asarray(values).ravel())
    missing = np.flatnonzero(series.isna() | (series.astype(str) == ""))
    if len(missing):
        raise DataError(
            f"{path}: labels {name!r} have no value in row {missing[0] + 1} ({len(missing)} such "
            "rows): fill them or drop the rows"
        )
    array = series.to_numpy()
    return array if array.dtype.kind in "iub" else array.astype(str)


def _read_text(
    path: Path, suffix: str, labels: list[str], drop: list[str], transpose: bool
) -> Dataset:
    frame = _frame(path, "," if suffix == ".csv" else "\t")
    named = str(frame.columns[0]).strip() != "" if len(frame.columns) else True
    if transpose or not named:
        frame = frame.set_index(frame.columns[0])
    where = "row" if transpose else "column"
    # From here on the table has the orientation of the file; `axis` is that of its feature names.
    axis = frame.index if transpose else frame.columns
    for name in labels + drop:
        _pick(path, name, axis, where)
    is_feature = ~axis.isin(labels + drop)
    numbers = frame.loc[is_feature] if transpose else frame.loc[:, is_feature]
    classes = {k: frame.loc[k] if transpose else frame[k] for k in labels}
    # Line 1 is the header: entry i of a column is in line i + 2.
    lines = np.flatnonzero(is_feature if transpose else np.ones(len(frame), dtype=bool)) + 2
    X = _numbers(path, numbers, lines, where)
    return Dataset(
        X.T if transpose else X,
        [str(name) for name in axis[is_feature]],
        {k: _classes(path, k, v) for k, v in classes.items()} or None,
    )


def _frame(path: Path, separator: str) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # Mixed columns are looked at value by value below, with a better message.
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            options: dict[str, Any] = {"sep": separator, "header": None}
            header = pd.read_csv(path, nrows=1, dtype=str, na_filter=False, **options)
            # Few words mean "missing": a class may well be called None or null.
            options |= {"keep_default_na": False, "na_values": ["", "NA", "NaN", "nan"]}
            table = pd.read_csv(path, skiprows=1, float_precision="round_trip", **options)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} has no rows: give a header line and samples") from error
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is no {'comma' if separator == ',' else 'tab'}-separated table in UTF-8 "
            f"({str(error).strip()}): every line needs as many fields"
        ) from error
    names = header.iloc[0].tolist()
    if len(names) == table.shape[1] - 1:
        names = ["", *names]  # R's write.table gives row names no header
    if len(names) != table.shape[1]:
        raise DataError(
            f"{path}: {len(names)} names in the header, {table.shape[1]} fields in the lines below:"
            f" check the separator ({'comma' if separator == ',' else 'tab'}) and the header"
        )
    repeated = pd.Index(names)[pd.Index(names).duplicated()]
    if len(repeated):
        raise DataError(f"{path}: column {repeated[0]!r} occurs twice: rename or drop one")
    table.columns = pd.Index(names)
    return table


def _numbers(path: Path, frame: pd.DataFrame, lines: np.ndarray, where: str) -> np.ndarray:
    """The frame as floats; `where` says if features are rows or columns, `lines` numbers rows."""
    columns = [pd.to_numeric(frame[name], errors="coerce") for name in frame.columns]
    if not columns:
        return np.empty((len(frame), 0))
    X = np.stack([column.to_numpy(dtype=np.float64) for column in columns], axis=1)
    wrong = np.isnan(X)
    if wrong.any():
        j = int(np.flatnonzero(wrong.any(axis=0))[0])
        i = int(np.flatnonzero(wrong[:, j])[0])
        value: Any = frame.iloc[i, j]
        what = "no value" if pd.isna(value) else f"{value!r}, which is not a number"
        raise DataError(
            f"{path}: line {lines[i]}, column {frame.columns[j]!r} has {what} ({int(wrong.sum())} "
            f"such values): fill or correct it, or list the {where} under `labels` or `drop` if "
            "it is no feature"
        )
    return X


def _read_npz(path: Path, labels: list[str], transpose: bool, names: list[str] | None) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if "format" in stored.files and "indptr" in stored.files:
                arrays = {k: stored[k] for k in labels if k in stored.files}
                X: Matrix = sp.load_npz(path).tocsr()
            else:
                arrays = {k: stored[k] for k in stored.files}
                X = _only_matrix(path, arrays)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read ({error}): give an .npz of plain arrays; object arrays are "
            "pickles and refused, save text with dtype=str"
        ) from error
    for name in labels:
        _pick(path, name, arrays, "array")
    if names is None and "features" in arrays:
        names = [str(v) for v in arrays["features"]]
    return _matrix(path, X, labels, transpose, names, arrays)


def _only_matrix(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    matrices = ["X"] if "X" in arrays else [k for k, v in arrays.items() if v.ndim == 2]
    if len(matrices) != 1:
        raise DataError(
            f"{path} holds {len(matrices)} matrices among {', '.join(arrays) or 'no arrays'}: "
            "name the data X"
        )
    return arrays[matrices[0]]


def _read_mtx(path: Path, labels: list[str], transpose: bool, names: list[str] | None) -> Dataset:
    if labels:
        raise DataError(f"{path}: an .mtx file has no labels: give an .h5ad, .npz or .csv instead")
    try:
        X = scipy.io.mmread(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no Matrix Market file ({error}): write it anew") from error
    return _matrix(path, sp.csr_matrix(X).astype(np.float64), labels, transpose, names, {})


def _matrix(
    path: Path,
    X: Matrix,
    labels: list[str],
    transpose: bool,
    names: list[str] | None,
    arrays: dict[str, np.ndarray],
) -> Dataset:
    X = X.T if transpose else X
    X = sp.csr_matrix(X) if sp.issparse(X) else X
    if names is None:
        names = [f"feature{j + 1}" for j in range(X.shape[1] if X.ndim == 2 else 0)]
    if X.ndim == 2 and len(names) != X.shape[1]:
        turned = len(names) == X.shape[0]
        raise DataError(
            f"{path}: {len(names)} feature names for {X.shape[1]} columns: "
            + ("the table looks transposed, set transpose" if turned else "give one for each")
        )
    return Dataset(X, names, {k: _classes(path, k, arrays[k]) for k in labels} or None)


def _feature_file(path: Path, given: str | Path | None) -> list[str] | None:
    """Feature names of a file that was given, or lies beside the matrix by one of its names."""
    chosen = names_beside(path) if given is None else local_path(given)
    if chosen is None:
        return None
    if not chosen.is_file():
        raise DataError(f"{chosen.absolute()} does not exist: correct the features file")
    table = pd.read_csv(chosen, sep="\t", header=None, dtype=str, na_filter=False)
    return table[0].tolist()


def _read_h5ad(path: Path, labels: list[str], transpose: bool) -> Dataset:
    import anndata

    try:
        stored = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is no readable .h5ad file ({type(error).__name__}: {error}): write it anew "
            "with anndata"
        ) from error
    stored = stored.T if transpose else stored
    if stored.X is None:
        raise DataError(f"{path} has no X: put the data there, layers are not read")
    for name in labels:
        _pick(path, name, stored.obs.columns, "obs key")
    X = sp.csr_matrix(stored.X) if sp.issparse(stored.X) else np.asarray(stored.X)
    return Dataset(
        X.astype(np.float64),
        [str(v) for v in stored.var_names],
        {k: _classes(path, k, stored.obs[k]) for k in labels} or None,
    )
