"""The suite on a cluster of two nodes, through the profile that is shipped."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import slurm, study

PLUGIN = "snakemake_executor_plugin_slurm"
# This cluster answers at once: no need to wait for it as long as for a busy one.
HURRY = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
THROUGH_SLURM = ("--workflow-profile", "profiles/slurm", *HURRY)
ONE_BY_ONE = (*THROUGH_SLURM, "--group-components", "none=1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    if reason := slurm.missing():
        pytest.skip(reason)
    if importlib.util.find_spec(PLUGIN) is None:
        pytest.skip(f"no {PLUGIN}: pip install -r requirements.txt")
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as up:
        yield up


def test_a_partition_without_a_gpu_says_so_before_anything_is_submitted(cluster, tmp_path):
    folder = study.project(tmp_path / "plain", methods=["vae", "floor"])
    before = len(cluster.jobs())
    plain = ("--default-resources", "slurm_partition=plain", "mem_mb=1000", "runtime=10")
    done = study.call(folder, *THROUGH_SLURM, *plain)
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in text
    assert "partition plain has no GPU, and vae on synthetic ask for one" in text
    assert "--config device=cpu" in text
    assert len(cluster.jobs()) == before


@pytest.mark.slow
def test_what_goes_wrong_on_a_cluster_costs_itself_alone(cluster, tmp_path):
    """A method fails, a job is cancelled, a node goes away; then again, and on one machine."""
    there = study.project(tmp_path / "there")
    first = _disturbed(cluster, there)
    text = (there / "log").read_text()
    assert first == 1, text
    assert "SLURM status is: 'CANCELLED'" in text
    kept = study.records(there)
    assert sorted(r["reason"] for r in kept["fails"]) == ["", "ValueError: no luck today"]
    assert "cancelled" not in kept
    assert (there / "results" / "report.html").exists()
    assert "no luck today" in (there / "results" / "report.html").read_text()
    before = study.trained(there)
    done = {method for method, of in kept.items() for r in of if r["status"] == "done"}
    assert done == {"vae", "floor", "fails", "stranded"}  # begun again on the other node
    [stranded] = _jobs(cluster, "stranded")
    assert stranded["Restarts"] == "1" and stranded["JobState"] == "COMPLETED"

    before_second = len(cluster.jobs())
    second = study.call(there, *THROUGH_SLURM)
    assert second.returncode == 0, second.stdout + second.stderr
    after = study.trained(there)
    assert {digest: after[digest] for digest in before} == before
    assert len(after) == 2 * len(study.CONFIG["methods"])

    here = study.project(tmp_path / "here")
    for name in ("fails", "cancelled", "stranded"):
        (here / f"begun.{name}").touch()
    alone = study.call(here, "--cores", "2")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    scores = [(folder / "results" / "scores.csv").read_bytes() for folder in (there, here)]
    assert scores[0] == scores[1]

    jobs = cluster.jobs()
    _check_what_was_asked_for(cluster, jobs[before_second:])


def _check_what_was_asked_for(cluster: slurm.Cluster, second: list[dict[str, str]]) -> None:
    """A job a fit in the first call; in the second both that were left, in one."""
    fits = {method: _jobs(cluster, method) for method in study.CONFIG["methods"]}
    assert {len(jobs) for jobs in fits.values()} == {1}
    gpus = {method: jobs[0].get("TresPerJob") for method, jobs in fits.items()}
    assert gpus.pop("vae") == "gres:gpu:1" and set(gpus.values()) == {None}
    assert {jobs[0]["TimeLimit"] for jobs in fits.values()} == {"00:20:00"}
    [both] = second
    # Ten minutes for the one that was measured, twenty for the other; memory and cores as for one.
    assert both["TimeLimit"] == "00:30:00"
    assert both["MinMemoryNode"] == "1500M" and both["NumCPUs"] == "1"


def _jobs(cluster: slurm.Cluster, method: str) -> list[dict[str, str]]:
    """The jobs of a method, which Snakemake names in their comments."""
    return [job for job in cluster.jobs() if method in job["Comment"]]


def _disturbed(cluster: slurm.Cluster, folder: Path) -> int:
    """Run a study; cancel a job, and let the node of another go away. Returns the exit code."""
    with (folder / "log").open("wb") as log:
        call = subprocess.Popen(study.command(*ONE_BY_ONE), cwd=folder, stdout=log, stderr=log)
    try:
        for name in ("cancelled", "stranded", "fails"):
            slurm.wait_for((folder / f"begun.{name}").exists, 60, f"{name} did not begin")
        others = lambda: len(study.records(folder)) == 3  # noqa: E731
        slurm.wait_for(others, 60, "vae, floor and fails left no records")
        cancelled, stranded = cluster.running("cancelled"), cluster.running("stranded")
        alone = lambda: len(cluster.ask("squeue", "-h").split("\n")) == 3  # noqa: E731
        slurm.wait_for(alone, 30, "other jobs than these two are at work")
        cluster.ask("scancel", cancelled["JobId"])
        node = stranded["NodeList"]
        cluster.lose(node)
        code = call.wait(120)
        cluster.bring_back(node)
        return code
    finally:
        call.kill()
