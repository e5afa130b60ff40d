"""What the workflow's rules ask: which files a plan leads to, and what each needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anchorbench.reporting import catalogue
from anchorbench.reporting.collect import groups
from anchorbench.runs.status import Status
from anchorbench.runs.store import Store, read_json, write_json
from anchorbench.study.config import ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.plan import Job, Plan
from anchorbench.study.plugins import suggest

COLLECTED = ("results/scores.csv", "results/runs.csv", "results/manifest.json")
REPORT = "results/report.html"


class Dag:
    """The files of a plan, by rule."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store()
        self.groups = {jobs[0].key: jobs for jobs in groups(plan)}
        self.instances = {i.data_key: i for i in plan.instances.values()}
        self.jobs = {(*job.key, job.recipe, job.replicates_name): job for job in plan.jobs}
        self.artefacts = _chosen(plan.config)

    def job(self, wildcards: Any) -> Job:
        """The job of a fit rule."""
        w = wildcards
        return self.jobs[w.dataset, w.method, w.tag, w.recipe, w.block]

    def data_of(self, wildcards: Any) -> str:
        """The file that says that the data of a job are prepared, or why they are not."""
        return str(self.store.data_status(self.job(wildcards).instance.data_key))

    def jobs_of(self, wildcards: Any) -> list[str]:
        """The job files that the scores of a (dataset, variant, tag) need."""
        w = wildcards
        return [str(self.store.job(job)) for job in self.groups[w.dataset, w.method, w.tag]]

    def scores(self) -> list[str]:
        """All score files."""
        return [str(self.store.scores(self.plan, jobs)) for jobs in groups(self.plan)]

    def scores_of(self, artefact: str) -> list[str]:
        """The score files that an artefact needs; those of quirks only where it says so."""
        about = self.artefacts[artefact]
        wanted = [
            jobs
            for jobs in groups(self.plan, about.get("datasets"))
            if jobs[0].variant.quirk is None or about.get("quirks")
        ]
        return [str(self.store.scores(self.plan, jobs)) for jobs in wanted]

    def artefact_files(self, artefact: str) -> list[str]:
        """The files that an artefact consists of."""
        return [str(path) for path in catalogue.outputs(artefact, "results")]

    def everything(self) -> list[str]:
        """Collected scores, artefacts and the report."""
        files = [file for name in self.artefacts for file in self.artefact_files(name)]
        return [*COLLECTED, *files, REPORT]

    def gate(self) -> str:
        """The file that says that all of this plan went well."""
        return f"results/store/gate/{digest([self.scores(), sorted(self.artefacts)])}.ok"

    def uses_gpu(self, wildcards: Any) -> int:
        """1 where a job can use a GPU and the configuration lets it."""
        gpu = self.job(wildcards).variant.plugin.meta.get("gpu", False)
        return int(gpu and self.plan.config["device"] != "cpu")

    def minutes(self, wildcards: Any) -> int:
        """The most that a job may take, in minutes."""
        replicates = len(self.job(wildcards).replicates)
        return int(self.plan.config["limits"]["seconds"] * replicates / 60) + 5

    def retry_failed(self) -> None:
        """Delete what says that data, a job or scores are over where they are not, or some failed.

        Scores are also of a job that is not over where somebody scored by hand what there was.
        What an artefact that could not be made has left in its place goes likewise.
        """
        for name in catalogue.failures("results"):
            for path in catalogue.outputs(name, "results") if name in self.artefacts else ():
                path.unlink(missing_ok=True)
            catalogue.failure(name, "results").unlink()
        for key in self.instances:
            status = self.store.data_status(key)
            if (read_json(status) or {}).get("status") == Status.FAILED:
                status.unlink()
        for jobs in self.groups.values():
            scores = self.store.scores(self.plan, jobs)
            for job in jobs:
                file = self.store.job(job)
                if (read_json(file) or {"failed": "not over"}).get("failed"):
                    file.unlink(missing_ok=True)
                    scores.unlink(missing_ok=True)
            written = read_json(scores) or {"scores": []}
            if any(row["status"] != Status.DONE for row in written["scores"]):
                scores.unlink(missing_ok=True)


def let_steps_find(folder: Path) -> None:
    """Let the steps' own processes import the suite from a checkout, wherever they run."""
    if (folder / "anchorbench").is_dir():
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}" if before else str(folder)


def check_conda() -> None:
    """Raise ConfigError where environments are asked for and nothing can make them."""
    if not any(shutil.which(name) for name in ("conda", "mamba")):
        raise ConfigError(
            "--use-conda: there is no conda on this machine. Install miniforge, or leave the flag "
            "out and use the environment of `make setup` (.venv, from requirements.txt)"
        )


def _chosen(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    known = catalogue.discover()
    for name in config.get("artefacts", ()):
        if name not in known:
            raise ConfigError(f"config key artefacts: no artefact {name!r}; {suggest(name, known)}")
    return {name: known[name] for name in config.get("artefacts", known)}


def remember(config: Mapping[str, Any], path: Path = Path("results/config.json")) -> Path:
    """Write the configuration as merged and checked; every step reads it from there."""
    if read_json(path) != config:
        write_json(path, config)
    return path
