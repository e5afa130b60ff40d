"""Calls that meet each other, follow each other, or are made from odd places."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faults import study
from faults.outcomes import ROOT, End, command, of_command, run, snakemake

SLOW = """
import time
METHOD = {"label": "Slow", "likelihoods": ["gaussian"], "params": {}}
class Model:
    def fit(self, X):
        time.sleep(6)
    def transform(self, X):
        return X[:, :2]
    def inverse_transform(self, Z):
        return Z @ [[1.0] * 7, [0.5] * 7]
def build(likelihood, n_latent, seed):
    return Model()
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls") / "finished"
    study.write_config(folder)
    done = study.call(folder)
    assert done.code == 0, done.text
    return folder


def own_table(folder: Path) -> dict:
    """Another configuration: an own table alone."""
    values = np.random.default_rng(0).normal(size=(40, 4)).round(3)
    pd.DataFrame(values, columns=list("abcd")).to_csv(folder / "mine.csv", index=False)
    mine = {"file": str(folder / "mine.csv"), "likelihood": "gaussian", "n_latent": 2}
    return {"datasets": {"mine": mine, "synthetic": False, "simulated_counts": False}}


def test_a_folder_with_every_sign_in_its_name(finished, tmp_path, note):
    folder = tmp_path / "a b'ü\"$(touch pwned)"
    study.write_config(folder)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    python = str(folder / ".venv" / "bin" / "python")
    line = snakemake("--cores", "1", "--configfile", "config.yaml")
    ended = run([python, *line[1:]], folder, 240)
    note(of_command(ended, lambda: study.same(finished, folder)), ended.text[-2000:])
    assert not list(tmp_path.rglob("pwned"))


def test_a_second_call_is_told_of_the_first_and_changes_nothing(finished, tmp_path, note):
    folder = tmp_path / "study"
    study.write_config(folder, methods=["vae", "floor", "slow"])
    (folder / "methods").mkdir()
    (folder / "methods" / "slow.py").write_text(SLOW)
    seen = []

    def interrupt(process) -> None:
        while not list((folder / "results/store").glob("*/record.json")):
            assert process.poll() is None
            time.sleep(0.05)
        study.write_config(folder / "other", methods=["floor"])
        for extra in ((), ("-n",)):
            other = snakemake("--cores", "1", "--configfile", "other/config.yaml", *extra)
            seen.append(run(other, folder, 60))

    ended = study.call(folder, interrupt=interrupt)
    second, dry = seen
    assert of_command(second) == End.CLEAR_ERROR and "is at work in" in second.text
    assert dry.code == 0, dry.text
    undisturbed = study.numbers(finished)
    found = study.numbers(folder)
    right = found[found["method"] != "slow"].reset_index(drop=True)
    note(of_command(ended, lambda: right.equals(undisturbed)), ended.text[-2000:])


def rebuild(folder: Path) -> None:
    """What `make figures` does, from another study's scores."""
    source = folder / "reference"
    ended = run(command("rebuild", "--source", str(source)), folder)
    assert ended.code in (0, 1), ended.text


ORDERS = list(itertools.permutations(["rebuild", "study", "own"]))


@pytest.mark.parametrize(
    "order", [pytest.param(o, marks=[pytest.mark.slow] if i else []) for i, o in enumerate(ORDERS)]
)
def test_results_hold_what_was_run_last_and_nothing_else(finished, tmp_path, note, order):
    folder = study.copy(finished, tmp_path / "study")
    shutil.rmtree(folder / "results")
    (folder / "reference").mkdir()
    for name in ("scores.csv", "runs.csv", "manifest.json"):
        shutil.copy(finished / "results" / name, folder / "reference" / name)
    manifest = json.loads((folder / "reference/manifest.json").read_text())
    about = manifest["datasets"].pop("synthetic") | {"label": "Elsewhere"}
    manifest["datasets"]["elsewhere"] = about
    (folder / "reference/manifest.json").write_text(json.dumps(manifest))
    for name in ("scores.csv", "runs.csv"):
        text = (folder / "reference" / name).read_text().replace("synthetic", "elsewhere")
        (folder / "reference" / name).write_text(text)
    wrong = []
    for step in (*order, "study"):
        if step == "rebuild":
            rebuild(folder)
            continue
        changes = own_table(folder) if step == "own" else {}
        study.write_config(folder, **changes)
        ended = study.call(folder)
        wanted = {"own": "mine", "study": "synthetic"}[step]
        found = set(pd.read_csv(folder / "results/scores.csv")["dataset"])
        report = (folder / "results/report.html").read_text(encoding="utf-8")
        others = {"Elsewhere", "elsewhere"} & set(report.split())
        if ended.code or found != {wanted} or others:
            wrong.append(f"{step}: {ended.code} {found} {others} {ended.text[-800:]}")
    note(End.WRONG if wrong else End.RECOVERED, "\n".join(wrong))


