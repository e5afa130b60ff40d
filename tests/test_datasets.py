"""Datasets of known truth: their moments, their support, their seeds."""

import numpy as np
import pytest

from anchorbench.data.dataset import DataError, content_digest, validate
from anchorbench.study import config, plan
from anchorbench.study.config import ConfigError
from anchorbench.study.plugins import SUITE, discover, kind_of, literal, load

synthetic = load(discover("datasets")["synthetic"])
simulated = load(discover("datasets")["simulated_counts"])
DRAWN = [synthetic, simulated]


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.8])
def test_synthetic_has_the_covariances_of_the_closed_forms(rho):
    n, s2 = 400_000, 0.25
    _, x = synthetic.draw(3, rho, n, 0.5)
    expected = {
        (1, 2): 2.0,
        (4, 5): 20.0,
        (4, 6): 24 * np.exp(-0.5),
        (5, 6): 30 * np.exp(-0.5),
        (3, 7): 42 * rho,
        (1, 4): 4 * rho,
        (1, 1): 1 + s2,
        (3, 3): 18 + s2,
        (6, 6): 18 * (1 - np.exp(-2)) + s2,
        (7, 7): 49 * (1 + rho**2) + s2,
        (3, 4): 0.0,
        (2, 7): 0.0,
    }
    centred = x - x.mean(axis=0)
    for (j, k), value in expected.items():
        products = centred[:, j - 1] * centred[:, k - 1]
        # Six standard errors of the mean of the products: a wrong constant is hundreds away.
        assert abs(products.mean() - value) < 6 * products.std() / np.sqrt(n), (j, k)


def test_synthetic_halves_are_the_released_split():
    split = synthetic.split(synthetic.prepare({}), 0, seed=5)
    fold = np.random.RandomState(42).randint(0, 2, 1000)
    assert len(split.test) == (fold == 0).sum() == 490
    z, x = synthetic.draw(5, 0.0, 1000, 0.5)
    np.testing.assert_array_equal(split.test, x[fold == 0])
    np.testing.assert_array_equal(split.factors[0], z[fold == 1])


def test_synthetic_residual_is_the_noise_floor():
    split = synthetic.split(synthetic.prepare({}), 0, seed=5, rho=0.6, n=100_000)
    residual = split.test - split.expectation[1]
    assert abs((residual**2).mean() - 0.25) < 0.005
    exact = synthetic.split(synthetic.prepare({}), 0, seed=5, noise_sd=0.0)
    np.testing.assert_array_equal(exact.train, exact.expectation[0])


def depends(expected, z, n_features):
    """(G, K) bool: does feature j move when factor k alone does?"""
    moved = np.zeros((n_features, z.shape[1]), dtype=bool)
    for k in range(z.shape[1]):
        other = z.copy()
        other[:, k] += 0.7
        moved[:, k] = np.abs(expected(other) - expected(z)).max(axis=0) > 1e-9
    return moved


def test_synthetic_support_is_what_the_features_depend_on():
    z = np.random.default_rng(0).standard_normal((50, 2))
    np.testing.assert_array_equal(depends(synthetic.expected, z, 7), synthetic.SUPPORT)


def test_simulated_support_is_what_the_logits_depend_on():
    split = simulated.split(simulated.prepare({}), 0, seed=1)
    intercepts, weights, names = simulated.decoder(40, 4, 2, 0)

    def log_odds(z):
        # Against a word that depends on nothing, the softmax's own coupling cancels.
        p = simulated.probabilities(z, intercepts, weights, 2.5)
        return np.log(p) - np.log(p[:, [names.index("common1")]])

    z = split.factors[0][:50]
    np.testing.assert_array_equal(depends(log_odds, z, 40), split.support)
    np.testing.assert_allclose(
        simulated.probabilities(split.factors[1], intercepts, weights, 2.5), split.expectation[1]
    )


def test_simulated_anchors_are_anchors_on_the_same_scale():
    intercepts, weights, names = simulated.decoder(30, 3, 2, 7)
    assert len(names) == len(set(names)) == len(intercepts) == 30
    for k in range(3):
        rows = [weights[names.index(f"topic{k + 1}_anchor{a}")] for a in (1, 2)]
        np.testing.assert_array_equal(rows, np.eye(3)[[k, k]])
    mixed = [j for j, name in enumerate(names) if "+" in name]
    assert mixed and all((weights[j] > 0).sum() == 2 for j in mixed)


def test_simulated_counts_follow_their_probabilities():
    split = simulated.split(simulated.prepare({}), 0, seed=1, n=6000)
    counts, p = split.train, split.expectation[0]
    lengths = counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert lengths.min() >= 1 and abs(lengths.mean() - 40) < 1
    z_score = (counts - lengths * p).sum(axis=0) / np.sqrt((lengths * p * (1 - p)).sum(axis=0))
    assert np.abs(z_score).max() < 5
    assert 0.8 < z_score.std() < 1.25 or np.abs(z_score).max() < 3.5


