"""Plugins that misbehave: each is recorded with its reason, and its neighbours' numbers stay."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from faults import study
from faults.outcomes import End, of_command

METHOD = """
import atexit, os, random, signal, subprocess, sys, threading, time
from pathlib import Path
import numpy as np
{on_import}
METHOD = {{"label": "Bad", "likelihoods": ["gaussian"], "params": {{}}}}
SEEN = []
class Model:
    def fit(self, X):
        {fit}
        self.G = X.shape[1]
        return self
    def transform(self, X):
        {transform}
        return X[:, :2]
    def inverse_transform(self, Z):
        {inverse}
        return np.zeros((len(Z), self.G))
def build(likelihood, n_latent, seed):
    {build}
    return Model()
"""
DATASET = """
import os, signal, sys, time
import numpy as np
from anchorbench import Dataset, Split
{on_import}
DATASET = {{"label": "Bad data", "likelihood": "gaussian", "sources": [], "replicates": 2,
            "params": {{}}}}
def prepare(raw):
    {prepare}
    X = np.random.default_rng(0).normal(size=(60, 6))
    return Dataset(X=X, features=[f"f{{j}}" for j in range(6)])
def split(dataset, replicate, seed):
    {split}
    return Split(train=np.array(dataset.X[:40]), test=np.array(dataset.X[40:]))
"""
METRIC = """
import os, signal, sys, time
import numpy as np
{on_import}
METRIC = {{"label": "Bad", "direction": "min", "range": [None, None],
          "likelihoods": ["gaussian"], "needs": []}}
SEEN = []
def compute(run):
    {compute}
    return 1.0
