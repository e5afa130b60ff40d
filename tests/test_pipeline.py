"""The whole suite in a copy of the project: dropped-in plugins, second calls, broken methods."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from anchorbench.cli import main
from anchorbench.study.plugins import SUITE

PARTS = ("anchorbench", "methods", "metrics", "datasets", "workflow", "profiles", "config")
PCA = """
from sklearn.decomposition import PCA
METHOD = {"label": "My PCA", "likelihoods": ["gaussian"], "params": {"whiten": False}}
def build(likelihood, n_latent, seed, **params):
    return PCA(n_components=n_latent, random_state=seed, **params)
"""
MAX_ERROR = """
METRIC = {"label": "Largest error", "direction": "min", "range": [0, None],
          "likelihoods": ["gaussian"], "needs": []}
def compute(run):
    return float(abs(run.test - run.reconstruction).max())
"""
WAVES = """
import numpy as np
from anchorbench import Dataset
DATASET = {"label": "Waves", "likelihood": "gaussian", "sources": [], "replicates": 2,
           "params": {"n": 60}}
def prepare(raw, n):
    X = np.random.default_rng(0).normal(size=(n, 6))
    return Dataset(X=X, features=[f"wave {j}" for j in range(6)])
"""
BROKEN = """
import os, signal, sys, time
import numpy as np
{on_import}
METHOD = {{"label": "Broken", "likelihoods": ["gaussian"], "params": {{}}}}
class Model:
    def fit(self, X):
        {in_fit}
        self.G = X.shape[1]
        return self
    def transform(self, X):
        return {codes}
    def inverse_transform(self, Z):
        return np.zeros((len(Z), self.G))
def build(likelihood, n_latent, seed):
    return Model()
"""
GOOD_CODES = "X[:, :2]"
BROKEN_METHODS = {
    "raises": {"in_fit": "raise ValueError('no luck today')"},
    "hangs": {"in_fit": "time.sleep(600)"},
    "eats": {"in_fit": "hoard = [(np.ones(2 * 10**7), time.sleep(0.02)) for _ in range(9999)]"},
    "gives_nan": {"codes": "X * np.nan"},
    "constant": {"codes": "np.ones((len(X), 2))"},
    "kills": {"in_fit": "os.kill(os.getpid(), signal.SIGKILL)"},
    "no_import": {"on_import": "import a_package_that_is_not_there"},
}
STATUS = {
    "raises": ("failed", "no luck today"),
    "hangs": ("timeout", "time limit"),
    "eats": ("oom", "MB"),
    "gives_nan": ("diverged", "NaN"),
    "constant": ("diverged", "constant"),
    "kills": ("failed", "SIGKILL"),
    "no_import": ("failed", "a_package_that_is_not_there"),
}


def project(folder: Path, config: dict) -> Path:
    """A copy of the project, without data or results, with a configuration of its own."""
    for part in PARTS:
        shutil.copytree(SUITE / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Snakefile", "environment.yml"):
        shutil.copy(SUITE / file, folder / file)
    (folder / "test.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def snakemake(folder: Path, *arguments: str, **keywords: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml"]
    return subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=500, **keywords
    )


def step(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "anchorbench", *arguments, "--configfile", "test.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def runs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / "runs.csv", keep_default_na=False)


def scores(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / "scores.csv")


def trained(folder: Path) -> dict[str, float]:
    """When each stored run was written, by digest."""
    records = (folder / "results" / "store").glob("*/record.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in records}


def tiny(**keys: object) -> dict:
    training = {"n_hidden": 8, "epochs": 2, "batch_size": 50}
    synthetic = {
        "n_latent": 3,
        "training": training,
        "replicates": 3,
        "params": {"n": 120},
        "settings": {"rho0.4": {"rho": 0.4}},
    }
    return {"datasets": {"synthetic": synthetic, "simulated_counts": False}, **keys}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a project into which a method, a metric and a dataset were dropped."""
    folder = tmp_path_factory.mktemp("finished")
    chosen = ["table_6", "figure_3", "leaderboard", "cost"]
    metrics = ["mse", "dci_lasso", "max_error"]
    config = tiny(artefacts=chosen, metrics=metrics, methods=["vae", "my_pca", "floor", "oracle"])
    project(folder, config)
    (folder / "methods" / "my_pca.py").write_text(PCA)
    (folder / "metrics" / "max_error.py").write_text(MAX_ERROR)
    (folder / "datasets" / "waves.py").write_text(WAVES)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_dropped_plugins_are_in_scores_tables_and_figures(finished):
    found = scores(finished)
    assert {"my_pca", "vae", "floor", "oracle"} <= set(found["method"])
    assert {"mse", "dci_lasso", "max_error"} <= set(found["metric"])
    assert {"waves", "synthetic_rho0.4"} == set(found["dataset"])
    assert set(found["protocol"]) == {"published", "corrected"}
    assert "my_pca" in pd.read_csv(finished / "results/tables/leaderboard.csv")["method"].to_list()
    assert "my_pca" in (finished / "results/figures/figure_3.csv").read_text()
    assert "My PCA" in (finished / "results/report.html").read_text()
    assert (runs(finished)["status"] == "done").all()


