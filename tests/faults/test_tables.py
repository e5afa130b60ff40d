"""Tables of every format: read as they stand, or refused with file, place and remedy."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchorbench.data.dataset import Dataset, Split, check_varies, rows_needed, varying
from anchorbench.data.errors import DataError
from anchorbench.data.own_tables import read_table
from anchorbench.study import config, plan, recipe
from faults.outcomes import End, command, of_call, of_command, run

N = 30
NAMES = ["NA", "007", "1e5", "nan", "True", "gene 1", "x, y", 'a"b', "Ä"]
CLASSES = np.array(["NA", "01", "1", "true", "None"])[np.arange(N) % 5]
X = np.random.default_rng(0).poisson(1.5, (N, len(NAMES))).astype(float) + np.eye(N, len(NAMES))
SPARSE = {
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "coo": sp.coo_matrix,
    "bsr": lambda values: sp.bsr_matrix(values, blocksize=(3, 3)),
    "dia": sp.dia_matrix,
    "csr array": sp.csr_array,
    "coo array": sp.coo_array,
}


def text(separator: str = ",", decimal: str = ".") -> str:
    frame = pd.DataFrame(X + 0.5, columns=NAMES).assign(kind=CLASSES)
    frame.iloc[:, :-1] -= 0.5
    return frame.to_csv(index=False, sep=separator, decimal=decimal)


def as_text(path: Path, separator: str = ",", decimal: str = ".") -> dict[str, Any]:
    content = text(separator, decimal).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return {"labels": "kind"}


def as_npz(path: Path) -> dict[str, Any]:
    np.savez_compressed(path, X=X, features=np.array(NAMES), kind=CLASSES)
    return {"labels": "kind"}


def names_beside(path: Path) -> dict[str, Any]:
    (path.parent / "names.tsv").write_text("".join(f"{n}\tmore\n" for n in NAMES), encoding="utf-8")
    return {"features": path.parent / "names.tsv"}


def as_sparse(kind: str) -> Callable[[Path], dict[str, Any]]:
    def write(path: Path) -> dict[str, Any]:
        sp.save_npz(path, SPARSE[kind](X))
        return names_beside(path)

    return write


def as_mtx(path: Path) -> dict[str, Any]:
    content = io.BytesIO()
    scipy.io.mmwrite(content, sp.coo_matrix(X))
    plain = content.getvalue()
    path.write_bytes(gzip.compress(plain) if path.suffix == ".gz" else plain)
    return names_beside(path)


def as_h5ad(path: Path, layer: str | None = None) -> dict[str, Any]:
    obs = pd.DataFrame({"kind": pd.Categorical(CLASSES)}, index=[f"{i:03}" for i in range(N)])
    stored = anndata.AnnData(sp.csr_matrix(X), obs, pd.DataFrame(index=NAMES))
    if layer:
        stored.layers[layer], stored.X = stored.X, stored.X * 0
    stored.write_h5ad(path)
    return {"labels": "kind", **({"layer": layer} if layer else {})}


WRITERS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "csv": ("t.csv", as_text),
    "csv.gz": ("t.csv.gz", as_text),
    "tsv": ("t.tsv", lambda path: as_text(path, "\t")),
    "npz": ("t.npz", as_npz),
    **{f"npz of {kind}": ("t.npz", as_sparse(kind)) for kind in SPARSE},
    "mtx": ("t.mtx", as_mtx),
    "mtx.gz": ("t.mtx.gz", as_mtx),
    "h5ad": ("t.h5ad", as_h5ad),
    "h5ad layer": ("t.h5ad", lambda path: as_h5ad(path, "raw")),
}


def dense(dataset: Dataset) -> np.ndarray:
    return dataset.X.toarray() if sp.issparse(dataset.X) else dataset.X


def is_right(dataset: Dataset) -> bool:
    classes = dataset.labels is None or dataset.labels["kind"].tolist() == CLASSES.tolist()
    return dataset.features == NAMES and np.array_equal(dense(dataset), X) and classes


def read(path: Path, kind: str = "counts", **options: Any) -> tuple[End, str, list[Dataset]]:
    """How reading ended, the message, and what was read."""
    found: list[Dataset] = []
    end, message = of_call(lambda: found.append(read_table(path, kind, **options)))
    return end, message, found


@pytest.mark.parametrize("kind", WRITERS)
def test_names_classes_and_numbers_stand_as_they_are(
    tmp_path: Path, note: Callable[..., None], kind: str
) -> None:
    name, write = WRITERS[kind]
    options = write(tmp_path / name)
    end, message = of_call(lambda: read_table(tmp_path / name, "counts", **options), is_right)
    note(end, message)
    assert end == End.RECOVERED, message


def damaged(content: bytes, how: str) -> bytes:
    """A file's content after some harm."""
    middle = len(content) // 2
    if how.startswith("flip"):
        at = middle + int(how.split()[1])
        return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
    return {
        "cut": content[:middle],
        "head": content[:20],
        "empty": b"",
        "garbage": bytes(np.random.default_rng(1).integers(0, 256, 300, dtype=np.uint8)),
        "page": b"<!DOCTYPE html><html><body>Log in</body></html>",
        "zeros": content[:middle] + bytes(64) + content[middle + 64 :],
        "doubled": content + content,
    }[how]


