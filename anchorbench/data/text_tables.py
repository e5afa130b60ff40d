"""Tables of text (.csv, .tsv, plain or gzipped): every name as it stands, every line by its number.

Numbers are read row by row into one array of float64, so that a table never stands in memory as
text; columns of text are kept where they are asked for.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TextIO

import numpy as np

from anchorbench.data.errors import DataError, reading
from anchorbench.data.values import EXACT, MISSING

ANEW = "copy it again, or save it anew in UTF-8, as .gz only if it is gzipped"
WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_COMMAS = re.compile(r"[+-]?\d+(,\d+)+(\.\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_FOREIGN = {
    b"\xff\xfe": "is text in UTF-16: save it as UTF-8",
    b"\xfe\xff": "is text in UTF-16: save it as UTF-8",
    b"PK": "is a zip archive or an Excel workbook: save the sheet as .csv",
    b"\xd0\xcf": "is an old Excel workbook: save the sheet as .csv",
    b"\x89H": "is an HDF5 file: call it .h5ad if it is one",
}


@dataclass
class TextTable:
    """A table of text with its features along one axis, whichever that was in the file.

    names : of all columns (of all rows, where the rows are features), text and numbers.
    text : position among `names` -> its values as text.
    numbers : (n_samples, n) float64, and `of` the n positions among `names` that they are of.
    lines : lines of the rows in the file.
    """

    names: list[str]
    text: dict[int, list[str]]
    numbers: np.ndarray
    of: list[int]
    lines: list[int]


@contextmanager
def text_file(path: Path, remedy: str = ANEW) -> Iterator[TextIO]:
    """A file of UTF-8 text, gzipped or not, by its content; a byte order mark is passed over.

    Raises DataError for what is no text, with the block's own errors turned into sentences.
    """
    with reading(path, "text in UTF-8", remedy):
        with path.open("rb") as stream:
            head = stream.read(2)
        if head in _FOREIGN:
            raise DataError(f"{path} {_FOREIGN[head]}")
        zipped = head == b"\x1f\x8b" or path.suffix == ".gz"
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if zipped
            else path.open(encoding="utf-8-sig", newline="")
        ) as file:
            yield file


def rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and fields, of every row that is not blank."""
    with text_file(path) as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        line = 1
        try:
            for row in reader:
                if row and (len(row) > 1 or row[0].strip()):
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}: line {line}: {error}: check the quotes from there on"
            ) from error


def column_of_names(path: Path) -> list[str]:
    """The first tab-separated field of every line, as it stands.

    Quotes are part of a name, unless every name is quoted. Raises DataError for a blank line, which
    would shift the names that follow it.
    """
    with text_file(path) as file:
        lines = file.read().replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path} is empty: give one feature name a line")
    names = [line.split("\t")[0] for line in lines]
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{path}: line {number} has no name: give one, or remove the line")
    if all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        names = [name[1:-1].replace('""', '"') for name in names]
    return names


def read_columns(
    path: Path,
    separator: str,
    decimal: str,
    header: bool | None,
    as_text: Callable[[int, str], bool],
    skip: Collection[str],
    check: Callable[[list[str]], None],
) -> TextTable:
    """A table whose columns are features.

    Parameters
    ----------
    path, separator, decimal
        The file, what stands between its fields, and the decimal sign of its numbers.
    header : bool or None
        Whether the first line has names; None: it must, and is refused if it looks like a sample.
    as_text : callable
        Whether a column, by position and name, is kept as text.
    skip : collection of str
        Names of columns that are not kept at all.
    check : callable
        Called with all names as soon as they are known.

    Raises
    ------
    DataError
        With line and column, for a row of another length and for what is no number.
    """
    names, table = _head(path, rows(path, separator), header, separator)
    _check_header(path, names, header)
    check(names)
    skipped = [j for j, name in enumerate(names) if name in skip]
    kept = [j for j, name in enumerate(names) if j not in skipped and as_text(j, name)]
    rest = [j for j in range(len(names)) if j not in {*kept, *skipped}]
    of_rest = [names[j] for j in rest]
    text: dict[int, list[str]] = {j: [] for j in kept}
    values, lines = array("d"), []
    for line, row in table:
        if len(row) != len(names):
            raise DataError(_ragged(path, line, len(row), len(names), separator))
        values += parse([row[j] for j in rest], decimal, of_rest, f"{path}: line {line}", "column")
        lines.append(line)
        for j in kept:
            text[j].append(row[j])
    numbers = np.frombuffer(values, dtype=np.float64).reshape(len(lines), len(rest))
    return TextTable(names, text, numbers, rest, lines)


def read_rows(
    path: Path,
    separator: str,
    decimal: str,
    header: bool | None,
    as_text: Callable[[int, str], bool],
    skip: Collection[str],
    check: Callable[[list[str]], None],
) -> TextTable:
    """A table whose rows are features, their names in the first column; see `read_columns`."""
    head, table = _head(path, rows(path, separator), header is not False, separator)
    samples = head[1:]
    names: list[str] = []
    text: dict[int, list[str]] = {}
    values, rest, lines = array("d"), [], []
    for line, row in table:
        if len(row) != len(head):
            raise DataError(_ragged(path, line, len(row), len(head), separator))
        lines.append(line)
        j, name = len(names), row[0]
        names.append(name)
        if name in skip:
            continue
        if as_text(j, name):
            text[j] = row[1:]
            continue
        values += parse(row[1:], decimal, samples, f"{path}: line {line}", "row")
        rest.append(j)
    check(names)
    numbers = np.frombuffer(values, dtype=np.float64).reshape(len(rest), len(samples)).T
    return TextTable(names, text, numbers, rest, lines)


