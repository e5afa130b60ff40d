"""From the PeerRead archive to a bag of words: the preprocessing of Moran et al. (2022).

Tokens are NLTK's word tokens that are alphabetic, lower-cased and lemmatised as nouns by WordNet
(so "has" becomes "ha" and survives), without English stop words. `word_tokenize` finds sentences
with a trained model that would be one more download; sentences here end at ".", "!" or "?" before
white space. On 11,778 abstracts that moves 39 of 540,069 tokens against NLTK's untrained model,
while no sentences at all would lose 6 %: the tokenizer keeps "word." whole inside a text.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from anchorbench.data.archives import members
from anchorbench.data.dataset import DataError
from anchorbench.data.errors import reading

REVIEW = re.compile(r"(?:^|/)data/arxiv\.[^/]+/(?:train|dev|test)/reviews/[^/]+\.json$")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with (
        reading(path, "a complete zip archive", "delete it and fetch it again"),
        zipfile.ZipFile(path) as archive,
    ):
        yield archive


def read_abstracts(path: Path) -> list[str]:
    """Abstracts of the arXiv sections of a PeerRead archive, in the order of their file names.

    Other sections are passed over. Raises DataError, naming the member, for a broken archive, one
    in another layout, or a review without an abstract.
    """
    with _archive(path) as archive:
        found = [name for name in members(archive) if REVIEW.search(name)]
        found.sort(key=lambda name: (name.rsplit("/", 1)[1], name))
        if not found:
            raise DataError(
                f"{path} holds no data/arxiv.*/{{train,dev,test}}/reviews/*.json: "
                "give the archive of https://github.com/allenai/PeerRead"
            )
        return [_abstract(archive, member, path) for member in found]


def _abstract(archive: zipfile.ZipFile, member: str, path: Path) -> str:
    try:
        abstract = json.loads(archive.read(member))["abstract"]
    except (ValueError, KeyError, TypeError, RecursionError):
        abstract = None
    if not isinstance(abstract, str):
        raise DataError(f"{path}, {member}: not a JSON object with a text under 'abstract'")
    return abstract


def read_stop_words(path: Path) -> frozenset[str]:
    """English stop words of NLTK's stopwords.zip."""
    with _archive(path) as archive:
        if "stopwords/english" not in archive.namelist():
            raise DataError(f"{path} holds no stopwords/english: give NLTK's corpora/stopwords.zip")
        return frozenset(archive.read("stopwords/english").decode("utf-8").split())


@contextmanager
def wordnet_lemmas(path: Path) -> Iterator[Callable[[str], str]]:
    """Noun lemma of a word by NLTK's wordnet.zip, which is unpacked for as long as this is open.

    NLTK loads WordNet once a process: a second archive in the same process has no effect.
    """
    import nltk
    from nltk.stem import WordNetLemmatizer

    with tempfile.TemporaryDirectory() as folder:
        with _archive(path) as archive:
            if "wordnet/index.noun" not in archive.namelist():
                raise DataError(
                    f"{path} holds no wordnet/index.noun: give NLTK's corpora/wordnet.zip"
                )
            archive.extractall(Path(folder) / "corpora")
        nltk.data.path.insert(0, folder)
        try:
            yield cache(WordNetLemmatizer().lemmatize)
        finally:
            nltk.data.path.remove(folder)


def tokens(text: str, lemma: Callable[[str], str], stop_words: frozenset[str]) -> list[str]:
    """The paper's tokens of a text, in order."""
    from nltk.tokenize import NLTKWordTokenizer

    tokenize = NLTKWordTokenizer().tokenize
    words = (w for s in SENTENCE_END.split(text.lower()) for w in tokenize(s) if w.isalpha())
    return [word for word in map(lemma, words) if word not in stop_words]


def count_words(
    documents: list[list[str]], max_df: float, min_df: float, n_features: int
) -> tuple[sp.csr_matrix, list[str]]:
    """Counts (documents, words) and the words, in alphabetical order.

    Words in more than a share max_df or less than a share min_df of documents are left out; of the
    rest, the n_features most frequent ones are kept. Documents with one token or none of these are
    dropped, after the vocabulary is fixed.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        analyzer=lambda document: document,
        max_df=max_df,
        min_df=min_df,
        max_features=n_features,
        dtype=np.float64,
    )
    try:
        counts = vectorizer.fit_transform(documents).tocsr()
    except ValueError as error:
        raise DataError(f"no word is left: {error}; widen min_df and max_df") from error
    kept = np.asarray(counts.sum(axis=1)).ravel() > 1
    return counts[kept], vectorizer.get_feature_names_out().tolist()


def peerread_counts(
    raw: dict[str, Path], max_df: float = 0.9, min_df: float = 0.0007, n_features: int = 500
) -> tuple[sp.csr_matrix, list[str]]:
    """Counts and words of the sources peerread, wordnet and stopwords (section A.3 of the paper).

    On all 11,778 arXiv abstracts: 11,777 rows, 500 words.
    """
    abstracts = read_abstracts(raw["peerread"])
    stop_words = read_stop_words(raw["stopwords"])
    with wordnet_lemmas(raw["wordnet"]) as lemma:
        documents = [tokens(abstract, lemma, stop_words) for abstract in abstracts]
    return count_words(documents, max_df, min_df, n_features)
