"""What a configuration asks for, together: instances, variants of methods, and the jobs they make.

Nothing is imported or trained here. Every path holds the digest of what goes into it, so that a
file that exists is up to date, whatever its time says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.study.checks import (
    check_jobs,
    check_names,
    check_statistics,
    check_tuning,
    check_values,
)
from anchorbench.study.config import ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.hints import suggest
from anchorbench.study.instances import Instance, instances_of
from anchorbench.study.jobs import Job, jobs_of, with_search
from anchorbench.study.lookup import known
from anchorbench.study.plugins import Plugin, discover
from anchorbench.study.protocols import SEARCHED
from anchorbench.study.source import source_digest
from anchorbench.study.variants import Variant, fits, variants_of


@dataclass(frozen=True)
class Plan:
    """Everything that a configuration asks for."""

    config: dict[str, Any]
    instances: dict[tuple[str, str], Instance]  # by (name, tag)
    variants: dict[str, Variant]
    jobs: tuple[Job, ...]
    metrics: dict[str, Plugin]

    def find(self, dataset: str, method: str, tag: str) -> list[Job]:
        """Return the jobs of a dataset, a variant and a protocol, in the order of their blocks.

        A protocol finds the job that all protocols share, too. Raises ConfigError.
        """
        of_dataset = [job for job in self.jobs if job.instance.name == dataset]
        if not of_dataset:
            names = {job.instance.name for job in self.jobs}
            raise ConfigError(f"no dataset {dataset!r} in the plan; {suggest(dataset, names)}")
        of_method = [job for job in of_dataset if job.variant.name == method]
        if not of_method:
            names = {job.variant.name for job in of_dataset}
            raise ConfigError(f"no method {method!r} on {dataset}; {suggest(method, names)}")
        jobs = [job for job in of_method if tag == job.tag or tag in job.protocols]
        if not jobs:
            tags = ", ".join(sorted({job.tag for job in of_method}))
            raise ConfigError(f"{method} on {dataset} has no protocol {tag!r}; it has: {tags}")
        return jobs

    def data(self, dataset: str, protocol: str | None = None) -> list[Instance]:
        """Return a dataset's instances: of one protocol, or of all. Raises ConfigError.

        A protocol finds the data that all protocols share, too.
        """
        of_name = [i for i in self.instances.values() if i.name == dataset]
        if not of_name:
            hint = suggest(dataset, {name for name, _ in self.instances})
            raise ConfigError(f"no dataset {dataset!r} in the configuration; {hint}")
        found = [i for i in of_name if protocol in (None, i.tag) or i.tag == "shared"]
        if not found or protocol not in {None, "shared", *self.config["protocols"], *SEARCHED}:
            tags = ", ".join(sorted({i.tag for i in of_name}))
            raise ConfigError(f"{dataset} has no protocol {protocol!r}; it has: {tags}")
        return found

    def metrics_of(self, instance: Instance) -> dict[str, Plugin]:
        """Return the metrics that the config wants on a dataset."""
        skipped = instance.skip_metrics
        return {name: plugin for name, plugin in self.metrics.items() if name not in skipped}

    def score_digest(self, jobs: list[Job]) -> str:
        """Return the digest of all scores of the jobs of one (dataset, variant, tag)."""
        plugins = self.metrics_of(jobs[0].instance)
        metrics = {name: source_digest(plugin.path) for name, plugin in plugins.items()}
        return digest([[job.recipe, list(job.replicates)] for job in jobs] + [metrics])


def make(config: Mapping[str, Any], root: Path | None = None) -> Plan:
    """Return the plan of a validated configuration.

    Raises ConfigError for names that no plugin or setting has.
    """
    config = dict(config)
    data, methods = instances_of(config, root), variants_of(config, root)
    metrics = discover("metrics", root)
    check_names(data, methods, metrics, config["datasets"])
    check_tuning(data, methods, metrics)
    check_statistics(config, data, metrics, {*methods, *discover("methods", root)})
    jobs: list[Job] = []
    for name in dict.fromkeys(instance.name for instance in data):
        of_name = [instance for instance in data if instance.name == name]
        for variant in methods.values():
            if fits(variant, of_name[0]):
                of_variant = jobs_of(of_name, variant, config)
                jobs += with_search(of_variant, config["seed"], metrics)
    check_jobs(data, jobs)
    by_name = {(instance.name, instance.tag): instance for instance in data}
    chosen = {n: known("metrics", n, metrics) for n in config.get("metrics", metrics)}
    check_values(chosen)
    return Plan(config, by_name, methods, tuple(jobs), chosen)