def test_scores_are_those_of_the_method_run_by_hand(finished):
    from sklearn.decomposition import PCA as Reference

    own = "dataset == 'waves' and method == 'my_pca'"
    row = runs(finished).query(f"{own} and replicate == 0").iloc[0]
    X = np.random.default_rng(0).normal(size=(60, 6))
    test = np.random.RandomState(42).randint(0, 5, 60) == 0
    model = Reference(3, random_state=int(row.seed))  # half of the six features, by default
    model.fit(X[~test])
    error = X[test] - model.inverse_transform(model.transform(X[test]))
    mse = scores(finished).query(f"{own} and metric == 'mse'")
    assert mse.query("replicate == 0")["value"].iloc[0] == pytest.approx(
        (error**2).mean(), abs=1e-6
    )


def test_runs_of_deep_methods_keep_their_curves(finished):
    store = finished / "results" / "store"
    for _, row in runs(finished).iterrows():
        record = json.loads((store / row.digest / "record.json").read_text())
        deep, epochs = row.method == "vae", 2 if row.dataset.startswith("synthetic") else 200
        # Two epochs are too few to say, and elsewhere nothing iterates.
        assert (record["converged"] is None) == (not deep or epochs == 2)
        with np.load(store / row.digest / "arrays.npz") as arrays:
            curves = {name: arrays[name] for name in arrays.files if name.startswith("curve_")}
        names = {"curve_objective", "curve_reconstruction", "curve_kl"}
        assert set(curves) == (names if deep else set())
        assert all(len(curve) == epochs and np.isfinite(curve).all() for curve in curves.values())
    written = pd.read_csv(finished / "results" / "runs.csv", keep_default_na=False)
    deep = written["method"] == "vae"
    assert set(written["converged"][~deep]) == {""}
    assert set(written["converged"][deep]) <= {"yes", "no", ""}
    assert not list((store / "checkpoints").glob("*"))


def test_second_call_does_nothing(finished):
    before = trained(finished)
    done = snakemake(finished)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert trained(finished) == before


def test_touching_every_file_retrains_nothing(finished):
    before = {
        digest: json.loads((finished / "results/store" / digest / "record.json").read_text())
        for digest in trained(finished)
    }
    now = time.time()
    for path in finished.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path, (now, now))
    done = snakemake(finished)
    assert done.returncode == 0
    assert "fit" not in [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    for digest, record in before.items():
        file = finished / "results/store" / digest / "record.json"
        assert json.loads(file.read_text()) == record


def test_a_clone_that_is_given_the_store_retrains_nothing(finished, tmp_path):
    folder = project(tmp_path / "clone", yaml.safe_load((finished / "test.yaml").read_text()))
    for file in ("methods/my_pca.py", "metrics/max_error.py", "datasets/waves.py"):
        shutil.copy(finished / file, folder / file)
    shutil.copytree(finished / "results" / "store", folder / "results" / "store")
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    records = {
        p.parent.name: p.read_text() for p in (folder / "results/store").glob("*/record.json")
    }
    assert records == {
        p.parent.name: p.read_text() for p in (finished / "results/store").glob("*/record.json")
    }
    assert (folder / "results/scores.csv").read_text() == (
        finished / "results/scores.csv"
    ).read_text()


def test_editing_a_method_retrains_that_method_alone(finished):
    before = trained(finished)
    path = finished / "methods" / "my_pca.py"
    original = path.read_text()
    path.write_text(original + "\nEDITED = 1\n")
    done = snakemake(finished, "--", "results/scores.csv")
    path.write_text(original)
    assert done.returncode == 0, done.stdout + done.stderr
    after = trained(finished)
    new = set(after) - set(before)
    names = {
        json.loads((finished / "results/store" / d / "record.json").read_text())["method"]
        for d in new
    }
    assert names == {"my_pca"} and all(after[digest] == before[digest] for digest in before)


def test_figures_are_rebuilt_from_collected_files_without_store_or_training(finished, tmp_path):
    assert snakemake(finished).returncode == 0
    folder = project(tmp_path / "clone", tiny())
    reference = folder / "results" / "reference"
    reference.mkdir(parents=True)
    for name in ("runs.csv", "manifest.json"):
        shutil.copy(finished / "results" / name, reference / name)
    (reference / "scores.csv.gz").write_bytes(
        gzip.compress((finished / "results" / "scores.csv").read_bytes())
    )
    done = step(folder, "rebuild", "--source", str(reference))
    assert done.returncode == 0, done.stderr
    assert not (folder / "results" / "store").exists()
    for name in (
        "scores.csv",
        "tables/leaderboard.csv",
        "figures/figure_3.png",
        "figures/figure_3.pdf",
    ):
        assert (folder / "results" / name).read_bytes() == (
            finished / "results" / name
        ).read_bytes()
    rebuilt = (folder / "results/report.html").read_bytes()
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "results/report.html").read_bytes() != rebuilt, "a run makes its own"


