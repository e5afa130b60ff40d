"""Scores of keys on perfect, turned, rotated, random, missing and empty loadings."""

import numpy as np
import pytest

from anchorbench.scores import keys as scores

ITEMS, SCALES = 5, 4


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def keys(rng):
    return np.kron(np.eye(SCALES), np.ones((ITEMS, 1))) * rng.choice([-1, 1], (ITEMS * SCALES, 1))


def test_the_key_itself_scores_one_in_any_order_sign_and_scale(keys, rng):
    turned = keys[:, rng.permutation(SCALES)] * np.array([-2.0, 1, 0.3, -1])
    for effects in (keys, turned):
        assert scores.key_scores(effects, keys) == dict.fromkeys(
            ("accuracy", "congruence", "auroc", "f1", "sign"), pytest.approx(1)
        )


def test_a_rotation_by_45_degrees(keys):
    half = np.sqrt(0.5)
    effects = keys.copy()
    effects[:, :2] = keys[:, :2] @ np.array([[half, half], [-half, half]])
    found = scores.key_scores(effects, keys)
    assert found["congruence"] == pytest.approx((2 * half + 2) / 4)


@pytest.mark.parametrize("learned", [1, 2, 3])
def test_fewer_factors_than_scales_cap_every_score(keys, learned):
    found = scores.key_scores(keys[:, :learned], keys)
    share = learned / SCALES
    for name in ("accuracy", "congruence", "sign"):
        assert found[name] == pytest.approx(share)
    assert found["f1"] == pytest.approx(2 * share / (1 + share))


def test_empty_and_random_loadings(keys, rng):
    nothing = scores.key_scores(np.zeros_like(keys), keys)
    assert nothing == {"accuracy": 0, "congruence": 0, "auroc": 0.5, "f1": 0, "sign": 0}
    noise = [scores.key_scores(rng.normal(size=keys.shape), keys) for _ in range(50)]
    assert np.mean([n["accuracy"] for n in noise]) < 0.5
    assert np.mean([n["congruence"] for n in noise]) < 0.4


def test_an_extra_factor_that_takes_items_away_costs_accuracy(keys):
    thief = 2 * np.abs(keys[:, :1]) * (np.arange(len(keys)) < 2)[:, None]
    assert scores.key_scores(np.hstack([keys, thief]), keys)["accuracy"] == pytest.approx(0.9)


def test_effects_are_free_of_scale_and_take_their_sign_from_the_data(keys, rng):
    codes = rng.normal(size=(500, SCALES))
    X = codes @ keys.T + 0.1 * rng.normal(size=(500, len(keys)))
    units, stretch = rng.uniform(1, 9, len(keys)), rng.uniform(1, 9, SCALES)
    plain = scores.signed_effects(np.abs(keys), codes, X)
    other = scores.signed_effects(
        np.abs(keys) * units[:, None] / stretch, codes * stretch, X * units
    )
    np.testing.assert_allclose(plain, other)
    assert (np.sign(plain) == keys).all()
    assert (np.abs(plain)[keys != 0] > 0.9).all()


def test_scale_scores_are_found_in_codes_that_are_them(keys, rng):
    X = rng.normal(size=(200, len(keys)))
    own = scores.scale_scores(X, keys)
    assert scores.matched_scale_correlation(-3 * own[:, ::-1], X, keys) == pytest.approx(1)
    assert scores.matched_scale_correlation(own[:, :2], X, keys) == pytest.approx(0.5, abs=1e-9)


def test_of_equal_effects_each_counts_its_share(keys):
    assert scores.key_scores(np.ones(keys.shape), keys)["accuracy"] == pytest.approx(
        1 / keys.shape[1]
    )
    tied = keys.astype(float)
    tied[0] = 1.0  # the first item leads on every factor, the others on their own
    keyed = (keys != 0).any(axis=1).sum()
    expected = (keyed - 1 + 1 / keys.shape[1]) / keyed
    assert scores.key_scores(tied, keys)["accuracy"] == pytest.approx(expected)
