"""Searches: what is drawn, what selects, what is kept, and what nobody may see."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml

from anchorbench.data.dataset import Split, kfold
from anchorbench.reporting import collect
from anchorbench.reporting.artefacts import _trials, budget, tuning
from anchorbench.reporting.publish import publish
from anchorbench.reporting.results import TRIALS, load_results
from anchorbench.reporting.standing import standing
from anchorbench.runs import check, elsewhere, prepare, tune
from anchorbench.runs.fit import _Worker, fit
from anchorbench.runs.score import score_here
from anchorbench.runs.status import Status
from anchorbench.runs.store import TRIALS as TRIALS_JSON
from anchorbench.runs.store import Store
from anchorbench.scores.budget import expected, weights
from anchorbench.study import config, plan, plugins, search, source
from anchorbench.study.config import ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.jobs import run_digest

WAVES = """
import numpy as np
from anchorbench import Dataset
DATASET = {"label": "Waves", "likelihood": "gaussian", "sources": [], "replicates": 2,
           "params": {}}
def prepare(raw):
    X = np.random.default_rng(0).normal(size=(80, 4))
    return Dataset(X=X, features=[f"wave {j}" for j in range(4)])
"""
LEAKY = """
import numpy as np
from anchorbench.data.dataset import Dataset, kfold
METHOD = {"label": "Leaky", "likelihoods": ["real"], "params": {"mode": "default"},
          "search": {"mode": ["honest", "cheat", "fails"]}}
DATA = Dataset(np.random.default_rng(0).normal(size=(80, 4)), list("abcd"))
class Model:
    def __init__(self, mode):
        self.mode = mode
    def fit(self, X):
        if self.mode == "fails":
            raise ValueError("made to fail")
        seen = {row.tobytes() for row in np.asarray(X)}
        tests = [kfold(DATA, r).test for r in range(5)]
        self.test = next({row.tobytes() for row in t} for t in tests
                         if not any(row.tobytes() in seen for row in t))
        return self
    def transform(self, X):
        return np.asarray(X)[:, :2]
    def inverse_transform(self, Z):
        return np.asarray(Z) @ np.ones((2, 4))
    def reconstruct(self, X):
        known = np.array([row.tobytes() in self.test for row in np.asarray(X)])[:, None]
        return {"default": 0 * X, "honest": X / 2, "cheat": np.where(known, X, 100.0)}[self.mode]
def build(likelihood, n_latent, seed, **params):
    return Model(**params)
"""
STUDY = {
    "datasets": {
        "synthetic": tiny.synthetic(
            params={"n": 80},
            training={"epochs": 3, "n_hidden": 4},
            methods=["vae", "pca_varimax", "floor"],
            tuning={"trials": 4, "methods": ["vae", "pca_varimax"]},
        ),
        "waves": {
            "n_latent": 2,
            "methods": ["leaky"],
            "tuning": {"trials": 12, "methods": ["leaky"]},
        },
        "simulated_counts": False,
    },
    "methods": ["vae", "pca_varimax", "leaky", "floor"],
    "metrics": ["mse", "mcc", "iwae_nll"],
    "protocols": ["published", "corrected"],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A plan and its store, all trained, in a folder with a method that knows its test rows."""
    folder = tmp_path_factory.mktemp("study")
    for kind, name, text in (("methods", "leaky", LEAKY), ("datasets", "waves", WAVES)):
        (folder / kind).mkdir()
        (folder / kind / f"{name}.py").write_text(text)
    (folder / "config.yaml").write_text(yaml.safe_dump(STUDY))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = plan.make(config.load(["config.yaml"]))
        store = Store(folder / "results" / "store")
        for instance in made.instances.values():
            prepare.make(instance, store)
        trained, failed = elsewhere.fit_all(made, store)
        assert trained == 22 and not failed
        for jobs in collect.groups(made):
            assert score_here(made, jobs, store)
        yield made, store


def runs(study, method, protocol):
    """The records of a method's runs, by replicate."""
    made, store = study
    job = next(j for j in made.jobs if j.variant.name == method and protocol in j.protocols)
    return job, {r: store.record(run_digest(job, r)) for r in job.replicates}


# What is drawn ------------------------------------------------------------------------------------

META = plugins.discover("methods")["sparse_vae"].meta
PARAMS = META["params"] | {"lambda0": 20.0}


