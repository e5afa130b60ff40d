"""MovieLens: which users liked which of the most liked movies.

Reads the archives of GroupLens as they are: 25M, 32M, 20M, latest and latest-small (.csv), 1M and
10M (.dat). Preprocessing is that of the released code of Moran et al. (2022): ratings of 4 and
more are ones; users with at least 20 of these, counted over all movies; then the 300 movies with
the most remaining ones. A user may keep a single movie, and one without any is dropped.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from anchorbench.data.dataset import DataError, Dataset

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
TYPES: dict[str, Any] = {"userId": np.int32, "movieId": np.int32, "rating": np.float32}


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
    try:
        with zipfile.ZipFile(path) as archive:
            users, movies = _positives(_ratings(archive, path), min_rating)
            titles = _titles(archive, path)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{path} is not a complete zip archive ({error}): delete it and fetch it again"
        ) from error
    users, movies = _filter(users, movies, min_positives, n_movies)
    if not len(users):
        raise DataError(
            f"{path}: no user has {min_positives} ratings of {min_rating:g} or more: "
            "lower min_positives or min_rating"
        )
    user_ids, rows = np.unique(users, return_inverse=True)
    movie_ids, columns = np.unique(movies, return_inverse=True)
    X = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(user_ids), len(movie_ids)))
    X.data[:] = 1  # a pair rated twice counts once
    if n_users is not None and n_users < len(user_ids):
        # The order drawn is kept: it is the order that the folds of the released code saw.
        chosen = np.random.RandomState(sample_seed).choice(len(user_ids), n_users, replace=False)
        X, user_ids = X[chosen], user_ids[chosen]
    return Dataset(
        X, _names(movie_ids, titles), arrays={"user_id": user_ids, "movie_id": movie_ids}
    )


def _member(archive: zipfile.ZipFile, stem: str, path: Path) -> str:
    names = [f"{stem}.csv", f"{stem}.dat"]
    found = [m for m in archive.namelist() if m.rsplit("/", 1)[-1] in names]
    if len(found) != 1:
        raise DataError(
            f"{path} holds {len(found)} files named {' or '.join(names)}, not one: "
            "give an archive of GroupLens as it was downloaded"
        )
    return found[0]


def _ratings(archive: zipfile.ZipFile, path: Path) -> Iterator[pd.DataFrame]:
    member = _member(archive, "ratings", path)
    options: dict[str, Any] = {"usecols": COLUMNS}
    if member.endswith(".dat"):
        # "1::1193::5::978300760": read with ":" every second column is empty, and the fast parser
        # of pandas, which takes no longer separators, can be used.
        options = {"sep": ":", "header": None, "usecols": [0, 2, 4], "names": _dat_columns()}
    try:
        with archive.open(member) as stream:
            yield from pd.read_csv(stream, dtype=TYPES, chunksize=CHUNK_ROWS, **options)
    except ValueError as error:
        raise DataError(
            f"{path}, {member}: {error}; expected the columns {', '.join(COLUMNS)}, all numbers"
        ) from error


def _dat_columns() -> list[str]:
    user, movie, rating = COLUMNS
    return [user, "_1", movie, "_2", rating, "_3", "timestamp"]


def _positives(chunks: Iterator[pd.DataFrame], min_rating: float) -> tuple[np.ndarray, np.ndarray]:
    """User and movie ids (int32) of the ratings that count as one."""
    kept = [chunk.loc[chunk["rating"] >= min_rating, COLUMNS[:2]].to_numpy() for chunk in chunks]
    pairs = np.concatenate(kept) if kept else np.empty((0, 2), np.int32)
    return pairs[:, 0], pairs[:, 1]


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
        try:
            table = pd.read_csv(io.BytesIO(text), usecols=["movieId", "title"])
        except ValueError as error:
            raise DataError(f"{path}, {member}: {error}; expected movieId, title") from error
        return dict(zip(table["movieId"].astype(int), table["title"].astype(str), strict=True))
    try:
        lines = text.decode("utf-8").splitlines()
    except UnicodeDecodeError:  # 1M is Latin-1, 10M is UTF-8
        lines = text.decode("latin-1").splitlines()
    fields = [line.split("::") for line in lines if line]
    if any(len(field) != 3 or not field[0].isdigit() for field in fields):
        raise DataError(f"{path}, {member}: a line is not movieId::title::genres")
    return {int(number): title for number, title, _ in fields}


def _names(movie_ids: np.ndarray, titles: dict[int, str]) -> list[str]:
    """Titles, with the movie id added where a title is unknown or occurs twice."""
    names = [titles.get(int(i), "movie") for i in movie_ids]
    unclear = {name for name in names if names.count(name) > 1} | {"movie"}
    return [
        f"{name} [{i}]" if name in unclear else name
        for name, i in zip(names, movie_ids, strict=True)
    ]
