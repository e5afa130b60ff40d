"""Rotations against R's on Harman's 24 tests, and what they must leave as it is.

tests/golden/: correlations (R's Harman74.cor), maximum likelihood loadings of 4 factors (factanal)
and their rotations by stats::varimax and GPArotation, R 4.2.2, GPArotation 2022.10.2.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad, linear_sum_assignment

from anchorbench.models import rotations

GOLDEN = Path(__file__).parent / "golden"


def golden(name):
    return pd.read_csv(GOLDEN / f"harman74_{name}.csv", index_col=0).to_numpy()


A = golden("unrotated")


def aligned(ours, theirs):
    """Order and signs by which the columns of ours are theirs."""
    _, order = linear_sum_assignment(-np.abs(theirs.T @ ours))
    return order, np.sign((theirs * ours[:, order]).sum(0))


@pytest.mark.parametrize(("name", "kaiser"), [("varimax_kaiser", True), ("varimax_raw", False)])
def test_varimax_is_that_of_r(name, kaiser):
    rotation = rotations.orthomax(A, kaiser=kaiser)
    order, sign = aligned(rotation.loadings, golden(name))
    np.testing.assert_allclose(rotation.loadings[:, order] * sign, golden(name), atol=2e-5)
    np.testing.assert_allclose(rotation.matrix.T @ rotation.matrix, np.eye(4), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "criterion", "value"),
    [("quartimin", rotations.quartimin, 0.1957257), ("geomin", rotations.geomin, 1.011801)],
)
def test_oblique_rotations_are_those_of_gparotation(name, criterion, value):
    rotation = rotations.oblique(A, criterion)
    assert rotation.value == pytest.approx(value, abs=1e-6)
    order, sign = aligned(rotation.loadings, golden(name))
    np.testing.assert_allclose(rotation.loadings[:, order] * sign, golden(name), atol=2e-5)
    phi = rotation.phi[np.ix_(order, order)] * np.outer(sign, sign)
    np.testing.assert_allclose(phi, golden(f"{name}_phi"), atol=2e-5)


@pytest.mark.parametrize("rotate", [rotations.orthomax, rotations.oblique])
def test_what_data_can_tell_stays(rotate):
    rotation = rotate(A)
    L = rotation.loadings
    np.testing.assert_allclose(L, A @ rotation.matrix, atol=1e-12)
    np.testing.assert_allclose(L @ rotation.phi @ L.T, A @ A.T, atol=1e-10)
    np.testing.assert_allclose(np.diag(rotation.phi), 1, atol=1e-12)
    assert ((L**3).sum(0) >= 0).all()


@pytest.mark.parametrize("criterion", [rotations.quartimin, rotations.geomin])
def test_gradients_are_those_of_finite_differences(criterion):
    L = np.random.default_rng(0).normal(size=(5, 3))
    error = check_grad(
        lambda x: criterion(x.reshape(5, 3))[0],
        lambda x: criterion(x.reshape(5, 3))[1].ravel(),
        L.ravel(),
    )
    assert error < 1e-6


def test_simple_structure_is_found_again_after_any_rotation():
    rng = np.random.default_rng(1)
    simple = np.kron(np.eye(4), np.ones((6, 1))) * rng.uniform(0.5, 1, (24, 1))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    found = rotations.orthomax(simple @ turn, tolerance=1e-14).loadings
    order, sign = aligned(found, simple)
    np.testing.assert_allclose(found[:, order] * sign, simple, atol=1e-7)


def test_random_starts_find_at_least_what_the_identity_finds():
    L = np.random.default_rng(2).normal(size=(30, 6))
    one, many = (rotations.orthomax(L, starts=starts).value for starts in (0, 20))
    assert many >= one - 1e-12
    one, many = (rotations.oblique(L, rotations.geomin, starts=s).value for s in (0, 5))
    assert many <= one + 1e-9


def test_empty_rows_and_one_factor_are_left_alone():
    L = np.vstack([A, np.zeros((2, 4))])
    assert not rotations.orthomax(L).loadings[-2:].any()
    one = rotations.orthomax(-A[:, :1])
    np.testing.assert_allclose(one.loadings, A[:, :1], atol=1e-12)


def test_a_search_that_was_cut_short_has_not_settled():
    assert rotations.oblique(A).settled and rotations.orthomax(A).settled
    assert not rotations.oblique(A, max_iter=2).settled