"""
SLEEP, HOARD = (
    "time.sleep(600)",
    "hoard = [(np.ones(4 * 10**7), time.sleep(0.01)) for _ in range(9999)]",
)
DEATHS = {  # what any code can do to its process, and a word of the reason
    "raises": ("raise ValueError('no luck today')", "no luck today"),
    "surrogate": ("raise ValueError('bad \\udc80 luck | today\\n$')", "luck"),
    "leaves": ("sys.exit(0)", ""),
    "leaves at once": ("os._exit(0)", "left no result"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "segfault": ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "hangs": (SLEEP, "time limit"),
    "eats": (HOARD, "MB"),
    "interrupts": ("raise KeyboardInterrupt", ""),
    "recursion": ("f = lambda f: f(f); f(f)", "recursion"),
}
BAD_FITS = {
    **{f"fit {name}": ({"fit": code}, word) for name, (code, word) in DEATHS.items()},
    "import raises": ({"on_import": "import a_package_that_is_not_there"}, "a_package_that"),
    "import leaves": ({"on_import": "sys.exit(0)"}, ""),
    "build raises": ({"build": "raise TypeError('of no use')"}, "of no use"),
    "transform raises": ({"transform": "raise ValueError('not now')"}, "not now"),
    "transform changes X": ({"transform": "X -= 1"}, "work on a copy"),
    "fit changes X": ({"fit": "X -= X.mean(0)"}, "work on a copy"),
    "inverse changes Z": ({"inverse": "Z *= 0"}, "work on a copy"),
    "NaN codes": ({"transform": "return X[:, :2] * np.nan"}, "NaN"),
    "huge codes": ({"transform": "return X[:, :2] * 1e200"}, "infinite"),
    "text codes": ({"transform": "return X[:, :2].astype(str)"}, "real numbers"),
    "complex codes": ({"transform": "return X[:, :2] * 1j"}, "real numbers"),
    "object codes": ({"transform": "return np.array([[None, 1]] * len(X))"}, "real numbers"),
    "constant codes": ({"transform": "return np.ones((len(X), 2))"}, "constant"),
    "few rows": ({"transform": "return X[1:, :2]"}, "rows"),
    "flat codes": ({"transform": "return X[:, 0]"}, "shape"),
    "no codes": ({"transform": "return None"}, ""),
    "narrow reconstruction": ({"inverse": "return np.zeros((len(Z), 1))"}, "shape"),
    "wrong loadings": ({"fit": "self.loadings_ = np.ones((2, 9))"}, "loadings"),
    "wrong support": ({"fit": "self.support_ = np.ones((9, 2), bool)"}, "support"),
    "floods": (
        {"fit": "\n".join(["for _ in range(10**6):", " " * 12 + "print('x' * 200)"])},
        "printed",
    ),
}
HARMLESS = {  # they reach beyond themselves, and must reach nobody
    "a child that holds the output": "subprocess.Popen(['sleep', '300'])",
    "a child in a session of its own": "subprocess.Popen(['sleep', '300'], start_new_session=True)",
    "environment": "os.environ.clear()",
    "folder": "os.chdir('/')",
    "closed output": "sys.stdout.close()",
    "closed descriptors": "os.close(1); os.close(2)",
    "a module's global": "SEEN.append(1); assert len(SEEN) == 1",
    "a thread": "threading.Thread(target=time.sleep, args=(300,), daemon=True).start()",
    "numpy's errors": "np.seterr(all='ignore')",
    "a handler": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "at exit": "atexit.register(time.sleep, 300)",
    "patched": "np.mean = None",
    "an attribute": "self.n_parameters_ = np.int64(3); self.converged_ = np.bool_(True)",
    "unseeded numbers": "self.w = np.random.rand(); random.random()",
    "prints a little": "print('\\udc80 \\x1b[31m hello')",
    "its own file": "Path(__file__).touch()",
}
HARMLESS_METRICS = {n: c for n, c in HARMLESS.items() if "self" not in c and "__file__" not in c}
HARMLESS_METRICS |= {
    "a split of its own": "run.truth.test = run.truth.test * 2",
    "a model of its own": "run.model.copy().__dict__.clear()",
}
BAD_METRICS = {
    **DEATHS,
    "changes the codes": ("run.test[:] = 0", "work on a copy"),
    "NaN": ("return float('nan')", "not a finite"),
    "text": ("return 'much'", "much"),
    "a number as text": ("return ' 1_0 '", "is the text"),
    "a value of another's": ("return {'mse': 99.0}", "not in METRIC"),
    "fits the model again": ("return len(run.model.fit(run.train).transform(run.test))", "copy()"),
    "nothing": ("return {}", "no number"),
    "None": ("return None", ""),
    "an array": ("return np.ones(3)", ""),
}
PLAIN_METHOD = dict.fromkeys(("on_import", "fit", "transform", "inverse", "build"), "pass")
PLAIN_DATASET = dict.fromkeys(("on_import", "prepare", "split"), "pass")
LIMITS = {"seconds": 10, "memory_mb": 1200}


def slug(name: str) -> str:
    return "bad_" + "".join(c if c.isalnum() else "_" for c in name)


def drop(folder: Path, kind: str, name: str, text: str) -> str:
    """Drop a plugin into a study; return its name."""
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / f"{slug(name)}.py").write_text(text, encoding="utf-8")
    return slug(name)


def cell(frame: pd.DataFrame, **where: str) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    study.write_config(folder)
    done = study.call(folder)
    assert done.code == 0, done.text
    return study.numbers(folder)


def neighbours(frame: pd.DataFrame) -> pd.DataFrame:
    """The scores of what behaves."""
    good = frame[frame["dataset"].eq("synthetic") & frame["method"].isin(["vae", "floor"])]
    return good[good["metric"].isin(["mse", "active_factors"])].reset_index(drop=True)


@pytest.fixture(scope="module")
def with_bad_methods(tmp_path_factory, undisturbed):
    """One study with every method that misbehaves, beside two that do not."""
    folder = tmp_path_factory.mktemp("methods") / "study"
    names = []
    for name, (change, _) in BAD_FITS.items():
        names.append(drop(folder, "methods", name, METHOD.format(**PLAIN_METHOD | change)))
    for name, code in HARMLESS.items():
        names.append(drop(folder, "methods", name, METHOD.format(**PLAIN_METHOD | {"fit": code})))
    study.write_config(folder, methods=["vae", "floor", *names], limits=LIMITS)
    ended = study.call(folder, seconds=560)
    assert ended.code > 0, ended.text[-3000:]
    runs = pd.read_csv(folder / "results/runs.csv", keep_default_na=False)
    return folder, ended, runs, study.numbers(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_FITS)
def test_a_bad_method_is_recorded_with_its_reason(with_bad_methods, undisturbed, note, name):
    _, _, runs, scores = with_bad_methods
    mine = cell(runs, method=slug(name))
    recorded = len(mine) == 2 and not (mine["status"] == "done").any()
    recorded &= bool(mine["reason"].str.contains(BAD_FITS[name][1], regex=False).all())
    untouched = neighbours(scores).equals(neighbours(undisturbed))
    note(End.CLEAR_ERROR if recorded and untouched else End.WRONG, mine.to_string())


@pytest.mark.slow
@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_method_does_to_its_process_reaches_nobody(
    with_bad_methods, undisturbed, note, name
):
    _, ended, runs, scores = with_bad_methods
    mine = cell(runs, method=slug(name))
    right = (mine["status"] == "done").all() and len(mine) == 2
    right &= neighbours(scores).equals(neighbours(undisturbed))
    note(End.RECOVERED if right else End.WRONG, mine.to_string() + ended.text[-500:])


@pytest.mark.slow
def test_the_whole_study_ends_with_a_report(with_bad_methods, note):
    folder, ended, *_ = with_bad_methods
    text = (folder / "results/report.html").read_text(encoding="utf-8")
    shown = len(ended.text) < 3_000_000 and "no luck today" in text
    note(End.RECOVERED if shown else End.WRONG, ended.text[-2000:])


@pytest.mark.slow
@pytest.mark.parametrize("place", ["prepare", "split"])
@pytest.mark.parametrize("name", DEATHS)
def test_a_bad_dataset_fails_alone(tmp_path, undisturbed, note, place, name):
    folder = tmp_path / "study"
    code, word = DEATHS[name]
    dataset = drop(folder, "datasets", name, DATASET.format(**PLAIN_DATASET | {place: code}))
    study.write_config(folder, limits=LIMITS)
    ended = study.call(folder)
    runs = pd.read_csv(folder / "results/runs.csv", keep_default_na=False)
    mine = cell(runs, dataset=dataset)
    recorded = len(mine) == 4 and not (mine["status"] == "done").any()
    recorded &= bool(mine["reason"].str.contains(word, regex=False).all())
    untouched = neighbours(study.numbers(folder)).equals(neighbours(undisturbed))
    end = of_command(ended)
    if end in (End.TRACEBACK, End.CLEAR_ERROR):  # a traceback is the plugin's own
        end = End.CLEAR_ERROR if recorded and untouched else End.WRONG
    note(end, mine.to_string() + ended.text[-1500:])


@pytest.fixture(scope="module")
def with_bad_metrics(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics") / "study"
    names = []
    plain = {"on_import": "", "compute": "pass"}
    for name, (code, _) in BAD_METRICS.items():
        names.append(drop(folder, "metrics", name, METRIC.format(**plain | {"compute": code})))
    for name, code in HARMLESS_METRICS.items():
        text = METRIC.format(**plain | {"compute": code, "on_import": IMPORTS})
        names.append(drop(folder, "metrics", name, text))
    study.write_config(folder, metrics=["mse", "active_factors", *names], limits=LIMITS)
    ended = study.call(folder, seconds=560)
    manifest = pd.read_json(folder / "results/manifest.json", typ="series")
    return ended, pd.DataFrame(manifest["metric_failures"]), study.numbers(folder)


IMPORTS = "import atexit, random, subprocess, threading"


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_METRICS)
def test_a_bad_metric_has_a_reason_in_place_of_a_number(with_bad_metrics, undisturbed, note, name):
    _, failures, scores = with_bad_metrics
    mine = cell(failures, metric=slug(name))
    recorded = (
        len(mine) == 4 and mine["reason"].str.contains(BAD_METRICS[name][1], regex=False).all()
    )
    recorded &= not (scores["metric"] == slug(name)).any()
    untouched = neighbours(scores).equals(neighbours(undisturbed))
    note(End.CLEAR_ERROR if recorded and untouched else End.WRONG, mine.to_string())


@pytest.mark.slow
@pytest.mark.parametrize("name", HARMLESS_METRICS)
def test_what_a_metric_does_to_its_process_reaches_nobody(
    with_bad_metrics, undisturbed, note, name
):
    ended, failures, scores = with_bad_metrics
    right = len(cell(scores, metric=slug(name))) == 4 and failures["metric"].ne(slug(name)).all()
    right &= neighbours(scores).equals(neighbours(undisturbed))
    note(End.RECOVERED if right else End.WRONG, ended.text[-1500:])


def test_a_sample_of_all_kinds(tmp_path, undisturbed):
    """A method, a dataset and a metric that misbehave in one study, in `make test`."""
    folder = tmp_path / "study"
    code = "X -= X.mean(0)"
    method = drop(folder, "methods", "in place", METHOD.format(**PLAIN_METHOD | {"fit": code}))
    dataset = drop(
        folder, "datasets", "leaves", DATASET.format(**PLAIN_DATASET | {"prepare": "sys.exit(0)"})
    )
    metric = drop(folder, "metrics", "dies", METRIC.format(on_import="", compute="os._exit(3)"))
    study.write_config(
        folder, methods=["vae", "floor", method], metrics=["mse", "active_factors", metric]
    )
    ended = study.call(folder)
    assert ended.code > 0
    runs = pd.read_csv(folder / "results/runs.csv", keep_default_na=False)
    assert cell(runs, method=method, dataset="synthetic")["reason"].str.contains("a copy").all()
    assert cell(runs, dataset=dataset)["reason"].str.contains("left no result").all()
    assert neighbours(study.numbers(folder)).equals(neighbours(undisturbed))
    assert f"metric {metric} on synthetic vae" in ended.text
