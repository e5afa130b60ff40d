"""MovieLens: which users liked which of the most liked movies.

Reads the archives of GroupLens as they are: 25M, 32M, 20M, latest and latest-small (.csv), 1M and
10M (.dat). Preprocessing is that of the released code of Moran et al. (2022): ratings of 4 and
more are ones; users with at least 20 of these, counted over all movies; then the 300 movies with
the most remaining ones. A user may keep a single movie, and one without any is dropped. Of a pair
that was rated more than once the last rating by its timestamp counts.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from anchorbench.data.archives import members
from anchorbench.data.dataset import DataError, Dataset
from anchorbench.data.errors import reading

DATASET = {
    "label": "MovieLens",
    "likelihood": "multinomial",
    "sources": ["movielens"],
    "replicates": 5,
    "resampling": "folds",
    "headline": {"published": "recall_nofold@5", "corrected": "ndcg@100"},
    "params": {
        "n_users": 100000,  # None: all
        "n_movies": 300,
        "min_rating": 4.0,
        "min_positives": 20,
        "sample_seed": 42,
    },
    "provides": [],
    "terms": "Research use without implied endorsement by GroupLens; 25M and 1M may not be "
    "redistributed, 32M and latest-small may, under the same terms.",
    "cite": "Harper and Konstan (2015), The MovieLens Datasets: History and Context, ACM TiiS 5(4)",
}

# 25 million ratings pass through in pieces of this many; only the positive ones are kept.
CHUNK_ROWS = 2_000_000
COLUMNS = ["userId", "movieId", "rating"]
TYPES: dict[str, Any] = {"userId": np.int64, "movieId": np.int64, "rating": np.float64}
TYPES["timestamp"] = np.float64
SHIFT = 2**32  # a pair is the number of its user times this, plus the number of its movie
ENTRY = np.dtype([("pair", np.int64), ("time", np.float64), ("place", np.int64)])


def prepare(
    raw: dict[str, Path],
    n_users: int | None = 100000,
    n_movies: int = 300,
    min_rating: float = 4.0,
    min_positives: int = 20,
    sample_seed: int = 42,
) -> Dataset:
    """Return binary rows (users) by movies, columns in the order of movie ids.

    `n_users` rows are sampled without replacement; where fewer remain, or it is None, all are kept
    in the order of their ids. Ties for the last movies go to the lower id. `arrays` holds the
    `user_id` of each row and the `movie_id` of each column. Raises DataError for an archive that
    is broken or not in the layout of GroupLens.
    """
    path = raw["movielens"]
    if n_movies < 2 or (n_users is not None and n_users < 2):
        raise DataError(f"n_movies is {n_movies}, n_users {n_users}: give at least 2 of each")
    with (
        reading(path, "an archive of GroupLens", "delete it and fetch it again"),
        zipfile.ZipFile(path) as archive,
    ):
        users, movies, notes = _positives(archive, path, min_rating)
        titles = _titles(archive, path)
    users, movies = _filter(users, movies, min_positives, n_movies)
    if not len(users):
        raise DataError(
            f"{path}: no user has {min_positives} ratings of {min_rating:g} or more: "
            "lower min_positives or min_rating"
        )
    user_ids, rows = np.unique(users, return_inverse=True)
    movie_ids, columns = np.unique(movies, return_inverse=True)
    X = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(user_ids), len(movie_ids)))
    if n_users is not None and n_users < len(user_ids):
        # The order drawn is kept: it is the order that the folds of the released code saw.
        chosen = np.random.RandomState(sample_seed).choice(len(user_ids), n_users, replace=False)
        X, user_ids = X[chosen], user_ids[chosen]
    ids = {"user_id": user_ids, "movie_id": movie_ids}
    return Dataset(X, _names(movie_ids, titles), arrays=ids, notes=notes)


def _member(archive: zipfile.ZipFile, stem: str, path: Path) -> str:
    names = [f"{stem}.csv", f"{stem}.dat"]
    found = [m for m in members(archive) if m.rsplit("/", 1)[-1] in names]
    if len(found) != 1:
        raise DataError(
            f"{path} holds {len(found)} files named {' or '.join(names)}, not one: "
            "give an archive of GroupLens as it was downloaded"
        )
    return found[0]


class Ratings(NamedTuple):
    """A piece of the ratings: ids of user and movie, rating, time, and the place in the file."""

    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    time: np.ndarray
    place: np.ndarray


def _ratings(archive: zipfile.ZipFile, path: Path) -> Iterator[Ratings]:
    member, start = _member(archive, "ratings", path), 0
    options: dict[str, Any] = {"usecols": lambda name: name in TYPES}
    if member.endswith(".dat"):
        # "1::1193::5::978300760": read with ":" every second column is empty, and the fast parser
        # of pandas, which takes no longer separators, can be used.
        options = {"sep": ":", "header": None, "usecols": [0, 2, 4, 6], "names": _dat_columns()}
    layout = f"a table of {', '.join(COLUMNS)}, all numbers"
    with (
        reading(f"{path}, {member}", layout, "give the archive as it was downloaded"),
        archive.open(member) as stream,
        pd.read_csv(stream, dtype=TYPES, chunksize=CHUNK_ROWS, **options) as pieces,
    ):
        for piece in pieces:
            if missing := [name for name in COLUMNS if name not in piece]:
                raise ValueError(f"it has no {missing[0]}")
            time = piece.get("timestamp", pd.Series(0.0, piece.index)).fillna(-np.inf)
            place = np.arange(start, start + len(piece))
            start += len(piece)
            yield Ratings(*(piece[name].to_numpy() for name in COLUMNS), time.to_numpy(), place)


def _dat_columns() -> list[str]:
    user, movie, rating = COLUMNS
    return [user, "_1", movie, "_2", rating, "_3", "timestamp"]


def _positives(
    archive: zipfile.ZipFile, path: Path, min_rating: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """User and movie ids of the pairs whose rating counts as one, each pair once, and notes."""
    kept, highest, ordered = [], 0.0, True
    last = (-1, -1)
    for piece in _ratings(archive, path):
        # Where users, and each one's movies, stand in rising order no pair can be there twice.
        users = np.concatenate([[last[0]], piece.user])
        movies = np.concatenate([[last[1]], piece.movie])
        same, later = np.diff(users) == 0, np.diff(movies) > 0
        ordered = ordered and bool(((np.diff(users) > 0) | (same & later)).all())
        last = (users[-1], movies[-1])
        highest = max(highest, float(piece.rating.max(initial=0)))
        if ordered:
            liked = piece.rating >= min_rating
            kept.append(tuple(_compact(ids[liked]) for ids in (piece.user, piece.movie)))
    notes = [f"ratings go up to {highest:g}, min_rating is {min_rating:g}"] if highest > 5 else []
    if ordered and kept:
        users, movies = (np.concatenate(ids) for ids in zip(*kept, strict=True))
        return users, movies, notes
    latest = Latest(min_rating)
    for piece in _ratings(archive, path):
        latest.add(piece)
    for piece in _ratings(archive, path):
        latest.retract(piece)
    if latest.repeated:
        notes.append(
            f"{latest.repeated} positive ratings were of a pair that has another rating: the last "
            "one by timestamp counts"
        )
    return *latest.pairs(), notes


def _compact(ids: np.ndarray) -> np.ndarray:
    """Ids as int32 where all of them fit."""
    return ids.astype(np.int32) if not len(ids) or ids.max() < 2**31 else ids


class Latest:
    """Positive pairs of ratings in any order, some of them rated more than once.

    The last rating of a pair by its time counts, and of equal times the last in the file. In a
    first pass the last positive rating of each pair is kept, in a second those are taken back that
    a lower rating followed, so that only positive pairs are held.
    """

    def __init__(self, min_rating: float) -> None:
        self.min_rating = min_rating
        self.users: dict[int, int] = {}  # id -> number
        self.movies: dict[int, int] = {}
        self.kept = np.empty(0, ENTRY)  # in the order of pairs
        self.repeated = 0

    def add(self, piece: Ratings) -> None:
        """First pass."""
        found = self._entries(piece, piece.rating >= self.min_rating)
        entries = np.concatenate([self.kept, found])
        entries = entries[np.lexsort((entries["place"], entries["time"], entries["pair"]))]
        is_last = np.append(entries["pair"][1:] != entries["pair"][:-1], len(entries) > 0)
        self.repeated += int(len(entries) - is_last[: len(entries)].sum())
        self.kept = entries[is_last[: len(entries)]]

    def retract(self, piece: Ratings) -> None:
        """Second pass."""
        found = self._entries(piece, piece.rating < self.min_rating)
        at = np.searchsorted(self.kept["pair"], found["pair"])
        at[at == len(self.kept)] = 0
        if not len(self.kept):
            return
        was = self.kept[at]
        later = (found["time"] > was["time"]) | (
            (found["time"] == was["time"]) & (found["place"] > was["place"])
        )
        back = np.unique(at[(was["pair"] == found["pair"]) & later])
        self.repeated += len(back)
        self.kept = np.delete(self.kept, back)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """User and movie ids."""
        numbers = np.divmod(self.kept["pair"], SHIFT)
        ids = (np.array(list(known), np.int64) for known in (self.users, self.movies))
        users, movies = (of[number] for of, number in zip(ids, numbers, strict=True))
        return users, movies

    def _entries(self, piece: Ratings, chosen: np.ndarray) -> np.ndarray:
        entries = np.empty(int(chosen.sum()), ENTRY)
        users, movies = piece.user[chosen], piece.movie[chosen]
        entries["pair"] = _numbered(users, self.users) * SHIFT + _numbered(movies, self.movies)
        entries["time"], entries["place"] = piece.time[chosen], piece.place[chosen]
        return entries


def _numbered(ids: np.ndarray, known: dict[int, int]) -> np.ndarray:
    """Numbers of ids in the order in which they were first met; new ones are added to `known`."""
    codes, distinct = pd.factorize(ids)
    numbers = [known.setdefault(int(i), len(known)) for i in distinct]
    return np.array(numbers, np.int64)[codes]


def _filter(
    users: np.ndarray, movies: np.ndarray, min_positives: int, n_movies: int
) -> tuple[np.ndarray, np.ndarray]:
    _, rows, counts = np.unique(users, return_inverse=True, return_counts=True)
    active = counts[rows] >= min_positives
    users, movies = users[active], movies[active]
    ids, counts = np.unique(movies, return_counts=True)
    # A stable sort of ascending ids breaks ties by the lower id.
    top = ids[np.argsort(-counts, kind="stable")[:n_movies]]
    liked = np.isin(movies, top)
    return users[liked], movies[liked]


def _titles(archive: zipfile.ZipFile, path: Path) -> dict[int, str]:
    member = _member(archive, "movies", path)
    text = archive.read(member)
    if member.endswith(".csv"):
        with reading(f"{path}, {member}", "a table of movieId, title", "fetch it again"):
            columns = ["movieId", "title"]
            table = pd.read_csv(io.BytesIO(text), usecols=columns, dtype=str, na_filter=False)
            numbers = [float(number) for number in table["movieId"]]
            wrong = [number for number in numbers if not number.is_integer()]
            if wrong:
                raise ValueError(f"movieId {wrong[0]} is no whole number")
            titles: dict[int, str] = {}
            for number, title in zip(numbers, table["title"], strict=True):
                titles.setdefault(int(number), title)  # of two lines on a movie the first counts
            return titles
    try:
        lines = text.decode("utf-8").splitlines()
    except UnicodeDecodeError:  # 1M is Latin-1, 10M is UTF-8
        lines = text.decode("latin-1").splitlines()
    titles = {}
    for line in filter(None, lines):
        number, _, rest = line.partition("::")
        title, separator, _ = rest.rpartition("::")  # a title may hold colons itself
        if not separator or not number.isdecimal():
            raise DataError(f"{path}, {member}: a line is not movieId::title::genres")
        titles.setdefault(int(number), title)
    return titles


def _names(movie_ids: np.ndarray, titles: dict[int, str]) -> list[str]:
    """Titles, with the movie id added where a title is unknown or occurs twice."""
    names = [titles.get(int(i), "movie") for i in movie_ids]
    unclear = {name for name in names if names.count(name) > 1} | {"movie"}
    return [
        f"{name} [{i}]" if name in unclear else name
        for name, i in zip(names, movie_ids, strict=True)
    ]
