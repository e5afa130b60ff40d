"""Dataset theory: dials do what they say and nothing else, closed forms, what is measured."""

import numpy as np
import pytest
from scipy.stats import rankdata

from anchorbench.data import theory
from anchorbench.data.dataset import DataError
from anchorbench.data.theory import Design, assumptions, factors, identified_by, world
from anchorbench.study.plugins import discover, load

SEED = 5


def drawn(n=300, **dials):
    made = world(Design(n=n, **dials), SEED)
    return made, *made.draw(n, "train")


@pytest.fixture(scope="module")
def base():
    return drawn()


# --- nothing else changes ------------------------------------------------------------------------


def noise_of(found):
    made, _, expected, X = found
    return (X - expected) / (made.design.noise * made.scales)


@pytest.mark.parametrize(
    ("dials", "features"),
    [
        ({"noise": 1.0}, slice(None)),
        ({"n": 100}, slice(None)),
        ({"anchors": 3}, slice(12, None)),
        ({"anchors": 0}, slice(8, None)),
        ({"form": "scaled"}, slice(8, None)),
        ({"form": "even"}, slice(8, None)),
        ({"form": "noninvertible"}, slice(8, None)),
        ({"dominance": 1.6}, slice(0, 8)),
        ({"density": 3}, slice(0, 8)),
        ({"n_features": 30}, slice(0, 24)),
        ({"link": "relu_any"}, slice(8, None)),
    ],
)
def test_features_that_a_dial_leaves_alone_are_the_same(base, dials, features):
    other = drawn(**dials)
    n, columns = dials.get("n", 300), np.arange(24)[features]
    for i in (1, 2):  # factors and expectations; blocks of another size may move the last digit
        one, two = base[i][:n], other[i]
        columns_here = slice(None) if i == 1 else columns
        np.testing.assert_allclose(one[:, columns_here], two[:, columns_here], atol=1e-12)
    np.testing.assert_allclose(noise_of(base)[:n], noise_of(other)[:, :24], atol=1e-9)
    changed = np.delete(np.arange(24), columns)
    if len(changed) and "density" not in dials:
        assert (np.abs(base[2][:n] - other[2][:, :24])[:, changed].max(0) > 1e-3).any()


def test_correlation_and_margins_leave_everything_else_as_it_is(base):
    plain = base[1]
    for rho in (0.0, 0.8):
        other = drawn(rho=rho)
        white = [
            np.linalg.solve(np.linalg.cholesky(np.full((4, 4), r) + (1 - r) * np.eye(4)), Z.T)
            for r, Z in ((0.3, plain), (rho, other[1]))
        ]
        np.testing.assert_allclose(*white, atol=1e-9)
        assert (base[0].support == other[0].support).all()
        np.testing.assert_allclose(noise_of(base), noise_of(other), atol=1e-9)
    for kind in ("uniform", "laplace", "lognormal"):
        other = drawn(kind=kind)
        assert (rankdata(plain, axis=0) == rankdata(other[1], axis=0)).all()
    for link in ("linear", "additive", "structural"):
        np.testing.assert_array_equal(plain, drawn(link=link)[1])
    np.testing.assert_array_equal(plain[:, :2], drawn(n_factors=2)[1])


def test_settings_of_the_dataset_are_paired_and_replicates_are_not():
    module = load(discover("datasets")["theory"])
    data = module.prepare({}, n=50, link="linear")
    assert data.X.shape == (50, 24)
    one, again, other = (
        module.split(data, 0, seed, n=50, n_test=20, link="linear") for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.train, again.train)
    assert np.abs(one.train - other.train).max() > 1
    assert one.test.shape == (20, 24) and np.abs(one.train[:20] - one.test).max() > 1
    np.testing.assert_allclose(one.expectation[1], one.test, atol=2)


# --- dials do what they say ----------------------------------------------------------------------