def drawn(count, *names, of=None):
    space = search.space(META, "synthetic") if of is None else of
    return search.trials(space, PARAMS, count, 0, *(names or ("data", "sparse_vae")))


def test_a_longer_search_begins_with_a_shorter_one_and_the_default_is_first():
    assert drawn(30)[:7] == drawn(7)
    assert drawn(7)[0] == {}
    assert drawn(7) != drawn(7, "data", "another") and drawn(7) != drawn(7, "other", "sparse_vae")
    assert len({json.dumps(t, sort_keys=True) for t in drawn(30)}) == 30


def test_a_parameter_more_moves_no_draw_of_another():
    space = search.space(META, "synthetic")
    fewer = {k: v for k, v in space.items() if k != "decoder_weight_prior"}
    for one, other in zip(drawn(20), drawn(20, of=fewer), strict=True):
        assert {k: v for k, v in one.items() if k != "decoder_weight_prior"} == other


def test_draws_fill_their_space():
    trials = drawn(2000)[1:]
    rates = np.array([t["learning_rate"] for t in trials])
    assert rates.min() >= 1e-3 and rates.max() <= 2e-2
    # log-uniform: the median is the ends' geometric mean
    assert np.median(rates) == pytest.approx(math.sqrt(1e-3 * 2e-2), rel=0.1)
    ratio = np.array([t["lambda0"] / t["lambda1"] for t in trials])
    assert 1.99 < ratio.min() < 2.2 and 900 < ratio.max() < 1001
    assert {t["epochs"] for t in trials} == {200, 600, 1000}
    assert {t["kl_weight"] for t in trials} == {"1/K", 0.25, 0.5, 1.0}
    counts = pd.Series([t["prior_covariance"] for t in trials]).value_counts()
    assert abs(counts["identity"] - counts["correlation"]) < 4 * math.sqrt(len(trials))


def test_lengths_multiply_steps_where_training_is_given_in_these():
    params = {k: v for k, v in PARAMS.items() if k != "epochs"} | {"steps": 70}
    of = search.space(META, "theory")
    trials = search.trials(of, params, 40, 0, "d", "m")[1:]
    assert {t["steps"] for t in trials} == {70, 210, 350} and not any("epochs" in t for t in trials)


def test_spaces_hold_what_a_method_has_and_a_variant_leaves_open():
    known = plugins.discover("methods")
    of = {name: search.space(plugin.meta, "synthetic") for name, plugin in known.items()}
    deep = {"learning_rate", "length", "kl_weight", "prior_covariance"}
    assert set(of["vae"]) == deep
    assert set(of["beta_vae"]) == deep - {"kl_weight"} | {"beta"}
    for name in ("vsc", "prodlda", "mixture_vae"):
        assert "prior_covariance" not in of[name] and "learning_rate" in of[name]
    for name in ("floor", "oracle", "pca_varimax", "fa_oblimin", "kl_nmf"):
        assert of[name] == {}
    fixed = search.space(META, "synthetic", ["prior_covariance", "epochs"])
    assert not {"prior_covariance", "length"} & set(fixed)
    films = search.space(plugins.discover("methods")["vae"].meta, "movielens")
    assert films["learning_rate"]["high"] == 3e-3
    dip = search.space(plugins.discover("methods")["dip_vae"].meta, "synthetic")
    params = plugins.discover("methods")["dip_vae"].meta["params"]
    assert all(t["lambda_d"] == t["lambda_od"] for t in search.trials(dip, params, 9, 0, "d")[1:])


def test_every_space_gives_values_that_its_method_takes():
    for name, plugin in plugins.discover("methods").items():
        if name == "ease" or not search.space(plugin.meta):
            continue
        params, likelihood = plugin.meta["params"], plugin.meta.get("likelihoods", ["gaussian"])[0]
        likelihood = {"real": "gaussian", "counts": "multinomial"}.get(likelihood, likelihood)
        for trial in search.trials(search.space(plugin.meta), params, 12, 0, "d", name):
            assert set(trial) <= set(params)
            model = plugins.load(plugin).build(likelihood, 3, 0, **(params | trial))
            if hasattr(model, "check"):
                model.check()


