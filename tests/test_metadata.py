"""What a plugin says of itself is checked before anything is run; what it is given is its own."""

import numpy as np
import pytest

from anchorbench.data.dataset import Split
from anchorbench.runs import contract, score
from anchorbench.runs.store import Store
from anchorbench.study import metadata, plan, plugins, protocols
from anchorbench.study.config import ConfigError, load

VARIABLES = plugins.METADATA
WRONG = {
    "methods": {
        '"parms": {"whiten": True}': "unknown key 'parms'; did you mean 'params'",
        '"likelihood": ["gaussian"]': "unknown key 'likelihood'; did you mean 'likelihoods'",
        '"contol": True': "did you mean 'control'",
        '"control": "False"': "control must be True or False, not 'False'",
        '"gpu": 1': "gpu must be True or False",
        '"needs": ["codes"]': "needs must be a list of any of 'truth'",
        '"protocols": {"publised": {}}': "protocols must be a dict by protocol",
        '"protocols": {"published": ["whiten"]}': "protocols must be a dict by protocol",
        '"settings": {"zeisel": 3}': "settings must be a dict by dataset",
        '"params": ["whiten"]': "params must be a dict",
        '"params": {1: 2}': "the key 1 is no text",
        '"params": {"layers": {1, 2}}': "a set: use a list",
        '"params": {"key": b"x"}': "a bytes: use a list",
        '"params": {"a": {"b": [1e999]}}': "inf is not finite",
    },
    "metrics": {
        '"direction": "maximum"': "direction must be one of 'max', 'min', None, not 'maximum'",
        '"direction": "Max"': "direction must be one of",
        '"need": ["codes"]': "did you mean 'needs'",
        '"needs": ["label"]': "needs must be a list of any of",
        '"needs": "codes"': "needs must be a list of any of",
        '"range": [1, 0]': "range must be [lowest, highest]",
        '"range": [0]': "range must be [lowest, highest]",
        '"values": ["a", "b"]': "values must be a dict of labels",
    },
    "datasets": {
        '"likelihoods": ["gaussian"]': "did you mean 'likelihood'",
        '"replicates": 0': "replicates must be a whole number above 0",
        '"replicates": "5"': "replicates must be a whole number above 0",
        '"resampling": "fold"': "resampling must be one of 'folds', 'draws'",
        '"provides": ["factor"]': "provides must be a list of any of",
        '"headline": {"publishd": "mse"}': "headline must be a metric, or a dict of them",
        '"sources": "mine"': "sources must be a list of names",
    },
}
CASES = [
    (kind, literal, words) for kind, found in WRONG.items() for literal, words in found.items()
]


def dropped(root, kind, name, literal, code=""):
    """Write a plugin's file; return what is discovered of it."""
    (root / kind).mkdir(parents=True, exist_ok=True)
    text = f'{VARIABLES[kind]} = {{"label": "Mine", {literal}}}\n{code}'
    (root / kind / f"{name}.py").write_text(text)
    plugins._discover.cache_clear()
    return plugins.discover(kind, root)[name]


@pytest.mark.parametrize(("kind", "literal", "words"), CASES)
def test_a_plugin_that_says_what_nobody_reads_is_broken(tmp_path, kind, literal, words):
    broken = dropped(tmp_path, kind, "mine", literal).broken or ""
    assert str(tmp_path / kind / "mine.py") in broken and words in broken


@pytest.mark.parametrize("kind", VARIABLES)
def test_every_key_that_the_suite_uses_is_known_and_every_template_is_sound(kind, tmp_path):
    assert not [p.broken for p in plugins.discover(kind).values() if p.broken]
    template = plugins.literal(plugins.SUITE / kind / "_template.py", VARIABLES[kind])
    assert not metadata.wrong_with(kind, template)


def test_tuples_are_what_a_record_has_of_them(tmp_path):
    found = dropped(tmp_path, "methods", "mine", '"params": {"scale": (1.0, (2, 3))}')
    assert found.meta["params"] == {"scale": [1.0, [2, 3]]}


