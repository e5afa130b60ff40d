"""read_table: one table in every format is one dataset; a wrong table is named with its place."""

import gzip
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from anchorbench.data.dataset import DataError
from anchorbench.data.own_tables import read_table

N, G = 30, 4
FEATURES = [f"gene {j}" for j in range(G)]
KIND = np.array(["left", "right"])[np.arange(N) % 2]


def counts():
    rng = np.random.default_rng(0)
    return rng.poisson(2.0, (N, G)) * (rng.random((N, G)) < 0.7) + np.eye(G)[np.arange(N) % G]


def frame():
    return pd.DataFrame(counts(), columns=FEATURES).assign(kind=KIND)


def as_csv(folder):
    frame().to_csv(folder / "d.csv", index=False)
    return folder / "d.csv", {"labels": "kind"}


def as_tsv_with_row_names(folder):
    frame().to_csv(folder / "d.tsv.gz", sep="\t", index=True)
    return folder / "d.tsv.gz", {"labels": ["kind"]}


def as_r_table(folder):
    body = frame().to_csv(sep="\t", index=True, header=False)
    (folder / "d.tsv").write_text("\t".join([*FEATURES, "kind"]) + "\n" + body)
    return folder / "d.tsv", {"labels": "kind"}


def as_transposed_csv(folder):
    frame().T.rename_axis("name").to_csv(folder / "d.csv")
    return folder / "d.csv", {"labels": "kind", "transpose": True}


def as_npz(folder):
    np.savez(folder / "d.npz", X=counts(), features=np.array(FEATURES), kind=KIND)
    return folder / "d.npz", {"labels": "kind"}


def as_h5ad(folder):
    obs = pd.DataFrame({"kind": pd.Categorical(KIND)}, index=[f"c{i}" for i in range(N)])
    var = pd.DataFrame(index=FEATURES)
    anndata.AnnData(sp.csc_matrix(counts()), obs, var).write_h5ad(folder / "d.h5ad")
    return folder / "d.h5ad", {"labels": "kind"}


def as_sparse_npz(folder):
    sp.save_npz(folder / "d.npz", sp.csr_matrix(counts()))
    (folder / "names.txt").write_text("\n".join(FEATURES) + "\n")
    return folder / "d.npz", {"features": folder / "names.txt"}


def as_mtx(folder):
    scipy.io.mmwrite(folder / "d.mtx", sp.coo_matrix(counts()))
    (folder / "d.features.txt").write_text("\n".join(FEATURES) + "\n")
    return folder / "d.mtx", {}


def as_tenx(folder):
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(counts().T))
    lines = "".join(f"{name}\tname\tGene Expression\n" for name in FEATURES)
    (folder / "features.tsv.gz").write_bytes(gzip.compress(lines.encode()))
    return folder / "matrix.mtx", {"transpose": True}


WRITERS = [as_csv, as_tsv_with_row_names, as_r_table, as_transposed_csv, as_npz, as_h5ad]
WRITERS += [as_sparse_npz, as_mtx, as_tenx]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_dataset(tmp_path, write):
    path, options = write(tmp_path)
    dataset = read_table(path, "counts", **options)
    assert dataset.features == FEATURES
    X = dataset.X.toarray() if sp.issparse(dataset.X) else dataset.X
    assert X.dtype == np.float64
    np.testing.assert_array_equal(X, counts())
    if "labels" in options:
        assert dataset.labels["kind"].tolist() == KIND.tolist()
    else:
        assert dataset.labels is None


@pytest.mark.parametrize("write", [as_h5ad, as_sparse_npz, as_mtx, as_tenx])
def test_sparse_stays_sparse(tmp_path, write):
    path, options = write(tmp_path)
    assert read_table(path, "counts", **options).X.format == "csr"


def test_numbers_survive_text_exactly(tmp_path):
    X = np.random.default_rng(1).standard_normal((20, 3)) * 10.0 ** np.arange(-8, 10, 6)
    pd.DataFrame(X, columns=list("abc")).to_csv(tmp_path / "d.csv", index=False)
    np.testing.assert_array_equal(read_table(tmp_path / "d.csv", "real").X, X)


def test_labels_that_are_numbers_and_dropped_columns(tmp_path):
    frame().assign(batch=np.arange(N) % 3, note="text").to_csv(tmp_path / "d.csv", index=False)
    dataset = read_table(tmp_path / "d.csv", "counts", ["kind", "batch"], drop="note")
    assert dataset.features == FEATURES
    assert dataset.labels["batch"].tolist() == [str(i % 3) for i in range(N)]


