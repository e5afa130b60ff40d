"""Semi-synthetic PeerRead: the shift of factors, rounded and drawn counts, the fitted topics."""

import os

import numpy as np
import pytest
import scipy.sparse as sp

from anchorbench.data.dataset import DataError, Dataset, load_dataset, save_dataset
from anchorbench.data.peerread_words import peerread_counts
from anchorbench.study.plugins import discover, load

shift = load(discover("datasets")["peerread_shift"])


def corpus(n=400, k=6, g=30, length=60, seed=0):
    """Documents of a topic model: counts, theta, beta; each topic owns g/k words."""
    rng = np.random.default_rng(seed)
    theta = rng.dirichlet(np.full(k, 0.3), n) + 1e-6
    beta = np.full((k, g), 0.02 / g)
    for topic, words in enumerate(np.split(np.arange(g), k)):
        beta[topic, words] += rng.dirichlet(np.full(len(words), 3.0)) * 0.98
    theta, beta = (part / part.sum(axis=1, keepdims=True) for part in (theta, beta))
    lengths = rng.integers(2, length, n)
    X = np.stack([rng.multinomial(m, p) for m, p in zip(lengths, theta @ beta, strict=True)])
    return sp.csr_matrix(X.astype(float)), theta, beta


@pytest.fixture(scope="module")
def dataset():
    X, theta, beta = corpus()
    words = [f"w{j}" for j in range(X.shape[1])]
    return Dataset(X, words, arrays={"theta": theta, "beta": beta})


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_second_half_of_log_factors_is_the_first_plus_noise(sigma):
    theta = corpus(n=5000)[1]
    shifted = shift.shift(theta, sigma, np.random.default_rng(1))
    assert np.allclose(shifted.sum(axis=1), 1)
    noise = np.log(shifted[:, 3:]) - np.log(shifted[:, :3])
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(noise.size)
    assert abs(noise.std() / sigma - 1) < 4 / np.sqrt(2 * noise.size)
    # Independent of the factors and of one another.
    correlation = np.corrcoef(np.hstack([noise, np.log(theta[:, :3])]).T)
    assert np.abs(correlation[:3] - np.eye(3, 6)).max() < 5 / np.sqrt(5000)
    # The first half changes by the common normalisation only.
    ratio = shifted[:, :3] / theta[:, :3]
    assert np.allclose(ratio, ratio[:, :1])


def test_without_noise_the_halves_are_equal():
    theta = np.array([[0.1, 0.3, 0.4, 0.2]])
    shifted = shift.shift(theta, 0.0, np.random.default_rng(0))
    assert np.allclose(shifted, [[0.125, 0.375, 0.125, 0.375]])


def test_rounded_counts_against_a_naive_loop(dataset):
    split = shift.split(dataset, 0, 7)
    theta, beta = dataset.arrays["theta"], dataset.arrays["beta"]
    expected = []
    for row, z in zip(dataset.X.toarray(), theta, strict=True):
        counts = [round(row.sum() * sum(z * beta[:, j])) for j in range(beta.shape[1])]
        if any(counts):
            expected.append(counts)
    assert split.test.tolist() == expected
    assert len(expected) < dataset.X.shape[0]
    # Test documents are the same in all replicates, training documents are not.
    other = shift.split(dataset, 1, 8)
    assert np.array_equal(other.test, split.test)
    assert other.train.shape != split.train.shape or not np.array_equal(other.train, split.train)
    again = shift.split(dataset, 0, 7)
    assert np.array_equal(again.train, split.train)


@pytest.mark.parametrize("counts", ["rounded", "drawn"])
def test_rows_factors_and_expectations_stay_together(dataset, counts):
    split = shift.split(dataset, 0, 3, sigma=0.5, counts=counts)
    lengths = np.asarray(dataset.X.sum(axis=1)).ravel()
    beta = dataset.arrays["beta"]
    sides = zip((split.train, split.test), split.factors, split.expectation, strict=True)
    for X, factors, expectation in sides:
        assert len(X) == len(factors) == len(expectation)
        assert (X.sum(axis=1) > 0).all()
        assert np.allclose(expectation, factors @ beta)
        assert np.allclose(expectation.sum(axis=1), 1)
        if counts == "rounded":
            # Rounded counts lie within one half of some document length times the expectation.
            m = lengths[None, :, None] * expectation[:20, None, :]
            assert (np.abs(m - X[:20, None, :]).max(axis=2).min(axis=1) <= 0.5).all()
        else:
            assert np.array_equal(X.sum(axis=1), lengths)
    assert split.support is None
    assert split.index is None
    kept = len(split.factors[1])
    assert (kept == len(lengths)) == (counts == "drawn")
    assert set(map(tuple, split.factors[1])) <= set(map(tuple, dataset.arrays["theta"]))


def test_drawn_counts_have_the_moments_of_a_multinomial():
    X, theta, beta = corpus(n=3000, length=100, seed=4)
    split = shift.split(Dataset(X, [], arrays={"theta": theta, "beta": beta}), 0, 5, counts="drawn")
    for drawn, p in zip((split.train, split.test), split.expectation, strict=True):
        n = drawn.sum(axis=1, keepdims=True)
        squares = (drawn - n * p) ** 2 / (n * p * (1 - p))
        assert abs(squares.mean() - 1) < 0.05
        pearson = ((drawn - n * p).sum(axis=0) ** 2 / (n * p * (1 - p)).sum(axis=0)).sum()
        assert pearson < 30 + 5 * np.sqrt(60)


def test_wrong_kind_of_counts_is_refused(dataset):
    with pytest.raises(DataError, match="counts is 'round': use 'rounded' or 'drawn'"):
        shift.split(dataset, 0, 1, counts="round")


def test_prepare_keeps_the_fitted_topics(tmp_path, monkeypatch):
    X = corpus(n=1500, length=80, seed=2)[0]
    words = [f"w{j}" for j in range(30)]
    monkeypatch.setattr(shift, "peerread_counts", lambda *_: (X, words))
    dataset = shift.prepare({}, n_topics=6, topic_seed=1)
    again = shift.prepare({}, n_topics=6, topic_seed=1)
    found = dataset.arrays["beta"]
    assert np.array_equal(found, again.arrays["beta"])
    assert np.array_equal(dataset.arrays["theta"], again.arrays["theta"])
    assert dataset.arrays["theta"].shape == (1500, 6)
    assert found.shape == (6, 30)
    for shares in dataset.arrays.values():
        assert np.allclose(shares.sum(axis=1), 1)
        assert (shares > 0).all()
    # Each planted topic owns five words; the fit finds all of these groups.
    groups = {tuple(sorted(np.argsort(-topic)[:5])) for topic in found}
    assert groups == {tuple(words) for words in np.split(np.arange(30), 6)}
    save_dataset(tmp_path, dataset)
    assert np.array_equal(
        shift.split(load_dataset(tmp_path), 0, 1).train, shift.split(dataset, 0, 1).train
    )


@pytest.mark.skipif("ANCHORBENCH_SLOW" not in os.environ, reason="minutes: set ANCHORBENCH_SLOW=1")
def test_perplexity_of_the_topics_on_the_abstracts(real_sources):
    counts, _ = peerread_counts(real_sources, 0.9, 0.0007, 500)
    model = shift.fit_topics(counts, 20, 42)
    # The released notebook, without a seed and on the complete text, printed 309.6. Seeds differ
    # by about 1 here; with 20 iterations in place of sklearn's 10 this one would reach 309.7.
    assert model.perplexity(counts) == pytest.approx(314.0, abs=0.5)
