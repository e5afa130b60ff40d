"""What the workflow's rules ask: which files a plan leads to, and what each needs."""

from __future__ import annotations

import csv
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from anchorbench.reporting.collect import groups
from anchorbench.reporting.outputs import REPORT, Outputs
from anchorbench.runs import gpus, partition
from anchorbench.runs.score import wanted
from anchorbench.runs.sealed import read_sealed, write_json
from anchorbench.runs.status import Status
from anchorbench.runs.store import Store
from anchorbench.study.config import ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.jobs import Job, run_digest
from anchorbench.study.plan import Plan

# What a job needs beside its training: Python, libraries, data.
MINUTES_TO_START = 10
MINUTES_TO_INSTALL = 20  # where the method names libraries of its own
MB_TO_START = 1000
OLDEST_CONDA = "24.7.1"  # that Snakemake takes


class Dag:
    """The files of a plan, by rule."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store()
        self.outputs = Outputs(plan, self.store, Path("results"))
        self.groups = {jobs[0].key: jobs for jobs in groups(plan)}
        self.instances = {i.data_key: i for i in plan.instances.values()}
        self.jobs = {(*job.key, job.recipe, job.replicates_name): job for job in plan.jobs}
        self.artefacts = self.outputs.artefacts
        self.config = self.store.config(digest(plan.config))

    def job(self, wildcards: Any) -> Job:
        """The job of a fit rule."""
        w = wildcards
        return self.jobs[w.dataset, w.method, w.tag, w.recipe, w.block]

    def needs_of(self, wildcards: Any) -> list[str]:
        """What a job needs: the file that says that its data are prepared, or why they are not.

        Of a job that uses the trials of another also that which says that the other is over.
        """
        job = self.job(wildcards)
        needed = [self.store.data_status(job.instance.data_key)]
        if job.source is not None:
            needed.append(self.store.job(self.jobs[job.source]))
        return [str(path) for path in needed]

    def jobs_of(self, wildcards: Any) -> list[str]:
        """The job files that the scores of a (dataset, variant, tag) need."""
        w = wildcards
        return [str(self.store.job(job)) for job in self.groups[w.dataset, w.method, w.tag]]

    def scores(self) -> list[str]:
        """All score files."""
        return [str(self.store.scores(self.plan, jobs)) for jobs in groups(self.plan)]

    def scores_of(self, artefact: str) -> list[str]:
        """The score files that an artefact needs."""
        return [str(self.store.scores(self.plan, c)) for c in self.outputs.cells(artefact)]

    def files(self, name: str) -> list[str]:
        """The files of an output: an artefact, what is collected, or the report."""
        return [str(path) for path in self.outputs.files(name)]

    def everything(self) -> list[str]:
        """Collected scores, artefacts and the report."""
        return [file for name in self.outputs.names() for file in self.files(name)]

    def gate(self) -> str:
        """The file that says that all of this plan went well."""
        return str(self.outputs.gate())

    def uses_gpu(self, job: Job) -> int:
        """How many GPUs a job asks for: 1 or 0."""
        return int(gpus.wanted(job, self.plan.config))

    def minutes(self, job: Job) -> int:
        """The minutes to ask a cluster for: thrice what was measured; else one replicate's limit.

        Too little loses nothing: a fit that was ended goes on from its checkpoint.
        """
        limit = self.plan.config["limits"]["seconds"]
        measured = self._measured_of(job).get("seconds")
        limit *= job.fits
        seconds = limit if measured is None else min(limit, 3 * measured) * len(job.replicates)
        return int(seconds / 60) + MINUTES_TO_START + (MINUTES_TO_INSTALL if job.environment else 0)

    def memory_mb(self, job: Job) -> int:
        """The memory to ask a cluster for: twice what was measured, else the limit."""
        limit = int(self.plan.config["limits"]["memory_mb"])
        measured = self._measured_of(job).get("peak_mb")
        return limit if measured is None else min(limit, int(2 * measured) + MB_TO_START)

    def _measured_of(self, job: Job) -> dict[str, float]:
        """What was measured of the runs of a job's cell."""
        protocol = job.protocols[0]
        return self._measured.get((job.instance.name, job.variant.name, protocol), {})

    @cached_property
    def _measured(self) -> dict[tuple[str, str, str], dict[str, float]]:
        """The most seconds and MB of a done run, by dataset, method, protocol, as collected."""
        most: dict[tuple[str, str, str], dict[str, float]] = {}
        file = Path("results/runs.csv")
        if not file.exists():
            return most
        with file.open(newline="", encoding="utf-8") as lines:
            try:
                for row in csv.DictReader(lines):
                    if row.get("status") != Status.DONE:
                        continue
                    cell = most.setdefault((row["dataset"], row["method"], row["protocol"]), {})
                    for key in ("seconds", "peak_mb"):
                        if row.get(key):
                            cell[key] = max(cell.get(key, 0.0), float(row[key]))
            except (KeyError, ValueError, csv.Error):  # not what was written: it is made anew
                return {}
        return most

    def group(self, job: Job) -> str:
        """The group of fits that may share a submission with a job."""
        return partition.group_of(self.uses_gpu(job))

    def check_queue(self, name: str, together: Mapping[str, int]) -> None:
        """Raise ConfigError where fits that are not over could never begin in a partition.

        together : by the name of a group, how many fits share a submission.
        """
        asks = [self._ask(jobs) for jobs in self._submitted(together)]
        partition.check(asks, name, together)

    def _submitted(self, together: Mapping[str, int]) -> list[list[Job]]:
        """Fits that are not over, by what is submitted at once at least: each, or a search with all
        that choose among its trials, for Snakemake never parts jobs of a group that need each
        other."""
        found: dict[tuple[str, ...], list[Job]] = {}
        for name, job in self.jobs.items():
            if not self.store.job(job).exists():
                root = job.source if self.group(job) in together else None
                found.setdefault(root or name, []).append(job)
        return list(found.values())

    def _ask(self, jobs: Sequence[Job]) -> partition.Ask:
        """What jobs ask for that take turns in a submission."""
        return partition.Ask(
            f"{jobs[0].variant.name} on {jobs[0].instance.name}",
            sum(map(self.minutes, jobs)),
            max(map(self.memory_mb, jobs)),
            max(map(self.uses_gpu, jobs)),
        )

    def lacks_report(self) -> bool:
        """Whether there is no report of what the store holds."""
        return bool(self.outputs.wrong_with(REPORT))

    def begin(self) -> None:
        """Make sure that files that are there are what they should be, before any is relied on.

        What is damaged, failed or of another configuration is removed, or set aside, so that it is
        made. Nobody else may work in the folder meanwhile. Raises ConfigError where somebody does.
        """
        self._lock = lock(self.store.root / "lock")
        _ = self._measured  # before runs.csv is removed, because there is more to be run
        self.store.reads_once()
        sweep(self.store)
        write_json(self.config, self.plan.config)
        for key in self.instances:
            self._check_data(key)
        for jobs in self.groups.values():
            self._check_cell(jobs)
        self.outputs.remove_others()
        self.store.whole.remember()

    def _check_data(self, key: str) -> None:
        """Remove what says that data are there where they failed, or are damaged."""
        status = self.store.data_status(key)
        done = (read_sealed(status) or {}).get("status") == Status.DONE
        if not done or self.store.meta(key) is None:
            status.unlink(missing_ok=True)

    def _check_cell(self, jobs: list[Job]) -> None:
        """Remove what says that jobs or their scores are over where they are not, or some failed.

        Scores are also of a job that is not over where somebody scored by hand what there was.
        What an artefact that could not be made has left in its place goes likewise.
        """
        over = True
        for job in jobs:
            if not is_over(job, self.store):
                self.store.job(job).unlink(missing_ok=True)
                over = False
        file = self.store.scores(self.plan, jobs)
        if not file.exists():
            return
        written = (read_sealed(file) or {"scores": []})["scores"]
        done = {(r["digest"], r["metric"]) for r in written if r["status"] == Status.DONE}
        pairs = wanted(self.plan, jobs, self.store)
        if not over or done != {(run.record["digest"], metric.name) for run, metric in pairs}:
            file.unlink()


