"""Linear factor models: closed forms, units, planted factors, scikit-learn's own numbers."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, FactorAnalysis

from anchorbench.models import linear
from anchorbench.models.linear import RotatedFactors
from anchorbench.scores.prediction import log_weights
from anchorbench.scores.recovery import correlations, matched_mean
from anchorbench.study.plugins import discover, load

ROTATED = ["pca_varimax", "fa_varimax", "fa_oblimin", "fa_geomin"]
GAUSSIAN = ["pca", *ROTATED]
LINEAR = [*GAUSSIAN, "fastica", "sparse_pca", "dictionary"]
METHODS = discover("methods")


def build(name, n_latent=3, seed=0):
    return load(METHODS[name]).build("gaussian", n_latent, seed, **METHODS[name].meta["params"])


def planted(n, rho=0.0, factors="gaussian", seed=0):
    """X (n, 12) of three factors with four pure features each, in units of their own."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 3))
    if factors == "uniform":
        z = rng.uniform(-1, 1, (n, 3)) * np.sqrt(3)
    z = z @ np.linalg.cholesky((1 - rho) * np.eye(3) + rho).T
    W = np.kron(np.eye(3), np.ones((4, 1))) * rng.uniform(0.7, 1.3, (12, 1))
    X = z @ W.T + 0.4 * rng.standard_normal((n, 12))
    return X * rng.uniform(0.1, 10, 12) + rng.normal(size=12), z


X, Z = planted(800)


@pytest.fixture(scope="module")
def fitted():
    return {name: build(name).fit(X) for name in LINEAR}


@pytest.mark.parametrize("name", LINEAR)
def test_shapes_and_units(fitted, name):
    model, units = fitted[name], np.r_[1000.0, np.ones(11)]
    other = build(name).fit(X * units)
    np.testing.assert_allclose(other.transform(X * units), model.transform(X), atol=1e-6)
    np.testing.assert_allclose(other.loadings_, model.loadings_ * units[:, None], rtol=1e-6)
    expected = model.inverse_transform(model.transform(X)) * units
    found = other.inverse_transform(other.transform(X * units))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert model.loadings_.shape == (12, 3) and model.transform(X).shape == (800, 3)


@pytest.mark.parametrize("name", [*GAUSSIAN, "love", "ssl_fa"])
def test_the_bound_is_the_density_whatever_the_rotation(fitted, name):
    model, rows = fitted.get(name) or build(name).fit(X), X[:50]
    sigma = model.loadings_ @ model.phi_ @ model.loadings_.T + np.diag(model.noise_variance_)
    density = multivariate_normal(X.mean(axis=0), sigma).logpdf(rows)
    np.testing.assert_allclose(model.elbo(rows), density)
    weights = log_weights(model, rows, 4, np.random.default_rng(0))
    np.testing.assert_allclose(weights, np.tile(density[:, None], 4))
    twin = {"pca_varimax": "pca", "fa_oblimin": "fa_varimax", "fa_geomin": "fa_varimax"}.get(name)
    if twin:
        np.testing.assert_allclose(fitted[twin].elbo(rows), density, rtol=1e-6)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_posterior_and_densities_are_those_of_the_gaussian_model(fitted, name):
    model, rows = fitted[name], X[:5]
    L, psi = model.loadings_, np.diag(model.noise_variance_)
    mean = X.mean(axis=0)
    marginal = L @ model.phi_ @ L.T + psi
    gain = model.phi_ @ L.T @ np.linalg.inv(marginal)
    np.testing.assert_allclose(model.transform(rows), (rows - mean) @ gain.T, atol=1e-8)
    covariance = model.phi_ - gain @ L @ model.phi_
    np.testing.assert_allclose(model.posterior(rows)[1][0] ** 2, np.diag(covariance), atol=1e-8)
    z = model.transform(rows)
    posterior = multivariate_normal(np.zeros(3), covariance).logpdf(np.zeros(3))
    evidence = multivariate_normal(mean, marginal).logpdf(rows)
    np.testing.assert_allclose(model.log_prob(rows, z) + model.log_prior(z) - posterior, evidence)