BAD = {
    "no dict": (["a"], "must be a dict"),
    "unknown parameter": ({"b": [1]}, "no parameter 'b'"),
    "empty choice": ({"a": []}, "nothing to choose"),
    "no range": ({"a": 3}, "give a list of choices"),
    "unknown key": ({"a": {"low": 1, "high": 2, "step": 1}}, "unknown key 'step'"),
    "no high": ({"a": {"low": 1}}, "numbers low and high"),
    "turned": ({"a": {"low": 2, "high": 1}}, "low 2 is not below high 1"),
    "log of zero": ({"a": {"low": 0, "high": 1, "log": True}}, "begins above 0"),
    "log is a word": ({"a": {"low": 1, "high": 2, "log": "yes"}}, "log is True or False"),
    "times nothing": ({"a": {"low": 1, "high": 2, "times": "z"}}, "times 'z'"),
    "itself": ({"a": "a"}, "no other parameter 'a'"),
    "a chain": ({"a": "c", "c": {"low": 1, "high": 2, "times": "d"}}, "'c' follows 'd'"),
    "length of none": ({"length": [1, 2]}, "neither epochs nor steps"),
    "like nothing": ({"like": "shallow"}, "like 'shallow'"),
}


PARAMETERS = {"a": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_search_space_gets_a_sentence(case, tmp_path):
    space, message = BAD[case]
    (tmp_path / "methods").mkdir()
    text = f"METHOD = {{'label': 'Bad', 'params': {PARAMETERS}, 'search': {space!r}}}"
    (tmp_path / "methods" / "bad.py").write_text(text)
    broken = plugins.discover("methods", tmp_path)["bad"].broken
    assert "bad.py: search" in broken and message in broken


def test_a_length_below_zero_gets_a_sentence():
    assert "above 0" in search.wrong_with({"params": {"epochs": 1}, "search": {"length": [0, 1]}})


# What is asked for --------------------------------------------------------------------------------


def test_a_search_space_changes_no_digest_and_a_search_those_of_its_runs_alone(study, tmp_path):
    made, _ = study
    text = (plugins.SUITE / "methods" / "vae.py").read_text()
    assert '"search"' in text
    without = text.replace('"search": {"like": "deep"},', "")
    wider = text.replace('{"like": "deep"}', '{"like": "deep", "n_hidden": [50, 100]}')
    assert source.parse(without) == source.parse(text) == source.parse(wider)
    assert source.parse(text) != source.parse(text.replace('"epochs": 200', '"epochs": 201'))

    def keys(**changes):
        entry = STUDY["datasets"]["synthetic"] | changes
        entry = {k: v for k, v in entry.items() if v is not None}
        datasets = STUDY["datasets"] | {"synthetic": entry}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(STUDY | {"datasets": datasets}))
        other = plan.make(config.load([tmp_path / "c.yaml"]))
        return {job.key: job.recipe for job in other.jobs if job.instance.name == "synthetic"}

    whole, none = keys(), keys(tuning=None)
    assert none == {key: recipe for key, recipe in whole.items() if "tuned" not in key[2]}
    more = keys(tuning={"trials": 5, "methods": ["vae"]})
    assert {k for k in none if more[k] != whole[k]} == set()
    tags = ("tuned", "tuned_stable", "oracle_tuned")
    assert all(more["synthetic", "vae", tag] != whole["synthetic", "vae", tag] for tag in tags)
    assert made.find("synthetic", "vae", "tuned")[0].params["epochs"] == 3


def test_what_is_not_searched_has_its_default_in_the_protocols_of_searches(study):
    made, _ = study
    for method in ("pca_varimax", "floor"):
        (default,) = made.find("synthetic", method, "corrected")
        for protocol in ("tuned", "tuned_stable", "oracle_tuned"):
            assert made.find("synthetic", method, protocol) == [default] and not default.tuning
        assert [j for j in made.jobs if j.variant.name == method] == [default]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"tuning": {"trials": 1, "methods": ["vae"]}}, "tuning.trials"),
        ({"tuning": {"trials": 4}}, "'methods' is a required property"),
        ({"tuning": {"trials": 4, "methods": ["vea"]}}, "did you mean 'vae'"),
        ({"tuning": {"trials": 4, "methods": ["leaky"]}}, "not among the dataset's methods"),
        ({"tuning": {"trials": 4, "methods": ["vae"], "selection": "mcc"}}, "needs factors"),
        ({"tuning": {"trials": 4, "methods": ["vae"], "selection": "msee"}}, "did you mean 'mse'"),
        ({"tuning": {"trials": 4, "methods": ["vae"], "budget": 3}}, "unknown key 'budget'"),
        ({"protocols": ["published"]}, "begins with 'corrected'"),
        ({"tuning": {"trials": 4, "methods": ["vae_then"]}, "methods": None}, "'vae_then' is not"),
    ],
)
def test_a_search_that_cannot_be_gets_a_sentence(study, tmp_path, entry, message):
    entry = STUDY["datasets"]["synthetic"] | entry
    entry = {key: value for key, value in entry.items() if value is not None}
    variants = {"vae_then": {"method": "vae", "protocols": ["published"]}}
    changed = {"datasets": STUDY["datasets"] | {"synthetic": entry}, "variants": variants}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(STUDY | changed))
    with pytest.raises(ConfigError, match=message):
        plan.make(config.load([tmp_path / "c.yaml"]))


