"""Methods as a configuration asks for them: plugins with parameters, and switched quirks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.study import protocols as rules
from anchorbench.study.config import ConfigError
from anchorbench.study.instances import Instance
from anchorbench.study.lookup import check_params, known
from anchorbench.study.plugins import Plugin, PluginError, discover, is_for
from anchorbench.study.protocols import PROTOCOLS


@dataclass(frozen=True)
class Variant:
    """A method with parameters, as the config names it."""

    name: str
    plugin: Plugin
    label: str
    params: dict[str, Any]
    protocols: tuple[str, ...]
    datasets: tuple[str, ...] | None
    replicates: int | dict[str, int] | None = None
    quirk: dict[str, Any] | None = None
    likelihoods: tuple[str, ...] | None = None

    def at_most(self, instance: Instance) -> int:
        """Return how many replicates of a dataset the variant is trained on."""
        if isinstance(self.replicates, dict):
            named = (instance.name, instance.plugin)
            wanted = next((self.replicates[n] for n in named if n in self.replicates), None)
        else:
            wanted = self.replicates
        return min(wanted or instance.replicates, instance.replicates)


def variants_of(config: Mapping[str, Any], root: Path | None) -> dict[str, Variant]:
    """Every method as it stands, then the variants that the config makes of them."""
    plugins = discover("methods", root)
    for name in config["skip_methods"]:
        known("skip_methods", name, plugins)
    names = [n for n in config.get("methods", plugins) if n not in config["skip_methods"]]
    protocols = tuple(config["protocols"])
    variants = {}
    for name in names:
        if name in config["variants"]:
            method = config["variants"][name]["method"]
            raise ConfigError(f"methods: {name!r} is a variant: list {method!r}, which brings it")
        plugin = known("methods", name, plugins)
        variants[name] = Variant(
            name, plugin, plugin.meta["label"], {}, protocols, None, None, None
        )
    for name, entry in config["variants"].items():
        plugin = known(f"variants.{name}.method", entry["method"], plugins)
        if name in plugins:
            raise ConfigError(f"variants.{name}: the name belongs to {plugins[name].path.name}")
        if plugin.name not in names:
            continue
        own = plugin.meta.get("params", {})
        check_params(f"variants.{name}.params", plugin, entry.get("params", {}), own)
        variants[name] = Variant(
            name=name,
            plugin=plugin,
            label=entry.get("label", name),
            params=entry.get("params", {}),
            protocols=tuple(p for p in entry.get("protocols", protocols) if p in protocols),
            datasets=tuple(entry["datasets"]) if "datasets" in entry else None,
            replicates=entry.get("replicates"),
        )
    for name, entry in config["quirks"].items():
        plugin = known("quirks", name, plugins)
        for variant in _quirks(plugin, entry, protocols) if name in names else []:
            if variant.name in variants:
                raise ConfigError(f"quirks.{name}: {variant.name} is there already: rename it")
            variants[variant.name] = variant
    return variants


def _quirks(plugin: Plugin, entry: Mapping[str, Any], protocols: tuple[str, ...]) -> list[Variant]:
    """Variants of a method that switch one of its quirks, from each protocol to the other.

    The method names its quirks: parameters that its protocols give different values.
    """
    meta = plugin.meta
    sets = {
        p: {**meta.get("params", {}), **meta.get("protocols", {}).get(p, {})} for p in PROTOCOLS
    }
    variants = []
    for start, other in (PROTOCOLS, PROTOCOLS[::-1]):
        for parameter, concerned in meta.get("quirks", {}).items():
            if start not in protocols:
                continue
            value = sets[other][parameter]
            variants.append(
                Variant(
                    name=f"{plugin.name}_{start}_{parameter}",
                    plugin=plugin,
                    label=f"{meta['label']}, {start} but {parameter} = {value}",
                    params={parameter: value},
                    protocols=(start,),
                    datasets=tuple(entry["datasets"]),
                    replicates=entry.get("replicates"),
                    quirk={"from": start, "parameter": parameter, "value": value},
                    likelihoods=tuple(concerned),
                )
            )
    return variants


def fits(variant: Variant, instance: Instance) -> bool:
    """Whether a variant is meant for a dataset and can model it."""
    meta = variant.plugin.meta
    if instance.methods is not None and variant.name not in instance.methods:
        return False
    for names in (variant.datasets, meta.get("datasets")):
        if names is not None and not {instance.plugin, instance.name} & set(names):
            return False
    if "truth" in meta.get("needs", ()) and "factors" not in instance.provides:
        return False
    if variant.likelihoods is not None and instance.likelihood not in variant.likelihoods:
        return False
    return bool(variant.plugin.broken) or is_for(meta, instance.likelihood)


def parameters(variant: Variant, instance: Instance, protocol: str) -> dict[str, Any]:
    """Return a variant's parameters on a dataset in one protocol.

    Those of the protocol (`protocols.parameters`), then the variant's own.
    """
    meta = variant.plugin.meta
    given = (meta, protocol, instance.plugin, instance.training, variant.params)
    try:
        return rules.parameters(*given)
    except PluginError as error:
        raise ConfigError(f"{variant.name}: {error}") from None