def test_same_numbers_whatever_the_block_alone_or_in_the_dag(finished, tmp_path):
    config = yaml.safe_load((finished / "test.yaml").read_text())
    del config["methods"][1]
    folder = project(tmp_path / "alone", {**config, "block": 1, "metrics": ["mse", "dci_lasso"]})
    cell = ("--dataset", "synthetic_rho0.4", "--method", "vae", "--protocol", "corrected")
    for command in (("prepare", *cell[:2]), ("fit", *cell), ("score", *cell), ("collect",)):
        done = step(folder, *command)
        assert done.returncode == 0, done.stderr
    keys = ["replicate", "metric"]
    chosen = "dataset == 'synthetic_rho0.4' and method == 'vae' and protocol == 'corrected'"
    alone = scores(folder).query(chosen).set_index(keys)["value"]
    together = scores(finished).query(chosen).set_index(keys)["value"]
    assert len(alone) > 0
    pd.testing.assert_series_equal(alone, together.loc[alone.index], rtol=0, atol=0)


def test_classes_of_an_h5ad_are_scored(tmp_path, monkeypatch):
    """Two kinds of cells, which use two halves of the genes."""
    monkeypatch.chdir(SUITE)
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=80)
    X = rng.poisson(np.where(kind[:, None] == np.arange(6) // 3, 4.0, 0.2)) + np.eye(6)[kind * 3]
    obs = pd.DataFrame({"kind": pd.Categorical.from_codes(kind, ["glia", "neuron"])})
    obs.index = [f"cell {i}" for i in range(80)]
    var = pd.DataFrame(index=[f"gene {j}" for j in range(6)])
    file, configfile = tmp_path / "cells.h5ad", tmp_path / "test.yaml"
    anndata.AnnData(X, obs, var).write_h5ad(file)
    mine = {"file": str(file), "likelihood": "multinomial", "labels": "kind", "replicates": 2}
    config = {"datasets": {"mine": mine}, "methods": ["nmf"], "metrics": ["cell_type_accuracy"]}
    configfile.write_text(yaml.safe_dump(config), encoding="utf-8")
    cell = ("--dataset", "mine", "--method", "nmf", "--protocol", "shared")
    where = ("--configfile", str(configfile), "--results", str(tmp_path / "results"))
    for command in (("prepare", *cell[:2]), ("fit", *cell), ("score", *cell), ("collect",)):
        assert main([*command, *where]) == 0
    accuracy = scores(tmp_path).groupby(["metric", "replicate"])["value"].min()
    metrics = ("cell_type_accuracy", "cell_type_accuracy_cv")
    assert accuracy.index.to_list() == [(name, r) for name in metrics for r in (0, 1)]
    assert accuracy.min() > 0.9  # with rows and classes out of step about one half


def test_broken_methods_are_recorded_and_all_else_completes(tmp_path):
    limits = {"seconds": 12, "memory_mb": 1500}
    methods = [*BROKEN_METHODS, "floor"]
    config = tiny(limits=limits, methods=methods, metrics=["mse"], artefacts=["cost", "figure_3"])
    config["datasets"]["synthetic"]["replicates"] = 2
    folder = project(tmp_path / "broken", config)
    plain = {"on_import": "", "in_fit": "pass", "codes": GOOD_CODES}
    for name, fault in BROKEN_METHODS.items():
        (folder / "methods" / f"{name}.py").write_text(BROKEN.format(**{**plain, **fault}))
    done = snakemake(folder)
    assert done.returncode != 0
    found = runs(folder)
    for name, (status, reason) in STATUS.items():
        of_method = found[found["method"] == name]
        assert set(of_method["status"]) == {status}, name
        assert of_method["reason"].str.contains(reason).all(), name
        assert len(of_method) == 4  # two replicates, listed under two protocols
    assert (found[found["method"] == "floor"]["status"] == "done").all()
    assert "no luck today" in (folder / "results/report.html").read_text()
    assert (folder / "results/figures/figure_3.png").exists()
    assert "no luck today" in done.stdout + done.stderr

    # a failed run is tried again at the next call, and the finished ones are not
    before = trained(folder)
    (folder / "methods" / "raises.py").write_text(BROKEN.format(**plain))
    shutil.rmtree(folder / "results" / "store" / "gate", ignore_errors=True)
    for name in ("hangs", "eats"):
        (folder / "methods" / f"{name}.py").unlink()
    config["methods"] = ["raises", "kills", "floor"]
    (folder / "test.yaml").write_text(yaml.safe_dump(config))
    assert snakemake(folder).returncode != 0
    found = runs(folder)
    assert set(found[found["method"] == "raises"]["status"]) == {"done"}
    kept = {d for d in before if d in set(found[found["method"] == "floor"]["digest"])}
    assert kept and all(trained(folder)[d] == before[d] for d in kept)


def test_killed_in_the_middle_then_called_again(tmp_path):
    config = tiny(methods=["slow"], metrics=["mse"], artefacts=["cost"])
    folder = project(tmp_path / "killed", config)
    slow = BROKEN.format(on_import="", in_fit="time.sleep(1.5)", codes=GOOD_CODES)
    (folder / "methods" / "slow.py").write_text(slow)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "test.yaml"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not trained(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, 9)
    process.wait()
    before = trained(folder)
    assert 0 < len(before) < 3
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    after = trained(folder)
    assert len(after) == 3 and all(after[digest] == before[digest] for digest in before)
    assert len(scores(folder)) == 3 * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sead": 3}, ["test.yaml", "sead", "did you mean 'seed'"]),
        ({"threads": "two"}, ["test.yaml", "threads", "two"]),
        ({"methods": ["vea"]}, ["vea", "did you mean 'vae'"]),
    ],
)
def test_bad_configuration_stops_at_once_without_traceback(tmp_path, change, words):
    folder = project(tmp_path / "bad", tiny(**change))
    done = snakemake(folder, "-n")
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in text
    assert all(word in text for word in words), text


