"""EASE against ridge regressions of one item on the others, and what it means to have no codes."""

from types import SimpleNamespace

import numpy as np
import pytest
from deep_cases import untrained
from sklearn.linear_model import Ridge

from anchorbench.data.dataset import Split
from anchorbench.runs import contract
from anchorbench.runs.score import Run, applies
from anchorbench.scores.top_k import fold_in_scores, recall_at
from anchorbench.study.plugins import discover

EASE = discover("methods")["ease"]


def clicks(n=200, items=12, seed=0):
    """Users of two tastes, each of which likes its own half of the items."""
    rng = np.random.default_rng(seed)
    likes = np.kron(np.eye(2), np.ones(items // 2))[rng.integers(0, 2, n)]
    return (rng.random((n, items)) < 0.05 + 0.55 * likes).astype(float)


def test_every_column_is_the_ridge_regression_on_the_others():
    X, l2 = clicks(), 3.7
    weights = untrained("ease", "multinomial", 5, 0, l2=l2).fit(X).weights_
    assert (np.diag(weights) == 0).all()
    for j in range(X.shape[1]):
        others = np.delete(np.arange(X.shape[1]), j)
        ridge = Ridge(l2, fit_intercept=False, tol=1e-14).fit(X[:, others], X[:, j])
        np.testing.assert_allclose(weights[others, j], ridge.coef_, atol=1e-10)


def test_it_ranks_the_hidden_items_of_a_users_taste_first():
    model = untrained("ease", "multinomial", 5, 0, l2=10.0).fit(clicks())
    scores, hidden = fold_in_scores(model, clicks(seed=1))
    assert recall_at(scores, hidden, 3) > 1.5 * recall_at(np.zeros_like(scores), hidden, 3)
    assert np.isfinite(scores[scores > -np.inf]).all()


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan"), "much", True])
def test_a_weight_that_is_not_positive_gets_a_sentence(l2):
    with pytest.raises(ValueError, match=r"l2 .*: give a finite number above 0"):
        untrained("ease", "multinomial", 5, 0, l2=l2).fit(clicks())


def test_a_run_without_codes_keeps_none_and_metrics_of_codes_do_not_apply():
    X = clicks()
    model = untrained("ease", "multinomial", 5, 0).fit(X)
    split = Split(X[:100], X[100:])
    arrays = contract.outputs(model, split, "counts", coded=EASE.meta["codes"])
    assert set(arrays) == {"reconstruction"}
    assert not contract.degenerate(arrays, control=False)
    record = {"likelihood": "multinomial", "dataset_plugin": "movielens"}
    record["provides"] = contract.provides(model, arrays)
    metrics = discover("metrics")
    fits = {}
    for name in ("ease", "vae"):
        run = Run(record, None, SimpleNamespace(), discover("methods")[name], ("a", "b"))
        fits[name] = {m for m in ("recall", "active_factors", "ndcg") if applies(metrics[m], run)}
    assert fits == {"ease": {"recall", "ndcg"}, "vae": {"recall", "ndcg", "active_factors"}}
