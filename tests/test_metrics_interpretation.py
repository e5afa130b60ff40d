"""Metrics of interpretation: labels, topics, stability."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_run import compute, factor_run, fake_run


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_cell_type_accuracy_of_separated_random_and_constant_codes(rng):
    types = np.repeat(["glia", "neuron", "mural", "immune"], 50)
    rng.shuffle(types)
    codes = np.eye(4)[np.unique(types, return_inverse=True)[1]] + 0.1 * rng.normal(size=(200, 4))
    labels = {"level2": (np.arange(100), np.arange(100)), "level1": (types[:100], types[100:])}
    found = compute("cell_type_accuracy", factor_run(codes, codes, labels=labels))
    assert found == {"cell_type_accuracy": 1, "cell_type_accuracy_cv": 1}
    noise = rng.normal(size=(200, 4))
    found = compute("cell_type_accuracy", factor_run(noise, noise, labels=labels))
    assert max(found.values()) < 0.45
    constant = np.ones((200, 4))
    found = compute("cell_type_accuracy", factor_run(constant, constant, labels=labels))
    commonest = max(set(types[:100]), key=list(types[:100]).count)
    assert found["cell_type_accuracy"] == np.mean(types[100:] == commonest)


def test_cell_type_accuracy_holds_test_rows_out(rng):
    # Codes tell the label of training rows only.
    types = rng.integers(0, 2, size=400)
    codes = np.where(np.arange(400) < 200, types, rng.integers(0, 2, size=400))[:, None] * 1.0
    labels = {"level1": (types[:200], types[200:])}
    found = compute("cell_type_accuracy", factor_run(codes, codes, labels=labels))
    assert found["cell_type_accuracy_cv"] == 1
    assert found["cell_type_accuracy"] < 0.65


def test_cell_type_accuracy_never_fits_labels_of_test_rows(rng):
    """Where training rows include the test rows, the result is that of the other rows alone."""
    types = rng.integers(0, 3, size=300)
    codes = np.eye(3)[types] + 0.7 * rng.normal(size=(300, 3))
    apart = factor_run(codes, codes, train_rows=200, labels={"a": (types[:200], types[200:])})
    together = factor_run(codes, codes, train_rows=200, labels={"a": (types, types[200:])})
    together.codes_train = codes
    together.truth.index = (np.arange(300), np.arange(200, 300))
    ours, same = (compute("cell_type_accuracy", run) for run in (together, apart))
    assert ours["cell_type_accuracy"] == same["cell_type_accuracy"] < 1
    assert ours["cell_type_accuracy_cv"] != same["cell_type_accuracy_cv"]


def themes(rng, shuffle=False):
    """Documents of one theme each, three themes of 30 words; loadings show them or mix them."""
    theme = rng.integers(0, 3, size=300)
    X = np.zeros((300, 90))
    for document, t in enumerate(theme):
        X[document, 30 * t : 30 * t + 30] = rng.poisson(1.0, size=30)
    loadings = -np.kron(np.eye(3), rng.uniform(1, 2, size=(30, 1)))
    if shuffle:
        loadings = rng.permutation(loadings)
    return fake_run(likelihood="multinomial", train=X, loadings=loadings)


def test_npmi_prefers_words_that_meet(rng):
    coherent, mixed = compute("npmi", themes(rng)), compute("npmi", themes(rng, shuffle=True))
    assert coherent["npmi"] > 0.2 > 0 > mixed["npmi"]
    assert coherent["npmi_authors"] > mixed["npmi_authors"]


def test_topic_diversity_of_disjoint_and_equal_topics(rng):
    run = themes(rng)
    assert compute("topic_diversity", run) == 1
    run.loadings = np.tile(run.loadings[:, :1], (1, 3))
    assert compute("topic_diversity", run) == pytest.approx(1 / 3)


def stability_run(codes, replicate, peers=(), features=("a", "b")):
    """A run whose model gives these codes, each of which moves features."""
    model = SimpleNamespace(
        transform=lambda rows: codes, inverse_transform=lambda Z: Z @ np.ones((Z.shape[1], 2))
    )
    run = fake_run(
        record={"seed": replicate, "replicate": replicate},
        codes=codes,
        codes_train=codes,
        train=np.random.default_rng(0).normal(size=(len(codes), 2)),
        test=np.zeros((len(codes), 2)),
        features=list(features),
        model=model,
    )
    run.peers = lambda: list(peers)
    return run


def test_code_stability_is_one_for_the_same_factors_and_averages_peers(rng):
    codes = rng.normal(size=(400, 5))
    same = stability_run(codes[:, [4, 2, 0, 1, 3]] * [-1, 5, 2, 1, -3], 1)
    other = stability_run(rng.normal(size=(400, 5)), 2)
    alone = compute("code_stability", stability_run(codes, 0, [same]))
    assert alone["code_stability"] == pytest.approx(1, abs=0.01)
    assert alone["code_stability_m"] == pytest.approx(1)
    low = compute("code_stability", stability_run(codes, 0, [other]))["code_stability"]
    assert low < 0.1
    both = compute("code_stability", stability_run(codes, 0, [same, other]))
    assert both["code_stability"] == pytest.approx((1 + low) / 2, abs=0.06)


def test_dead_codes_change_nothing(rng):
    codes = rng.normal(size=(400, 5))
    dead = np.hstack([codes, np.zeros((400, 3))])
    pair = stability_run(dead, 0, [stability_run(codes, 1)])
    assert compute("code_stability", pair)["code_stability"] == pytest.approx(1, abs=0.01)


def test_code_stability_does_not_apply_without_another_replicate_of_the_same_features(rng):
    codes = rng.normal(size=(50, 3))
    stranger = stability_run(codes, 1, features=("a", "c"))
    for peers in ([], [stranger]):
        assert compute("code_stability", stability_run(codes, 0, peers)) is None
