"""What a partition gives, against what jobs ask for; `sinfo` is a script of ours."""

from __future__ import annotations

import csv

import pytest

from anchorbench.dag import MB_TO_START, MINUTES_TO_START, Dag
from anchorbench.runs.partition import Ask, Offer, check, offered
from anchorbench.study import config, plan
from anchorbench.study.config import ConfigError

FITS = [Ask("vae on a", 30, 2000, 1), Ask("nmf on b", 90, 9000, 0), Ask("vsc on b", 95, 500, 0)]


@pytest.fixture
def sinfo(tmp_path, monkeypatch):
    """Let `sinfo` print some lines, or fail without any."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def says(*lines: str) -> None:
        script = tmp_path / "sinfo"
        echo = "\n".join(f"echo '{line}'" for line in lines) or "exit 1"
        script.write_text(f"#!/bin/sh\n{echo}\n")
        script.chmod(0o755)

    return says


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        ("infinite", None), ("1-00:00:00", 1440), ("2-12", 3600), ("2:00:00", 120), ("30:00", 30),
        ("1-02:30:00", 1590),
    ],
)  # fmt: skip
def test_times_are_read_as_slurm_writes_them(sinfo, time, minutes):
    sinfo(f"{time}|64000|(null)")
    assert offered("cpu") == Offer(minutes, 64000, False)


def test_the_best_node_of_a_partition_counts(sinfo):
    sinfo("1:00:00|64000|(null)", "1:00:00|128000+|gpu:a100:4(S:0-1)")
    assert offered("cpu") == Offer(60, 128000, True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("infinite|64000|(null)", ["no GPU", "vae on a ask", "device=cpu"]),
        ("1:00:00|64000|gpu:1", ["60 minutes", "nmf on b and 1 more", "95", "limits.seconds"]),
        ("infinite|8000|gpu:1", ["8000 MB", "nmf on b ask", "9000", "limits.memory_mb"]),
    ],
)
def test_what_could_never_begin_is_named(sinfo, line, words):
    sinfo(line)
    with pytest.raises(ConfigError) as error:
        check(FITS, "cpu")
    assert all(word in str(error.value) for word in ["partition cpu", *words]), error.value


def test_nothing_is_said_of_what_fits_or_is_not_known(sinfo):
    sinfo("2:00:00|9000|gpu:1")
    check(FITS, "cpu")
    sinfo()
    check(FITS, "cpu")


def test_fits_that_share_a_submission_need_their_times_together(sinfo):
    sinfo("3:00:00|64000|gpu:1")
    check(FITS, "cpu", {"fits": 1, "fits_gpu": 9})
    with pytest.raises(ConfigError, match=r"180 minutes.*fits=2.*up to 185.*smaller"):
        check(FITS, "cpu", {"fits": 2})


def test_a_search_is_submitted_with_what_chooses_among_its_trials(sinfo, tmp_path, monkeypatch):
    """Snakemake never parts jobs of one group that need each other: their times are summed."""
    monkeypatch.chdir(tmp_path)
    tuning = {"trials": 4, "methods": ["ssl_fa"]}
    settings = {
        "datasets": {"synthetic": {"replicates": 2, "tuning": tuning}, "simulated_counts": False},
        "methods": ["ssl_fa"],
        "protocols": ["corrected"],
        "limits": {"seconds": 600, "memory_mb": 3000},
    }
    dag = Dag(plan.make(config.merge(config.DEFAULTS, settings)))
    longest = max(map(dag.minutes, dag.plan.jobs))
    chain = sum(dag.minutes(job) for job in dag.plan.jobs if job.tuning is not None)
    assert longest < chain
    sinfo(f"{longest}:00|64000|(null)")
    dag.check_queue("cpu", {})
    with pytest.raises(ConfigError, match=f"ssl_fa on synthetic ask for up to {chain}"):
        dag.check_queue("cpu", {"fits": 1})
    sinfo(f"{chain}:00|64000|(null)")
    dag.check_queue("cpu", {"fits": 1})


ROW = {"dataset": "synthetic", "method": "nmf", "protocol": "corrected", "status": "done"}


@pytest.mark.parametrize(
    ("rows", "minutes", "memory_mb"),
    [
        ([], 10, 3000),
        ([{**ROW, "seconds": "60", "peak_mb": "500"}], 3 * 1 * 2, 2 * 500 + MB_TO_START),
        ([{**ROW, "seconds": "60", "peak_mb": "500", "status": "failed"}], 10, 3000),
        ([{**ROW, "seconds": "6O", "peak_mb": "500"}], 10, 3000),
        ([{**ROW, "seconds": "1", "peak_mb": "\udcff"}], 10, 3000),
    ],
)
def test_jobs_ask_for_what_was_measured_and_else_for_the_limits(
    tmp_path, monkeypatch, rows, minutes, memory_mb
):
    """Two replicates: thrice a measured time for each; what is not a number says nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    kept = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with (tmp_path / "results" / "runs.csv").open("w", **kept) as file:
        lines = csv.DictWriter(file, [*ROW, "seconds", "peak_mb"])
        lines.writeheader()
        lines.writerows(rows)
    settings = {
        "datasets": {"synthetic": {"replicates": 2}, "simulated_counts": False},
        "methods": ["nmf"],
        "protocols": ["corrected"],
        "limits": {"seconds": 600, "memory_mb": 3000},
    }
    made = plan.make(config.merge(config.DEFAULTS, settings))
    dag = Dag(made)
    (job,) = made.jobs
    assert dag.minutes(job) == minutes + MINUTES_TO_START
    assert dag.memory_mb(job) == memory_mb
