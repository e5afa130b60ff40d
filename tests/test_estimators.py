"""Every method as a scikit-learn estimator: one class, its protocols, pickles, checks of input."""

import contextlib
import doctest
import inspect
import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from deep_cases import count_data, gaussian_data
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from anchorbench import estimators, method
from anchorbench.runs import contract
from anchorbench.study.plugins import SUITE, PluginError, discover, is_for
from anchorbench.study.protocols import parameters

METHODS = discover("methods")
TRUTH = {"oracle"}  # fitted with the truth, which no person has
OWN = sorted(set(METHODS) - TRUTH)
DEEP = {name for name in OWN if "n_hidden" in METHODS[name].meta["params"]}
QUICK = {"epochs": 2, "n_hidden": 4, "max_iter": 5}
QUICK |= {"base_params": {"epochs": 2, "n_hidden": 4}}
LEAST = {"prodlda": 2}  # shares of one topic say nothing

# By method: the checks of scikit-learn that it fails, and why.
EXPECTED: dict[str, dict[str, str]] = {
    "love": {
        "check_positive_only_tag_during_fit": "its columns are noise: no feature is pure, and LOVE "
        "says so in place of inventing factors",
    }
}


def small(name, **params):
    """An estimator of which a fit takes a moment."""
    known = METHODS[name].meta["params"]
    quick = {key: value for key, value in QUICK.items() if key in known}
    return method(name)(n_latent=LEAST.get(name, 1), **{**quick, **params})


def rows(name):
    """Data that a method can model."""
    return gaussian_data(60) if is_for(METHODS[name].meta, "gaussian") else count_data(60)[1:]


@pytest.fixture(scope="module")
def fitted():
    return {name: small(name).fit(rows(name)) for name in OWN}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_one_class_with_the_same_first_arguments(name):
    kind = method(name)
    assert method(name) is kind and issubclass(kind, estimators.Method)
    names = list(inspect.signature(kind).parameters)
    common = ["likelihood", "n_latent", "seed", "protocol", "dataset", "verbose"]
    assert names == [*common, *METHODS[name].meta["params"]]
    model = kind()
    assert model.n_latent == 5 and model.get_params()["protocol"] == "corrected"
    assert is_for(METHODS[name].meta, model.likelihood)


@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("dataset", [None, "peerread", "movielens", "synthetic"])
def test_protocols_and_datasets_give_their_parameters(protocol, dataset):
    model = method("sparse_vae")(protocol=protocol, dataset=dataset, epochs=1, n_hidden=3)
    model.fit(gaussian_data(30))
    meta = METHODS["sparse_vae"].meta
    assert model.params_ == parameters(meta, protocol, dataset) | {"epochs": 1, "n_hidden": 3}
    assert model.lambda0 is None, "what was given stays as it was given"
    own = model.model_.get_params()
    assert {key: own[key] for key in model.params_} == model.params_


def test_it_is_the_suites_own_fit():
    X = gaussian_data()
    model = method("vae")(n_latent=2, seed=3, epochs=3, n_hidden=5).fit(X)
    from deep_cases import untrained

    params = METHODS["vae"].meta["params"] | {"epochs": 3, "n_hidden": 5}
    own = untrained("vae", "gaussian", 2, 3, **params).fit(X)
    assert np.array_equal(model.transform(X), own.transform(X))
    assert np.array_equal(model.loadings_, own.loadings_)
    assert model.elbo(X).shape == (70,)


@pytest.mark.parametrize("name", OWN)
def test_models_go_through_pickle_and_joblib(fitted, name, tmp_path):
    X, model = rows(name), fitted[name]
    for again in (pickle.loads(pickle.dumps(model)), _through_joblib(model, tmp_path)):
        assert type(again) is type(model) and again.get_params() == model.get_params()
        assert np.array_equal(again.transform(X), model.transform(X))
    assert clone(model).get_params() == model.get_params()
    assert pickle.loads(pickle.dumps(clone(model))).get_params() == model.get_params()


def _through_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib")