def test_use_conda_without_conda_says_what_to_do(tmp_path):
    folder = project(tmp_path / "conda", tiny())
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    if any(shutil.which(name, path=environment["PATH"]) for name in ("conda", "mamba")):
        pytest.skip("conda is on this machine")
    done = snakemake(folder, "-n", "--use-conda", env=environment)
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "no conda on this machine" in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("a,b\n1,2\n3,nan\n" + "4,5\n" * 12, ["b"]),
        ("a,b\n1,2\n-3,4\n" + "4,5\n" * 12, ["a", "-3"]),
        ("a,b\n1,2\n0,0\n" + "4,5\n" * 12, ["row"]),
        ("a,b\n" + "1,0\n" * 12, ["b"]),
        ("a\n" + "1\n" * 12, ["column"]),
    ],
)
def test_bad_tables_name_file_and_place(tmp_path, table, words):
    config = {"datasets": {"mine": {"file": "mine.csv", "likelihood": "multinomial"}}}
    folder = project(tmp_path / "table", config)
    (folder / "mine.csv").write_text(table)
    done = step(folder, "prepare", "--dataset", "mine")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert all(word in done.stderr for word in ["mine", *words]), done.stderr


def test_data_that_cannot_be_had_fail_their_own_runs_alone(tmp_path):
    config = tiny(methods=["floor"], metrics=["mse"], artefacts=["cost"])
    config["datasets"]["mine"] = {"file": str(tmp_path / "mine.csv"), "likelihood": "gaussian"}
    rows = "".join(f"{i % 7}.25,{i % 3}.5\n" for i in range(20))
    (tmp_path / "mine.csv").write_text("a,b\n1,x\n" + rows)
    folder = project(tmp_path / "nodata", config)
    assert snakemake(folder).returncode != 0
    found = runs(folder).set_index("dataset")
    assert set(found.loc["synthetic_rho0.4", "status"]) == {"done"}
    assert set(found.loc["mine", "status"]) == {"failed"}
    assert found.loc["mine", "reason"].str.contains("mine.csv").all()
    assert "mine.csv" in (folder / "results/report.html").read_text()

    # mended, the same command does the rest
    (tmp_path / "mine.csv").write_text("a,b\n" + rows)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(runs(folder)["status"]) == {"done"}
