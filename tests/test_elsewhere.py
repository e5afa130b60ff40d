"""Fits on another machine: packed, made in one process, merged; damaged stores are refused."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny
import yaml

from anchorbench.cli import main
from anchorbench.runs import elsewhere, prepare
from anchorbench.runs.sealed import read_sealed, write_sealed
from anchorbench.runs.store import Store
from anchorbench.study import config, plan, recipe
from anchorbench.study.config import ConfigError
from anchorbench.study.jobs import run_digest
from anchorbench.study.plugins import SUITE

TINY = {
    "datasets": {
        "synthetic": tiny.synthetic(tuning={"trials": 2, "methods": ["vae"]}),
        "simulated_counts": False,
    },
    "methods": ["vae", "nmf", "floor"],
    "protocols": ["corrected"],
    "block": 1,
}
BLOCKED = (
    "safetensors",
    "yaml",
    "psutil",
    "snakemake",
    "jsonschema",
    "requests",
    "anndata",
    "rdata",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a configuration, its prepared data, and a pack that was worked off."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    where = ["--configfile", str(folder / "tiny.yaml"), "--results", str(folder / "results")]
    assert main(["prepare", *where, "--dataset", "synthetic"]) == 0
    assert main(["pack", *where, str(folder / "pack")]) == 0
    code = (
        "import sys\n"
        f"for name in {BLOCKED}: sys.modules[name] = None\n"
        "from anchorbench.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "fit-all", "--pack", "pack", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(SUITE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "12 runs trained, 0 of them failed" in done.stderr
    return folder


@pytest.fixture
def made(home):
    return plan.make(config.load([home / "tiny.yaml"]))


def digests(made):
    return {run_digest(job, r) for job in made.jobs for r in job.replicates}


def test_what_a_training_machine_makes_is_what_the_plan_asks_for(home, made, tmp_path):
    store = Store(tmp_path / "store")
    found = elsewhere.merge(home / "pack", store)
    assert set(found["merged"]) == digests(made) and not found["refused"]
    assert all(store.is_done(name) for name in digests(made))
    again = elsewhere.merge(home / "pack", store)
    assert set(again["known"]) == digests(made) and not again["merged"]
    assert elsewhere.fit_all(made, store) == (0, 0), "nothing is trained again"
    record = store.record(run_digest(made.jobs[0], 0))
    assert record["git_commit"] == read_sealed(home / "pack" / "pack.json")["commit"]


def test_a_fit_there_is_the_fit_here(home, made, tmp_path, one_thread):
    store = Store(tmp_path / "store")
    shutil.copytree(home / "pack" / "store" / "data", store.root / "data")
    count, failed = elsewhere.fit_all(made, store, ["synthetic/vae"])
    assert (count, failed) == (8, 0), "two replicates, in four protocols"
    for job in made.jobs:
        if job.variant.name == "vae":
            name = run_digest(job, job.replicates[0])
            there = Store(home / "pack" / "store").arrays(name)
            for key, values in store.arrays(name).items():
                np.testing.assert_array_equal(values, there[key])


def test_cells_of_a_method_share_a_stack_and_each_is_as_alone(tmp_path, one_thread):
    settings = {"near": {"rho": 0.0}, "far": {"rho": 0.8}, "short": {"training": {"epochs": 1}}}
    study = TINY | {"methods": ["vae", "nmf"]}
    synthetic = TINY["datasets"]["synthetic"] | {"settings": settings}
    del synthetic["tuning"]
    study["datasets"] = TINY["datasets"] | {"synthetic": synthetic}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(study))
    several = plan.make(config.load([tmp_path / "tiny.yaml"]))
    stores = [Store(tmp_path / name) for name in ("together", "alone")]
    for store in stores:
        for instance in several.instances.values():
            prepare.make(instance, store)
    assert elsewhere.fit_all(several, stores[0]) == (12, 0)
    for job in several.jobs:
        for replicate in job.replicates:
            name = run_digest(job, replicate)
            assert elsewhere.fit_all(several, stores[1], ["/".join(job.key)])[1] == 0
            deep, short = job.variant.name == "vae", job.instance.setting == "short"
            together = stores[0].record(name)["together"]
            assert together == (1 if not deep else 2 if short else 4)
            alone = stores[1].arrays(name)
            for key, values in stores[0].arrays(name).items():
                np.testing.assert_array_equal(values, alone[key])


DAMAGE = {
    "arrays cut short": lambda run: (run / "arrays.npz").write_bytes(
        (run / "arrays.npz").read_bytes()[:200]
    ),
    "no arrays": lambda run: (run / "arrays.npz").unlink(),
    "a byte of the arrays": lambda run: _flip(run / "arrays.npz"),
    "a record that is none": lambda run: (run / "record.json").write_text("{"),
    "not done": lambda run: _edit(run, status="failed"),
    "another parameter": lambda run: _edit(run, deep=True),
    "another replicate": lambda run: _edit(run, replicate=7),
    "another digest": lambda run: _edit(run, digest="0" * 20),
}


def _flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def _edit(run, deep=False, **changes):
    record = read_sealed(run / "record.json") | changes
    if deep:
        record["ingredients"]["run"]["params"]["epochs"] = 9
    write_sealed(run / "record.json", record)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_and_foreign_runs_are_refused_and_the_others_merged(home, tmp_path, made, damage):
    shutil.copytree(home / "pack" / "store", tmp_path / "theirs")
    name = sorted(digests(made))[0]
    DAMAGE[damage](tmp_path / "theirs" / name)
    store = Store(tmp_path / "store")
    found = elsewhere.merge(tmp_path / "theirs", store)
    assert [line.split(":")[0] for line in found["refused"]] == [name]
    assert set(found["merged"]) == digests(made) - {name}
    assert not store.run(name).exists()


class Died(BaseException):
    """In place of the end of the process."""


def test_a_run_over_which_the_process_dies_is_found_recorded_and_passed_over(
    home, made, tmp_path, monkeypatch
):
    store = Store(tmp_path / "store")
    shutil.copytree(home / "pack" / "store" / "data", store.root / "data")
    train = {"work": elsewhere.work, "work_cells": elsewhere.work_cells}

    def alone(job, replicates, *rest):
        if job.variant.name == "floor" and 0 in replicates:
            raise Died
        train["work"](job, replicates, *rest)

    def together(cells, *rest):
        if any(job.variant.name == "floor" and 0 in todo for job, todo in cells):
            raise Died
        train["work_cells"](cells, *rest)

    monkeypatch.setattr(elsewhere, "work", alone)
    monkeypatch.setattr(elsewhere, "work_cells", together)
    culprit, neighbour = (
        run_digest(job, r)
        for job in made.jobs
        if job.variant.name == "floor"
        for r in job.replicates
    )
    for _ in range(2):  # a stack, then its members one by one
        with pytest.raises(Died):
            elsewhere.fit_all(made, store, ["synthetic/floor"])
        assert store.record(culprit) is None
    assert elsewhere.fit_all(made, store, ["synthetic/floor"]) == (1, 0)
    assert store.is_done(neighbour)
    assert "died while it was trained" in store.record(culprit)["reason"]
    monkeypatch.undo()
    assert elsewhere.fit_all(made, store, ["synthetic/floor"]) == (1, 0), "it is tried again"


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*", 12), ("synthetic", 12), ("*/vae", 8), ("*/*/corrected", 6), ("*/nmf/published", 0)],
)
def test_patterns_choose_cells(made, pattern, count):
    chosen = [job for job in made.jobs if elsewhere._named(job, pattern)]
    assert sum(len(job.replicates) for job in chosen) == count


def test_what_is_no_pack_or_store_gets_a_sentence(tmp_path, made):
    with pytest.raises(ConfigError, match=r"pack\.json is not there or damaged"):
        elsewhere.unpack(tmp_path)
    with pytest.raises(ConfigError, match="holds no runs: name the folder of a store"):
        elsewhere.merge(tmp_path, Store(tmp_path / "store"))
    with pytest.raises(ConfigError, match="synthetic was not prepared: anchorbench prepare"):
        elsewhere.pack(made, Store(tmp_path / "store"), tmp_path / "pack")


def test_contents_of_files_travel_with_a_pack(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "contents", {})
    about = {"config": {}, "contents": {"/elsewhere/t.csv": "abc"}, "commit": "c"}
    write_sealed(tmp_path / "pack.json", about)
    elsewhere.unpack(tmp_path)
    assert recipe._content(tmp_path.__class__("/elsewhere/t.csv")) == "abc"


def test_a_parameter_that_is_a_file_has_its_content_where_the_file_is_not(monkeypatch, tmp_path):
    (tmp_path / "names.txt").write_text("a")
    before = recipe._by_content({"names": f"{tmp_path}/names.txt"})
    (tmp_path / "names.txt").unlink()
    assert recipe._by_content({"names": f"{tmp_path}/names.txt"}) == before
    monkeypatch.setattr(recipe, "contents", {})
    assert recipe._by_content({"names": f"{tmp_path}/names.txt"}) != before