@pytest.mark.parametrize("extraction", ["pca", "ml"])
def test_a_rotation_changes_neither_the_marginal_covariance_nor_reconstructions(extraction):
    models = [
        RotatedFactors(n_latent=3, extraction=extraction, rotation=rotation, starts=1).fit(X)
        for rotation in RotatedFactors.words
    ]
    for model in models:
        common = model.loadings_ @ model.phi_ @ model.loadings_.T
        first = models[0].loadings_ @ models[0].loadings_.T
        np.testing.assert_allclose(common, first, atol=1e-6 * np.abs(first).max())
        np.testing.assert_allclose(
            model.inverse_transform(model.transform(X)),
            models[0].inverse_transform(models[0].transform(X)),
            rtol=1e-5,
            atol=1e-5 * np.abs(X).max(),
        )


def test_principal_loadings_and_maximum_likelihood_are_scikit_learns():
    standard = linear.Columns(X).standard(X)
    A, psi = linear.principal(standard, 3)
    pca = PCA(3).fit(standard)
    np.testing.assert_allclose(
        A @ A.T, pca.components_.T * (pca.singular_values_**2 / 800) @ pca.components_
    )
    np.testing.assert_allclose(psi, 1 - (A**2).sum(axis=1))
    A, psi, settled = linear.maximum_likelihood(standard, 3)
    model = FactorAnalysis(3, tol=1e-6, max_iter=5000, svd_method="lapack").fit(standard)
    np.testing.assert_allclose(A @ A.T + np.diag(psi), model.get_covariance(), atol=2e-3)
    assert settled


@pytest.mark.parametrize("name", ["fa_varimax", "fa_oblimin", "fa_geomin"])
def test_factors_by_maximum_likelihood_are_fewer_than_features(name):
    features = X[:, :5]
    with pytest.raises(ValueError, match="fewer factors than features"):
        build(name, n_latent=5).fit(features)
    # Models of more factors contain those of fewer, so that the likelihood rises.
    heights = [build(name, n_latent=k).fit(features).elbo(features).mean() for k in (1, 2, 3, 4)]
    assert np.all(np.diff(heights) > -1e-3)


def test_pca_has_the_axes_of_scikit_learns_and_leaves_factors_mixed(fitted):
    own = PCA(3).fit(linear.Columns(X).standard(X))
    codes = fitted["pca"].transform(X)
    axes = correlations(codes, own.transform(linear.Columns(X).standard(X)))
    np.testing.assert_allclose(axes, np.eye(3), atol=0.02)
    mixed, rotated = (fitted[name].transform(X) for name in ("pca", "pca_varimax"))
    assert matched_mean(correlations(mixed, Z)) < matched_mean(correlations(rotated, Z)) - 0.1


@pytest.mark.parametrize("name", ROTATED)
def test_planted_factors_are_found(fitted, name):
    assert matched_mean(correlations(fitted[name].transform(X), Z)) > 0.93


@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_oblique_rotations_find_the_correlation_of_factors(rho):
    data, truth = planted(10_000, rho)
    model = build("fa_oblimin").fit(data)
    found = np.abs(model.phi_[np.triu_indices(3, 1)])
    np.testing.assert_allclose(found, rho, atol=0.05)
    assert matched_mean(correlations(model.transform(data), truth)) > 0.93


def test_independent_components_are_found_where_they_are_not_gaussian():
    data, truth = planted(10_000, factors="uniform")
    assert matched_mean(correlations(build("fastica").fit(data).transform(data), truth)) > 0.9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_latent": 0}, "n_latent 0: a linear model of 800 rows and 12 features has 1 to 12"),
        ({"n_latent": 13}, "n_latent 13"),
        ({"rotation": "promax"}, "rotation 'promax': use one of none, varimax"),
        ({"extraction": "minres"}, "extraction 'minres': use pca or ml"),
    ],
)
def test_bad_parameters_get_a_sentence(parameters, message):
    with pytest.raises(ValueError, match=message):
        RotatedFactors(**parameters).fit(X)


def test_a_constant_column_is_left_alone():
    data = np.hstack([X, np.full((800, 1), 7.0)])
    for name in [*LINEAR, "ssl_fa", "love"]:
        model = build(name).fit(data)
        found = model.inverse_transform(model.transform(data))
        np.testing.assert_allclose(found[:, -1], 7)
        assert not model.loadings_[-1].any()
