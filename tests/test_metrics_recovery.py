"""Metrics of recovery: DCI, MCC, supports, anchors, active factors."""

import numpy as np
import pytest
from fake_run import Decoder, LinearGaussian, compute, factor_run

from anchorbench.scores.recovery import fitted_rows

RECOVERY = ("dci", "dci_lasso", "mcc")


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def factors(rng):
    return rng.normal(size=(1000, 2))


def scores(codes, factors, names=RECOVERY):
    run = factor_run(codes, factors)
    return {key: value for name in names for key, value in compute(name, run).items()}


def test_perfect_codes(factors):
    found = scores(factors, factors)
    for name in ("mcc", "mcc_spearman", "r"):
        assert found[name] == pytest.approx(1)
    assert found["mcc_nonlinear"] > 0.99
    assert min(found[name] for name in found if name.startswith("dci")) > 0.97


def test_permutation_sign_scale_and_spare_constant_codes_change_nothing(factors):
    plain = scores(factors, factors)
    moved = np.column_stack([np.full(len(factors), 4.0), -3 * factors[:, 1], factors[:, 0] + 1])
    found = scores(moved, factors)
    for name in plain:
        if "completeness" not in name:
            assert found[name] == pytest.approx(plain[name], abs=0.01), name
    # One more code, though unused, is one more place in which a factor could have been.
    assert found["dci_completeness"] > 0.97


def test_random_codes(rng, factors):
    found = scores(rng.normal(size=(1000, 2)), factors)
    for name in ("mcc", "mcc_spearman", "mcc_nonlinear", "r"):
        assert found[name] < 0.2
    assert found["dci"] < 0.1 and found["dci_lasso"] < 0.05 and found["dci_informativeness"] == 0
    assert found["dci_lasso_informativeness"] < 0.02


def test_rotation_by_45_degrees(factors):
    rotation = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    found = scores(factors @ rotation, factors)
    assert found["mcc"] == pytest.approx(1 / np.sqrt(2), abs=0.04)
    assert found["r"] == pytest.approx(1)
    assert found["dci"] < 0.15 and found["dci_lasso"] < 0.05
    assert found["dci_lasso_informativeness"] == pytest.approx(1, abs=1e-3)


def test_element_wise_transforms(factors):
    found = scores(np.exp(1.5 * factors), factors, ("mcc", "dci"))
    assert found["mcc_spearman"] == pytest.approx(1)
    assert found["mcc"] < 0.75
    plain = scores(factors, factors, ("mcc",))
    assert found["mcc_nonlinear"] == pytest.approx(plain["mcc_nonlinear"], abs=1e-3)
    assert found["dci"] > 0.97


def test_a_missing_code_costs_its_share(factors):
    found = scores(factors[:, :1], factors, ("mcc",))
    assert found["mcc"] == pytest.approx(0.5)
    assert found["mcc_spearman"] == pytest.approx(0.5)


def test_duplicated_codes_cost_completeness(rng):
    # Trees share importance between identical codes at random, Lasso uses one of them; codes that
    # each carry half of the factor must be used by both.
    parts = rng.normal(size=(1000, 4))
    factors = parts[:, :2] + parts[:, 2:]
    found = scores(parts, factors, ("dci", "dci_lasso"))
    for name in ("dci", "dci_lasso"):
        assert found[name] > 0.9
        assert found[f"{name}_completeness"] == pytest.approx(1 - np.log(2) / np.log(4), abs=0.05)


def test_dci_on_16_points_uses_the_published_rows_and_is_noise(rng, factors):
    legacy = np.random.RandomState(42)
    rows = legacy.choice(range(500), 16, replace=False)
    codes = rng.normal(size=(1000, 2))
    codes[rows] = factors[rows]  # perfect on those rows, noise on all others
    found = compute("dci_n16", factor_run(codes, factors))
    assert found == compute("dci_n16", factor_run(factors, factors))
    assert found["dci_n16"] > 0.8
    noise = [
        compute("dci_n16", factor_run(rng.normal(size=(1000, 5)), factors))["dci_n16"]
        for _ in range(20)
    ]
    assert 0.05 < np.mean(noise) < 0.3


def test_dci_of_many_rows_fits_a_fixed_subset(rng):
    factors = rng.normal(size=(3000, 1))
    codes = factors.copy()
    codes[np.setdiff1d(np.arange(2500), fitted_rows(2500))] = 0  # unread rows
    found = compute("dci", factor_run(codes, factors, train_rows=2500))
    assert found["dci_informativeness"] > 0.97
    assert len(fitted_rows(2500)) == 1000 and sorted(fitted_rows(500)) == list(range(500))


# Supports: eq. 9's mask, learned factors in another order with a spare one

