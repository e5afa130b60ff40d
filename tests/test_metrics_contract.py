"""What holds for every metric: metadata, names, ranges, and defined values for degenerate runs."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_run import compute, fake_run

from anchorbench import method
from anchorbench.data.dataset import Split
from anchorbench.runs import contract
from anchorbench.study.plugins import discover, is_for, likelihoods, literal

METRICS = discover("metrics")
TRUTH = {"factors", "support", "keys", "labels"}
NEEDS = TRUTH | {"codes", "loadings", "posterior", "log_prob", "peers", "anchors"}
LIKELIHOODS = ("gaussian", "multinomial", "bernoulli", "poisson", "negative_binomial")
NAMED_IN_THE_DESIGN = """
    mse recon_nll elbo iwae_nll completion_nll recall_nofold ndcg_nofold recall ndcg
    dci dci_n16 dci_lasso mcc support_f1 support_auroc active_factors anchor_f1
    cell_type_accuracy npmi topic_diversity code_stability
"""


class Model:
    """Codes and decodings as told, with a posterior that is the prior, and no anchor features."""

    anchors_ = np.full(12, -1)

    def __init__(self, encode, decode):
        self.transform, self.inverse_transform = encode, decode

    def posterior(self, X):
        Z = self.transform(X)
        return Z, np.ones_like(Z)

    def log_prob(self, X, Z):
        return -0.5 * ((X - self.inverse_transform(Z)) ** 2).sum(axis=1)

    def elbo(self, X):
        return self.log_prob(X, self.transform(X))


def make_run(likelihood, encode, decode, loadings, n_factors=2):
    """A run of 60 training and 40 test rows, 12 features, with every truth a metric may need."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 12))
    if likelihood != "gaussian":
        X = rng.integers(0, 2 if likelihood == "bernoulli" else 3, size=(100, 12)).astype(float)
    model = Model(encode, decode)
    factors, labels = rng.normal(size=(100, n_factors)), rng.integers(0, 3, size=100)
    run = fake_run(
        likelihood=likelihood,
        train=X[:60],
        test=X[60:],
        codes_train=model.transform(X[:60]),
        codes=model.transform(X[60:]),
        reconstruction=model.inverse_transform(model.transform(X[60:])),
        loadings=loadings,
        features=[f"x{j}" for j in range(12)],
        labels={"kind": (labels[:60], labels[60:])},
        model=model,
        truth=SimpleNamespace(
            index=(np.arange(60), np.arange(60, 100)),
            factors=(factors[:60], factors[60:]),
            support=rng.random((12, n_factors)) < 0.5,
            keys=np.eye(n_factors)[np.arange(12) % n_factors] * rng.choice([-1, 1], (12, 1)),
        ),
    )
    run.peers = lambda: [fake_run(**vars(run) | {"record": {"seed": 1, "replicate": 1}})]
    return run


DEGENERATE = {
    "constant codes and loadings": (
        lambda X: np.full((len(X), 3), 0.1),
        lambda Z: np.full((len(Z), 12), 0.2),
        np.full((12, 3), 0.1),
    ),
    "zero loadings and decoder": (
        lambda X: X[:, :3],
        lambda Z: np.zeros((len(Z), 12)),
        np.zeros((12, 3)),
    ),
    "one factor": (
        lambda X: X[:, :1],
        lambda Z: np.tile(Z, (1, 12)),
        np.arange(12.0)[:, None],
    ),
    "the same code three times": (
        lambda X: np.tile(X[:, :1], (1, 3)),
        lambda Z: np.exp(np.tile(Z[:, :1], (1, 12))),
        np.ones((12, 3)) * np.arange(12)[:, None],
    ),
    "more codes than features": (
        lambda X: np.hstack([X, X]),
        lambda Z: Z[:, :12],
        np.hstack([np.eye(12), np.eye(12)]),
    ),
}


def test_every_likelihood_is_tried():
    assert set(LIKELIHOODS) == set(likelihoods())


def test_the_metrics_named_in_the_design_are_there():
    assert set(METRICS) >= set(NAMED_IN_THE_DESIGN.split())


@pytest.mark.parametrize("name", METRICS)
def test_metadata(name):
    meta = METRICS[name].meta
    assert METRICS[name].broken is None
    assert set(meta) <= {
        "label", "direction", "range", "likelihoods", "needs", "datasets", "values"
    }  # fmt: skip
    assert meta["direction"] in ("min", "max", None)
    assert len(meta["range"]) == 2
    assert meta.get("likelihoods", True)
    assert set(meta["needs"]) <= NEEDS


def test_the_template_is_a_metric(tmp_path):
    template = METRICS["mse"].path.with_name("_template.py")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "mine.py").write_text(template.read_text())
    mine = discover("metrics", tmp_path)["mine"]
    assert mine.broken is None
    assert set(literal(template, "METRIC")["needs"]) <= NEEDS


@pytest.mark.parametrize("n_factors", [1, 2])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", METRICS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_degenerate_runs_give_named_finite_values_in_range(name, case, n_factors):
    meta = METRICS[name].meta
    low, high = meta["range"]
    for likelihood in (name for name in LIKELIHOODS if is_for(meta, name)):
        result = compute(name, make_run(likelihood, *DEGENERATE[case], n_factors))
        values = result if isinstance(result, dict) else {name: result}
        assert set(values) <= set(meta.get("values", [name]))
        assert next(iter(meta.get("values", [name]))) == next(iter(values))
        for value in values.values():
            assert isinstance(value, float) and np.isfinite(value)
            assert (low is None or value >= low) and (high is None or value <= high)


@pytest.mark.parametrize("signs", [True, False])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", [n for n in METRICS if n.startswith(("support", "anchor_f1"))])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_supports_of_degenerate_runs_without_factors_are_in_range(name, case, signs):
    run = make_run("gaussian", *DEGENERATE[case])
    run.truth.factors, run.truth.keys = None, run.truth.keys if signs else None
    values = np.array(list(compute(name, run).values()))
    assert ((values >= 0) & (values <= 1)).all()


def test_a_metric_that_reads_codes_says_so():
    run = make_run("multinomial", *DEGENERATE["one factor"])
    del run.codes, run.codes_train
    for name in METRICS:
        needs = set(METRICS[name].meta["needs"])
        if is_for(METRICS[name].meta, "multinomial") and not needs & {"codes", "posterior"}:
            compute(name, run)


@pytest.mark.parametrize("name", METRICS)
def test_the_same_run_gets_the_same_score(name):
    likelihood = next(known for known in LIKELIHOODS if is_for(METRICS[name].meta, known))
    case = DEGENERATE["one factor"]
    assert compute(name, make_run(likelihood, *case)) == compute(name, make_run(likelihood, *case))


def test_recovery_of_constant_codes_is_zero():
    run = make_run("gaussian", *DEGENERATE["constant codes and loadings"])
    for name in ("dci", "dci_n16", "dci_lasso", "mcc", "active_factors"):
        result = compute(name, run)
        assert set(result.values() if isinstance(result, dict) else [result]) == {0}


def test_anchors_that_are_no_groups_of_features_are_refused():
    X = np.random.default_rng(0).normal(size=(20, 6))
    model = method("pca_varimax")(n_latent=2).fit(X).model_
    model.anchors_ = np.array([3, 5])
    with pytest.raises(ValueError, match=r"anchors_ have shape \(2,\), not \(G,\) = \(6,\)"):
        contract.outputs(model, Split(X[:10], X[10:]), "real")
    model.anchors_ = np.array([-1, -1, -1, 0, -1, 1])
    assert "loadings" in contract.outputs(model, Split(X[:10], X[10:]), "real")