def _head(
    path: Path, table: Iterator[tuple[int, list[str]]], header: bool | None, separator: str
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and the rows below them."""
    first = next(table, None)
    second = next(table, None) if header is not False else first
    if first is None or second is None:
        raise DataError(f"{path} has no rows: give a header line and samples")
    names = first[1]
    others = [other for other in WORDS if other != separator and other in names[0]]
    if len(names) == 1 and others and len(second[1]) < 3 + second[1][0].count(others[0]):
        raise DataError(
            f"{path}: the first line is one field, with {names[0].count(others[0])} "
            f"{WORDS[others[0]]}s in it: set `separator: {_quoted(others[0])}`, and "
            "`decimal: ','` if the numbers have a comma"
        )
    if header is False:
        return [f"feature{j + 1}" for j in range(len(names))], chain([first], table)
    if len(names) == len(second[1]) - 1:
        names = ["", *names]  # R's write.table gives row names no header
    if len(names) != len(second[1]):
        raise DataError(_ragged(path, second[0], len(second[1]), len(names), separator))
    return names, chain([second], table)


def _quoted(separator: str) -> str:
    """A separator as YAML has it; an escape means something in double quotes alone."""
    return '"\\t"' if separator == "\t" else f"'{separator}'"


def _check_header(path: Path, names: list[str], header: bool | None) -> None:
    """Raise DataError where the first line looks like a sample, or a name occurs twice."""
    numeric = [name for name in names if is_number(name)]
    if header is None and len(names) > 1 and len(numeric) > len(names) / 2:
        whole = [int(name) for name in numeric if name.isdecimal()]
        counted = whole in (list(range(len(whole))), list(range(1, len(whole) + 1)))
        rising = len(whole) > 3 and all(a < b for a, b in pairwise(whole))
        if len(whole) < len(numeric) or not (counted or rising):
            raise DataError(
                f"{path}: the first line is of numbers ({', '.join(names[:5])}): set `header: "
                "false` if it is a sample, or `header: true` if these are the names of features"
            )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: column {name!r} occurs twice: rename or drop one")
        seen.add(name)


def _ragged(path: Path, line: int, found: int, expected: int, separator: str) -> str:
    return (
        f"{path}: line {line} has {found} fields, the table has {expected}: check the separator "
        f"({WORDS.get(separator, repr(separator))}) and quotes"
    )


def is_number(text: str) -> bool:
    """Whether a field is written as a number, with either decimal sign."""
    return _NUMBER.fullmatch(text.strip()) is not None


def parse(
    fields: Sequence[str], decimal: str, names: Sequence[str], place: str, where: str
) -> array[float]:
    """Fields as numbers. Raises DataError with the place and name of the first that is none.

    where : "column" or "row", what the remedy calls a feature.
    """
    written = fields if decimal == "." else [field.replace(decimal, ".") for field in fields]
    try:
        values = array("d", map(float, written))
    except ValueError:
        values = array("d")
    # Python takes "1_000" for a number; a sum is NaN where one of its terms is.
    plain = "_" not in "".join(written) and (decimal == "." or "." not in "".join(fields))
    exact = not values or -EXACT < min(values) <= max(values) < EXACT
    if len(values) == len(fields) and plain and exact and not math.isnan(sum(values)):
        return values
    for j, field in enumerate(written):
        if problem := _problem(field, fields[j], decimal):
            name = names[j] if j < len(names) else str(j + 1)
            raise DataError(
                f"{place}, column {name!r} has {problem}: fill or correct it, or list the {where} "
                "under `labels` or `drop` (or as `id`) if it is no feature"
            )
    return values


def _problem(field: str, original: str, decimal: str) -> str | None:
    """Why a field is no number, or not the one that it would be read as; None where it is."""
    if field.strip() in MISSING:
        return "no value"
    shown = repr(original[:40])
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if math.isnan(value) or "_" in field:
        return f"{shown}, which is not a number{_comma(original, decimal)}"
    if decimal != "." and "." in original:
        return f"{shown}, which has a point where the decimal sign is {decimal!r} (of thousands?)"
    digits = field.strip()
    if abs(value) >= EXACT and _WHOLE.fullmatch(digits) and int(digits) != int(value):
        return f"{shown}, a whole number beyond 2^53, which float64 does not hold exactly"
    return None


def _comma(field: str, decimal: str) -> str:
    """What a comma in a field may be, where the decimal sign is the point."""
    if decimal != "." or not _COMMAS.fullmatch(field.strip()):
        return ""
    if _THOUSANDS.fullmatch(field.strip()):
        return " (a comma of thousands? write 1000 for 1,000; a decimal one? set `decimal: ','`)"
    return " (a decimal comma? set `decimal: ','`)"
