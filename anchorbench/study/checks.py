"""What a configuration names must be there, and mean something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from anchorbench.study import tuning
from anchorbench.study.config import ConfigError
from anchorbench.study.headline import headline
from anchorbench.study.instances import Instance
from anchorbench.study.jobs import Job
from anchorbench.study.lookup import known
from anchorbench.study.plugins import Plugin, PluginError, discover
from anchorbench.study.protocols import DEFAULT, TUNED
from anchorbench.study.variants import Variant


def check_names(
    instances: list[Instance],
    variants: Mapping[str, Variant],
    metrics: Mapping[str, Plugin],
    named: Iterable[str],
) -> None:
    """Raise ConfigError for a name of what is not there; `named` datasets may be switched off."""
    for instance in instances:
        for name in instance.skip_metrics:
            known(f"datasets.{instance.name}.skip_metrics", name, metrics)
        for name in instance.methods or ():
            known(f"datasets.{instance.name}.methods", name, variants)
    datasets = {instance.plugin for instance in instances} | {i.name for i in instances}
    plugins = set(discover("datasets")) | datasets | set(named)
    for variant in variants.values():
        key = f"variants.{variant.name}" if variant.quirk is None else "quirks"
        for name in variant.datasets or ():
            known(f"{key}.datasets", name, dict.fromkeys(plugins))
        for name in variant.replicates if isinstance(variant.replicates, dict) else ():
            known(f"{key}.replicates", name, dict.fromkeys(plugins))


def check_tuning(
    instances: list[Instance], variants: Mapping[str, Variant], metrics: Mapping[str, Plugin]
) -> None:
    """Raise ConfigError for a search that names what is not there, or selects by the truth."""
    for instance in instances:
        if (asked := instance.tuning) is None:
            continue
        key = f"datasets.{instance.name}.tuning"
        for name in asked["methods"]:
            known(f"{key}.methods", name, variants)
            if instance.methods is not None and name not in instance.methods:
                raise ConfigError(f"{key}.methods: {name!r} is not among the dataset's methods")
            if DEFAULT not in variants[name].protocols and DEFAULT in instance.protocols:
                raise ConfigError(
                    f"{key}.methods: the variant {name!r} is not run as {DEFAULT!r}, with which a "
                    "search begins: leave it out, or add that to its protocols"
                )
        if DEFAULT not in instance.protocols:
            raise ConfigError(
                f"{key}: a search begins with {DEFAULT!r}: add it to the protocols, or take "
                "`tuning` out"
            )
        try:
            of = tuning.selection(asked.get("selection"), instance.plugin, instance.likelihood)
            for value in of:
                tuning.check_selection(value, metrics)
        except PluginError as error:
            raise ConfigError(f"{key}.selection: {error}") from None
        judge = headline(instance.headline, instance.likelihood, TUNED)
        judging = known(f"{key}: the headline", judge, tuning.by_value(metrics))
        if judging.meta.get("direction") is None:
            raise ConfigError(
                f"{key}: the headline {judge!r} has no better side, by which trials are judged: "
                f"name another one, datasets.{instance.name}.headline"
            )


def check_values(metrics: Mapping[str, Plugin]) -> None:
    """Raise ConfigError where two metrics give a value of one name."""
    first = tuning.by_value(metrics)
    for plugin in metrics.values():
        for value in plugin.values:
            if first[value] is not plugin:
                raise ConfigError(
                    f"metrics: {first[value].path} and {plugin.path} both give {value!r}: give "
                    "the value of one of them another name"
                )


def check_statistics(
    config: Mapping[str, Any],
    instances: list[Instance],
    metrics: Mapping[str, Plugin],
    methods: set[str],
) -> None:
    """Raise ConfigError for a metric or method named in `rope`, `contrasts`, `headline` that is not
    there."""
    named = dict.fromkeys(sorted(tuning.by_value(metrics)))
    for name in config["rope"]:
        known("rope", name, named)
    pairs: set[frozenset[str]] = set()
    for pair in config["contrasts"]:
        for name in pair:
            known("contrasts", name, dict.fromkeys([*config["variants"], *sorted(methods)]))
        if (one := frozenset(pair)) in pairs or len(one) < 2:
            again = "is there twice" if one in pairs else "is a method and itself"
            raise ConfigError(
                f"contrasts: [{', '.join(pair)}] {again}: each pair is a test of its family"
            )
        pairs.add(one)
    for instance in instances:
        lines = instance.headline or {}
        for name in [lines] if isinstance(lines, str) else lines.values():
            known(f"datasets.{instance.name}.headline", name, named)


def check_jobs(instances: list[Instance], jobs: list[Job]) -> None:
    """Raise ConfigError where nothing, or nothing on an own table, would be run."""
    if not jobs:
        raise ConfigError("there is nothing to run: no method is for any of the datasets")
    used = {job.instance.name for job in jobs}
    for instance in instances:
        if instance.file is not None and instance.name not in used:
            raise ConfigError(
                f"datasets.{instance.name}: none of the methods is for likelihood "
                f"{instance.likelihood}: correct it, or add methods that are"
            )