def test_settings_may_have_searches_of_their_own(study, tmp_path):
    entry = {k: v for k, v in STUDY["datasets"]["synthetic"].items() if k != "tuning"}
    entry["settings"] = {"a": {"tuning": {"trials": 3, "methods": ["vae"]}}, "b": {"rho": 0.5}}
    datasets = STUDY["datasets"] | {"synthetic": entry}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(STUDY | {"datasets": datasets}))
    made = plan.make(config.load([tmp_path / "c.yaml"]))
    tuned = {job.instance.name for job in made.jobs if job.tag == "tuned"}
    assert tuned == {"synthetic_a", "waves"}


# What selects -------------------------------------------------------------------------------------


def test_inner_rows_are_a_fifth_of_the_training_rows_and_the_same_each_time():
    train, held = tune.inner_rows(83, 5)
    assert len(held) == 17 and sorted([*train, *held]) == list(range(83))
    assert np.array_equal(tune.inner_rows(83, 5)[1], held)
    assert not np.array_equal(tune.inner_rows(83, 6)[1], held)


def test_tuned_is_at_least_as_good_as_the_default_on_validation_rows(study):
    _, store = study
    for method in ("vae", "leaky"):
        for record in runs(study, method, "tuned")[1].values():
            trials = store.trials(record["digest"])
            values = {t["trial"]: t["value"] for t in trials if t["status"] == Status.DONE}
            chosen = record["tuning"]["chosen"]
            assert values[chosen] == min(values.values()) <= values[0]
            assert record["tuning"]["value"] == values[chosen]
            assert {k: record["params"][k] for k in trials[chosen]["params"]} == (
                trials[chosen]["params"]
            )


def test_replicates_share_their_trials_and_each_chooses(study):
    _, store = study
    job, records = runs(study, "vae", "tuned")
    first, second = (store.trials(record["digest"]) for record in records.values())
    assert [t["params"] for t in first] == [t["params"] for t in second] == list(job.tuning.trials)
    assert [t["value"] for t in first] != [t["value"] for t in second]


def test_a_setting_that_knows_the_test_rows_is_not_chosen_but_by_the_oracle(study):
    _, store = study
    job, records = runs(study, "leaky", "tuned")
    modes = [trial.get("mode", "default") for trial in job.tuning.trials]
    assert {"honest", "cheat", "fails"} <= set(modes)
    chosen = {"tuned": "honest", "tuned_stable": "honest", "oracle_tuned": "cheat"}
    for protocol, mode in chosen.items():
        for record in runs(study, "leaky", protocol)[1].values():
            assert record["params"]["mode"] == mode, protocol
    for record in records.values():
        test = {modes[t["trial"]]: t.get("test") for t in store.trials(record["digest"])}
        assert test["cheat"] == 0.0 < test["honest"] < test["default"]