HARM = ["cut", "head", "empty", "garbage", "page", "zeros", "doubled"]


@pytest.mark.parametrize("how", HARM)
@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_table_is_explained(
    tmp_path: Path, note: Callable[..., None], kind: str, how: str
) -> None:
    name, write = WRITERS[kind]
    options = write(tmp_path / name)
    path = tmp_path / name
    path.write_bytes(damaged(path.read_bytes(), how))
    # Text that ends at the end of a line is a table. HDF5 passes over what follows its end.
    certain = kind != "h5ad" or how != "zeros"
    end, message = of_call(
        lambda: read_table(path, "counts", **options), lambda d: not certain or is_right(d)
    )
    note(end, message)
    assert end == End.RECOVERED or str(path) in message


@pytest.mark.slow
@pytest.mark.parametrize("at", range(-40, 40, 8))
@pytest.mark.parametrize("kind", ["csv.gz", "npz", "npz of csr", "npz of dia", "mtx.gz"])
def test_a_flipped_byte_is_noticed(
    tmp_path: Path, note: Callable[..., None], kind: str, at: int
) -> None:
    name, write = WRITERS[kind]
    options = write(tmp_path / name)
    path = tmp_path / name
    path.write_bytes(damaged(path.read_bytes(), f"flip {at}"))
    end, message = of_call(lambda: read_table(path, "counts", **options), is_right)
    note(end, message)


NUMBERS = [f"{i * 7 % 11},{i * 5 % 13 - 1},{i * 3 % 17}.5" for i in range(N)]


def lines(header: str | None, *rows: str, body: list[str] | None = None) -> str:
    whole = [*([] if header is None else [header]), *rows, *(NUMBERS if body is None else body)]
    return "\n".join(whole) + "\n"


