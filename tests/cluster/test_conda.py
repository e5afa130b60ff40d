"""environment.yml and `--use-conda`, by a real solver and a channel of stubs: no network."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path

import pytest
import yaml

from anchorbench import dag
from anchorbench.runs import environments as making
from anchorbench.runs.store import Store
from anchorbench.study.config import ConfigError
from anchorbench.study.environments import Environment
from anchorbench.study.plugins import SUITE
from cluster import conda, study

FILE = yaml.safe_load((SUITE / "environment.yml").read_text(encoding="utf-8"))
needs_rattler = pytest.mark.skipif(
    importlib.util.find_spec("rattler") is None,
    reason="no py-rattler: pip install -r requirements.txt",
)


@needs_rattler
def test_the_environment_is_read_by_condas_rules_and_solved(tmp_path):
    import rattler

    assert FILE["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    where = conda.channel(tmp_path / "channel", FILE["dependencies"])
    found = asyncio.run(conda.solve(FILE["dependencies"], f"file://{where}"))
    by_name = {record.name.normalized: record for record in found}
    assert len(by_name) == len(FILE["dependencies"])
    for line in FILE["dependencies"]:
        spec = rattler.MatchSpec(line)
        assert spec.matches(by_name[spec.name.normalized]), line


@needs_rattler
def test_what_no_channel_has_fails_with_the_solvers_words(tmp_path, monkeypatch):
    where = conda.channel(tmp_path / "channel", ["python=3.11"])
    programs = conda.base(tmp_path / "conda", where)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    file = tmp_path / "x.yml"
    file.write_text("dependencies: [python=3.11, toything=1.0]\n")
    with pytest.raises(making.EnvironmentFailed, match=r"conda: .*toything"):
        making.python_of(Environment(file=file), Store(tmp_path / "store"))


@needs_rattler
def test_a_method_may_have_an_environment_of_condas(tmp_path, monkeypatch):
    where = conda.channel(tmp_path / "channel", ["python=3.11"])
    programs, used = conda.base(tmp_path / "conda", where), tmp_path / "used"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SHIM_USED", str(used))
    file = tmp_path / "x.yml"
    file.write_text("dependencies: [python=3.11]\n")
    store = Store(tmp_path / "store")
    python = making.python_of(Environment(file=file), store)
    assert python.parents[2] == store.root / "environments" and used.exists()
    monkeypatch.setenv("PATH", "/nowhere")
    assert making.python_of(Environment(file=file), store) == python  # kept


@pytest.mark.slow
@needs_rattler
def test_a_study_runs_in_the_environment_that_conda_makes(tmp_path):
    where = conda.channel(tmp_path / "channel", FILE["dependencies"])
    programs, used = conda.base(tmp_path / "conda", where), tmp_path / "used"
    folder = study.project(tmp_path / "study", methods=["floor"])
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "SHIM_USED": str(used)}
    done = study.call(folder, "--cores", "1", "--use-conda", seconds=280, **path)
    assert done.returncode == 0, done.stdout + done.stderr
    [prefix] = set(used.read_text().split())
    assert Path(prefix).parent == folder / ".snakemake" / "conda"
    assert len(used.read_text().split()) >= 6  # each step is that environment's python
    assert (folder / "results" / "report.html").exists()


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (None, ["no conda on this machine", "Install miniforge"]),
        ("conda 23.9.0", ["conda 23.9.0", "24.7.1", "conda update"]),
        ("", ["does not say its version"]),
    ],
)
def test_conda_that_is_absent_or_too_old_is_named(tmp_path, monkeypatch, says, words):
    if says is not None:
        (tmp_path / "conda").write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        dag.check_conda()
    assert all(word in str(error.value) for word in words), error.value


def test_the_oldest_conda_is_the_one_that_snakemake_takes(tmp_path, monkeypatch):
    from snakemake.deployment.conda import MIN_CONDA_VER

    assert MIN_CONDA_VER == dag.OLDEST_CONDA
    (tmp_path / "conda").write_text(f"#!/bin/sh\necho 'conda {MIN_CONDA_VER}'\n")
    (tmp_path / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    dag.check_conda()