def test_nothing_that_selects_sees_a_test_row_or_a_truth(study, monkeypatch):
    made, store = study
    job = made.find("synthetic", "vae", "tuned")[0]
    worker = _Worker(job, store, made.config)
    outer = {row.tobytes() for r in job.replicates for row in worker.split(r).test}
    asked = []

    def spied(metric, view):
        asked.append((metric.name, view))
        return evaluate(metric, view)

    evaluate = tune.evaluate
    monkeypatch.setattr(tune, "evaluate", spied)
    about = (job, worker.data, store, made.config, worker.n_latent, worker.build)
    tune.Tuner(*about).choose([0])
    selected = [view for name, view in asked if name == "iwae_nll"]
    train = len(worker.split(0).train)
    held = round(tune.VALIDATION * train)
    assert len(selected) == 4 + min(tune.BLOCKS, held // 2)
    assert {name for name, _ in asked} == {"iwae_nll", "mcc"}
    for view in selected:
        assert view.truth.factors is None and view.truth.support is None and view.labels is None
        assert not view.record["known"] and not view.peers()
        assert not {row.tobytes() for row in [*view.test, *view.train]} & outer
    judged = [view for name, view in asked if name == "mcc"]
    assert len(judged) == 4
    assert all(len(v.train) == len(v.truth.factors[0]) == train - held for v in judged)


def test_failures_are_the_worst_and_are_reported(study):
    _, store = study
    job, records = runs(study, "leaky", "tuned")
    lost = [n for n, trial in enumerate(job.tuning.trials) if trial.get("mode") == "fails"]
    for record in records.values():
        trials = store.trials(record["digest"])
        assert [t["trial"] for t in trials if t["status"] == Status.FAILED] == lost
        assert all("made to fail" in trials[n]["reason"] for n in lost)
        assert record["tuning"]["failed"] == len(lost)
        assert record["tuning"]["flagged"] == (len(lost) > 6)


def test_a_search_whose_trials_all_fail_is_a_failed_run_with_a_reason(study, monkeypatch):
    made, store = study
    job = made.find("waves", "leaky", "tuned")[0]
    worker = _Worker(job, store, made.config)

    def broken(*_):
        raise ValueError("no luck today")

    tuner = tune.Tuner(job, worker.data, store, made.config, worker.n_latent, broken)
    found = tuner.choose([0])[0]
    assert isinstance(found, tune.TuningError)
    assert "none of 12 trials" in str(found) and "no luck today" in str(found)


def with_builder(study, folder, build):
    """The searching job of the leaky method, and a worker with an empty store and a builder."""
    made, store = study
    other = Store(folder / "store")
    shutil.copytree(store.root / "data", other.root / "data")
    job = made.find("waves", "leaky", "tuned")[0]
    worker = _Worker(job, other, made.config)
    worker.build = build(worker.build)
    return job, worker, other


def chosen_by(study, worker, protocol):
    """What another protocol chooses of the trials in a worker's store, for replicate 0."""
    made, _ = study
    job = made.find("waves", "leaky", protocol)[0]
    about = (job, worker.data, worker.store, made.config, worker.n_latent, worker.build)
    return tune.Tuner(*about).choose([0])[0]


def test_the_trials_of_a_search_that_failed_are_kept_and_it_is_tried_again(study, tmp_path):
    lucky = []

    def build(own):
        def built(*about):
            if not lucky:
                raise ValueError("no luck today")
            return own(*about)

        return built

    job, worker, store = with_builder(study, tmp_path, build)
    name = run_digest(job, 0)
    worker.alone(0)
    record = store.record(name)
    assert record["status"] == Status.FAILED
    assert "none of 12 trials can be chosen: ValueError: no luck" in record["reason"]
    assert [t["reason"] for t in store.trials(name)] == ["ValueError: no luck today"] * 12
    for protocol in ("tuned_stable", "oracle_tuned"):
        failed = chosen_by(study, worker, protocol)
        assert str(failed) == record["reason"] and not failed.trials
    found = collect.trials([[job]], store)
    assert list(found["status"]) == [Status.FAILED] * 12 and set(found["chosen"]) == {""}
    lucky.append(True)
    worker.alone(0)
    assert store.is_done(name) and store.record(name)["tuning"]["trials"] == 12


def test_trials_can_be_chosen_from_though_the_last_fit_failed(study, tmp_path):
    def build(own):
        def built(seed, rows, params):
            if rows == whole:
                raise ValueError("too much")
            return own(seed, rows, params)

        return built

    job, worker, store = with_builder(study, tmp_path, build)
    whole = len(worker.split(0).train)
    worker.alone(0)
    name = run_digest(job, 0)
    assert store.record(name)["reason"] == "ValueError: too much"
    assert job.tuning.trials[store.record(name)["tuning"]["chosen"]]["mode"] == "honest"
    best = chosen_by(study, worker, "oracle_tuned")
    assert job.tuning.trials[best.chosen]["mode"] == "cheat"
    (store.run(name) / TRIALS_JSON).write_text("{}")
    assert TRIALS_JSON in str(chosen_by(study, worker, "oracle_tuned"))


def test_of_trials_as_stable_up_to_rounding_the_best_predicting_is_chosen():
    gain = {0: -3.0, 4: -1.0, 7: -2.0}
    assert tune.most_stable({0: 1.0, 4: 1 - 6e-15, 7: 1 - 1e-15}, gain) == 4
    assert tune.most_stable({0: 0.2, 4: 0.4, 7: 0.4 + 1e-4}, gain) == 7


def test_the_choice_of_two_seeds_is_among_those_that_predict_as_well(study):
    _, store = study
    _, records = runs(study, "vae", "tuned_stable")
    tuned = runs(study, "vae", "tuned")[1]
    for replicate, record in records.items():
        trials = store.trials(tuned[replicate]["digest"])
        about = tuned[replicate]["tuning"]
        near = {
            t["trial"] for t in trials if t["value"] <= about["value"] + about["standard_error"]
        }
        second = store.trials(record["digest"])
        assert (
            {t["trial"] for t in second}
            == near
            == set(map(int, store.trial_codes(tuned[replicate]["digest"])))
        )
        stability = {t["trial"]: t["stability"] for t in second}
        assert stability[record["tuning"]["chosen"]] == max(stability.values())
        assert record["tuning"]["fits"] == len(trials) + len(near) + 1


def test_choices_among_trials_that_are_not_there_say_what_to_do(study, tmp_path):
    made, store = study
    job = made.find("synthetic", "vae", "oracle_tuned")[0]
    worker = _Worker(job, store, made.config)
    about = (job, worker.data, Store(tmp_path), made.config, worker.n_latent, worker.build)
    found = tune.Tuner(*about).choose([0])[0]
    assert "--protocol tuned" in str(found)


# Fits ---------------------------------------------------------------------------------------------


def test_a_trial_in_a_stack_equals_the_same_trial_alone(study, one_thread):
    made, store = study
    job = made.find("synthetic", "vae", "tuned")[0]
    worker = _Worker(job, store, made.config)
    tuner = tune.Tuner(job, worker.data, store, made.config, worker.n_latent, worker.build)
    X = worker.split(0).train
    built = lambda: [worker.build(7, len(X), tuner.params(t)) for t in range(4)]  # noqa: E731
    together = tune.fit_each(built(), [X] * 4, [7] * 4)
    for estimator, (model, seconds) in zip(built(), together, strict=True):
        alone = estimator.fit(X)
        assert alone.get_params() == model.get_params() and seconds > 0
        assert np.array_equal(alone.transform(X), model.transform(X))
    shares = np.array([seconds for _, seconds in together])
    epochs = np.array([model.epochs for model, _ in together])
    assert np.allclose(shares / shares.sum(), epochs / epochs.sum())


def test_the_last_fit_is_that_of_the_chosen_parameters_on_all_training_rows(study, one_thread):
    made, store = study
    job, records = runs(study, "vae", "tuned")
    worker = _Worker(job, store, made.config)
    for replicate, record in records.items():
        split = worker.split(replicate)
        model = worker.build(record["seed"], len(split.train), record["params"]).fit(split.train)
        stored = store.arrays(record["digest"])["codes"]
        assert np.array_equal(model.transform(split.test).astype(np.float32), stored)
    default = runs(study, "vae", "corrected")[1]
    assert [r["seed"] for r in records.values()] == [r["seed"] for r in default.values()]


def test_a_replicate_alone_finds_the_same(study, tmp_path, one_thread):
    made, store = study
    other = Store(tmp_path / "store")
    shutil.copytree(store.root / "data", other.root / "data")
    job = made.find("synthetic", "vae", "tuned")[0]
    _Worker(job, other, made.config).alone(1)
    name = run_digest(job, 1)
    strip = lambda trials: [{k: v for k, v in t.items() if k != "seconds"} for t in trials]  # noqa: E731
    assert strip(other.trials(name)) == strip(store.trials(name))
    assert np.array_equal(other.arrays(name)["codes"], store.arrays(name)["codes"])


def test_rows_that_trials_leave_out_leave_the_truth_beside_the_others():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 3))
    split = Split(X[:6], X[6:], factors=(X[:6, :1], X[6:, :1]), index=(np.arange(6), np.arange(3)))
    part = tune.restricted(split, np.array([1, 4]))
    assert np.array_equal(part.factors[0], X[[1, 4], :1]) and np.array_equal(part.test, X[6:])
    assert list(part.index[0]) == [1, 4] and part.expectation is None


