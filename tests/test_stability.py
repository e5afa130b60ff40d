"""Stability of codes: 1 for the same factors, 0 on average for rotations of the same subspace."""

import numpy as np
import pytest

from anchorbench.scores.stability import agreement


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("rho", [0.0, 0.8])
@pytest.mark.parametrize("K", [2, 5, 20])
def test_the_same_factors_in_other_order_sign_and_scale_score_one(rng, K, rho):
    codes = rng.normal(size=(600, K)) @ np.linalg.cholesky((1 - rho) * np.eye(K) + rho).T
    other = codes[:, rng.permutation(K)] * rng.choice([-3.0, 0.5], K)
    assert agreement(codes, other, rng).value == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("K", [5, 20])
def test_random_rotations_score_nothing_on_average(rng, K):
    codes = rng.normal(size=(600, K))
    found = []
    for _ in range(200):
        turn, _ = np.linalg.qr(rng.normal(size=(K, K)))
        found.append(agreement(codes, codes @ turn, rng))
    assert np.mean([one.value for one in found]) < 0.1
    assert abs(np.mean([(one.m - one.b) / (1 - one.b) for one in found])) < 0.1


@pytest.mark.parametrize("K", [2, 5, 20])
def test_a_common_component_is_no_agreement(rng, K):
    found = []
    for _ in range(30):
        common = rng.normal(size=(600, 1))
        first, second = (rng.normal(size=(600, K)) + common for _ in range(2))
        found.append(agreement(first, second, rng).value)
    assert np.mean(found) <= 0.05


def test_codes_without_a_partner_count_and_no_codes_score_zero(rng):
    codes = rng.normal(size=(600, 6))
    assert agreement(codes, codes[:, :3], rng).m == pytest.approx(0.5)
    assert agreement(codes[:, :0], codes, rng).value == 0
    constant = agreement(np.ones((600, 2)), codes, rng)
    assert constant.value == 0 and np.isfinite([constant.m, constant.b]).all()