TRUE = np.array([[1, 1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1, 1]], dtype=bool).T


def support_run(factors, rng, loadings, support=None, **fields):
    codes = np.column_stack([rng.normal(size=len(factors)), -factors[:, 1], 2 * factors[:, 0]])
    return factor_run(
        codes, factors, support=TRUE, loadings=np.asarray(loadings), **fields
    ), support


def planted(spare=0.0):
    return np.column_stack([np.full(7, spare), -0.5 * TRUE[:, 1], 3.0 * TRUE[:, 0]])


def test_true_support_is_perfect_in_any_order_sign_and_scale(factors, rng):
    run, _ = support_run(factors, rng, planted())
    assert compute("support_f1", run) == {"support_f1": 1, "support_f1_all": 1}
    assert set(compute("support_auroc", run).values()) == {1}
    anchors = compute("anchor_f1", run)
    assert anchors == {"anchor_f1": 1, "anchor_precision": 1, "anchor_recall": 1}


def test_entries_of_spare_factors_count_in_the_all_versions_only(factors, rng):
    run, _ = support_run(factors, rng, planted(spare=1.0))
    found = compute("support_f1", run)
    assert found["support_f1"] == 1
    assert found["support_f1_all"] == pytest.approx(2 * 8 / (8 + 7 + 8))
    ranked = compute("support_auroc", run)
    assert ranked["support_auroc"] == ranked["support_auprc"] == 1
    # Effects are 6 and .5 (sd) for the two factors and 1 for the spare: only the second is below.
    assert ranked["support_auroc_all"] == pytest.approx(1 - (4 * 7) / (8 * 13))
    # Every row has the spare entry, so no row has one entry alone.
    anchors = compute("anchor_f1", run)
    assert anchors == {"anchor_f1": 0, "anchor_precision": 1, "anchor_recall": 0}


def test_spare_factor_with_a_constant_code_is_no_false_positive(factors, rng):
    run, _ = support_run(factors, rng, planted(spare=1.0))
    run.codes_train[:, 0] = run.codes[:, 0] = 0.3
    assert compute("support_f1", run)["support_f1_all"] == 1
    assert compute("support_auroc", run)["support_auroc_all"] == 1
    assert compute("anchor_f1", run)["anchor_f1"] == 1


def test_own_support_overrides_loadings(factors, rng):
    noisy = planted() + 1e-4 * rng.normal(size=(7, 3))
    run, _ = support_run(factors, rng, noisy)
    dense = compute("support_f1", run)["support_f1"]
    assert dense == pytest.approx(2 * 8 / (14 + 8))
    run.support = planted() != 0
    assert compute("support_f1", run)["support_f1"] == 1
    # Ranking needs no support, and anchors are read from effects of at least 1 %.
    run.support = None
    assert compute("support_auroc", run)["support_auroc"] == 1
    assert compute("anchor_f1", run)["anchor_f1"] == 1


def test_swapped_columns_are_not_rewarded(factors, rng):
    swapped = planted()[:, [0, 2, 1]]
    run, _ = support_run(factors, rng, swapped)
    # Only feature 7, which has both factors, is right.
    assert compute("support_f1", run)["support_f1"] == pytest.approx(2 * 2 / 16)
    assert compute("anchor_f1", run)["anchor_f1"] == 0


def test_anchor_f1_counts_pairs(factors, rng):
    loadings = planted()
    loadings[0] = 0  # anchor 1 lost
    loadings[6, 2] = 0  # feature 7 looks like an anchor of factor 2
    run, _ = support_run(factors, rng, loadings)
    found = compute("anchor_f1", run)
    assert found["anchor_precision"] == pytest.approx(5 / 6)
    assert found["anchor_recall"] == pytest.approx(5 / 6)
    assert found["anchor_f1"] == pytest.approx(5 / 6)


def test_anchor_f1_where_the_truth_has_none(factors, rng):
    run, _ = support_run(factors, rng, np.ones((7, 3)))
    run.truth.support = np.ones((7, 2), dtype=bool)
    assert compute("anchor_f1", run)["anchor_f1"] == 1
    run.loadings = planted()
    assert compute("anchor_f1", run)["anchor_f1"] == 0


def test_decoder_effects_rank_the_support_of_a_model_without_loadings(factors, rng):
    run, _ = support_run(factors, rng, planted())
    weights = run.loadings

    def decode(Z):
        return np.tanh(Z @ weights.T)

    run.model, run.train, run.loadings = Decoder(decode), decode(run.codes_train), None
    found = compute("support_auroc_effect", run)
    assert found == {
        "support_auroc_effect": 1,
        "support_auprc_effect": 1,
        "support_auroc_effect_all": 1,
    }


# Supports where no factors are known: factors are matched by what they do