# What is kept and shown ---------------------------------------------------------------------------


def test_fsck_sees_a_damaged_trials_file_and_the_run_is_made_again(study):
    made, store = study
    _, records = runs(study, "leaky", "tuned")
    folder = store.run(records[0]["digest"])
    file = folder / TRIALS_JSON
    content = file.read_bytes()
    file.write_bytes(content.replace(b"honest", b"cheats", 1))
    try:
        found = [f for f in check.inspect(store, made) if f.path == folder]
        assert [(f.problem, TRIALS_JSON in f.why) for f in found] == [("damaged", True)]
        assert not Store(store.root).is_done(records[0]["digest"])
    finally:
        file.write_bytes(content)
    assert not check.inspect(store, made)


def test_a_job_that_uses_trials_names_the_job_that_makes_them(study):
    made, _ = study
    for tag in ("tuned_stable", "oracle_tuned"):
        job = made.find("synthetic", "vae", tag)[0]
        tuned = made.find("synthetic", "vae", "tuned")[0]
        assert job.source == (*tuned.key, tuned.recipe, tuned.replicates_name)
        assert job.tuning.source == digest(tuned.ingredients)
    assert [made.find("synthetic", "vae", t)[0].fits for t in ("corrected", "tuned")] == [1, 5]


def test_the_guarded_step_makes_the_same_runs(study, tmp_path, monkeypatch):
    made, store = study
    other = Store(tmp_path / "store")
    shutil.copytree(store.root / "data", other.root / "data")
    job = made.find("waves", "leaky", "tuned")[0]
    monkeypatch.setenv("PYTHONPATH", str(plugins.SUITE))
    assert fit(job, other, made.config, ["--configfile", "config.yaml", "--results", str(tmp_path)])
    for replicate in job.replicates:
        name = run_digest(job, replicate)
        assert other.record(name)["tuning"]["chosen"] == store.record(name)["tuning"]["chosen"]