def test_two_metrics_do_not_give_one_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dropped(tmp_path, "metrics", "mine", '"direction": "max", "values": {"mse": "a", "own": "b"}')
    with pytest.raises(ConfigError, match="both give 'mse'"):
        plan.make(load([], {"datasets": {"synthetic": {}}}))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ({"mine": 1.0, "mse": 2.0}, "'mse', which is not in METRIC"),
        ({"other": 1.0}, "'other', which is not in METRIC"),
        (7.0, "7 is outside of the range [0, 1]"),
        (-0.1, "outside of the range"),
        (" 1_0 ", "is the text"),
        ("0.5", "is the text"),
        (float("inf"), "not a finite number"),
        ({}, "no number"),
    ],
)
def test_a_metric_returns_what_it_announces(tmp_path, returned, words):
    code = f"def compute(run):\n    return {returned!r}".replace("inf", "float('inf')")
    metric = dropped(tmp_path, "metrics", "mine", '"direction": "max", "range": [0, 1]', code)
    result = score.evaluate(metric, run=None)
    assert result["status"] == "failed" and words in result["reason"]


def test_a_metric_that_means_nothing_for_a_run_is_not_a_failure(tmp_path):
    metric = dropped(
        tmp_path, "metrics", "mine", '"direction": "max"', "def compute(run):\n    pass"
    )
    assert score.evaluate(metric, run=None) == {"status": "done", "values": {}}


def test_a_value_at_the_end_of_its_range_is_one(tmp_path):
    code = "def compute(run):\n    return 1 + 1e-9"
    metric = dropped(tmp_path, "metrics", "mine", '"direction": "max", "range": [0, 1]', code)
    assert score.evaluate(metric, run=None) == {"status": "done", "values": {"mine": 1 + 1e-9}}


BUILD = """
import numpy as np
GIVEN = []
class Model:
    def __init__(self, hidden, seed):
        self.hidden, self.seed = hidden, seed
    def fit(self, X):
        self.axes = np.random.default_rng({seed}).normal(size=(X.shape[1], 2))
        return self
    def transform(self, X):
        return X @ self.axes
    def inverse_transform(self, Z):
        return Z @ self.axes.T
def build(likelihood, n_latent, seed, hidden):
    hidden["sizes"].append(n_latent)
    return Model(hidden, seed)
"""
PARAMS = '"params": {"hidden": {"sizes": [8]}}'


def test_what_build_does_to_its_parameters_reaches_no_other_fit(tmp_path):
    found = dropped(tmp_path, "methods", "mine", PARAMS, BUILD.format(seed="self.seed"))
    params = protocols.parameters(found.meta, "corrected")
    for _ in range(2):
        model = protocols.built(found, "gaussian", 2, 0, params)
        assert model.hidden == {"sizes": [8, 2]}
    assert params == found.meta["params"] == {"hidden": {"sizes": [8]}}


def again(root, seed):
    """A stored run of a method that is fitted again when a metric asks for its model."""
    plugin = dropped(root, "methods", "mine", PARAMS, BUILD.format(seed=seed))
    X = np.random.default_rng(0).normal(size=(30, 4))
    params = protocols.parameters(plugin.meta, "corrected")
    record = {"digest": "none", "likelihood": "gaussian", "n_latent": 2, "seed": 5}
    run = score.Run(record | {"params": params}, Store(root), data=None, plugin=plugin)
    model = protocols.built(plugin, "gaussian", 2, 5, params).fit(X[:20])
    split = Split(train=X[:20], test=X[20:])
    codes = model.transform(split.test).astype(np.float32)
    vars(run).update(_split=split, _arrays={"codes": codes})
    return run


def test_a_model_that_is_fitted_again_is_the_same_or_none(tmp_path):
    run = again(tmp_path, seed="self.seed")
    np.testing.assert_allclose(run.model.transform(run.test), run.codes, rtol=1e-5)
    with pytest.raises(ValueError, match="must come from the `seed`"):
        _ = again(tmp_path, seed="None").model


def test_a_metric_cannot_change_what_others_see_of_a_run(tmp_path):
    run = again(tmp_path, seed="self.seed")
    data = run.truth
    data.test = data.test * 2
    assert run.truth.test is run.test and not np.array_equal(data.test, run.test)
    before = run.model.transform(run.test)
    for name in ("fit", "fit_transform", "set_params"):
        with pytest.raises(ValueError, match=rf"run\.model\.copy\(\)\.{name}"):
            getattr(run.model, name)
    own = run.model.copy()
    own.axes *= 3
    np.testing.assert_array_equal(run.model.transform(run.test), before)


def test_what_build_returns_must_be_something_to_fit():
    with pytest.raises(TypeError, match="build returned None"):
        contract.fitted(None, np.ones((3, 2)))
    with pytest.raises(AttributeError, match=r"object has no fit: give .* fit\(X\)"):
        contract.fitted(object(), np.ones((3, 2)))