def test_anchors_density_and_dominance_are_those_of_the_mask():
    for link, anchors, density, c in (("linear", 3, 3, 1.25), ("relu", 2, 4, 0.8)):
        made = world(Design(link=link, anchors=anchors, density=density, dominance=c), SEED)
        sizes = made.support.sum(axis=1)
        assert (sizes == [1] * anchors * 4 + [density] * (24 - anchors * 4)).all()
        assert (made.support[: anchors * 4].sum(axis=0) == anchors).all()
    made = world(Design(link="linear", dominance=1.25), SEED)
    A = made.expected(np.eye(4)).T
    assert (A[:8][made.support[:8]] ** 2 == 1).all()
    np.testing.assert_allclose(np.abs(A[8:]).sum(axis=1), 1.25)
    assert ((A != 0) == made.support).all()


@pytest.mark.parametrize("kind", theory.KINDS)
def test_factors_have_unit_variance_and_their_margin(kind):
    Z = factors(Design(kind=kind, rho=0.6, n_factors=3), 200_000, SEED, "train")
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(Z.std(axis=0), 1, atol=0.03)
    kurtosis = {"gaussian": 3.0, "uniform": 1.8, "laplace": 6.0}
    if kind in kurtosis:
        np.testing.assert_allclose((Z**4).mean(axis=0), kurtosis[kind], rtol=0.05)
    if kind == "gaussian":
        np.testing.assert_allclose(np.corrcoef(Z.T)[0, 1:], 0.6, atol=0.01)


def test_noise_is_a_share_of_each_features_spread():
    made, _, expected, X = drawn(20_000, noise=0.5)
    np.testing.assert_allclose((X - expected).std(axis=0) / expected.std(axis=0), 0.5, rtol=0.05)
    assert np.ptp(made.scales) > 0.1


def anchor_curves(form, link="relu", **more):
    made = world(Design(form=form, link=link, anchors=3, **more), SEED)
    Z = np.zeros((2, 4))
    Z[:, 1] = (1, -1)
    return made.expected(Z)[:, 3:6]  # anchors of the second factor at 1 and -1


def test_forms_of_anchors():
    up, down = anchor_curves("equal")
    assert np.ptp(up) < 1e-12 and np.ptp(down) < 1e-12 and up[0] * down[0] < 0
    size = anchor_curves("scaled")[0] / up
    assert (size > 0.5).all() and (size < 2).all() and np.ptp(size) > 0.1
    np.testing.assert_allclose(anchor_curves("scaled")[1] / down, size)
    up, down = anchor_curves("noninvertible")
    assert (up * down > 0).all()
    up, down = anchor_curves("even")
    np.testing.assert_allclose([up, down], 2**-0.5)
    np.testing.assert_allclose(anchor_curves("different")[0], [1, np.sinh(1) / 1.8, 2 * np.tanh(1)])
    linear = anchor_curves("equal", "linear")
    np.testing.assert_allclose(linear[0], -linear[1])


def test_the_papers_generator_is_equation_9():
    made = world(Design(link="paper"), SEED)
    np.testing.assert_allclose(made.expected(np.array([[2.0, 3.0]]))[0], [
        2, 4, 12, 12, 15, 6 * np.sin(3), 42,
    ])  # fmt: skip
    assert made.support.sum() == 8


@pytest.mark.parametrize(
    ("dials", "words"),
    [
        ({"n_features": 8}, "give 9 features or more"),
        ({"density": 5}, "give at most 4"),
        ({"rho": 1.0}, "below 1"),
        ({"link": "cubic"}, "use linear, relu"),
        ({"form": "odd"}, "use equal, scaled"),
        ({"kind": "cauchy"}, "use gaussian"),
        ({"form": "noninvertible", "link": "linear"}, "use form even"),
        ({"form": "scaled", "anchors": 0}, "without anchors"),
        ({"form": "scaled", "link": "additive"}, "without anchors"),
        ({"link": "structural", "n_features": 3}, "needs 4 features"),
        ({"dominance": 0.0}, "dominance is positive"),
        ({"n": 3}, "give 10 or more"),
    ],
)
def test_impossible_settings_get_a_sentence(dials, words):
    with pytest.raises(DataError, match=words):
        Design(**dials)


