"""What a study trains: variants on instances, by protocol, and the digests that name their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from anchorbench.study import environments, recipe, search, tuning
from anchorbench.study import seeds as seed_rules
from anchorbench.study.digest import digest
from anchorbench.study.headline import headline
from anchorbench.study.instances import Instance
from anchorbench.study.plugins import Plugin, likelihood_file
from anchorbench.study.protocols import DEFAULT, SEARCHED, TUNED, wrapped
from anchorbench.study.source import source_digest
from anchorbench.study.tuning import Tuning
from anchorbench.study.variants import Variant, parameters


@dataclass(frozen=True)
class Job:
    """Dataset x variant x block of replicates: what one fit process does."""

    instance: Instance
    variant: Variant
    tag: str
    protocols: tuple[str, ...]
    params: dict[str, Any]
    ingredients: dict[str, Any]
    replicates: tuple[int, ...]
    tuning: Tuning | None = None

    @cached_property
    def recipe(self) -> str:
        """Digest of all that the job's runs have in common."""
        return digest(self.ingredients)

    @cached_property
    def environment(self) -> environments.Environment | None:
        """The libraries of the method's own, or of what it wraps; None for the suite's."""
        plugins = (self.variant.plugin, wrapped(self.variant.plugin.meta, self.params))
        return _environment(*(plugin for plugin in plugins if plugin is not None))

    @property
    def fits(self) -> int:
        """The most fits that a replicate takes."""
        return 1 if self.tuning is None else self.tuning.fits

    @property
    def source(self) -> tuple[str, str, str, str, str] | None:
        """Key, recipe and block of the job whose trials this one uses; None for none."""
        if self.tuning is None or not self.tuning.source:
            return None
        return (*self.key[:2], TUNED, self.tuning.source, self.replicates_name)

    @property
    def key(self) -> tuple[str, str, str]:
        """Dataset, variant and protocol tag."""
        return self.instance.name, self.variant.name, self.tag

    @property
    def replicates_name(self) -> str:
        """File name for the block: first and last replicate, "0-24"."""
        return f"{self.replicates[0]}-{self.replicates[-1]}"


def jobs_of(instances: list[Instance], variant: Variant, config: Mapping[str, Any]) -> list[Job]:
    """The jobs of one variant on one dataset: one set where the protocols mean the same."""
    by_tag = {instance.tag: instance for instance in instances}
    run = tuple(p for p in variant.protocols if p in instances[0].protocols)
    instance_of = {p: by_tag.get(p) or by_tag["shared"] for p in run}
    params = {p: parameters(variant, instance_of[p], p) for p in run}
    meanings = {p: digest([instance_of[p].tag, params[p]]) for p in run}
    shared = len(set(meanings.values())) == 1 and len(run) > 1
    groups = {"shared": run} if shared else {p: (p,) for p in run}
    jobs = []
    for tag, protocols in groups.items():
        instance, values = instance_of[protocols[0]], params[protocols[0]]
        about: dict[str, Any] = {"name": instance.name, "params": instance.params}
        about |= {"likelihood": instance.likelihood, "n_latent": instance.n_latent}
        ingredients = recipe.of_run(
            instance.recipe, about, variant.plugin, variant.name, values, config["seed"]
        )
        ingredients["likelihood"] = source_digest(likelihood_file(instance.likelihood))
        if (inner := wrapped(variant.plugin.meta, values)) is not None:
            ingredients["wrapped"] = source_digest(inner.path)
        if found := _environment(variant.plugin, *([inner] if inner else [])):
            ingredients["environment"] = found.ingredient
        count = variant.at_most(instance)
        for start in range(0, count, instance.block):
            replicates = tuple(range(start, min(start + instance.block, count)))
            jobs.append(Job(instance, variant, tag, protocols, values, ingredients, replicates))
    return jobs


def with_search(jobs: list[Job], seed: int, metrics: Mapping[str, Plugin]) -> list[Job]:
    """The jobs of a variant on a dataset, and those that search its parameters.

    A method of which nothing is searched has its default, the same run, in their protocols.
    """
    before = [job for job in jobs if DEFAULT in job.protocols and _joins(job)]
    if not before:
        return jobs
    variant, instance = before[0].variant, before[0].instance
    if not search.space(variant.plugin.meta, instance.plugin, variant.params):
        joined = lambda j: replace(j, protocols=(*j.protocols, *SEARCHED))  # noqa: E731
        return [joined(job) if job in before else job for job in jobs]
    asked = instance.tuning or {}
    chosen = (
        tuning.selection(asked.get("selection"), instance.plugin, instance.likelihood),
        headline(instance.headline, instance.likelihood, TUNED),
    )
    names = (seed, instance.name, variant.name)
    of = (variant.plugin, before[0].params, variant.params, asked["trials"])
    first = tuning.make(*of, names, instance.plugin, chosen)
    ingredients = {**before[0].ingredients, **tuning.ingredients(first, metrics)}
    found = list(jobs)
    for one, own in [(first, ingredients), *tuning.others(variant.plugin, first, ingredients)]:
        tag = one.protocol
        found += [
            replace(j, tag=tag, protocols=(tag,), ingredients=own, tuning=one) for j in before
        ]
    return found


def _joins(job: Job) -> bool:
    """Whether a job's variant is among the tuned of its dataset: controls are with any."""
    asked = job.instance.tuning
    control = job.variant.plugin.meta.get("control", False)
    return asked is not None and (control or job.variant.name in asked["methods"])


def _environment(*plugins: Plugin) -> environments.Environment | None:
    """The first environment that a plugin names; None where none does."""
    for plugin in plugins:
        if not plugin.broken and (found := environments.of(plugin.meta, plugin.path)):
            return found
    return None


def seeds(job: Job, replicate: int, base: int) -> tuple[int, int]:
    """Return the seed of a replicate's data and that of a method's fit to it.

    A plugin with `paired_settings` draws the data of all its settings with one seed a replicate, so
    that they differ in the parameters alone. A method that wraps another one has that one's seed:
    the same fit is in both. Repeats of a split share its data and differ in the fit.
    """
    inner = wrapped(job.variant.plugin.meta, job.params)
    name = job.variant.name if inner is None else inner.name
    split = job.instance.split_of(replicate)
    data, _ = seed_rules.of_run(base, job.instance.name, name, split)
    _, fit = seed_rules.of_run(base, job.instance.name, name, replicate)
    if job.instance.paired:
        data = seed_rules.derive(base, job.instance.plugin, split)
    return data, fit


def run_digest(job: Job, replicate: int) -> str:
    """Return the digest that names one run in the store."""
    return run_name(job.recipe, replicate, job.instance.split_of(replicate))


def run_name(recipe: str, replicate: int, split: int) -> str:
    """Return the digest of a replicate of a job, by the job's recipe and the replicate's split.

    Replicate 7 is of split 2 where five splits have repeats, and of split 7 in a study of ten.
    """
    return digest([recipe, replicate] if replicate == split else [recipe, replicate, split])
