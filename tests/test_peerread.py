"""PeerRead: archive layout, tokens, counts; on the real archive, the known numbers."""

import json
import zipfile

import numpy as np
import pytest

from anchorbench.data.dataset import DataError, validate
from anchorbench.data.peerread_words import (
    count_words,
    read_abstracts,
    read_stop_words,
    tokens,
    wordnet_lemmas,
)
from anchorbench.study.plugins import discover, load

ARXIV = "PeerRead-master/data/arxiv.cs.lg_2007-2017"


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def review(abstract):
    return json.dumps({"title": "t", "abstract": abstract, "id": "1"})


def test_abstracts_come_from_arxiv_sections_in_order_of_file_names(tmp_path):
    path = zipped(
        tmp_path / "p.zip",
        {
            f"{ARXIV}/train/reviews/0802.json": review("third"),
            "PeerRead-master/data/acl_2017/dev/reviews/0001.json": review("not arXiv"),
            f"{ARXIV}/train/parsed_pdfs/0000.pdf.json": "{}",
            f"{ARXIV}/test/reviews/0801.json": review("second"),
            f"{ARXIV.replace('lg', 'cl')}/dev/reviews/0704.json": review("first"),
            "PeerRead-master/README.md": "data/arxiv",
        },
    )
    assert read_abstracts(path) == ["first", "second", "third"]


def test_broken_archives_are_named(tmp_path):
    whole = zipped(tmp_path / "p.zip", {f"{ARXIV}/dev/reviews/1.json": review("x" * 500)})
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cut\.zip cannot be read as a complete zip archive"):
        read_abstracts(tmp_path / "cut.zip")
    damaged = bytearray(
        zipped(tmp_path / "q.zip", {f"{ARXIV}/dev/reviews/1.json": review("x")}).read_bytes()
    )
    damaged[100] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(DataError, match=r"damaged\.zip"):
        read_abstracts(tmp_path / "damaged.zip")
    other = zipped(tmp_path / "other.zip", {"ml-25m/ratings.csv": "userId\n"})
    with pytest.raises(DataError, match="allenai/PeerRead"):
        read_abstracts(other)
    with pytest.raises(DataError, match=r"corpora/stopwords\.zip"):
        read_stop_words(other)
    with pytest.raises(DataError, match=r"corpora/wordnet\.zip"), wordnet_lemmas(other):
        pass


@pytest.mark.parametrize(
    "text",
    [pytest.param("[" * 100_000, id="deep"), "{", "[]", '{"title": "t"}', '{"abstract": null}'],
)
def test_a_review_without_abstract_is_named(tmp_path, text):
    member = f"{ARXIV}/dev/reviews/17.json"
    with pytest.raises(DataError, match=r"reviews/17\.json"):
        read_abstracts(zipped(tmp_path / "p.zip", {member: text}))


def test_what_the_finder_adds_is_no_review(tmp_path):
    one = f"{ARXIV}/dev/reviews/1.json"
    shadow = f"{ARXIV}/dev/reviews/._1.json"
    members = {one: review("x"), f"__MACOSX/{shadow}": "Mac OS X", shadow: "Mac OS X"}
    assert read_abstracts(zipped(tmp_path / "p.zip", members)) == ["x"]


def test_stop_words(tmp_path):
    path = zipped(tmp_path / "s.zip", {"stopwords/english": "the\nof\n", "stopwords/german": "die"})
    assert read_stop_words(path) == {"the", "of"}


def test_tokens_are_the_papers():
    lemma = {"models": "model", "has": "ha"}.get
    got = tokens(
        "The Models don't work. GPT-2 has 3 models (see below)! State-of-the-art e.g. nets",
        lambda word: lemma(word, word),
        frozenset({"the", "do", "has"}),
    )
    # "don't" is "do" + "n't"; hyphens, digits and "e.g." are not alphabetic; stop words go after
    # lemmas, so "has" survives as "ha"; the last word of a sentence is kept.
    assert got == ["model", "work", "ha", "model", "see", "below", "nets"]


def test_counts_keep_frequent_words_and_drop_short_rows():
    documents = [["all", "b", "b"], ["all", "b", "c", "c"], ["all", "c"], ["all", "rare"]]
    documents += [["all", "b", "c"]]
    counts, words = count_words(documents, max_df=0.9, min_df=0.3, n_features=2)
    assert words == ["b", "c"]
    np.testing.assert_array_equal(counts.toarray(), [[2, 0], [1, 2], [1, 1]])
    with pytest.raises(DataError, match="no word is left"):
        count_words(documents, max_df=0.1, min_df=0.1, n_features=2)


def test_real_archive_gives_the_known_numbers(real_sources):
    dataset = load(discover("datasets")["peerread"]).prepare(real_sources)
    validate(dataset, "counts", "peerread")
    assert dataset.X.shape == (11777, 500)
    # 540,069 tokens are in all 11,778 abstracts; the row that is dropped has one of them.
    assert dataset.X.sum() == 540_068
    assert {"ha", "wa", "doe", "neural", "network"} <= set(dataset.features)
    assert dataset.X.sum(axis=1).min() == 2
