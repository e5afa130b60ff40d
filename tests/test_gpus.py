"""One process a GPU; no GPU is needed to see which one a fit may see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from anchorbench.runs import gpus, processes
from anchorbench.study.plugins import SUITE

MEETS = """
import os, time
from pathlib import Path
from sklearn.decomposition import PCA
METHOD = {{"label": "{name}", "gpu": True, "likelihoods": ["gaussian"], "params": {{}}}}
class Model(PCA):
    def fit(self, X):
        Path("{name}.gpu").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        while not Path("{other}.gpu").exists():  # both at one time
            time.sleep(0.05)
        return super().fit(X)
def build(likelihood, n_latent, seed):
    return Model(n_latent, random_state=seed)
"""


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Two GPUs of a machine with locks of its own."""
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.01)
    monkeypatch.setenv(gpus.COUNT, "2")
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    return monkeypatch


def job(gpu: bool = True) -> SimpleNamespace:
    return SimpleNamespace(variant=SimpleNamespace(plugin=SimpleNamespace(meta={"gpu": gpu})))


AUTO = {"device": "auto"}


def test_fits_at_one_time_see_different_gpus_and_the_next_one_waits(shared):
    third: list[str | None] = []

    def wait() -> None:
        with gpus.one(job(), AUTO) as device:
            third.append(device)

    with gpus.one(job(), AUTO) as first:
        assert (first, os.environ[gpus.VISIBLE]) == ("0", "0")
        shared.delenv(gpus.VISIBLE)  # another process has its own
        with gpus.one(job(), AUTO) as second:
            assert second == "1"
            shared.delenv(gpus.VISIBLE)
            waiting = threading.Thread(target=wait)
            waiting.start()
            waiting.join(0.1)
            assert waiting.is_alive() and not third
        waiting.join(10)
    assert third == ["1"]


def test_those_that_a_person_lets_be_seen_are_shared_out(shared):
    shared.setenv(gpus.VISIBLE, "5,GPU-7")
    with gpus.one(job(), AUTO) as device:
        assert device == os.environ[gpus.VISIBLE] == "5"
    assert os.environ[gpus.VISIBLE] == "5,GPU-7"


def test_where_a_person_hides_them_all_none_is_shown(shared):
    shared.setenv(gpus.VISIBLE, "")
    with gpus.one(job(), AUTO) as device:
        assert device is None and os.environ[gpus.VISIBLE] == ""


def test_a_killed_process_leaves_its_gpu_to_the_next(shared):
    """Killed by SIGKILL, while a worker that it forked holds a copy of the lock's descriptor."""
    shared.setenv(gpus.COUNT, "1")
    taken, said = os.pipe()

    def hold() -> int:
        with gpus.one(job(), AUTO):
            processes.begin(lambda: time.sleep(60) or 0, Path(os.devnull))
            os.write(said, b"x")
            time.sleep(60)
        return 0

    holder = processes.begin(hold, Path(os.devnull))
    assert os.read(taken, 1) == b"x"
    os.kill(holder.pid, signal.SIGKILL)
    assert holder.wait(10) == -signal.SIGKILL
    with gpus.one(job(), AUTO) as device:
        assert device == "0"


@pytest.mark.parametrize(
    ("gpu", "device", "count"),
    [(False, "auto", "2"), (True, "cpu", "2"), (True, "cuda:1", "2"), (True, "auto", "")],
)
def test_none_is_taken_where_none_is_wanted(shared, gpu, device, count):
    shared.setenv(gpus.COUNT, count)
    with gpus.one(job(gpu), {"device": device}) as taken:
        assert taken is None and gpus.VISIBLE not in os.environ


@pytest.mark.slow
def test_two_jobs_of_a_workflow_get_a_gpu_each(tmp_path):
    (tmp_path / "methods").mkdir()
    for name, other in (("one", "other"), ("other", "one")):
        text = MEETS.format(name=name, other=other)
        (tmp_path / "methods" / f"{name}.py").write_text(text, encoding="utf-8")
    synthetic = {"n_latent": 2, "replicates": 1, "params": {"n": 60}}
    config = {
        "datasets": {"synthetic": synthetic, "simulated_counts": False},
        "methods": ["one", "other"],
        "protocols": ["corrected"],
        "metrics": ["mse"],
        "artefacts": ["cost"],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", SUITE / "workflow" / "Snakefile"]
    profile = ["--workflow-profile", SUITE / "profiles" / "gpu", "--resources", "gpu=2"]
    environment = {**os.environ, "PYTHONPATH": str(SUITE)}
    environment.pop(gpus.VISIBLE, None)
    done = subprocess.run(
        [*command, "--cores", "2", *profile], cwd=tmp_path, env=environment, timeout=200,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(tmp_path / f"{name}.gpu").read_text() for name in ("one", "other")} == {"0", "1"}