SCALES, ITEMS = 4, 6


def keyed_run(rng, loadings=None, signs=True, n=600):
    """People of whom a key is known and no factors: items load on their scale alone."""
    size = ITEMS * SCALES
    keys = np.kron(np.eye(SCALES), np.ones((ITEMS, 1))) * rng.choice([-1, 1], (size, 1))
    codes = rng.normal(size=(n, SCALES))
    X = codes @ (keys * rng.uniform(0.7, 1.3, keys.shape)).T + 0.3 * rng.normal(size=(n, size))
    run = factor_run(codes, codes, support=keys != 0, test=X[n // 2 :], train=X[: n // 2])
    run.loadings = keys if loadings is None else loadings
    run.truth.factors, run.truth.keys = None, keys if signs else None
    run.model = Decoder(lambda Z: Z @ run.loadings.T)
    return run


def turned(run, order, scale):
    """The same model with its factors in another order, sign and scale."""
    run.codes_train, run.codes = (c[:, order] * scale for c in (run.codes_train, run.codes))
    run.loadings = run.loadings[:, order] / scale
    return run


SUPPORT_SCORES = ("support_f1", "support_auroc", "support_auroc_effect", "anchor_f1")


@pytest.mark.parametrize("signs", [True, False])
def test_a_key_is_found_in_any_order_sign_and_scale_without_factors(rng, signs):
    plain, other = (keyed_run(np.random.default_rng(1), signs=signs) for _ in range(2))
    other = turned(other, [2, 0, 3, 1], np.array([-2.0, 1, 0.3, -1]))
    for run in (plain, other):
        for name in SUPPORT_SCORES:
            assert min(compute(name, run).values()) == pytest.approx(1), name
        run.loadings = np.abs(run.loadings)  # sizes without a sign, as some methods have them
        for name in ("support_f1", "support_auroc", "anchor_f1"):
            assert min(compute(name, run).values()) == pytest.approx(1), name


def test_dense_and_random_loadings_are_at_chance_without_factors(rng):
    shape = (ITEMS * SCALES, SCALES)
    runs = [keyed_run(rng, rng.normal(size=shape)) for _ in range(20)]
    for run in runs:  # every entry is claimed: a fourth of them rightly
        assert compute("support_f1", run)["support_f1"] == pytest.approx(2 / (SCALES + 1))
        assert compute("anchor_f1", run)["anchor_f1"] == 0
    for name in ("support_auroc", "support_auroc_effect"):
        found = np.mean([compute(name, run)[name] for run in runs])
        assert 0.45 < found < 0.65  # the matching picks the best of 24 orders


def test_a_scale_without_a_factor_is_missed_without_factors(rng):
    run = keyed_run(rng)
    run.codes_train, run.codes = run.codes_train[:, 1:], run.codes[:, 1:]
    run.loadings = run.loadings[:, 1:]
    assert compute("support_f1", run)["support_f1"] == pytest.approx(2 * 3 / 7)
    assert compute("anchor_f1", run)["anchor_recall"] == pytest.approx(3 / 4)


def test_known_factors_decide_the_matching_whatever_the_loadings(rng):
    run = keyed_run(rng)
    run.loadings = run.loadings[:, [1, 0, 2, 3]]
    assert compute("support_f1", run)["support_f1"] == 1  # the first two change places
    run.truth.factors = run.codes_train, run.codes
    assert compute("support_f1", run)["support_f1"] == pytest.approx(0.5)
    del run.test  # and need nothing else
    assert compute("anchor_f1", run)["anchor_f1"] == pytest.approx(0.5)


# Active factors


def test_active_factors_need_an_effect_and_information(factors):
    codes = np.column_stack([factors, 1e-3 * factors[:, 0], np.full(1000, 2.0)])
    A = np.array([[1.0, 0, 1, 5], [2, 0, 1, 5], [0, 1, 1, 5]])
    X = codes @ A.T
    run = factor_run(codes, factors, model=Decoder(lambda Z: Z @ A.T), train=X[:500], test=X[500:])
    assert compute("active_factors", run) == 2  # the third moves x by .1 % of its sd
    run.model.posterior = lambda X: (np.zeros((len(X), 4)), np.array([[0.1, 1, 1, 1]] * len(X)))
    assert compute("active_factors", run) == 1  # the second carries no information


def test_active_factors_of_a_known_posterior(rng):
    model = LinearGaussian(np.array([[3.0, 0], [1, 0], [0, 1e-3]]), 1.0)
    X = rng.normal(size=(200, 2)) @ model.A.T + rng.normal(size=(200, 3))
    codes = model.transform(X)
    run = factor_run(codes, codes, model=model, train=X[:100], test=X[100:])
    assert compute("active_factors", run) == 1
