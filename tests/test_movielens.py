"""MovieLens: the official layouts, the filters, broken archives and the two ranking controls."""

import tracemalloc
import zipfile
from collections import Counter

import numpy as np
import pytest
from deep_cases import untrained

from anchorbench.data.dataset import DataError, validate
from anchorbench.study.plugins import discover, load

movielens = load(discover("datasets")["movielens"])

TITLES = {1: "Toy Story (1995)", 2: "Misérables, Les (1995)", 3: "Alien: 3 (1992)", 4: "Same (1)"}


def ratings(n_users=40, n_movies=30, seed=0):
    """User, movie, rating in halves; low user ids rate few movies."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(1, n_users + 1):
        for movie in rng.choice(n_movies, size=rng.integers(3, n_movies), replace=False) + 1:
            rows.append((user, int(movie), rng.integers(1, 11) / 2))
    return rows


def title(movie):
    return TITLES.get(movie, f'"Quoted", The (20{movie:02d})')


def csv_zip(path, rows, folder="ml-25m", movies=range(1, 31)):
    def quoted(text):
        return '"' + text.replace('"', '""') + '"'

    lines = "".join(f"{u},{m},{r:.1f},1147880044\n" for u, m, r in rows)
    names = "".join(f"{m},{quoted(title(m))},Drama|War\n" for m in movies)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/", "")
        archive.writestr(f"{folder}/README.txt", "Summary")
        archive.writestr(f"{folder}/ratings.csv", "userId,movieId,rating,timestamp\n" + lines)
        archive.writestr(f"{folder}/movies.csv", "movieId,title,genres\n" + names)
    return path


def dat_zip(path, rows, encoding="latin-1", movies=range(1, 31)):
    """ml-1m has whole stars, ml-10m halves, both separated by two colons and without a header."""
    lines = "".join(f"{u}::{m}::{r:g}::978300760\n" for u, m, r in rows)
    names = "".join(f"{m}::{title(m)}::Drama|War\n" for m in movies)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-1m/ratings.dat", lines)
        archive.writestr("ml-1m/movies.dat", names.encode(encoding))
        archive.writestr("ml-1m/users.dat", "1::F::1::10::48067\n")
    return path


def naive(rows, min_positives, n_movies):
    """The filters as sentences of the paper, without arrays: {user: set of movies}."""
    liked = [(u, m) for u, m, r in rows if r >= 4]
    per_user = Counter(u for u, _ in liked)
    liked = [(u, m) for u, m in liked if per_user[u] >= min_positives]
    per_movie = Counter(m for _, m in liked)
    top = sorted(per_movie, key=lambda m: (-per_movie[m], m))[:n_movies]
    users = {}
    for u, m in liked:
        if m in top:
            users.setdefault(u, set()).add(m)
    return users, sorted(top)


@pytest.mark.parametrize("layout", [csv_zip, dat_zip])
def test_filters_against_a_naive_loop(tmp_path, layout):
    rows = ratings()
    path = layout(tmp_path / "ml.zip", rows)
    dataset = movielens.prepare({"movielens": path}, n_movies=12, min_positives=6)
    users, top = naive(rows, 6, 12)
    assert 5 < len(users) < 40
    assert dataset.arrays["user_id"].tolist() == sorted(users)
    assert dataset.arrays["movie_id"].tolist() == top
    X = dataset.X.toarray()
    for row, user in zip(X, sorted(users), strict=True):
        assert {m for m, x in zip(top, row, strict=True) if x == 1} == users[user]
    assert set(np.unique(X)) == {0.0, 1.0}


def test_positives_are_counted_before_the_movie_filter(tmp_path):
    many = [(u, m, 5.0) for u in range(1, 12) for m in (1, 2)]
    # User 99 has 4 positives, 1 of them for a movie that is kept; user 98 has none that is kept.
    rows = [*many, (99, 1, 4.0), (99, 5, 4.0), (99, 6, 4.0), (99, 7, 4.0)]
    rows += [(98, m, 4.0) for m in (8, 9, 10)]
    path = csv_zip(tmp_path / "ml.zip", rows)
    dataset = movielens.prepare({"movielens": path}, n_movies=2, min_positives=2)
    assert dataset.arrays["user_id"].tolist() == [*range(1, 12), 99]
    assert dataset.X[-1].toarray().ravel().tolist() == [1.0, 0.0]
    assert dataset.features == ["Toy Story (1995)", "Misérables, Les (1995)"]


def timed_zip(path, rows, header="userId,movieId,rating,timestamp"):
    """An archive of rows (user, movie, rating, timestamp) in the order given."""
    body = "".join(",".join(map(str, row)) + "\n" for row in rows)
    names = "movieId,title\n" + "".join(f"{m},Film {m}\n" for m in {row[1] for row in rows})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml/ratings.csv", f"{header}\n{body}")
        archive.writestr("ml/movies.csv", names)
    return path


@pytest.mark.parametrize("chunk", [7, 10**6])
def test_of_a_pair_the_last_rating_counts(tmp_path, monkeypatch, chunk):
    """Against a loop over 30 users and 12 movies, each pair rated 0 to 4 times in any order."""
    monkeypatch.setattr(movielens, "CHUNK_ROWS", chunk)
    rng = np.random.default_rng(3)
    rows = [
        (int(u), int(m), float(rng.integers(1, 11) / 2), int(rng.integers(0, 4)))
        for u, m in zip(rng.integers(1, 31, 700), rng.integers(1, 13, 700), strict=True)
    ]
    last = {}
    for user, movie, rating, time in rows:
        if time >= last.get((user, movie), (-1, 0))[0]:
            last[user, movie] = (time, rating)
    liked = {pair for pair, (_, rating) in last.items() if rating >= 4}
    path = timed_zip(tmp_path / "ml.zip", rows)
    dataset = movielens.prepare({"movielens": path}, min_positives=1, n_movies=12)
    users, movies = (dataset.arrays[name] for name in ("user_id", "movie_id"))
    found = zip(users[dataset.X.nonzero()[0]], movies[dataset.X.nonzero()[1]], strict=True)
    assert {(int(user), int(movie)) for user, movie in found} == liked
    assert dataset.X.max() == 1 and "last one by timestamp" in dataset.notes[0]


def test_a_file_appended_to_itself_is_the_file(tmp_path):
    rows = [(u, m, r, 0) for u, m, r in sorted(ratings())]
    once, twice = (timed_zip(tmp_path / f"{n}.zip", n * rows) for n in (1, 2))
    one, two = (movielens.prepare({"movielens": p}, min_positives=8) for p in (once, twice))
    assert one.features == two.features and (one.X != two.X).nnz == 0
    assert not one.notes and two.notes


@pytest.mark.parametrize("stranger", [2**31 + 1, 2**32 + 1, 2**40 + 1])
def test_no_id_wraps_onto_another(tmp_path, stranger):
    """User 1 + 2^32 is user 1 in 32 bits; in order, and out of it."""
    of_one = [(1, m, 5.0, 0) for m in range(1, 11)]
    rows = [*of_one, *((2, m, 5.0, 0) for m in range(1, 11))]
    more = [(stranger, m, 5.0, 0) for m in range(11, 21)]
    for order in ([*rows, *more], [*more, *rows]):
        path = timed_zip(tmp_path / "ml.zip", order)
        dataset = movielens.prepare({"movielens": path}, min_positives=10)
        assert dataset.arrays["user_id"].tolist() == [1, 2, stranger]
        assert dataset.X.sum(axis=1).tolist() == [[10.0], [10.0], [10.0]]


def test_titles_with_colons_and_movies_listed_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        lines = "".join(f"{u}::{m}::5::0\n" for u in (1, 2) for m in (1, 2, 3))
        archive.writestr("ml/ratings.dat", lines)
        archive.writestr("ml/movies.dat", "1::A::B::Drama\n2::NA::War\n3::C::X\n3::D::X\n")
        archive.writestr("__MACOSX/ml/._ratings.dat", "Mac OS X")
    features = movielens.prepare({"movielens": tmp_path / "ml.zip"}, min_positives=3).features
    assert features == ["A::B", "NA", "C"]


@pytest.mark.parametrize("params", [{"n_movies": 0}, {"n_movies": 1}, {"n_users": 0}])
def test_sizes_that_leave_nothing_are_refused(tmp_path, params):
    path = csv_zip(tmp_path / "ml.zip", ratings())
    with pytest.raises(DataError, match="at least 2"):
        movielens.prepare({"movielens": path}, **params)


def test_a_rating_just_below_four_is_no_positive(tmp_path):
    rows = [(u, m, 4.0 if m < 3 else 3.5) for u in range(1, 12) for m in (1, 2, 3)]
    dataset = movielens.prepare({"movielens": csv_zip(tmp_path / "ml.zip", rows)}, min_positives=2)
    assert dataset.arrays["movie_id"].tolist() == [1, 2]


def test_titles_in_either_encoding_and_unique(tmp_path):
    for encoding in ("latin-1", "utf-8"):
        path = dat_zip(tmp_path / f"{encoding}.zip", ratings(), encoding)
        names = movielens.prepare({"movielens": path}, min_positives=3).features
        assert names[:4] == list(TITLES.values())
        assert names[4] == '"Quoted", The (2005)'
    # Unknown titles are named by their id, equal titles are told apart by it.
    path = csv_zip(tmp_path / "ml.zip", ratings(), movies=[1, 1, 2, 3])
    names = movielens.prepare({"movielens": path}, min_positives=3).features
    assert names[2:5] == ["Alien: 3 (1992)", "movie [4]", "movie [5]"]
    assert movielens._names(np.array([7, 8, 9]), {7: "Emma", 8: "Emma", 9: "Up"}) == [
        "Emma [7]",
        "Emma [8]",
        "Up",
    ]


def test_pieces_give_what_the_whole_gives(tmp_path, monkeypatch):
    path = csv_zip(tmp_path / "ml.zip", ratings())
    whole = movielens.prepare({"movielens": path}, min_positives=3)
    monkeypatch.setattr(movielens, "CHUNK_ROWS", 17)
    pieces = movielens.prepare({"movielens": path}, min_positives=3)
    assert (whole.X != pieces.X).nnz == 0
    assert whole.features == pieces.features


@pytest.mark.parametrize(
    ("stem", "header", "separator"),
    [("ratings.csv", "userId,movieId,rating,timestamp\n", ","), ("ratings.dat", "", "::")],
    ids=["csv", "dat"],
)
def test_memory_is_that_of_a_piece(tmp_path, monkeypatch, stem, header, separator):
    """1.2 million ratings; one in thirty is positive, of these the last of each pair is kept."""
    rows = ((1 + i % 99, 1 + i % 40, 4.5 if i % 30 == 0 else 3.5, 978300760) for i in range(12_000))
    text = header + 100 * "".join(separator.join(map(str, row)) + "\n" for row in rows)
    titles = "movieId,title\n" + "".join(f"{m},Film {m}\n" for m in range(1, 41))
    path = tmp_path / "ml.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(f"ml/{stem}", text)
        archive.writestr("ml/movies.csv", titles)
    most = {}
    for size in (20_000, 2_000_000):
        monkeypatch.setattr(movielens, "CHUNK_ROWS", size)
        tracemalloc.start()
        dataset = movielens.prepare({"movielens": path}, min_positives=1)
        most[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert dataset.X.nnz == 132  # 3960 is the least multiple of 30, 40 and 99
    assert most[20_000] < len(text) / 5
    assert most[20_000] < most[2_000_000] / 4


def test_the_sample_is_that_of_the_released_code(tmp_path):
    path = csv_zip(tmp_path / "ml.zip", ratings())
    everyone = movielens.prepare({"movielens": path}, n_users=None, min_positives=3)
    ids = everyone.arrays["user_id"]
    np.random.seed(42)
    drawn = np.random.choice(ids, 11, replace=False)
    some = movielens.prepare({"movielens": path}, n_users=11, min_positives=3)
    assert some.arrays["user_id"].tolist() == drawn.tolist()
    assert len(set(drawn.tolist())) == 11
    for row, user in zip(some.X.toarray(), drawn, strict=True):
        assert np.array_equal(row, everyone.X[np.flatnonzero(ids == user)[0]].toarray()[0])
    plenty = movielens.prepare({"movielens": path}, n_users=10**6, min_positives=3)
    assert (plenty.X != everyone.X).nnz == 0


def test_broken_archives_are_named(tmp_path):
    rows = ratings()
    path = csv_zip(tmp_path / "ml.zip", rows)
    truncated = tmp_path / "short.zip"
    truncated.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"short\.zip cannot be read as an archive.*fetch"):
        movielens.prepare({"movielens": truncated})
    damaged = tmp_path / "damaged.zip"
    content = bytearray(path.read_bytes())
    start = content.index(b"ratings.csv") + 400
    content[start : start + 40] = bytes(40)
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.zip"):
        movielens.prepare({"movielens": damaged})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a/movies.csv": "movieId,title\n1,x\n"}, "0 files named ratings.csv or ratings.dat"),
        ({"a/ratings.csv": "", "b/ratings.csv": ""}, "2 files named ratings.csv"),
        (
            {"a/ratings.csv": "user,movie,stars\n1,1,5\n"},
            "a table of userId, movieId, rating, all numbers",
        ),
        ({"a/ratings.csv": ""}, "a table of userId, movieId, rating, all numbers"),
        ({"a/ratings.csv": "userId,movieId,rating\n1,x,5\n"}, "all numbers"),
        ({"a/ratings.dat": "1::1::5\n1::2\n"}, "all numbers"),
        ({"a/ratings.csv": "userId,movieId,rating\n1,1,5\n"}, "0 files named movies.csv"),
        (
            {"a/ratings.csv": "userId,movieId,rating\n1,1,5\n", "a/movies.csv": "id,name\n1,x\n"},
            "a table of movieId, title",
        ),
        (
            {"a/ratings.dat": "1::1::5::9\n", "a/movies.dat": "1::x\n"},
            "not movieId::title::genres",
        ),
        (
            {"a/ratings.dat": "1::1::5::9\n", "a/movies.dat": "1::x::y\n"},
            "no user has 20 ratings of 4 or more",
        ),
    ],
)
def test_wrong_layouts_are_explained(tmp_path, members, message):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    with pytest.raises(DataError, match=message) as error:
        movielens.prepare({"movielens": path})
    assert "odd.zip" in str(error.value)


def test_controls_are_what_they_claim():
    X = np.random.default_rng(1).integers(0, 2, (50, 8)).astype(float)
    model = untrained("popularity", "multinomial", 3, 0, smoothing=0.0).fit(X)
    expected = model.inverse_transform(model.transform(X[:5]))
    assert np.allclose(expected, X.sum(axis=0) / X.sum())
    assert expected.shape == (5, 8)
    unseen = untrained("popularity", "multinomial", 3, 0).fit(np.zeros((4, 8)))
    assert np.allclose(unseen.inverse_transform(unseen.transform(X)), 1 / 8)
    copy = untrained("copy_input", "multinomial", 3, 0).fit(X)
    assert np.array_equal(copy.inverse_transform(copy.transform(X)), X)
    for name in ("popularity", "copy_input"):
        meta = discover("methods")[name].meta
        assert meta["control"]
        assert meta["likelihoods"] == ["counts"]


def test_facts_of_ml_32m_head(real_sources):
    path = real_sources["movielens"]
    dataset = movielens.prepare({"movielens": path})
    validate(dataset, "counts", "movielens")
    assert dataset.X.shape == (8762, 300)
    assert round(dataset.X.sum() / 8762, 1) == 37.3
    assert dataset.X.sum() == 326649
    likes = np.asarray(dataset.X.sum(axis=0)).ravel()
    most = np.argsort(-likes)[:3]
    assert [dataset.features[j] for j in most] == [
        "Shawshank Redemption, The (1994)",
        "Pulp Fiction (1994)",
        "Matrix, The (1999)",
    ]
    with zipfile.ZipFile(path) as archive:
        _, movies, _ = movielens._positives(archive, path, 4.0)
    assert (movies == dataset.arrays["movie_id"][most[0]]).sum() == 5226


def test_facts_of_latest_small(real_sources):
    dataset = movielens.prepare({"movielens": real_sources["movielens_small"]})
    validate(dataset, "counts", "movielens_small")
    assert dataset.X.shape == (464, 300)
    assert dataset.X.sum() == 19284
    likes = np.asarray(dataset.X.sum(axis=0)).ravel()
    most = np.argsort(-likes)[:3]
    assert likes[most].tolist() == [238, 222, 218]
    assert [dataset.features[j] for j in most] == [
        "Shawshank Redemption, The (1994)",
        "Forrest Gump (1994)",
        "Pulp Fiction (1994)",
    ]
