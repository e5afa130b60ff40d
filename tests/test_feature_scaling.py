"""Standardised features: only units change, densities integrate to 1, a constant does no harm."""

import numpy as np
import pytest
from deep_cases import gaussian_data
from test_deep_methods import build

from anchorbench.study.plugins import discover

pytestmark = pytest.mark.usefixtures("one_thread")
DEEP = ("vae", "beta_vae", "sparse_vae", "oi_vae", "vsc")
UNITS = np.array([1000.0, 1, 1, 1, 1, 0.01])


@pytest.fixture(scope="module")
def pairs():
    """Every deep method on data and on the same data in other units."""
    X = gaussian_data(90)
    options = {"feature_scaling": "standard", "epochs": 6}
    return {
        name: [build(name, "corrected", seed=1, **options).fit(data) for data in (X, X * UNITS)]
        for name in DEEP
    }


@pytest.mark.parametrize("name", DEEP)
def test_a_column_in_other_units_changes_nothing_but_its_units(pairs, name):
    X = gaussian_data(90)
    plain, other = pairs[name]
    codes = plain.transform(X)
    np.testing.assert_allclose(other.transform(X * UNITS), codes, atol=1e-5)
    expected = plain.inverse_transform(codes)
    np.testing.assert_allclose(
        other.inverse_transform(codes), expected * UNITS, rtol=1e-3, atol=1e-4
    )
    density = plain.log_prob(X, codes) - np.log(UNITS).sum()
    np.testing.assert_allclose(other.log_prob(X * UNITS, codes), density, atol=2e-3)
    np.testing.assert_allclose(
        other.elbo(X * UNITS), plain.elbo(X) - np.log(UNITS).sum(), atol=5e-3
    )
    loadings = plain.loadings_ * UNITS[:, None]
    np.testing.assert_allclose(other.loadings_, loadings, rtol=2e-3, atol=1e-6 * loadings.max())
    if hasattr(plain, "support_"):
        assert np.array_equal(plain.support_, other.support_)


@pytest.mark.parametrize("name", DEEP)
def test_published_leaves_features_as_they_are_and_corrected_standardises(name):
    meta = discover("methods")[name].meta
    assert meta["protocols"]["published"]["feature_scaling"] == "none"
    assert meta["params"]["feature_scaling"] == "standard"


@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_densities_integrate_to_one(scaling):
    X = 5 + 30 * gaussian_data(90)[:, :2]
    model = build("vae", "corrected", n_latent=1, feature_scaling=scaling).fit(X)
    code = model.transform(X[:1])
    first = np.linspace(-2000, 2000, 801)
    grid = np.stack(np.meshgrid(first, first, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(model.log_prob(grid, np.repeat(code, len(grid), axis=0)))
    assert density.sum() * (first[1] - first[0]) ** 2 == pytest.approx(1, abs=2e-3)


def test_standardised_features_are_what_an_unscaled_model_sees():
    """The same as a model of data that were standardised beforehand, in their own units."""
    X = 7 + gaussian_data(90) * UNITS
    mean, sd = X.mean(0), X.std(0)
    inside = build("vae", "corrected", feature_scaling="standard").fit(X)
    outside = build("vae", "corrected", feature_scaling="none").fit((X - mean) / sd)
    np.testing.assert_allclose(inside.transform(X), outside.transform((X - mean) / sd), atol=1e-4)
    Z = inside.transform(X)
    np.testing.assert_allclose(
        (inside.inverse_transform(Z) - mean) / sd, outside.inverse_transform(Z), atol=1e-3
    )


@pytest.mark.parametrize("name", DEEP)
def test_a_constant_column_is_harmless(name):
    X = np.hstack([gaussian_data(60), np.full((60, 1), 3.0)])
    model = build(name, "corrected", feature_scaling="standard").fit(X)
    Z = model.transform(X)
    assert np.isfinite(Z).all() and np.isfinite(model.log_prob(X, Z)).all()
    np.testing.assert_allclose(model.inverse_transform(Z)[:, -1], 3, atol=1)


def test_counts_are_left_alone():
    from deep_cases import count_data

    X = count_data()
    models = [
        build("vae", "corrected", "multinomial", feature_scaling=scaling).fit(X)
        for scaling in ("none", "standard")
    ]
    assert np.array_equal(models[0].transform(X), models[1].transform(X))