def test_a_changed_label_is_in_the_tables(finished, tmp_path):
    folder = study.copy(finished, tmp_path / "study")
    datasets = study.TINY["datasets"]
    label = {"label": "Under another name"}
    changed = datasets | {"synthetic": datasets["synthetic"] | label}
    study.write_config(folder, datasets=changed)
    before = study.records(folder)
    done = study.call(folder)
    assert done.code == 0, done.text
    assert "Under another name" in (folder / "results/tables/leaderboard.md").read_text()
    assert study.records(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize(("block", "cores", "methods"), [
    (1, "1", ["vae", "floor"]), (1, "2", ["floor", "vae"]), (2, "2", ["floor", "vae"]),
])  # fmt: skip
def test_same_scores_over_blocks_processes_and_order(
    finished, tmp_path, note, block, cores, methods
):
    folder = tmp_path / "study"
    study.write_config(folder, block=block, methods=methods)
    ended = study.call(folder, "--cores", cores)
    right = lambda: study.numbers(folder).equals(study.numbers(finished))  # noqa: E731
    note(of_command(ended, right), ended.text[-1500:])


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [
    ("fit", "--dataset", "synthetic", "--method", "vae", "--protocol", "corrected"),
    ("score", "--dataset", "synthetic", "--method", "vaee", "--protocol", "corrected"),
    ("prepare", "--dataset", "synthetik"), ("table", "leaderbord"), ("gate",), ("fsck",), ("gc",),
    ("why", "a", "b"), ("plan",), ("merge", "nowhere"), ("publish", "--collected", "nowhere"),
    ("fit-all", "--pack", "nowhere"), ("report",), ("collect",),
])  # fmt: skip
def test_steps_in_an_empty_folder_work_or_say_what_to_do(tmp_path, note, arguments):
    study.write_config(tmp_path)
    rest = () if "--pack" in arguments else ("--configfile", "config.yaml")
    ended = run(command(*arguments, *rest), tmp_path)
    note(of_command(ended), ended.text[-1500:])


def test_fsck_lists_what_is_wrong_and_repair_sets_it_aside(finished, tmp_path):
    folder = study.copy(finished, tmp_path / "study")
    store = folder / "results" / "store"
    where = ("--configfile", "config.yaml")
    assert run(command("fsck", *where), folder).code == 0
    damaged = sorted(store.glob("*/arrays.npz"))[0]
    damaged.write_bytes(b"")
    (store / "f00").mkdir()
    shutil.copytree(sorted(store.glob("*/record.json"))[-1].parent, store / ("0" * 20))
    ended = run(command("fsck", *where), folder)
    assert ended.code == 1
    assert f"damaged  {damaged.parent.relative_to(folder)}: arrays.npz has 0 bytes" in ended.stdout
    assert "record.json is missing" in ended.stdout
    ended = run(command("fsck", "--repair", *where), folder)
    assert ended.code == 0
    ended = run(command("fsck", *where), folder)
    assert ended.code == 0 and "0 damaged, 1 missing" in ended.stdout, ended.text


def test_gc_says_what_it_would_delete_and_deletes_it_when_told(finished, tmp_path):
    folder = study.copy(finished, tmp_path / "study")
    runs = set(study.records(folder))
    study.write_config(folder / "kept", methods=["floor"])
    line = command("gc", "--configfile", "kept/config.yaml")
    said = run(line, folder)
    assert said.code == 0 and "--yes deletes them" in said.stdout
    assert set(study.records(folder)) == runs
    both = run([*line, "--keep", "config.yaml"], folder)
    assert both.stdout.startswith("0 folders"), both.text
    assert run([*line, "--yes"], folder).code == 0
    left = set(study.records(folder))
    assert len(left) == len(runs) // 2
    assert study.call(folder).code == 0


def test_a_pipe_that_closes_early_is_no_fault(tmp_path):
    study.write_config(tmp_path)
    words = " ".join([sys.executable, "-m", "anchorbench", "plan", "--configfile", "config.yaml"])
    done = subprocess.run(
        ["bash", "-c", f"PYTHONPATH='{ROOT}' {words} | head -0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