COUNTED = [f"{i + 1},{row}" for i, row in enumerate(NUMBERS)]
PATIENTS = [f"P{i:02},{row}" for i, row in enumerate(NUMBERS)]
LOST = [f"{i * 37 % 101},{row}" for i, row in enumerate(NUMBERS)]
MIXED = [f"{i:02}x-{i},{row}" for i, row in enumerate(NUMBERS)]
VISITS = [f"{i // 3},{row}" for i, row in enumerate(NUMBERS)]
SEVENS = [f"{row},7" for row in NUMBERS]
COMMAS = [row.replace(",", ";").replace(".", ",") for row in NUMBERS]
# Text of a .csv, options, and the features that it has or the words of the refusal.
TEXTS: dict[str, tuple[str, dict[str, Any], list[str] | str]] = {
    "plain": (lines("a,b,c"), {}, ["a", "b", "c"]),
    "CRLF, BOM": ("\ufeff" + lines("a,b,c").replace("\n", "\r\n"), {}, ["a", "b", "c"]),
    **{
        f"index {name!r}": (lines(f"{name},a,b,c", body=COUNTED), {}, ["a", "b", "c"])
        for name in ("", "Unnamed: 0", "X", "...1", "id", "ID", "index", "row.names")
    },
    "no name in the header": (lines("a,b,c", body=PATIENTS), {}, ["a", "b", "c"]),
    "id of people": (lines("id,a,b,c", body=PATIENTS), {}, ["a", "b", "c"]),
    "id without order": (lines("id,a,b,c", body=LOST), {}, ["a", "b", "c"]),
    "id of digits and letters": (lines("id,a,b,c", body=MIXED), {}, ["a", "b", "c"]),
    "id with repeats": (lines("id,a,b,c", body=VISITS), {}, "'id' apart `id: id` `id: false`"),
    "id with repeats, said": (lines("id,a,b,c", body=VISITS), {"id": "id"}, ["a", "b", "c"]),
    "id by name": (lines("who,a,b,c", body=PATIENTS), {"id": "who"}, ["a", "b", "c"]),
    "X that is a measurement": (lines("X,a,b,c", body=LOST), {}, ["X", "a", "b", "c"]),
    "a feature called id": (lines("id,a,b,c", body=LOST), {"id": False}, ["id", "a", "b", "c"]),
    "a counter": (lines("n,a,b,c", body=COUNTED), {}, "'n' counts rows `id: n` `id: false`"),
    "a counter kept": (lines("n,a,b,c", body=COUNTED), {"id": False}, ["n", "a", "b", "c"]),
    "words first": (lines("who,a,b,c", body=PATIENTS), {}, "line 2 'who' 'P00' `drop`"),
    "unknown id": (lines("a,b,c"), {"id": "d"}, "column 'd'"),
    "no header": (lines(None), {}, "first line numbers `header: false`"),
    "no header, said": (lines(None), {"header": False}, ["feature1", "feature2", "feature3"]),
    "numbers as names": (lines("0,1,2"), {}, ["0", "1", "2"]),
    "years as names": (lines("7,5,9"), {"header": True}, ["7", "5", "9"]),
    "semicolons": (lines("a;b;c", body=COMMAS), {}, "2 semicolons `separator: ';'` `decimal: ','`"),
    "semicolons, said": (
        lines("a;b;c", body=COMMAS),
        {"separator": ";", "decimal": ","},
        ["a", "b", "c"],
    ),
    "decimal commas": (lines("a;b;c", body=COMMAS), {"separator": ";"}, "line 2 `decimal: ','`"),
    "tabs": (lines("a,b,c").replace(",", "\t"), {}, "2 tabs `separator: \"\\t\"`"),
    "thousands": (lines("a,b,c", '"1,000",2,3'), {}, "line 2 'a' thousands `decimal: ','`"),
    "thousands and a point": (lines("a,b,c", '"1,000.5",2,3'), {}, "line 2 'a' thousands"),
    "points of thousands": (
        lines("a;b;c", "900;1.000;2", body=COMMAS),
        {"separator": ";", "decimal": ","},
        "line 2 'b' '1.000' thousands",
    ),
    "beyond 2^53": (lines("a,b,c", "9007199254740993,2,3"), {}, "line 2 'a' 2^53"),
    "a label dropped": (lines("a,b,c,d"), {"labels": "d", "drop": "d"}, "'d' `labels` `drop`"),
    "an id dropped": (lines("a,b,c,d"), {"id": "d", "drop": ["c", "d"]}, "'d' `drop` `id`"),
    "blank lines": (lines("a,b,c", "", "1,2,3", "", "1,many,3"), {}, "line 5 'b' 'many'"),
    "a line in quotes": (lines("a,b,c", '"1\n",2,3', "1,many,3"), {}, "line 4 'b' 'many'"),
    "a quote left open": (lines("a,b,c", '"1,2,3'), {}, "line 2 quotes"),
    "a row too long": (lines("a,b,c", "1,2,3", "1,2,3,4"), {}, "line 3 4 fields"),
    "a row too short": (lines("a,b,c", "1,2,3", "1,2"), {}, "line 3 2 fields"),
    "an underscore": (lines("a,b,c", "1_000,2,3"), {}, "line 2 'a' '1_000'"),
    "no value": (lines("a,b,c", "1,,3"), {}, "line 2 'b' no value"),
    "NA": (lines("a,b,c", "1,NA,3"), {}, "line 2 'b' no value"),
    "NaN": (lines("a,b,c", "1,2,NaN"), {}, "line 2 'c' no value"),
    "inf": (lines("a,b,c", "1,2,-inf"), {}, "'c' finite"),
    "huge": (lines("a,b,c", "1,2,1e400"), {}, "'c' finite"),
    "twice": (lines("a,b,a"), {}, "'a' twice"),
    "no rows": ("a,b,c\n", {}, "no rows"),
    "blank": ("\n\n \n", {}, "no rows"),
    "nameless column": (lines("a,,c"), {}, "feature 2 no name"),
    "constant": (lines("a,b,c,d", body=SEVENS), {}, "'d' `drop: constant`"),
    "drop constant": (lines("a,b,c,d", body=SEVENS), {"drop": "constant"}, ["a", "b", "c"]),
    "dropped by name": (
        lines("a,b,c,d", body=[f"{row},x" for row in NUMBERS]),
        {"drop": "d"},
        ["a", "b", "c"],
    ),
    "drop of nothing": (lines("a,b,c"), {"drop": "d"}, "column 'd' a, b, c"),
    "features of a csv": (lines("a,b,c"), {"features": "names.txt"}, "`features` no use"),
    "layer of a csv": (lines("a,b,c"), {"layer": "raw"}, "`layer` no use"),
    "UTF-16": (lines("a,b,c").encode("utf-16").decode("latin-1"), {}, "UTF-16"),
    "Excel": ("PK\x03\x04" + lines("a,b,c"), {}, "Excel"),
    "Latin-1": (lines("a,b,ä"), {}, "UTF-8"),
    "ten rows": (lines("a,b,c", body=NUMBERS[:10]), {}, "10 rows 19 `folds: 4`"),
    "ten rows, four folds": (lines("a,b,c", body=NUMBERS[:10]), {"folds": 4}, ["a", "b", "c"]),
    "one fold": (lines("a,b,c"), {"folds": 1}, "folds 1 2 or more"),
    "no folds": (lines("a,b,c"), {"folds": 0}, "folds 0 2 or more"),
    "three rows": (lines("a,b,c", body=NUMBERS[:3]), {"folds": 2}, "3 rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_texts_that_are_odd(tmp_path: Path, note: Callable[..., None], case: str) -> None:
    content, options, expected = TEXTS[case]
    path = tmp_path / "odd.csv"
    path.write_bytes(content.encode("latin-1" if case in ("UTF-16", "Latin-1") else "utf-8"))
    end, message, found = read(path, "real", **options)
    note(end, message)
    if isinstance(expected, str):
        assert end == End.CLEAR_ERROR and "odd.csv" in message
        assert all(word in message for word in expected.split()), message
    else:
        assert end == End.RECOVERED, message
        assert found[0].features == expected
        assert len(found[0].X) == (10 if "ten" in case else N)


def test_what_was_done_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(lines("id,a,b,c,k", body=[f"{row},7" for row in COUNTED]))
    notes = " ".join(read_table(path, "real", drop=["constant"]).notes)
    assert "'id' names the rows" in notes and "1 constant features were dropped: k" in notes


TYPES = ["float16", "float32", "int8", "uint8", "int64", "uint64", "bool", "longdouble"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_small_types_become_float64_before_they_are_used(
    tmp_path: Path, note: Callable[..., None], dtype: str, form: Callable[..., Any]
) -> None:
    """Sums of 30 times 60,000 are beyond float16 and int8."""
    largest = {"float16": 6e4, "int8": 100, "uint8": 200, "bool": 1}.get(dtype, 60_000)
    values = (np.minimum(X * 1e9, largest) * (np.arange(N)[:, None] % 9 != np.arange(9))).astype(
        dtype
    )
    if form is sp.csr_matrix and dtype not in ("float16", "longdouble"):
        sp.save_npz(tmp_path / "t.npz", form(values))
    else:
        np.savez(tmp_path / "t.npz", X=values)
    end, message, found = read(tmp_path / "t.npz")
    note(end, message)
    assert end == End.RECOVERED and found[0].X.dtype == np.float64, message
    np.testing.assert_array_equal(dense(found[0]), values.astype(float))
    assert found[0].X.sum() == values.astype(float).sum()


UNFIT: dict[str, tuple[np.ndarray, str]] = {
    "beyond 2^53": (np.where(np.arange(270).reshape(30, 9) == 5, 2**53 + 1, 1), "2^53"),
    "uint64": (np.full((30, 9), 2**64 - 1, np.uint64), "2^53"),
    "complex": (X + 1j, "complex"),
    "text": (X.astype(str), "give numbers"),
    "objects": (X.astype(object), "pickles"),
    "dates": (X.astype("datetime64[D]"), "give numbers"),
    "one dimension": (X[0], "a matrix"),
    "three dimensions": (X[None], "a matrix"),
    "no columns": (X[:, :0], "2 or more"),
    "no rows": (X[:0], "0 rows"),
    "nan": (np.where(X > 2, np.nan, X), "not a number"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_numbers_that_cannot_be_held_are_refused(
    tmp_path: Path, note: Callable[..., None], case: str
) -> None:
    values, words = UNFIT[case]
    np.savez(tmp_path / "t.npz", X=values)
    end, message, _ = read(tmp_path / "t.npz")
    note(end, message)
    assert end == End.CLEAR_ERROR and words in message and "t.npz" in message


def test_an_imaginary_part_of_an_mtx_is_not_dropped(tmp_path: Path) -> None:
    scipy.io.mmwrite(tmp_path / "t.mtx", sp.coo_matrix(X + 1j * X))
    with pytest.raises(DataError, match=r"t\.mtx holds complex numbers"):
        read_table(tmp_path / "t.mtx", "real")


@pytest.mark.parametrize("form", ["csr", "coo", "mtx"])
def test_entries_in_parts_are_added_up_and_noted(
    tmp_path: Path, note: Callable[..., None], form: str
) -> None:
    """Every entry is stored as 1.5 times and -0.5 times its value."""
    whole = sp.coo_matrix(X)
    parts = np.concatenate([1.5 * whole.data, -0.5 * whole.data])
    row, column = (np.concatenate([index, index]) for index in whole.coords)
    path = tmp_path / ("t.mtx" if form == "mtx" else "t.npz")
    if form == "mtx":
        entries = zip(row + 1, column + 1, parts, strict=True)
        body = "".join(f"{i} {j} {v}\n" for i, j, v in entries)
        head = f"%%MatrixMarket matrix coordinate real general\n{N} {len(NAMES)} {len(parts)}\n"
        path.write_text(head + body)
    elif form == "csr":
        order = np.argsort(row, kind="stable")
        starts = np.searchsorted(row[order], np.arange(N + 1))
        stored = sp.csr_matrix((parts[order], column[order], starts), X.shape)
        assert stored.nnz == len(parts)
        sp.save_npz(path, stored)
    else:
        sp.save_npz(path, sp.coo_matrix((parts, (row, column)), X.shape))
    end, message, found = read(path)
    note(end, message)
    assert end == End.RECOVERED, message
    np.testing.assert_array_equal(dense(found[0]), X)
    assert f"{whole.nnz} entries" in found[0].notes[0]


WAYS = ["far", "negative", "short"]


def broken_sparse(path: Path, form: str, how: str) -> None:
    """What save_npz writes of a matrix, with indices that lead astray."""
    sp.save_npz(path, SPARSE[form](X))
    with np.load(path) as stored:
        arrays = dict(stored)
    key = {"coo": "col"}.get(form, "indices")
    if how == "indptr":
        arrays["indptr"] = arrays["indptr"][::-1].copy()
    elif how == "short":
        arrays["data"] = arrays["data"][:-3]
    else:
        arrays[key] = arrays[key].copy()
        arrays[key][3] = {"far": 10**6, "negative": -5}[how]
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("form", "how"),
    [
        *((form, how) for form in ("csr", "csc", "bsr") for how in (*WAYS, "indptr")),
        *(("coo", how) for how in WAYS),
    ],
)
def test_indices_that_lead_astray_are_refused(
    tmp_path: Path, note: Callable[..., None], form: str, how: str
) -> None:
    broken_sparse(tmp_path / "t.npz", form, how)
    end, message, _ = read(tmp_path / "t.npz")
    note(end, message)
    assert end == End.CLEAR_ERROR and "t.npz" in message


REQUESTS = {
    "npz": ["layer", "id", "header", "separator", "decimal"],
    "mtx": ["labels", "layer", "id", "header"],
    "h5ad": ["features", "id", "header", "separator"],
}
VALUES = {"header": True, "separator": ";", "decimal": ","}


@pytest.mark.parametrize(("kind", "key"), [(k, key) for k in REQUESTS for key in REQUESTS[k]])
def test_a_request_that_a_format_cannot_meet_is_refused(
    tmp_path: Path, note: Callable[..., None], kind: str, key: str
) -> None:
    name, write = WRITERS[kind]
    options = {**write(tmp_path / name), key: VALUES.get(key, "x")}
    end, message, _ = read(tmp_path / name, **options)
    note(end, message)
    assert end == End.CLEAR_ERROR and f"`{key}` is of no use" in message


@pytest.mark.parametrize("kind", ["npz", "npz of coo", "mtx", "h5ad"])
def test_features_are_dropped_by_name_in_every_format(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    options = write(tmp_path / name)
    dataset = read_table(tmp_path / name, "counts", drop=["NA", "1e5"], **options)
    assert dataset.features == [n for n in NAMES if n not in ("NA", "1e5")]
    with pytest.raises(DataError, match="no feature 'gone'"):
        read_table(tmp_path / name, "counts", drop="gone", **options)


FEATURES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "a gap": (b"a\n\nb\nc\n", "line 2 has no name"),
    "Latin-1": (b"\xe9\nb\nc\nd\n", "UTF-8"),
    "a header": ("gene\n" + "\n".join(NAMES) + "\n", "header"),
    "damaged": (gzip.compress(b"a\nb\n")[:-6], "cannot be read"),
}


@pytest.mark.parametrize("beside", ["features.tsv", "genes.tsv.gz", "given"])
@pytest.mark.parametrize("case", FEATURES)
def test_files_of_names(tmp_path: Path, note: Callable[..., None], case: str, beside: str) -> None:
    as_mtx(tmp_path / "matrix.mtx")
    content, words = FEATURES[case]
    raw = content if isinstance(content, bytes) else content.encode()
    packed = beside.endswith(".gz") and case != "damaged"
    file = tmp_path / ("mine.txt" if beside == "given" else beside)
    file.write_bytes(gzip.compress(raw) if packed else raw)
    options = {"features": file} if beside == "given" else {}
    end, message, _ = read(tmp_path / "matrix.mtx", **options)
    note(end, message)
    assert end == End.CLEAR_ERROR and words in message


def test_names_keep_their_quotes_unless_all_have_them(tmp_path: Path) -> None:
    as_mtx(tmp_path / "matrix.mtx")
    names = ['"a', 'b"', *"cdefghi"]
    (tmp_path / "features.tsv").write_text("".join(f"{name}\tx\n" for name in names))
    assert read_table(tmp_path / "matrix.mtx", "counts").features == names
    (tmp_path / "features.tsv").write_text("".join(f'"{name}"\n' for name in "abcdefghi"))
    assert read_table(tmp_path / "matrix.mtx", "counts").features == list("abcdefghi")


def test_files_that_are_something_else(tmp_path: Path, note: Callable[..., None]) -> None:
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").rename(tmp_path / "t.npz")
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        archive.writestr("readme.txt", "x")
    (tmp_path / "folder.csv").mkdir()
    huge = "%%MatrixMarket matrix array real general\n1000000000000 1000000000000\n1\n"
    (tmp_path / "huge.mtx").write_text(huge)
    for name in ("t.npz", "z.npz", "folder.csv", "huge.mtx", "none.csv"):
        end, message, _ = read(tmp_path / name)
        note(end, message)
        assert end == End.CLEAR_ERROR and name in message


def test_an_edited_file_of_names_is_another_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_mtx(tmp_path / "matrix.mtx")
    (tmp_path / "c.yaml").write_text(
        "datasets: {mine: {file: matrix.mtx, likelihood: poisson}, synthetic: false}"
    )

    def key(names: str) -> str:
        (tmp_path / "features.tsv").write_text(names)
        recipe.contents.clear()
        made = plan.make(config.load([tmp_path / "c.yaml"]))
        return made.instances["mine", "shared"].data_key

    assert key("a\nb\n") != key("a\nc\n")


@pytest.mark.parametrize("folds", [2, 3, 4, 5, 10])
def test_the_rows_that_folds_need(folds: int) -> None:
    needed = rows_needed(folds)
    for n, enough in ((needed - 1, False), (needed, True), (needed + 7, True)):
        fold = np.random.RandomState(42).randint(0, folds, n)
        assert (len(set(fold.tolist())) == folds) == enough


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_a_feature_that_a_training_fold_lacks_is_left_out(form: Callable[..., Any]) -> None:
    """Row 3 is the only one where `rare` departs from 0; whichever its fold, training lacks it."""
    values = np.random.default_rng(2).standard_normal((60, 4))
    values[:, 2] = 0.0
    values[3, 2] = 1.0
    names = ["a", "b", "rare", "c"]
    left = varying(Dataset(form(values), names))
    assert left.features == ["a", "b", "c"] and "rare" in left.notes[0]
    np.testing.assert_array_equal(dense(left), values[:, [0, 1, 3]])
    values[40:, 2] = np.arange(20)
    assert varying(Dataset(form(values), names)).features == names
    split = Split(values[4:40], values[:4])
    with pytest.raises(DataError, match="replicate 0: feature 'rare' is constant"):
        check_varies(split, names, "d: replicate 0")
    check_varies(Split(values[4:40], values[4:8]), names, "constant in both is no matter")


def test_the_steps_say_so_once(tmp_path: Path, note: Callable[..., None]) -> None:
    """fit before prepare, prepare of a bad table, and prepare of a good one in both protocols."""
    (tmp_path / "c.yaml").write_text(
        "datasets: {mine: {file: t.csv, likelihood: gaussian}, synthetic: false}\nmethods: [floor]"
    )
    table, about = tmp_path / "t.csv", ["--configfile", "c.yaml", "--dataset", "mine"]
    table.write_text(lines("id,a,b,c", "31,1,many,3", body=COUNTED))
    fit = [*about, "--method", "floor", "--protocol", "shared"]
    fitted = run(command("fit", *fit), tmp_path)
    refused = run(command("prepare", *about), tmp_path)
    for ended, words in ((fitted, "anchorbench prepare"), (refused, "line 2, column 'b'")):
        note(of_command(ended, lambda: False), ended.text)
        assert ended.text.count(words) == 1 and len(ended.text) < 400, ended.text
    for step in (["fit", *fit], ["collect", *about[:2]], ["gate", *about[:2]]):
        ended = run(command(*step), tmp_path)
        assert ended.text.count("line 2, column 'b'") == (step[0] != "collect"), ended.text
    note(of_command(ended, lambda: False), ended.text)  # the gate, of all five replicates
    table.write_text(lines("id,a,b,c", body=COUNTED))
    for protocol in ("published", "shared"):
        ended = run(command("prepare", *about, "--protocol", protocol), tmp_path)
        note(of_command(ended), ended.text)
        assert ended.code == 0, ended.text
    metas = [json.loads(m.read_text()) for m in tmp_path.glob("results/store/data/*/meta.json")]
    assert [meta["notes"] for meta in metas] == [["column 'id' names the rows and is no feature"]]


# ---- anything at all -----------------------------------------------------------------------------

ANYHOW: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "database": None,
    "derandomize": True,
}
CELLS = st.text('0123456789,.;"\n\r\t\0 NAaein-+_%é', max_size=30)
COORDINATES = "%%MatrixMarket matrix coordinate real general\n"
WORDS = ["%%MatrixMarket", "matrix", "array", "pattern", "complex", "symmetric", "-1", "3", "1e999"]


def ends_well(path: Path, content: bytes, **options: Any) -> None:
    path.write_bytes(content)
    end, message = of_call(lambda: read_table(path, "real", **options))
    assert end in (End.RECOVERED, End.CLEAR_ERROR), message


@settings(max_examples=150, **ANYHOW)
@given(head=CELLS, cells=CELLS, at=st.integers(0, 400), transpose=st.booleans())
def test_any_text_is_a_table_or_explained(
    tmp_path: Path, head: str, cells: str, at: int, transpose: bool
) -> None:
    content = head + lines("id,a,b,c", body=COUNTED)
    ends_well(
        tmp_path / "any.csv", (content[:at] + cells + content[at:]).encode(), transpose=transpose
    )


@settings(max_examples=100, **ANYHOW)
@given(
    content=st.binary(max_size=200), suffix=st.sampled_from([".csv.gz", ".npz", ".mtx", ".h5ad"])
)
def test_any_bytes_are_explained(tmp_path: Path, content: bytes, suffix: str) -> None:
    ends_well(tmp_path / f"any.csv{suffix}", content)


@settings(max_examples=100, **ANYHOW)
@given(words=st.lists(st.sampled_from(WORDS), max_size=12), sep=st.sampled_from([" ", "\n"]))
def test_any_matrix_market_file_is_read_or_explained(
    tmp_path: Path, words: list[str], sep: str
) -> None:
    ends_well(tmp_path / "any.mtx", (COORDINATES + sep.join(words)).encode())
    ends_well(tmp_path / "any.mtx", (" ".join(words[:5]) + "\n" + sep.join(words[5:])).encode())
