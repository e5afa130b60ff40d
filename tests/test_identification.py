"""Purity, folded MCC, factors found, pairs of anchors: perfect, rotated, copied, degenerate."""

import numpy as np
import pytest
from fake_run import compute, fake_run

from anchorbench.reporting.artefacts._theory import copy_line, rotation_line
from anchorbench.scores.identification import pairs_f1, purity
from anchorbench.scores.recovery import correlations, matched_mean


def correlated(rho, n=20_000, k=2):
    rng = np.random.default_rng(1)
    C = np.full((k, k), rho) + (1 - rho) * np.eye(k)
    return rng.standard_normal((n, k)) @ np.linalg.cholesky(C).T


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_purity_is_not_moved_by_correlation_and_mcc_is(rho):
    z = correlated(rho)
    rotated = np.stack([z[:, 0] + z[:, 1], z[:, 0] - z[:, 1]], axis=1)
    copied = z[:, [0, 0]] + 1e-6 * np.random.default_rng(0).standard_normal(z.shape)
    for spline, tolerance in ((False, 1e-3), (True, 0.02)):
        assert purity(z[:, ::-1] * 3 - 1, z, spline) == pytest.approx(1, abs=tolerance)
        assert purity(rotated / rotated.std(0), z, spline) == pytest.approx(0.5, abs=tolerance)
        assert purity(copied, z, spline) == pytest.approx(0.5, abs=tolerance)  # one right, one 0
    assert matched_mean(correlations(rotated, z)) == pytest.approx(rotation_line(rho), abs=0.01)
    assert matched_mean(correlations(copied, z)) == pytest.approx(copy_line(rho), abs=0.01)
    assert rotation_line(0.0) == pytest.approx(0.707, abs=5e-4)
    assert rotation_line(0.8) == pytest.approx(0.632, abs=5e-4)


def test_purity_of_noise_constants_and_missing_codes_is_zero():
    z = correlated(0.3, n=500)
    noise = np.random.default_rng(3).standard_normal((500, 5))
    for spline in (False, True):
        assert purity(np.ones((500, 3)), z, spline) == 0
        assert purity(noise[:, :2], z, spline) == 0
        assert purity(z[:, :1], z, spline) == pytest.approx(0.5, abs=0.02)
    assert purity(np.hstack([noise, z]), z) == pytest.approx(1)


def test_splines_see_an_even_code_where_lines_do_not():
    z = correlated(0.3)
    assert purity(z**2, z, spline=True) > 0.95
    assert purity(z**2, z) < 0.3


def run_of(codes, z):
    half = len(z) // 2
    from types import SimpleNamespace

    truth = SimpleNamespace(factors=(z[:half], z[half:]))
    return fake_run(codes_train=codes[:half], codes=codes[half:], truth=truth)


def test_folded_mcc_and_factors_found():
    z = correlated(0.2, n=4000, k=3)
    assert compute("factors_found", run_of(z**3, z)) == 3
    assert compute("factors_found", run_of(np.zeros_like(z), z)) == 0
    mixed = np.stack([z[:, 0], z[:, 1] + z[:, 2], z[:, 1] - z[:, 2]], axis=1)
    assert compute("factors_found", run_of(mixed, z)) == 1
    assert compute("factors_found", run_of(z[:, :2], z)) == 2
    even = run_of(z**2, z)
    assert compute("mcc_folded", even) > 0.98
    assert compute("mcc", even)["mcc_nonlinear"] < 0.2


def test_pairs_of_anchors():
    true = np.array([0, 0, 1, 1, -1, -1])
    assert pairs_f1(np.array([7, 7, 2, 2, -1, -1]), true) == 1
    assert pairs_f1(np.array([0, 1, 0, 1, -1, -1]), true) == 0
    assert pairs_f1(np.full(6, -1), true) == 0
    assert pairs_f1(np.full(6, -1), np.full(6, -1)) == 1
    assert pairs_f1(np.zeros(6, int), true) == pytest.approx(2 * 2 / (15 + 2))