def is_over(job: Job, store: Store) -> bool:
    """Whether a job says that it is over, and its runs are all there and done."""
    about = read_sealed(store.job(job))
    digests = [run_digest(job, replicate) for replicate in job.replicates]
    if about is None or about["failed"] or set(about["runs"]) != set(digests):
        return False
    return all(store.is_done(d) and store.seal(d) == about["runs"][d] for d in digests)


def lock(path: Path) -> Any:
    """Keep a folder for this process as long as it lives. Raises ConfigError where it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise ConfigError(
            f"another call (process {file.read().strip() or 'unknown'}) is at work in "
            f"{Path.cwd()}: wait until it has ended, or work in another folder"
        ) from None
    except OSError:  # a file system without locks
        return file
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def sweep(store: Store) -> None:
    """Remove what killed processes left: half-written files, workers' folders, and marks of these.

    Whether an output is whole is known from its checksum, not from Snakemake's marks.
    """
    shutil.rmtree(store.work(), ignore_errors=True)
    kept = {store.raw(), store.root / "aside", store.root / "checkpoints"}
    kept.add(store.root / "environments")
    for half in store.root.rglob(".*.*"):
        if kept & set(half.parents):
            continue
        if half.is_dir():
            shutil.rmtree(half, ignore_errors=True)
        else:
            half.unlink(missing_ok=True)
    shutil.rmtree(Path(".snakemake/incomplete"), ignore_errors=True)
    Path(".snakemake/incomplete").mkdir(parents=True, exist_ok=True)


def let_steps_find(folder: Path) -> None:
    """Let the steps' own processes import the suite from a checkout, wherever they run."""
    if (folder / "anchorbench").is_dir():
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}" if before else str(folder)


def check_conda() -> None:
    """Raise ConfigError where environments are asked for and nothing can make them."""
    program = shutil.which("conda")
    instead = "or leave the flag out and use the environment of `make setup` (.venv)"
    if program is None:
        raise ConfigError(
            f"--use-conda: there is no conda on this machine. Install miniforge, {instead}"
        )
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    if found is None:
        raise ConfigError(f"--use-conda: {program} does not say its version: mend it, {instead}")
    if _numbers(found[0]) < _numbers(OLDEST_CONDA):
        raise ConfigError(
            f"--use-conda: Snakemake needs conda {OLDEST_CONDA} or later, and {program} is conda "
            f"{found[0]}: conda update -n base conda, {instead}"
        )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
