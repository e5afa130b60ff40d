"""Questionnaires: keys, splits, archives; facts of the real data where they are at hand."""

import io
import tarfile

import numpy as np
import pandas as pd
import pytest

from anchorbench.data.dataset import DataError, Dataset
from anchorbench.data.r_objects import read_objects
from anchorbench.study.plugins import discover, load

questionnaire = load(discover("datasets")["questionnaire"])
# People with at most 20 % missing, items, scales, share of items whose most correlated other item
# has the same key.
FACTS = {
    "spi": (4000, 135, 27, 0.96),
    "bfi": (2794, 25, 5, 0.96),
    "adjectives": (533, 100, 5, 0.92),
    "ability": (1445, 16, 4, 0.88),
    "epi": (3497, 57, 3, 0.84),
    "holzinger": (301, 19, 4, 1.0),
}


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    X = rng.integers(1, 7, (200, 4)).astype(float)
    missing = rng.random(X.shape) < 0.05
    keys = np.array([[1, 0], [-1, 0], [0, 1], [0, 1]], dtype=np.int8)
    return Dataset(X, list("abcd"), arrays={"keys": keys, "missing": missing})


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_the_real_sets(real_sources, name):
    people, items, scales, same = FACTS[name]
    data = questionnaire.prepare({"psychtools": real_sources["psychtools"]}, set=name)
    keys = data.arrays["keys"]
    assert data.X.shape == (people, items) and keys.shape == (items, scales)
    assert (np.abs(keys).sum(axis=1) == 1).all()
    near = np.abs(np.corrcoef(data.X.T)) - 2 * np.eye(items)
    own = np.abs(keys).argmax(axis=1)
    assert (own[near.argmax(axis=1)] == own).mean() == pytest.approx(same, abs=0.0051)


def test_items_are_filled_and_scaled_by_training_rows_alone(small):
    split = questionnaire.split(small, 0, 0)
    train, test = split.index
    np.testing.assert_allclose(split.train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(split.train.std(axis=0), 1)
    assert (split.keys == small.arrays["keys"]).all() and (split.support == (split.keys != 0)).all()
    changed = Dataset(small.X.copy(), small.features, arrays=small.arrays)
    changed.X[test] += 100
    changed.X[train] += 1000 * small.arrays["missing"][train]  # what stands for a missing answer
    again = questionnaire.split(changed, 0, 0)
    np.testing.assert_allclose(again.train, split.train)
    known = ~small.arrays["missing"]
    answered = np.where(known[train], small.X[train], np.nan)
    median, sd = np.nanmedian(answered, axis=0), np.std(answered[known[train].all(axis=1)], axis=0)
    row, column = np.argwhere(small.arrays["missing"][test])[0]
    filled = np.where(known[train], small.X[train], median)
    expected = (median - filled.mean(axis=0)) / filled.std(axis=0)
    assert split.test[row, column] == pytest.approx(expected[column])
    assert sd.shape == (4,)


def test_rows_keep_a_prefix_of_the_training_rows(small):
    whole, part = (questionnaire.split(small, 1, 0, rows=rows) for rows in (None, 50))
    assert (part.index[0] == whole.index[0][:50]).all()
    assert (part.index[1] == whole.index[1]).all()
    with pytest.raises(DataError, match="rows 1000"):
        questionnaire.split(small, 1, 0, rows=1000)


def test_an_item_that_all_answer_alike_is_named(small):
    small.X[:, 2] = 3
    small.arrays["missing"][:, 2] = False
    with pytest.raises(DataError, match="answers c alike"):
        questionnaire.split(small, 0, 0)


def test_keys_have_signs_and_every_item_one_scale():
    found = questionnaire.keys_of("bfi", {"x": ["-a", "b"], "y": ["c"]}, list("abc"))
    assert found == {"x": {"a": -1, "b": 1}, "y": {"c": 1}}
    with pytest.raises(DataError, match="a is keyed by x and y"):
        questionnaire.keys_of("bfi", {"x": ["a"], "y": ["-a"]}, list("abc"))
    with pytest.raises(DataError, match="y has z, which nobody answered"):
        questionnaire.keys_of("bfi", {"y": ["z"]}, list("abc"))
    assert set(questionnaire.keys_of("epi", {"E": ["a"], "Imp": ["a"]}, ["a"])) == {"E"}


def test_an_unknown_set_is_refused_with_those_known(tmp_path):
    with pytest.raises(DataError, match=r"no set 'spy'; known: spi, bfi"):
        questionnaire.answers("spy", tmp_path)


# Archives -----------------------------------------------------------------------------------------


@pytest.fixture
def source_archive(tmp_path):
    """An R source archive with one .rda of a data frame and a list, written by rdata."""
    import rdata

    file = tmp_path / "toy.rda"
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, index=["1", "2"])
    rdata.write_rda(file, {"toy": table, "toy.keys": {"s": np.array(["a", "-b"])}})
    path = tmp_path / "toy_1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(file, "toy/data/toy.rda")
        info = tarfile.TarInfo("toy/R/code.R")
        archive.addfile(info, io.BytesIO())
    return path


def test_the_source_archive_is_read(source_archive):
    objects = read_objects(source_archive, "toy", ["toy", "toy.keys"])
    assert objects["toy"]["b"].tolist() == [3, 4]
    assert objects["toy.keys"] == {"s": ["a", "-b"]}
    assert all(type(name) is str for name in objects["toy"].columns)


def test_a_missing_object_is_named(source_archive):
    with pytest.raises(DataError, match=r"toy has no object 'bfi'.*version"):
        read_objects(source_archive, "toy", ["bfi"])


@pytest.mark.parametrize("content", [b"", b"no archive", b"!<arch>\n", b"!<arch>\n" + b"x" * 60])
def test_what_is_no_package_is_refused_with_a_remedy(tmp_path, content):
    path = tmp_path / "package"
    path.write_bytes(content)
    with pytest.raises(DataError, match="give Debian's package or the source archive"):
        read_objects(path, "toy", ["toy"])


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_package_cut_short_is_refused(real_sources, tmp_path, cut):
    whole = real_sources["psychtools"].read_bytes()
    path = tmp_path / "short.deb"
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(DataError, match="cannot be read as R's package"):
        read_objects(path, "psychTools", ["bfi"])
