"""Anchor words: the population's own matrix, planted topics, convergence with the data."""

import numpy as np
import pytest
from deep_cases import count_data, untrained
from scipy.optimize import linear_sum_assignment

from anchorbench.study.plugins import discover, load

WORDS = load(discover("methods")["anchor_words"])


def documents(n, seed=0, topics=4, words=60, tokens=100):
    """Counts (n, words), topics (words, topics) with an anchor each, and topic shares."""
    rng = np.random.default_rng(seed)
    A = rng.dirichlet(np.full(words - topics, 0.1), topics).T * 0.9
    A = np.vstack([np.eye(topics) * 0.1, A])
    theta = rng.dirichlet(np.full(topics, 0.3), n)
    return np.stack([rng.multinomial(tokens, A @ t) for t in theta]).astype(float), A, theta


def error(model, A):
    """Mean L1 distance of topics matched one to one."""
    distance = np.abs(model.loadings_[:, :, None] - A[:, None]).sum(0)
    return distance[linear_sum_assignment(distance)].mean()


def test_cooccurrence_of_pairs_of_tokens_by_hand():
    X = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    first = np.array([[2, 2, 0], [2, 0, 0], [0, 0, 0]]) / 6
    second = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]) / 2
    np.testing.assert_allclose(WORDS.cooccurrence(X), (first + second) / 2)
    X, A, theta = documents(4000)
    expected = A @ (theta.T @ theta / len(theta)) @ A.T
    assert np.abs(WORDS.cooccurrence(X) - expected).sum() < 0.05


def test_topics_are_exact_for_the_population_and_better_with_more_rows():
    _, A, theta = documents(500)
    Q = A @ (theta.T @ theta / len(theta)) @ A.T
    word = Q.sum(1)
    anchors = WORDS.greedy_anchors(Q / word[:, None], np.arange(len(Q)), 4)
    pure = A[anchors] / A[anchors].sum(1, keepdims=True)
    assert pure.max(1).min() > 0.99 and len(set(pure.argmax(1))) == 4
    errors = []
    for n in (500, 8000):
        X, A, _ = documents(n)
        errors.append(error(untrained("anchor_words", "multinomial", 4, 0).fit(X), A))
    assert errors[1] < 0.12
    assert errors[0] > 1.8 * errors[1]


def test_codes_are_the_shares_of_topics():
    X, _, theta = documents(2000)
    model = untrained("anchor_words", "multinomial", 4, 0).fit(X)
    Z = model.transform(X)
    np.testing.assert_allclose(Z.sum(1), 1)
    np.testing.assert_allclose(model.inverse_transform(Z).sum(1), 1)
    found = np.abs(np.corrcoef(Z.T, theta.T)[:4, 4:])
    assert found[linear_sum_assignment(-found)].min() > 0.9
    np.testing.assert_allclose(model.transform(np.zeros((1, 60))), 0.25)


BAD = [
    ({"n_latent": 9}, "n_latent 9: 8 words have 1 to 8 topics"),
    ({"min_share": 1.0}, "min_share 1.0: give a number from 0 to below 1"),
    ({"n_steps": 0}, "n_steps 0: give a whole number, 1 or more"),
]


@pytest.mark.parametrize(("params", "message"), BAD)
def test_bad_parameters_get_a_sentence(params, message):
    n_latent = params.get("n_latent", 3)
    rest = {key: value for key, value in params.items() if key != "n_latent"}
    with pytest.raises(ValueError, match=message):
        untrained("anchor_words", "multinomial", n_latent, 0, **rest).fit(count_data())


def test_rows_of_single_tokens_get_a_sentence():
    with pytest.raises(ValueError, match="no row has 2 tokens"):
        untrained("anchor_words", "multinomial", 2, 0).fit(np.eye(5))


def test_anchors_are_groups_of_features():
    model = untrained("anchor_words", "multinomial", 4, 0).fit(documents(500)[0])
    assert model.anchors_.shape == (60,) and set(model.anchors_) == {-1, 0, 1, 2, 3}
    assert model.anchors_[model.anchor_words_].tolist() == [0, 1, 2, 3]
