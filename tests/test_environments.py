"""Methods with libraries of their own, side by side in one study."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from anchorbench.cli import main
from anchorbench.runs.store import Store
from anchorbench.study import environments, plan
from anchorbench.study.plugins import SUITE, discover

METHOD = """
import numpy as np
{top}
METHOD = {{"label": "{name}", "likelihoods": ["gaussian"], "params": {{}}, {names}}}
class Model:
    def fit(self, X):
        {uses}
        self.mean = X.mean(axis=0)
        return self
    def transform(self, X):
        return self.scale * (X - self.mean)[:, :2]
    def inverse_transform(self, Z):
        return self.scale * np.tile(self.mean, (len(Z), 1))
    def log_prob(self, X, Z):
        return np.zeros(len(X))
    def posterior(self, X):
        return self.transform(X), np.ones((len(X), 2))
def build(likelihood, n_latent, seed):
    return Model()
"""
TOY = "import toything; self.scale = toything.SCALE"
SYNTHETIC = {"n_latent": 2, "replicates": 1, "params": {"n": 60}}
CELL = ("--dataset", "synthetic", "--protocol", "corrected")


def wheel(folder: Path, version: str, scale: float) -> None:
    """A wheel of a library of one number."""
    about = f"toything-{version}.dist-info"
    with zipfile.ZipFile(folder / f"toything-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("toything.py", f"SCALE = {scale}\n")
        head = f"Metadata-Version: 2.1\nName: toything\nVersion: {version}\n"
        archive.writestr(f"{about}/METADATA", head)
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")


def write(folder: Path, name: str, uses: str, names: str = "", top: str = "") -> None:
    (folder / "methods").mkdir(exist_ok=True)
    text = METHOD.format(name=name, uses=uses, names=names, top=top)
    (folder / "methods" / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of three methods: two need a library in different versions, one in none that is."""
    folder = tmp_path_factory.mktemp("study")
    wheel(folder, "1.0", 1.0)
    wheel(folder, "2.0", 2.0)
    write(folder, "old", TOY, '"requirements": ["toything==1.0"]')
    own = '"requirements": ["toything==2.0"]'
    write(folder, "new", "self.scale = toything.SCALE", own, top="import toything")
    write(folder, "none", TOY, '"requirements": ["toything==3.0"]')
    config = {
        "datasets": {"synthetic": SYNTHETIC, "simulated_counts": False},
        "methods": ["old", "new", "none"],
        "protocols": ["corrected"],
        "metrics": ["mse", "iwae_nll"],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(SUITE))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder))
        assert main(["prepare", *CELL]) == 0
        assert [main(["fit", *CELL, "--method", m]) for m in config["methods"]] == [0, 0, 1]
        assert [main(["score", *CELL, "--method", m]) for m in ("old", "new")] == [0, 0]
        assert main(["collect"]) == 0
    return folder


def runs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / "runs.csv", keep_default_na=False).set_index("method")


def test_each_method_has_its_own_version(study):
    found = runs(study)
    assert found.loc[["old", "new"], "status"].to_list() == ["done", "done"]
    assert "; toything 1.0" in found.loc["old", "versions"]
    assert "; toything 2.0" in found.loc["new", "versions"]
    scores = pd.read_csv(study / "results" / "scores.csv").set_index(["method", "metric"])["value"]
    assert scores["old", "mse"] != scores["new", "mse"]


def test_what_lies_beneath_is_the_suites_own(study):
    import numpy

    for name in ("old", "new"):
        assert f"numpy {numpy.__version__};" in runs(study).loc[name, "versions"]
    assert importlib.util.find_spec("toything") is None


def test_an_environment_that_cannot_be_made_fails_its_method_alone(study):
    row = runs(study).loc["none"]
    assert row["status"] == "failed"
    assert "toything==3.0" in row["reason"] and "No matching distribution" in row["reason"]


def test_no_metric_fits_such_a_model_again_with_other_libraries(study):
    """iwae_nll asks for the model, which nothing has kept, and of which one cannot be imported."""
    scores = pd.read_csv(study / "results" / "scores.csv")
    assert set(scores["metric"]) == {"mse"}
    manifest = json.loads((study / "results" / "manifest.json").read_text())
    assert manifest["metric_failures"] == []
    store = study / "results" / "store"
    digest = runs(study).loc["old", "digest"]
    record = json.loads((store / digest / "record.json").read_text())
    assert record["environment"] == "pip toything==1.0"


def test_an_environment_is_made_once(study, monkeypatch, capfd):
    monkeypatch.chdir(study)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert main(["environments"]) == 1
    said = capfd.readouterr()
    assert len(said.out.splitlines()) == 2 and said.err.count("making the environment") == 1
    for python in said.out.splitlines():
        assert Path(python).is_file()


def test_an_environment_of_no_method_is_deleted_and_the_others_are_kept(study, monkeypatch, capfd):
    monkeypatch.chdir(study)
    there = study / "results" / "store" / "environments"
    before = {folder.name for folder in there.iterdir() if folder.is_dir()}
    old = there / "0123456789abcdef0123"
    old.mkdir()
    old.with_suffix(".log").touch()
    assert main(["gc"]) == 0
    assert [line for line in capfd.readouterr().out.splitlines() if "environments" in line] == [
        f"results/store/environments/{old.name}"
    ]
    assert main(["gc", "--yes"]) == 0
    assert {folder.name for folder in there.iterdir() if folder.is_dir()} == before
    assert not old.with_suffix(".log").exists()