@pytest.mark.parametrize("rho", [-0.2, 0.0, 0.7])
def test_simulated_factors_have_the_correlation_asked_for(rho):
    split = simulated.split(simulated.prepare({}), 0, seed=2, n=60_000, rho=rho)
    expected = (1 - rho) * np.eye(4) + rho
    np.testing.assert_allclose(np.cov(split.factors[0].T), expected, atol=0.04)


@pytest.mark.parametrize("plugin", DRAWN)
def test_seed_decides_the_draw_and_the_replicate_number_does_not(plugin):
    dataset = plugin.prepare({})
    first, again, other = (plugin.split(dataset, r, s) for r, s in [(0, 9), (3, 9), (0, 10)])
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)
    np.testing.assert_array_equal(first.support, other.support)
    assert first.index is None
    assert len(first.factors[0]) == len(first.train) and len(first.factors[1]) == len(first.test)


@pytest.mark.parametrize("plugin", DRAWN)
def test_prepared_draw_is_valid_and_knows_the_parameters(plugin):
    dataset = plugin.prepare({})
    validate(dataset, kind_of(plugin.DATASET["likelihood"]), "drawn")
    assert content_digest(dataset) == content_digest(plugin.prepare({}))
    for name, value in plugin.DATASET["params"].items():
        if name in ("likelihood", "dispersion"):
            continue
        other = value + (0.3 if isinstance(value, float) else 1)
        assert content_digest(plugin.prepare({}, **{name: other})) != content_digest(dataset), name


def test_counts_are_drawn_as_their_likelihood_says():
    """Word by word: the sum of a row depends on its factors; the negative binomial varies more."""
    drawn = {
        name: simulated.prepare({}, n=4000, length=200, likelihood=name)
        for name in ("multinomial", "poisson", "negative_binomial")
    }
    spread = {name: data.X.sum(axis=1).var() / 200 for name, data in drawn.items()}
    assert spread["multinomial"] == pytest.approx(1, abs=0.1)
    assert spread["poisson"] > 5 < spread["negative_binomial"]
    plain = simulated.prepare({}, n=4000, length=200, likelihood="poisson", strength=0.0).X
    many = simulated.prepare(
        {}, n=4000, length=200, likelihood="negative_binomial", strength=0.0, dispersion=2.0
    ).X
    mean = plain.mean(axis=0)
    np.testing.assert_allclose(plain.var(axis=0), mean, rtol=0.2)
    np.testing.assert_allclose(many.var(axis=0), mean + mean**2 / 2, rtol=0.3)


def test_a_settings_likelihood_is_that_of_its_data():
    entry = {"settings": {"p": {"likelihood": "poisson"}, "m": {}}}
    asked = {"datasets": {"simulated_counts": entry, "synthetic": False}}
    made = plan.make(config.merge(config.DEFAULTS, asked))
    own = {name: instance.likelihood for (name, _), instance in made.instances.items()}
    assert own == {"simulated_counts_p": "poisson", "simulated_counts_m": "multinomial"}
    entry["settings"]["p"]["likelihood"] = "poison"
    with pytest.raises(ConfigError, match="there is no 'poison'; did you mean 'poisson'"):
        plan.make(config.merge(config.DEFAULTS, asked))


def test_impossible_parameters_are_named():
    with pytest.raises(DataError, match="dispersion 0: give a positive number"):
        simulated.prepare({}, likelihood="negative_binomial", dispersion=0)
    with pytest.raises(DataError, match="'gaussian': use multinomial, poisson or"):
        simulated.prepare({}, likelihood="gaussian")
    with pytest.raises(DataError, match="rho 1"):
        synthetic.prepare({}, rho=1.0)
    with pytest.raises(DataError, match=r"between -0\.33 and 1"):
        simulated.prepare({}, rho=-0.5)
    with pytest.raises(DataError, match="do not fit 40 features"):
        simulated.prepare({}, anchors=11)


def test_every_dataset_states_its_terms_and_template_is_a_plugin(tmp_path):
    for plugin in discover("datasets").values():
        assert plugin.broken is None
        assert plugin.meta["terms"] and plugin.meta["likelihood"]
        assert plugin.meta["sources"] == [] or plugin.meta["cite"]
    path = SUITE / "datasets" / "_template.py"
    assert "_template" not in discover("datasets")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mydata.py").write_text(path.read_text(encoding="utf-8"))
    module = load(discover("datasets", tmp_path)["mydata"])
    (tmp_path / "d.csv").write_text("one,two,rare\n" + "5,7,0\n6,1,1\n" * 10)
    dataset = module.prepare({"mydata": tmp_path / "d.csv"}, min_total=20)
    assert dataset.features == ["one", "two"] and dataset.X.shape == (20, 2)
    assert set(literal(path, "DATASET")) >= set(discover("datasets")["synthetic"].meta)