def test_models_are_read_in_a_fresh_process(fitted, tmp_path):
    models = {name: fitted[name] for name in ("sparse_vae", "nmf", "floor", "pca_varimax")}
    (tmp_path / "models").write_bytes(pickle.dumps(models))
    code = (
        "import pickle, sys; models = pickle.load(open(sys.argv[1], 'rb')); "
        "print(*(type(m).__name__ for m in models.values()), models['nmf'].loadings_.shape)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "models")]
    done = subprocess.run(command, cwd=SUITE, capture_output=True, text=True)
    assert done.stdout.strip() == "SparseVAE Nmf Floor PcaVarimax (6, 1)", done.stderr


@pytest.mark.parametrize("name", OWN)
def test_frames_and_sparse_matrices_come_in_and_frames_go_out(fitted, name):
    X, model = rows(name), clone(fitted[name])
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    plain = model.fit_transform(X)
    assert np.array_equal(clone(model).fit_transform(sp.csr_matrix(X)), plain)
    assert np.array_equal(clone(model).fit_transform(sp.csr_array(X)), plain)
    named = clone(model).set_output(transform="pandas").fit(frame)
    assert list(named.feature_names_in_) == list(frame.columns)
    codes = named.transform(frame)
    assert isinstance(codes, pd.DataFrame) and codes.shape == plain.shape
    assert np.array_equal(codes.to_numpy(), plain)
    assert codes.columns[0] == type(model).__name__.lower() + "0"
    assert np.isfinite(named.score(frame))


def test_it_works_in_a_pipeline_and_a_grid_search():
    X = gaussian_data(60)
    model = method("vae")(n_latent=2, epochs=30, n_hidden=4, device="cpu")
    codes = make_pipeline(StandardScaler(), model).fit_transform(X)
    assert codes.shape == (60, 2)
    search = GridSearchCV(model, {"learning_rate": [1e-9, 0.02]}, cv=2).fit(X)
    assert search.best_params_ == {"learning_rate": 0.02}


BAD_DATA = {
    "NaN": (lambda X: np.where(np.arange(X.size).reshape(X.shape) == 7, np.nan, X), "NaN"),
    "inf": (lambda X: np.where(np.arange(X.size).reshape(X.shape) == 7, np.inf, X), "infinity"),
    "one dimension": (lambda X: X[0], "1D array"),
    "text": (lambda X: np.full(X.shape, "a"), "could not convert"),
    "no rows": (lambda X: X[:0], "0 sample"),
}


@pytest.mark.parametrize("what", BAD_DATA)
@pytest.mark.parametrize("name", ["sparse_vae", "nmf", "pca_varimax", "floor"])
def test_bad_data_get_a_sentence(fitted, name, what):
    change, message = BAD_DATA[what]
    with pytest.raises(ValueError, match=message):
        clone(fitted[name]).fit(change(rows(name)))
    with pytest.raises(ValueError, match=message):
        fitted[name].transform(change(rows(name)))


def test_another_width_and_negative_counts_get_a_sentence(fitted):
    with pytest.raises(ValueError, match="has 5 features, but SparseVAE is expecting 6"):
        fitted["sparse_vae"].transform(gaussian_data()[:, :5])
    X = count_data()[1:]
    X[3, 2] = -1
    for name in ("vae", "kl_nmf"):
        with pytest.raises(ValueError, match="row 4, column 3: -1 is negative"):
            small(name, likelihood="multinomial").fit(X)
    with pytest.raises(ValueError, match="row 1, column 1: 2 is neither 0 nor 1"):
        small("vae", likelihood="bernoulli").fit(np.full((20, 3), 2.0))


BAD_PARAMETERS = [
    ({"epochs": 0}, "epochs 0: give a whole number, 1 or more"),
    ({"epochs": 2.5}, "epochs 2.5"),
    ({"batch_size": 0}, "batch_size 0"),
    ({"n_hidden": -1}, "n_hidden -1"),
    ({"n_latent": 0}, "n_latent 0: give a whole number >= 1"),
    ({"seed": "a"}, "seed 'a'"),
    ({"learning_rate": float("nan")}, "learning_rate nan: give a finite number"),
    ({"learning_rate": -0.1}, "learning_rate -0.1"),
    ({"kl_weight": "1/k"}, "kl_weight '1/k'"),
    ({"lambda0": float("inf")}, "lambda0 inf"),
    ({"penalty": "lasso"}, "penalty 'lasso': use one of ssl"),
    ({"device": "cuda"}, "device 'cuda': there is no GPU here: use auto or cpu"),
    ({"likelihood": "gausian"}, "no likelihood 'gausian'; did you mean 'gaussian'"),
    ({"protocol": "correct"}, "no protocol 'correct'; did you mean 'corrected'"),
    ({"dataset": "peered"}, "no dataset 'peered'; did you mean 'peerread'"),
]


@pytest.mark.parametrize(("params", "message"), BAD_PARAMETERS)
def test_bad_parameters_get_a_sentence(params, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        method("sparse_vae")(**params).fit(gaussian_data(30))


def test_what_a_method_cannot_model_and_who_is_not_there_get_a_sentence():
    with pytest.raises(ValueError, match="Lda cannot model 'gaussian' data; it can: counts"):
        method("lda")(likelihood="gaussian").fit(count_data())
    with pytest.raises(PluginError, match="no method 'sparse_vea'; did you mean 'sparse_vae'"):
        method("sparse_vea")
    with pytest.raises(TypeError, match="unexpected keyword argument 'lamda0'"):
        method("sparse_vae")(lamda0=3)


@pytest.mark.parametrize("name", OWN)
def test_unfitted_use_is_refused(name):
    model = small(name)
    with pytest.raises(NotFittedError):
        model.transform(rows(name))
    with pytest.raises(AttributeError, match="call fit first"):
        _ = model.loadings_


def test_a_method_that_lacks_something_is_told_what_to_add():
    with pytest.raises(AttributeError) as error:
        contract.needed(FactorAnalysis(2), "inverse_transform")
    assert str(error.value) == (
        "FactorAnalysis has no inverse_transform: give the object that build returns "
        "inverse_transform(Z) -> expected features (N, G)"
    )


def test_components_are_read_as_loadings_where_they_fit():
    model = TruncatedSVD(2).fit(gaussian_data())
    assert np.array_equal(contract.loadings(model, 2, 6), model.components_.T)
    assert contract.loadings(model, 3, 6) is None
    assert contract.loadings(FactorAnalysis(2), 2, 6) is None


@pytest.mark.parametrize("verbose", [True, False, None])
def test_a_bar_is_shown_where_it_is_wished_for(verbose, monkeypatch):
    from anchorbench.models import training

    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    before, written = training.report, io.StringIO()
    with contextlib.redirect_stderr(written):
        small("vae", verbose=verbose).fit(gaussian_data(30))
    assert ("VAE" in written.getvalue() and "2/2" in written.getvalue()) == (verbose is True)
    assert training.report is before


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_described(name):
    doc = method(name).__doc__
    params = METHODS[name].meta["params"]
    for key in ("likelihood", "n_latent", "seed", "protocol", "dataset", "verbose", *params):
        found = doc.split(f"\n{key} : ")
        assert len(found) == 2, f"{name}: {key}"
        if name in DEEP:
            assert found[1].split("\n")[1].startswith("    "), f"{name}: {key} has no text"


def test_examples_run():
    result = doctest.testmod(estimators)
    assert result.attempted >= 3 and not result.failed


@pytest.mark.parametrize("name", OWN)
@pytest.mark.filterwarnings("ignore")
def test_the_example_of_every_method_runs(name):
    example = doctest.DocTestParser().get_doctest(method(name).__doc__, {}, name, None, 0)
    assert len(example.examples) == 5
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


@pytest.mark.parametrize("name", OWN)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(name):
    check_estimator(small(name), expected_failed_checks=EXPECTED.get(name), on_skip=None)


def test_numbers_of_numpy_are_seeds_and_truth_values_are_not():
    X = np.random.default_rng(0).normal(size=(40, 4))
    about = {"n_latent": np.int64(2), "epochs": 1, "n_hidden": 3}
    models = [method("sparse_vae")(seed=seed, **about).fit(X) for seed in (np.int64(3), 3)]
    np.testing.assert_array_equal(*(model.transform(X) for model in models))
    with pytest.raises(ValueError, match="n_latent True: give a whole number"):
        method("pca")(n_latent=True).fit(X)


def test_a_fit_that_fails_leaves_the_one_before_whole():
    X = np.random.default_rng(0).normal(size=(40, 6))
    model = method("pca")(n_latent=2).fit(X)
    before = model.transform(X)
    with pytest.raises(ValueError, match="n_latent"):
        model.set_params(n_latent=9).fit(X[:, :4])
    np.testing.assert_array_equal(model.transform(X), before)


def test_codes_of_another_width_and_a_missing_truth_get_a_sentence():
    X = np.random.default_rng(0).normal(size=(40, 6))
    for name in ("pca", "vae"):
        model = method(name)(n_latent=2, **({"epochs": 1} if name == "vae" else {})).fit(X)
        with pytest.raises(ValueError, match=r"Z has 3 columns, .* 2 codes"):
            model.inverse_transform(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"fitted with the truth: fit\(X, split"):
        method("oracle")().fit(X)


def test_counts_are_scored_by_the_likelihood_of_their_tokens():
    X = rows("lda")
    model = method("lda")(n_latent=2, likelihood="multinomial").fit(X)
    shares = model.reconstruct(X)
    expected = (X * np.log(shares / shares.sum(1, keepdims=True) + 1e-6)).sum(1).mean()
    assert model.score(X) == pytest.approx(expected)


def test_what_a_method_lacks_is_said_of_the_estimator():
    model = method("ease")(likelihood="multinomial").fit(np.eye(4) + 1)
    for name in ("loadings_", "posterior"):
        with pytest.raises(AttributeError, match=f"Ease has no '{name}'"):
            getattr(model, name)
