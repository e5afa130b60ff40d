"""Dataset, Split, kfold, validate, storage and the content digest."""

import numpy as np
import pytest
import scipy.sparse as sp

from anchorbench.data.dataset import (
    DataError,
    Dataset,
    content_digest,
    kfold,
    load_dataset,
    save_dataset,
    validate,
)

FEATURES = ["a", "b", "c"]


def counts(n=20):
    return np.random.default_rng(0).poisson(2.0, (n, 3)) + np.eye(3)[np.arange(n) % 3]


def full():
    labels = {"level 1/x": np.array(["é", "z"] * 10, dtype=object), "batch": np.arange(20)}
    return Dataset(counts(), list(FEATURES), labels, {"ids": np.arange(4.0)})


def test_kfold_is_the_rule_of_the_released_code():
    # The first ten draws of numpy's RandomState(42).randint(0, 5, .), known for good.
    fold = [3, 4, 2, 4, 4, 1, 2, 2, 2, 4]
    for replicate in (1, 2, 3, 4):
        split = kfold(Dataset(counts(10), FEATURES), replicate)
        assert split.index[1].tolist() == [i for i, f in enumerate(fold) if f == replicate]
    with pytest.raises(DataError, match="10 rows: 5 folds need 19"):
        kfold(Dataset(counts(10), FEATURES), 0)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csr_array])
def test_folds_partition_the_rows(form):
    X = counts(200)
    tested = []
    for replicate in range(5):
        split = kfold(Dataset(form(X), FEATURES), replicate)
        train, test = split.index
        assert sorted([*train, *test]) == list(range(200))
        assert type(split.train) is np.ndarray and split.train.dtype == np.float64
        np.testing.assert_array_equal(split.train, X[train])
        np.testing.assert_array_equal(split.test, X[test])
        tested += test.tolist()
    assert sorted(tested) == list(range(200))


def test_a_fold_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="replicate 5"):
        kfold(Dataset(counts(), FEATURES), 5)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(
    ("row", "column", "value", "likelihood", "expected"),
    [
        (4, 1, np.nan, "real", ["row 5", "'b'", "not a number"]),
        (4, 1, np.inf, "real", ["row 5", "'b'", "finite"]),
        (19, 2, -1.0, "counts", ["row 20", "'c'", "negative"]),
        (0, 0, 1.5, "counts", ["row 1", "'a'", "whole number"]),
    ],
)
def test_a_bad_value_is_named(form, row, column, value, likelihood, expected):
    X = counts()
    X[row, column] = value
    with pytest.raises(DataError) as caught:
        validate(Dataset(form(X), FEATURES), likelihood, "mine")
    assert str(caught.value).startswith("mine: ")
    for part in [*expected, "1 such values"]:
        assert part in str(caught.value)


def test_gaussian_data_may_be_negative_and_have_zero_rows():
    X = counts() - 1.5
    X[3] = 0
    validate(Dataset(X, FEATURES), "real", "mine")


def with_row(value):
    X = counts()
    X[6] = value
    return X


def with_column(value):
    X = counts()
    X[:, 1] = value
    return X


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (with_row(0), "row 7 is all zero"),
        (with_column(0), "column 'b' is all zero"),
        (with_column(2), r"column 'b' is constant \(2\)"),
        (counts(9), "9 rows"),
    ],
)
def test_empty_rows_and_columns_are_named(form, X, expected):
    with pytest.raises(DataError, match=f"mine: .*{expected}|mine: {expected}"):
        validate(Dataset(form(X), FEATURES), "counts", "mine")


def test_names_and_labels_must_fit():
    for dataset, expected in [
        (Dataset(counts(), ["a", "b", "a"]), "'a' occurs twice"),
        (Dataset(counts(), ["a", "b"]), "2 feature names for 3 columns"),
        (Dataset(counts()[:, :1], ["a"]), "2 or more"),
        (Dataset(counts()[0], ["a"]), "give a matrix"),
        (Dataset(counts(), FEATURES, {"kind": np.arange(19)}), "'kind'.*20 rows"),
    ]:
        with pytest.raises(DataError, match=expected):
            validate(dataset, "counts", "mine")
    with pytest.raises(ValueError, match="kind 'poisson'"):
        validate(full(), "poisson", "mine")
    validate(full(), "counts", "mine")


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csr_array])
def test_storage_is_lossless_and_keeps_sparsity(tmp_path, form):
    dataset = full()
    dataset.X = form(dataset.X)
    save_dataset(tmp_path / "d", dataset)
    loaded = load_dataset(tmp_path / "d")
    assert sp.issparse(loaded.X) == sp.issparse(dataset.X)
    assert loaded.features == FEATURES
    assert list(loaded.labels) == ["level 1/x", "batch"]
    assert loaded.labels["level 1/x"].tolist() == ["é", "z"] * 10
    assert loaded.labels["batch"].dtype.kind == "i"
    assert loaded.arrays["ids"].tolist() == [0, 1, 2, 3]
    assert content_digest(loaded) == content_digest(dataset)
    for path in (tmp_path / "d").glob("*.npz"):
        with np.load(path, allow_pickle=False) as stored:
            assert all(stored[key].dtype.kind != "O" for key in stored.files)


def test_no_labels_stay_no_labels(tmp_path):
    save_dataset(tmp_path, Dataset(counts(), FEATURES))
    assert load_dataset(tmp_path).labels is None


def test_a_damaged_store_is_named(tmp_path):
    save_dataset(tmp_path, full())
    whole = (tmp_path / "X.npz").read_bytes()
    (tmp_path / "X.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="prepare again"):
        load_dataset(tmp_path)
    with pytest.raises(DataError, match="none"):
        load_dataset(tmp_path / "none")


def test_digest_depends_on_content_alone():
    base = content_digest(full())
    sparse = full()
    sparse.X = sp.csr_matrix(sparse.X)
    zeros = full()
    zeros.X = np.where(zeros.X == 0, -0.0, zeros.X)
    fortran = full()
    fortran.X = np.asfortranarray(fortran.X)
    for same in (sparse, zeros, fortran):
        assert content_digest(same) == base


def changed(**fields):
    dataset = full()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def test_digest_sees_every_part():
    X = counts()
    X[19, 2] += 1
    others = [
        changed(X=X),
        changed(X=counts()[[1, 0, *range(2, 20)]]),
        changed(features=["a", "b", "d"]),
        changed(labels=None),
        changed(labels={**full().labels, "batch": np.arange(20)[::-1]}),
        changed(arrays={"ids": np.arange(1.0, 5.0)}),
        changed(arrays={"other": np.arange(4.0)}),
    ]
    digests = {content_digest(d) for d in [full(), *others]}
    assert len(digests) == len(others) + 1


def test_digest_of_many_blocks_is_that_of_one(monkeypatch):
    base = content_digest(full())
    monkeypatch.setattr("anchorbench.data.dataset._BLOCK_VALUES", 7)
    assert content_digest(full()) == base
