"""SLIM against scikit-learn's elastic net, an item at a time, and its constraints."""

import numpy as np
import pytest
from deep_cases import untrained
from sklearn.linear_model import ElasticNet

from anchorbench.data.dataset import Split
from anchorbench.runs import contract
from anchorbench.scores.top_k import fold_in_scores, recall_at
from anchorbench.study.plugins import discover


def clicks(n=200, items=12, seed=0):
    """Users of two tastes, each of which likes its own half of the items."""
    rng = np.random.default_rng(seed)
    likes = np.kron(np.eye(2), np.ones(items // 2))[rng.integers(0, 2, n)]
    return (rng.random((n, items)) < 0.05 + 0.55 * likes).astype(float)


@pytest.mark.parametrize("n", [200, 8])  # fewer users than items, too
@pytest.mark.parametrize(("l1", "l2"), [(1.0, 2.0), (6.0, 0.5), (0.5, 0.0)])
def test_every_column_is_the_elastic_net_on_the_others(n, l1, l2):
    X = clicks(n)
    X[:, 5] = 0  # an item that nobody knows
    weights = untrained("slim", "multinomial", 5, 0, l1=l1, l2=l2).fit(X).weights_
    assert (np.diag(weights) == 0).all() and (weights >= 0).all()
    assert not weights[5].any() and not weights[:, 5].any()
    for j in range(X.shape[1]):
        others = np.delete(np.arange(X.shape[1]), j)
        naive = ElasticNet(
            alpha=(l1 + l2) / n,
            l1_ratio=l1 / (l1 + l2),
            positive=True,
            fit_intercept=False,
            tol=1e-9,
            max_iter=100_000,
        ).fit(X[:, others], X[:, j])
        if l2:
            np.testing.assert_allclose(weights[others, j], naive.coef_, atol=2e-4)
        else:  # without a ridge the weights need not be unique, what they predict is
            np.testing.assert_allclose(X @ weights[:, j], X[:, others] @ naive.coef_, atol=5e-3)


def test_weights_vanish_where_the_penalty_outweighs_every_product():
    X = clicks()
    products = X.T @ X
    largest = (products - np.diag(np.diag(products))).max()
    at, below = (
        untrained("slim", "multinomial", 5, 0, l1=l1, l2=1.0).fit(X)
        for l1 in (largest * 1.001, largest * 0.9)
    )
    assert not at.weights_.any() and at.n_parameters_ == 0
    assert below.weights_.any()


def test_it_ranks_the_hidden_items_of_a_users_taste_first():
    model = untrained("slim", "multinomial", 5, 0, l2=10.0).fit(clicks())
    scores, hidden = fold_in_scores(model, clicks(seed=1))
    assert recall_at(scores, hidden, 3) > 1.5 * recall_at(np.zeros_like(scores), hidden, 3)


@pytest.mark.parametrize(
    ("name", "weight"), [("l1", 0.0), ("l1", -1.0), ("l2", -0.1), ("l2", float("nan")), ("l1", "a")]
)
def test_a_weight_that_is_no_penalty_gets_a_sentence(name, weight):
    with pytest.raises(ValueError, match=rf"{name} .*: give a finite number"):
        untrained("slim", "multinomial", 5, 0, **{name: weight}).fit(clicks())


def test_a_run_has_no_codes():
    X = clicks()
    model = untrained("slim", "multinomial", 5, 0).fit(X)
    coded = discover("methods")["slim"].meta["codes"]
    arrays = contract.outputs(model, Split(X[:100], X[100:]), "counts", coded=coded)
    assert set(arrays) == {"reconstruction"}