def test_requirements_and_files_are_part_of_the_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"datasets": {"synthetic": SYNTHETIC, "simulated_counts": False}, "methods": ["own"]}
    from anchorbench.study.config import DEFAULTS, merge

    def recipe(names: str) -> str:
        discover.__globals__["_discover"].cache_clear()
        write(tmp_path, "own", "pass", names)
        return plan.make(merge(DEFAULTS, config)).jobs[0].ingredients.get("environment")

    assert recipe("") is None
    assert recipe('"requirements": ["a==1"]') == ["a==1"]
    file = tmp_path / "methods" / "environments" / "x.yml"
    file.parent.mkdir()
    file.write_text("dependencies: [numpy]\n")
    first = recipe('"environment": "methods/environments/x.yml"')
    file.write_text("dependencies: [numpy, scipy]\n")
    assert recipe('"environment": "methods/environments/x.yml"') != first


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"requirements": "numpy"}, ["must be a list", "numpy"]),
        ({"requirements": []}, ["must be a list"]),
        ({"requirements": ["--index-url x"]}, ["PIP_FIND_LINKS", "--index-url x"]),
        ({"requirements": ["./toything"]}, ["'./toything'", "no digest"]),
        ({"requirements": ["libraries/toything"]}, ["'libraries/toything'", "no digest"]),
        ({"requirements": ["toything @ file:///x.whl"]}, ["file:///x.whl", "no digest"]),
        ({"environment": "methods/no.yml"}, ["no such .yml file", "methods/no.yml"]),
        ({"requirements": ["a"], "environment": "x.yml"}, ["keep one"]),
    ],
)
def test_what_no_environment_can_be_made_of_is_named(tmp_path, meta, words):
    with pytest.raises(ValueError) as error:
        environments.of(meta, tmp_path / "methods" / "own.py")
    assert all(word in str(error.value) for word in words), error.value


def test_packages_are_named_without_extras_versions_and_marks():
    lines = ["a==1", "b.c-d >= 2, < 3", "e[x,y]", "f; python_version > '3'", "g @ https://h/i.whl"]
    found = environments.of({"requirements": lines}, Path("methods/own.py"))
    assert found.packages == ("a", "b.c-d", "e", "f", "g")
    assert found.ingredient == lines


def test_without_conda_a_file_for_it_is_a_clear_reason(tmp_path, monkeypatch):
    from anchorbench.runs.environments import EnvironmentFailed, python_of

    file = tmp_path / "x.yml"
    file.write_text("dependencies: [numpy]\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match=r"no conda on this machine.*requirements"):
        python_of(environments.Environment(file=file), Store(tmp_path / "store"))


@pytest.mark.parametrize(
    ("ends", "words"), [("kill -9 $$", "ended by signal 9"), ("exit 3", "ended with code 3")]
)
def test_an_installer_that_ends_without_a_word_is_named_with_how(
    tmp_path, monkeypatch, ends, words
):
    from anchorbench.runs.environments import EnvironmentFailed, python_of

    (tmp_path / "conda").write_text(f"#!/bin/sh\n[ $1 = --version ] && echo conda 25.1.0\n{ends}\n")
    (tmp_path / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    file = tmp_path / "x.yml"
    file.write_text("dependencies: [python=3.11]\n")
    with pytest.raises(EnvironmentFailed, match=words):
        python_of(environments.Environment(file=file), Store(tmp_path / "store"))


def test_an_installer_ends_with_the_step_that_began_it(tmp_path):
    """Killed by SIGKILL, it leaves nobody who writes where the next call makes it again."""
    pid = tmp_path / "pid"
    lasting = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import sys; from pathlib import Path; from anchorbench.runs import environments as e; "
        f"e._call([sys.executable, '-c', {lasting!r}], Path({str(tmp_path / 'log')!r}), 'pip')"
    )
    step = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SUITE)}
    )
    until = time.monotonic() + 30
    while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    installer = psutil.Process(int(pid.read_text()))
    step.kill()
    step.wait()
    while (alive := installer.is_running() and installer.status() != psutil.STATUS_ZOMBIE) and (
        time.monotonic() < until
    ):
        time.sleep(0.01)
    if alive:
        installer.kill()
    assert not alive


@pytest.mark.slow
def test_scikit_learn_of_two_versions_in_one_study(tmp_path, monkeypatch):
    """The suite's own and the last but some; the old one's wheel comes from the network."""
    import sklearn

    own = sklearn.__version__
    known = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(tmp_path)]
    if subprocess.run([*known, "scikit-learn==1.5.2"], capture_output=True).returncode:
        pytest.skip("scikit-learn 1.5.2 cannot be downloaded here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SUITE))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    uses = "import sklearn.decomposition as d; self.scale = d.PCA(1).fit(X).n_components_"
    write(tmp_path, "today", uses)
    write(tmp_path, "before", uses, '"requirements": ["scikit-learn==1.5.2", "scipy<1.15"]')
    config = {
        "datasets": {"synthetic": SYNTHETIC, "simulated_counts": False},
        "methods": ["today", "before"],
        "protocols": ["corrected"],
        "metrics": ["mse"],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["prepare", *CELL]) == 0
    for method in config["methods"]:
        assert main(["fit", *CELL, "--method", method]) == 0
        assert main(["score", *CELL, "--method", method]) == 0
    assert main(["collect"]) == 0
    found = runs(tmp_path)["versions"]
    assert "scikit-learn 1.5.2" in found["before"] and f"scikit-learn {own}" in found["today"]
    scores = pd.read_csv(tmp_path / "results" / "scores.csv").set_index("method")["value"]
    assert scores["before"] == pytest.approx(scores["today"], rel=1e-6)