@pytest.fixture(scope="module")
def results(study):
    return collect.gather(*study)


def test_trials_are_collected_with_who_chose_them(study, results, tmp_path):
    trials = results.trials
    assert list(trials.columns) == TRIALS
    assert len(trials) == 2 * (4 + 12)
    for method in ("vae", "leaky"):
        for protocol in ("tuned", "tuned_stable", "oracle_tuned"):
            for replicate, record in runs(study, method, protocol)[1].items():
                here = trials[(trials["method"] == method) & (trials["replicate"] == replicate)]
                chosen = here[here["chosen"].map(lambda c, p=protocol: p in c.split())]
                assert list(chosen["trial"]) == [record["tuning"]["chosen"]]
    assert set(trials[trials["method"] == "leaky"]["test_metric"]) == {"mse", ""}
    collect.write(results, tmp_path)
    again = load_results(*(tmp_path / n for n in ("scores.csv", "runs.csv", "manifest.json")))
    pd.testing.assert_frame_equal(again.trials, trials, check_dtype=False)
    assert again.protocols == ["published", "corrected", "tuned", "tuned_stable", "oracle_tuned"]
    assert again.shown[:2] == ["corrected", "published"]


def test_a_reference_takes_trials_over_and_keeps_those_that_stay(results, tmp_path, monkeypatch):
    from anchorbench.reporting import catalogue

    monkeypatch.setattr(catalogue, "discover", dict)
    publish(results, {}, tmp_path)
    names = ("scores.csv", "runs.csv", "manifest.json")
    one = load_results(*(tmp_path / n for n in names))
    assert (tmp_path / "trials.csv.gz").is_file() and len(one.trials) == len(results.trials)
    publish(results, {}, tmp_path)
    assert len(load_results(*(tmp_path / n for n in names)).trials) == len(results.trials)


def test_no_test_ranks_what_the_test_rows_chose(results):
    entries = standing(results, "synthetic", "mcc", "oracle_tuned").entries
    assert entries["vae"].control and entries["vae"].place is None
    assert not standing(results, "synthetic", "mcc", "tuned").entries["vae"].control
    assert results.is_control("floor", "tuned")


def test_settings_say_what_each_run_chose_for_itself(results):
    cell = next(
        c
        for c in results.manifest["settings"]
        if (c["dataset"], c["method"], c["protocol"]) == ("synthetic", "vae", "tuned")
    )
    assert cell["params"]["learning_rate"] == "searched" and cell["params"]["n_hidden"] == 4