def message(path, kind="counts", **options):
    with pytest.raises(DataError) as caught:
        read_table(path, kind, **options)
    assert Path(path).name in str(caught.value)
    return str(caught.value)


def edited(folder, line, column, value):
    """The CSV of the table with one field of one line (1 is the header) replaced."""
    rows = [text.split(",") for text in frame().to_csv(index=False).splitlines()]
    rows[line - 1][column] = value
    (folder / "bad.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    return folder / "bad.csv"


@pytest.mark.parametrize(
    ("line", "column", "value", "expected"),
    [
        (7, 2, "many", ["line 7", "'gene 2'", "'many'", "not a number"]),
        (9, 1, "", ["line 9", "'gene 1'", "no value"]),
        (9, 1, "-2", ["row 8", "'gene 1'", "negative", "gaussian"]),
        (9, 1, "2.5", ["row 8", "'gene 1'", "whole number"]),
        (9, 1, "inf", ["row 8", "'gene 1'", "finite"]),
        (5, 4, "", ["'kind'", "row 4", "no value"]),
        (1, 1, "gene 0", ["'gene 0'", "twice"]),
        (6, 1, "1,1", ["line 6", "fields"]),
    ],
)
def test_a_bad_field_is_named(tmp_path, line, column, value, expected):
    text = message(edited(tmp_path, line, column, value), labels="kind")
    for part in expected:
        assert part in text


def test_a_bad_field_is_named_in_a_transposed_table(tmp_path):
    table = frame().T.rename_axis("name").astype(object)
    table.iloc[2, 5] = "many"
    table.iloc[[4, 0, 1, 2, 3]].to_csv(tmp_path / "d.csv")  # the row of labels comes first
    text = message(tmp_path / "d.csv", labels="kind", transpose=True)
    assert "line 5" in text and "column '5'" in text and "'many'" in text


def test_text_that_is_no_feature_and_unknown_labels(tmp_path):
    path, _ = as_csv(tmp_path)
    assert "`labels` or `drop`" in message(path)
    assert "did you mean 'kind'" in message(path, labels="kinds")
    assert "obs key" in message(as_h5ad(tmp_path)[0], labels="zzz")
    assert "there are: X, features, kind" in message(as_npz(tmp_path)[0], labels="zzz")
    assert "no labels" in message(as_mtx(tmp_path)[0], labels="kind")


def test_wrong_layouts(tmp_path):
    path, _ = as_csv(tmp_path)
    semicolons = tmp_path / "semicolons.csv"
    semicolons.write_text(path.read_text().replace(",", ";"))
    assert "separator: ';'" in message(semicolons)
    (tmp_path / "empty.csv").write_text("")
    assert "no rows" in message(tmp_path / "empty.csv")
    (tmp_path / "header.csv").write_text("a,b\n")
    assert "no rows" in message(tmp_path / "header.csv")
    (tmp_path / "latin.csv").write_bytes("a,b\né,1\n".encode("latin-1"))
    assert "UTF-8" in message(tmp_path / "latin.csv")
    scipy.io.mmwrite(tmp_path / "t.mtx", sp.coo_matrix(counts().T))
    (tmp_path / "t.features.txt").write_text("\n".join(FEATURES))
    assert "set transpose" in message(tmp_path / "t.mtx")


def test_pickles_and_broken_files_are_refused(tmp_path):
    np.savez(tmp_path / "o.npz", X=counts(), kind=KIND.astype(object))
    assert "pickles and refused" in message(tmp_path / "o.npz", labels="kind")
    np.savez(tmp_path / "two.npz", A=counts(), B=counts())
    assert "name the data X" in message(tmp_path / "two.npz")
    for name in ("b.npz", "b.mtx", "b.h5ad"):
        (tmp_path / name).write_bytes(b"not this")
        message(tmp_path / name)
    (tmp_path / "b.xlsx").write_bytes(b"x")
    assert "unknown kind '.xlsx'" in message(tmp_path / "b.xlsx")
    assert "does not exist" in message(tmp_path / "none.csv")
    assert "does not exist" in message(as_npz(tmp_path)[0], features=tmp_path / "d.npz.txt")
