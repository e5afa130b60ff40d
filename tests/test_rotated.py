"""Codes of a deep model rotated after training: the same model, other axes."""

import numpy as np
import pytest
import torch
from deep_cases import count_data, gaussian_data, topic_counts

from anchorbench import method
from anchorbench.runs.fit import describe
from anchorbench.scores.prediction import log_weights
from anchorbench.scores.recovery import correlations, matched_mean
from anchorbench.study import config, plan, recipe
from anchorbench.study.config import ConfigError
from anchorbench.study.jobs import seeds
from anchorbench.study.plugins import PluginError, discover
from anchorbench.study.protocols import built, parameters

ROTATED = discover("methods")["vae_rotated"]
SMALL = {"n_hidden": 9, "epochs": 20, "batch_size": 20}


def rotated(likelihood="gaussian", n_latent=3, seed=0, small=SMALL, **params):
    own = parameters(ROTATED.meta, "corrected", own={"base_params": small, **params})
    return built(ROTATED, likelihood, n_latent, seed, own)


def alone(likelihood="gaussian", n_latent=3, seed=0, small=SMALL, base="vae"):
    plugin = discover("methods")[base]
    return built(plugin, likelihood, n_latent, seed, plugin.meta["params"] | small)


@pytest.mark.parametrize("rotation", ["varimax", "quartimin"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_no_reconstruction_and_no_likelihood_changes(likelihood, rotation, tmp_path):
    X = gaussian_data() if likelihood == "gaussian" else topic_counts(120)
    K = 3 if likelihood == "gaussian" else 2  # shares of three topics
    model, base = rotated(likelihood, K, rotation=rotation).fit(X), alone(likelihood, K).fit(X)
    Z = model.transform(X)
    assert all(torch.equal(model.base.state_[n], base.state_[n]) for n in base.state_)
    for found in (model.reconstruct(X), model.inverse_transform(Z)):
        np.testing.assert_allclose(found, base.reconstruct(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.log_prob(X, Z), base.log_prob(X, base.transform(X)), rtol=1e-5)
    assert np.array_equal(model.elbo(X), base.elbo(X))
    weights = [log_weights(m, X, 5, np.random.default_rng(0)) for m in (model, base)]
    assert np.array_equal(*weights)
    model.save(tmp_path)
    again = rotated(likelihood, K, rotation=rotation).load(tmp_path)
    assert np.array_equal(again.transform(X), Z)
    assert np.array_equal(again.loadings_, model.loadings_)


def test_posterior_and_prior_are_marginals_of_the_rotated_gaussian():
    X = gaussian_data()
    model = rotated(rotation="quartimin").fit(X)
    mean, sd = model.base.posterior(X[:1])
    draws = mean + sd * np.random.default_rng(0).standard_normal((200_000, 3))
    into = np.linalg.inv(model.rotation_) @ (draws / model.scale_).T
    found = model.posterior(X[:1])
    np.testing.assert_allclose(found[0][0], into.mean(1), atol=0.02 * into.std())
    np.testing.assert_allclose(found[1][0], into.std(1), rtol=0.02)
    inverse = np.linalg.inv(model.rotation_)
    prior = inverse @ np.diag(model.scale_**-2.0) @ inverse.T
    np.testing.assert_allclose(model.prior_covariance_, prior)


def test_the_prior_of_rotated_codes_has_the_correlations_of_the_learned_one():
    small = {"n_hidden": 10, "epochs": 30, "prior_covariance": "correlation"}
    model = rotated(rotation="quartimin", small=small).fit(gaussian_data())
    learned = model.base.prior_covariance_
    assert abs(learned - np.eye(3)).max() > 0.02
    into = np.linalg.inv(model.rotation_) / model.scale_
    np.testing.assert_allclose(model.prior_covariance_, into @ learned @ into.T)


def test_a_base_whose_posterior_is_not_gaussian_is_refused():
    with pytest.raises(ValueError, match="base VSC: name a deep method whose codes are Gaussian"):
        rotated(base="vsc", small={"n_hidden": 5}).fit(gaussian_data())


def test_rotated_codes_find_simple_structure_that_a_vae_misses():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((600, 3))
    W = np.kron(np.eye(3), np.ones((4, 1)))
    X = z @ W.T + 0.4 * rng.standard_normal((600, 12))
    model = rotated(small={"n_hidden": 30, "epochs": 150}).fit(X)
    found = matched_mean(correlations(model.transform(X), z))
    assert found > 0.95
    assert found > matched_mean(correlations(model.base.transform(X), z)) + 0.05
    assert (np.abs(model.loadings_).argmax(1).reshape(3, 4).std(1) == 0).all()


def test_bases_are_trained_together_and_each_keeps_its_own_rotation():
    Xs = [gaussian_data(40, 1), gaussian_data(50, 2)]
    for X, together in zip(Xs, rotated().fit_many(Xs, [3, 4]), strict=True):
        single = rotated(seed=together.base.seed).fit(X)
        np.testing.assert_allclose(together.transform(X), single.transform(X), rtol=1e-4)
        assert together.n_parameters_ == single.n_parameters_ > 0 and together.history_


def test_bad_parameters_get_a_sentence():
    with pytest.raises(ValueError, match="rotation 'promax': use one of varimax, quartimin"):
        rotated(rotation="promax").fit(gaussian_data())
    with pytest.raises(ValueError, match="base NonNegativeFactors: name a deep method"):
        rotated(base="nmf", small={}).fit(gaussian_data())
    with pytest.raises(ValueError, match="quartimin made two factors one"):
        rotated("multinomial", rotation="quartimin").fit(count_data())  # of nothing but noise
    with pytest.raises(PluginError, match="base: no method 'vea'; did you mean 'vae'"):
        method("vae_rotated")(base="vea").fit(gaussian_data())


def the_jobs(**variant):
    made = plan.make(
        config.merge(
            config.DEFAULTS,
            {
                "datasets": {"synthetic": {"replicates": 1, "training": {"epochs": 3}}},
                "methods": ["vae", "beta_vae", "vae_rotated"],
                "variants": {"other": {"method": "vae_rotated", "params": variant}},
            },
        )
    )
    return {job.variant.name: job for job in made.jobs if job.tag == "corrected"}


def test_in_a_study_it_is_the_bases_own_fit():
    jobs = the_jobs(base="beta_vae", base_params={"n_hidden": 7})
    assert seeds(jobs["vae_rotated"], 0, 0) == seeds(jobs["vae"], 0, 0)
    assert seeds(jobs["other"], 0, 0) == seeds(jobs["beta_vae"], 0, 0)
    assert jobs["vae_rotated"].params["base_params"] == jobs["vae"].params
    assert jobs["other"].params["base_params"] == jobs["beta_vae"].params | {"n_hidden": 7}
    wrapped = jobs["vae_rotated"].ingredients["wrapped"]
    assert wrapped == jobs["vae"].ingredients["code"] != jobs["other"].ingredients["wrapped"]
    files = describe(jobs["vae_rotated"], 0, {"seed": 0})["ingredients"]["files"]
    assert recipe.code_files(discover("methods")["vae"].path).items() <= files.items()


def test_a_study_names_the_variant_whose_base_there_is_not():
    with pytest.raises(ConfigError, match="other: base: no method 'vea'; did you mean 'vae'"):
        the_jobs(base="vea")