# --- closed forms --------------------------------------------------------------------------------


def test_covariances_of_kinked_and_even_anchors_are_the_closed_forms():
    rho, a, b = 0.6, 1.3, -0.4
    z = factors(Design(n_factors=2, rho=rho), 1_000_000, SEED, "train")
    f = np.where(z > 0, a * z, -b * z)

    def J(t):
        return (np.sin(t) + (np.pi - t) * np.cos(t)) / (2 * np.pi)

    t = np.arccos(rho)
    variance = (a**2 + b**2) / 2 - (a + b) ** 2 / (2 * np.pi)
    covariance = (a**2 + b**2) * J(t) + 2 * a * b * J(np.pi - t) - (a + b) ** 2 / (2 * np.pi)
    assert variance == pytest.approx(0.79608, abs=1e-5)
    assert covariance == pytest.approx(0.45749, abs=1e-5)
    np.testing.assert_allclose(
        np.cov(f.T), [[variance, covariance], [covariance, variance]], atol=6e-3
    )
    np.testing.assert_allclose(np.cov((z**2 / 2**0.5).T), [[1, rho**2], [rho**2, 1]], atol=0.012)


def test_the_share_of_invertible_anchors_of_two_hidden_layers():
    rng, nets, hits = np.random.default_rng(0), 800, 0
    for _ in range(nets):
        first, second = rng.standard_normal((200, 1)), rng.standard_normal((200, 200))
        f = theory._net(first, second, np.ones(1), rng.standard_normal((200, 1)))
        up, down = f(np.array([[1.0], [-1.0]]))[:, 0]
        hits += up * down < 0
    limit = np.arccos(1 / np.pi) / np.pi
    assert limit == pytest.approx(0.397, abs=5e-4)
    assert hits / nets == pytest.approx(limit, abs=0.045)  # se .017; one layer would have .5


# --- what is measured ----------------------------------------------------------------------------


def measure(**dials):
    design = Design(**dials)
    found = assumptions(world(design, SEED), 20_000)
    return found, identified_by(design.resolved, found).split(", ")


def test_the_linear_cell_with_small_rows_has_all_assumptions():
    found, by = measure(link="linear", rho=0.6)
    assert found.anchors == 2 and found.difference == 0 and found.invertible
    assert found.a3_margin == pytest.approx(0.4, abs=0.02)
    # Population: 1 within a factor; largest |cov| of another row at most c.
    assert 0 < found.a2_margin < 1
    assert "A1-A3" in by and "additivity" not in by


@pytest.mark.parametrize(
    ("dials", "broken"),
    [
        ({"link": "linear", "form": "scaled"}, "a1"),
        ({"link": "linear", "anchors": 1}, "a1"),
        ({"link": "linear", "dominance": 1.6}, "a2"),
        ({"link": "paper"}, "a1"),
    ],
)
def test_each_assumption_is_seen_to_break(dials, broken):
    found, by = measure(**dials)
    assert not getattr(found, broken) and found.a3
    assert not {"A1-A3", "A1-A3 without an inverse"} & set(by)


def test_even_anchors_leave_the_branch_without_an_inverse():
    found, by = measure(link="linear", form="even")
    assert found.a1 and not found.invertible and "A1-A3 without an inverse" in by


def test_other_identification_results_hold_where_they_should():
    found, by = measure(link="additive")
    assert by == ["additivity"] and found.anchors == 0 and not found.structural
    assert measure(link="additive", n_features=7)[1] == ["none"]  # G >= 2K is needed
    found, by = measure(link="structural", rho=0.0)
    assert by == ["structural sparsity"] and not found.additive
    assert measure(link="structural", n_factors=2)[1] == ["none"]  # every pair is the same
    assert measure(link="relu", density=1)[0].a2_margin == np.inf
    assert "non-Gaussian" in measure(link="linear", kind="uniform", rho=0.0)[1]


def test_an_anchor_implies_structural_sparsity():
    support = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=bool)
    assert theory.structural_sparsity(support)
    assert not theory.structural_sparsity(support[1:])