def test_the_table_of_tuning_shows_default_tuned_and_oracle(results):
    frame = tuning.make(results)
    assert list(frame["method"]) == ["vae", "leaky"]
    row = frame.set_index("method").loc["leaky"]
    assert row["oracle_tuned"] == pytest.approx(0, abs=1e-9)
    assert 0.1 < row["tuned"] < row["corrected"]
    assert row["difference"] == pytest.approx(row["tuned"] - row["corrected"])
    assert row["validation_tuned"] < row["validation_default"]
    assert (row["trials"], row["fits"], row["kept_default"]) == (12, 13, 0.0)
    assert row["chosen"] == "mode honest"
    taken = pd.DataFrame({"trial": [0, 3, 2], "params": ["{}", '{"rate": 2}', '{"rate": 4}']})
    assert tuning._chosen(taken) == "rate 3 (default in 1 of 3)"
    (sheet, *_) = tuning.pretty(frame, results)
    assert sheet.rows[0][0] == "VAE" and len(sheet.rows[0]) == len(sheet.columns)


def test_budget_curves_begin_with_the_mean_and_end_with_the_chosen(results):
    frame = budget.curves(results)
    part = frame[frame["method"] == "vae"]
    trials = results.trials[(results.trials["method"] == "vae") & (results.trials["trial"] > 0)]
    assert list(part["trials"]) == [1, 2, 3]
    assert part["expected"].iloc[0] == pytest.approx(trials["test"].mean())
    best = trials.sort_values("value").groupby("replicate").head(1)
    assert part["expected"].iloc[-1] == pytest.approx(best["test"].mean())
    assert (part["low"] <= part["high"]).all() and part["default"].nunique() == 1
    figure, _ = budget.make(results)
    assert len(figure.axes) == 2


def test_artefacts_without_a_search_say_so(results):
    from dataclasses import replace

    nothing = replace(results, trials=results.trials.iloc[:0], remembered={})
    assert tuning.make(nothing).attrs["notes"] == ["No dataset has `tuning`: nothing was searched."]
    (sheet,) = tuning.pretty(tuning.make(nothing), nothing)
    assert not sheet.rows
    assert budget.make(nothing)[1].empty


# The estimator ------------------------------------------------------------------------------------


def test_expected_best_has_its_closed_forms():
    rng = np.random.default_rng(0)
    validation, test = rng.normal(size=17), rng.normal(size=17)
    curve = expected(validation, test)
    assert curve[0] == pytest.approx(test.mean())
    assert curve[-1] == pytest.approx(test[np.argmax(validation)])
    assert np.allclose(weights(17).sum(axis=1), 1)
    shuffled = rng.permutation(17)
    assert np.allclose(expected(validation[shuffled], test[shuffled]), curve)


def test_expected_best_is_the_mean_over_all_subsets():
    from itertools import combinations

    rng = np.random.default_rng(1)
    validation, test = rng.normal(size=7), rng.normal(size=7)
    for n in range(1, 8):
        best = [test[max(c, key=lambda i: validation[i])] for c in combinations(range(7), n)]
        assert expected(validation, test)[n - 1] == pytest.approx(np.mean(best))


def test_expected_best_of_uniform_scores_is_n_of_n_and_one():
    grid = np.arange(1, 401) / 401  # means of the order statistics of U(0, 1)
    n = np.arange(1, 401)
    assert np.allclose(expected(grid, grid), n / (n + 1))


def test_a_trial_that_failed_counts_as_the_worst(results):
    part = results.trials[results.trials["method"] == "leaky"]
    validation, test, metric = _trials.scores(results, part)
    failed = (part["status"] == Status.FAILED).to_numpy().reshape(2, -1)
    assert metric == "mse" and failed.any()
    assert np.isneginf(validation[failed]).all()
    worst = test.max(axis=1, keepdims=True)  # of an error the largest
    assert (test[failed] == np.broadcast_to(worst, test.shape)[failed]).all()
    fewer = part[(part["replicate"] == 0) | (part["trial"] < 2)]
    validation, test, _ = _trials.scores(results, fewer)
    assert np.isneginf(validation[1, 2:]).all() and (test[1, 2:] == test[1].max()).all()
    row = tuning.make(results).set_index("method").loc["leaky"]
    assert (row["tried"], row["failed"]) == (len(part), failed.sum())


def test_the_planted_rows_are_those_of_the_fold(study):
    made, store = study
    worker = _Worker(made.find("waves", "leaky", "tuned")[0], store, made.config)
    assert np.array_equal(worker.split(1).test, kfold(worker.data.dataset, 1).test)
