"""Names and numbers as they stand in a file, whatever its format.

Names and classes are text and stay what they are: gene "NA", sample "007". Numbers become float64,
and where that would change one they are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp

from anchorbench.data.errors import DataError

EXACT = 2**53
"""From here on float64 does not hold every whole number."""
MISSING = ("", "NA", "NaN", "nan", "N/A", "NULL", "null", "<NA>")
"""What a missing number is written as. No name and no class is ever taken for missing but ""."""


def text(values: Iterable[Any]) -> list[str]:
    """Names or classes as text: bytes are UTF-8, whole numbers have no decimal point."""
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]


def classes(values: Iterable[Any], where: str) -> np.ndarray:
    """Classes of rows as an array of text.

    Raises DataError where one has none: empty text, or a missing value of a table library.
    """
    given = list(values.ravel().tolist() if isinstance(values, np.ndarray) else values)
    missing = [i for i, v in enumerate(given) if _is_missing(v)]
    if missing:
        raise DataError(
            f"{where} have no value in row {missing[0] + 1} ({len(missing)} such rows): fill them "
            "or drop the rows"
        )
    return np.array(text(given), dtype=np.str_)


def _is_missing(value: Any) -> bool:
    # Nothing that is missing equals itself: NaN does not, and of pandas' NA nobody knows.
    return value is None or (isinstance(value, str) and not value) or (
        not isinstance(value, str | bytes) and (value != value) is not False
    )  # fmt: skip


def numbers(X: Any, where: str) -> tuple[Any, int]:
    """A matrix as float64, ndarray or CSR, and how many entries were stored twice and added up.

    Raises DataError, beginning with `where`, for what is no number, has an imaginary part, would
    change by becoming float64, or has indices outside of its shape.
    """
    if not sp.issparse(X):
        return _exact(np.asarray(X), where), 0
    if X.format in ("csr", "csc", "bsr"):
        try:  # scipy's own code trusts indices, and a wrong one ends the process
            X.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"{where} is a damaged sparse matrix ({error}): save it anew") from None
    X = X.copy() if X.format == "csr" else X
    if X.data.dtype != np.float64:
        X = X.astype(X.data.dtype)
        X.data = _exact(X.data, where)
    stored = X.nnz if X.format in ("csr", "csc", "coo") else None
    X = sp.csr_matrix(X)  # from coo this adds up
    X.sum_duplicates()
    return X, 0 if stored is None else int(stored - X.nnz)


def _exact(values: np.ndarray, where: str) -> np.ndarray:
    """Values as float64, the same object where they are."""
    if values.dtype.kind == "c":
        raise DataError(f"{where} holds complex numbers: give real ones, no part is dropped")
    if values.dtype.kind not in "fiub":
        kind = "objects" if values.dtype.kind == "O" else str(values.dtype)
        raise DataError(f"{where} holds {kind} values: give numbers")
    if values.dtype == np.float64:
        return values
    if values.dtype.kind in "iu" and values.size:
        largest = max(int(values.max()), -int(values.min()))
        if largest > EXACT:
            raise DataError(
                f"{where} holds the whole number {largest}, beyond 2^53, which no model here can "
                "hold exactly: divide the column by a unit that fits, or drop it"
            )
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float64)
    if values.dtype.itemsize > 8 and not np.array_equal(narrow, values, equal_nan=True):
        raise DataError(f"{where} holds {values.dtype} values that float64 does not: round them")
    return narrow
