"""What a configuration asks for: dataset instances, variants of methods, and the jobs they make.

Nothing is imported or trained here. Every path holds the digest of what goes into it, so that a
file that exists is up to date, whatever its time says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from anchorbench.data.local_files import files_of_table, local_path
from anchorbench.study import environments, recipe, search, tuning
from anchorbench.study import seeds as seed_rules
from anchorbench.study.config import FILE_OPTIONS, ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.headline import headline
from anchorbench.study.plugins import (
    FILE_PLUGIN,
    PACKAGE,
    Plugin,
    PluginError,
    discover,
    is_for,
    likelihood_file,
    likelihoods,
    suggest,
)
from anchorbench.study.protocols import DEFAULT, LENGTHS, PROTOCOLS, SEARCHED, TUNED, wrapped
from anchorbench.study.protocols import parameters as protocol_parameters
from anchorbench.study.source import source_digest
from anchorbench.study.tuning import Tuning

SETTING_KEYS = (
    "n_latent",
    "training",
    "replicates",
    "tuning",
)  # a setting's own, in place of its dataset's
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FILE_LIBRARY = PACKAGE / "data" / "own_tables.py"


@dataclass(frozen=True)
class Instance:
    """A dataset with parameters: what the word "dataset" means in scores.csv.

    `params` are those of one protocol; `tag` names the protocol, or "shared" where all protocols
    mean the same data.
    """

    name: str
    plugin: str
    code: Path
    setting: str
    label: str
    likelihood: str
    tag: str
    params: dict[str, Any]
    prepare_params: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    provides: tuple[str, ...]
    replicates: int
    block: int
    n_latent: int | None  # None: `default_latent` of its features
    training: dict[str, Any]
    methods: tuple[str, ...] | None
    skip_metrics: tuple[str, ...]
    file: str | None
    resampling: str  # "folds" or "draws": how replicates come to be
    headline: str | dict[str, str] | None  # the metric that speaks for it, by protocol
    class_name: str  # what its labels are, for people
    ingredients: dict[str, Any]
    protocols: tuple[str, ...] = PROTOCOLS
    paired: bool = False  # settings of one dataset draw their replicates with the same seeds
    repeats: int = 1  # fits of a split: replicate r is of split r mod `splits`
    tuning: dict[str, Any] | None = None  # trials, methods, selection of a search

    @property
    def splits(self) -> int:
        """How many different splits, or draws, the replicates have."""
        return self.replicates // self.repeats

    def split_of(self, replicate: int) -> int:
        """The split, or draw, that a replicate is a fit of."""
        return replicate % self.splits

    @cached_property
    def recipe(self) -> str:
        """Digest of the prepared data."""
        return digest(self.ingredients)

    @property
    def data_key(self) -> str:
        """Name of the prepared data's folder; instances that prepare alike share it."""
        return f"{self.plugin if self.file is None else self.name}-{self.recipe}"


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
    instances = _instances(config, root)
    variants = _variants(config, root)
    known_metrics = discover("metrics", root)
    _check_names(instances, variants, known_metrics, config["datasets"])
    _check_tuning(instances, variants, known_metrics)
    _check_statistics(config, instances, known_metrics, {*variants, *discover("methods", root)})
    jobs: list[Job] = []
    for name in dict.fromkeys(instance.name for instance in instances):
        of_name = [instance for instance in instances if instance.name == name]
        for variant in variants.values():
            if _fits(variant, of_name[0]):
                of_variant = _jobs(of_name, variant, config)
                jobs += _with_search(of_variant, config["seed"], known_metrics)
    _check_jobs(instances, jobs)
    by_name = {(instance.name, instance.tag): instance for instance in instances}
    chosen = config.get("metrics", known_metrics)
    metrics = {name: _known("metrics", name, known_metrics) for name in chosen}
    _check_values(metrics)
    return Plan(config, by_name, variants, tuple(jobs), metrics)


def _check_jobs(instances: list[Instance], jobs: list[Job]) -> None:
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


def _known(key: str, name: str, known: Mapping[str, Any]) -> Any:
    """Return what goes by a name; raises ConfigError for an unknown one."""
    if name not in known:
        raise ConfigError(f"config key {key}: there is no {name!r}; {suggest(name, known)}")
    return known[name]


def _instances(config: Mapping[str, Any], root: Path | None) -> list[Instance]:
    """Datasets of the config, and others whose sources it has, unless they are run on request."""
    plugins = discover("datasets", root)
    wanted: dict[str, Any] = dict(config["datasets"])
    mentioned = {(entry or {}).get("plugin", name) for name, entry in wanted.items()}
    for name, plugin in plugins.items():
        sources = plugin.meta.get("sources", [])
        unasked = name not in mentioned and not plugin.meta.get("on_request", False)
        if unasked and all(source in config["sources"] for source in sources):
            wanted[name] = {}
    instances: list[Instance] = []
    origin: dict[str, str] = {}
    for name, entry in wanted.items():
        if entry is False:
            continue
        if "file" in entry:
            plugin = _file_plugin(name, entry)
        else:
            plugin = _known(f"datasets.{name}", entry.get("plugin", name), plugins)
        for setting, setting_params in entry.get("settings", {"": {}}).items():
            full = f"{name}_{setting}" if setting else name
            place = f"datasets.{name}.settings.{setting}" if setting else f"datasets.{name}"
            if full in origin:
                raise ConfigError(
                    f"{place} and {origin[full]} are both called {full}: rename one of them"
                )
            origin[full] = place
            own = {key: setting_params[key] for key in SETTING_KEYS if key in setting_params}
            rest = {k: v for k, v in setting_params.items() if k not in own}
            params = {**entry.get("params", {}), **rest}
            instances += _by_protocol(full, setting, plugin, {**entry, **own}, params, config)
    return instances


def _file_plugin(name: str, entry: Mapping[str, Any]) -> Plugin:
    """A user's own table, as if it were a plugin."""
    if "likelihood" not in entry:
        raise ConfigError(
            f"datasets.{name}: a dataset from a file needs a likelihood: {', '.join(likelihoods())}"
        )
    meta = {
        "label": entry.get("label", name),
        "likelihood": entry["likelihood"],
        "replicates": entry.get("folds", 5),
        "provides": ["labels"] if entry.get("labels") else [],
        "class_name": _class_name(entry.get("labels")),
        "params": {key: entry[key] for key in FILE_OPTIONS if key in entry},
    }
    return Plugin("datasets", FILE_PLUGIN, FILE_LIBRARY, meta)


def _judged_by(meta: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """How replicates came to be, the headline metric, what the labels are, and the search."""
    return {
        "resampling": meta.get("resampling", "folds"),
        "headline": entry.get("headline", meta.get("headline")),
        "class_name": meta.get("class_name", "Label"),
        "tuning": entry.get("tuning"),
    }


def _class_name(labels: str | list[str] | None) -> str:
    """The name of the label column that metrics read: its own."""
    columns = [labels] if isinstance(labels, str) else labels or ["Label"]
    return "level1" if "level1" in columns else columns[0]


def _by_protocol(
    name: str,
    setting: str,
    plugin: Plugin,
    entry: Mapping[str, Any],
    params: Mapping[str, Any],
    config: Mapping[str, Any],
) -> list[Instance]:
    """The instance for each protocol, or one shared instance where they mean the same data."""
    meta = plugin.meta
    if set(LENGTHS) <= set(entry.get("training", {})):
        raise ConfigError(f"datasets.{name}.training: names epochs and steps: keep one of them")
    known = {**meta.get("params", {}), **_merged(meta.get("protocols", {}))}
    _check_params(f"datasets.{name}", plugin, params, known)
    sets = {
        protocol: {
            **meta.get("params", {}),
            **meta.get("protocols", {}).get(protocol, {}),
            **params,
        }
        for protocol in _protocols(entry, config)
    }
    if len({digest(values) for values in sets.values()}) == 1:
        sets = {"shared": next(iter(sets.values()))}
    sources = _sources(name, meta, entry.get("sources", {}), config)
    return [
        Instance(
            name=name,
            plugin=plugin.name,
            code=plugin.path,
            setting=setting,
            label=entry.get("label", meta["label"]),
            likelihood=_likelihood(name, {**meta, **values}),
            tag=tag,
            params=values,
            prepare_params=_accepted(plugin.path, "prepare", values),
            sources=sources,
            provides=tuple(meta.get("provides", ())),
            replicates=entry.get("replicates", meta.get("replicates", 5)) * entry.get("repeats", 1),
            block=entry.get("block", config["block"]),
            n_latent=entry.get("n_latent", meta.get("n_latent")),
            training=entry.get("training", {}),
            methods=tuple(entry["methods"]) if "methods" in entry else None,
            skip_metrics=tuple(entry.get("skip_metrics", ())),
            file=entry.get("file"),
            **_judged_by(meta, entry),
            ingredients=recipe.of_data(
                plugin, _accepted(plugin.path, "prepare", values), sources, _files(entry)
            ),
            paired=bool(meta.get("paired_settings", False)),
            protocols=_protocols(entry, config),
            repeats=entry.get("repeats", 1),
        )
        for tag, values in sets.items()
    ]


def _protocols(entry: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """The protocols of the config that a dataset is run under."""
    return tuple(p for p in config["protocols"] if p in entry.get("protocols", PROTOCOLS))


def _likelihood(dataset: str, about: Mapping[str, Any]) -> str:
    """The likelihood that a dataset's parameters name, or else its plugin."""
    name = str(about.get("likelihood", "gaussian"))
    _known(f"datasets.{dataset}: likelihood", name, likelihoods())
    return name


def _sources(
    name: str, meta: Mapping[str, Any], renamed: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """What the configuration says of a dataset's sources, by the names that its plugin has."""
    needed = meta.get("sources", [])
    for source in renamed:
        _known(f"datasets.{name}.sources", source, dict.fromkeys(needed))
    return {source: _source(name, renamed.get(source, source), config) for source in needed}


def _source(dataset: str, source: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if source not in config["sources"]:
        raise ConfigError(
            f"datasets.{dataset} needs the source {source!r}, which `sources:` does not list; "
            "config/paper.yaml has the official addresses"
        )
    return {"name": source, **config["downloads"], **config["sources"][source]}


def _files(entry: Mapping[str, Any]) -> dict[str, Path]:
    """The local files that an own table is read from."""
    if "file" not in entry:
        return {}
    path = local_path(entry["file"])
    if path is None:
        raise ConfigError(f"file {entry['file']!r} is a web address: download it, name its path")
    return files_of_table(path, entry.get("features"))


def _check_params(
    place: str, plugin: Plugin, given: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Raise ConfigError for a parameter that a plugin has not, and a number that is a text."""
    for key, value in given.items() if not plugin.broken else ():
        if key not in known:
            raise ConfigError(
                f"{place}: {plugin.path.name} has no parameter {key!r}; {suggest(key, known)}"
            )
        numeric = isinstance(known[key], int | float) and not isinstance(known[key], bool)
        if numeric and isinstance(value, str) and NUMBER.fullmatch(value.strip()):
            raise ConfigError(f"{place}: {key}: {value!r} is a text: write it without quotes")


@cache
def _signature(path: Path, function: str) -> tuple[frozenset[str], bool] | None:
    """Return the argument names of a top-level function and whether it takes **kwargs."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            names = [arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)]
            return frozenset(names), node.args.kwarg is not None
    return None


def _accepted(path: Path, function: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a plugin's function takes, judged by its signature."""
    signature = _signature(path, function)
    if signature is None:
        return dict(params)
    names, takes_all = signature
    return {key: value for key, value in params.items() if takes_all or key in names}


def _variants(config: Mapping[str, Any], root: Path | None) -> dict[str, Variant]:
    """Every method as it stands, then the variants that the config makes of them."""
    plugins = discover("methods", root)
    for name in config["skip_methods"]:
        _known("skip_methods", name, plugins)
    names = [n for n in config.get("methods", plugins) if n not in config["skip_methods"]]
    protocols = tuple(config["protocols"])
    variants = {}
    for name in names:
        if name in config["variants"]:
            method = config["variants"][name]["method"]
            raise ConfigError(f"methods: {name!r} is a variant: list {method!r}, which brings it")
        plugin = _known("methods", name, plugins)
        variants[name] = Variant(
            name, plugin, plugin.meta["label"], {}, protocols, None, None, None
        )
    for name, entry in config["variants"].items():
        plugin = _known(f"variants.{name}.method", entry["method"], plugins)
        if name in plugins:
            raise ConfigError(f"variants.{name}: the name belongs to {plugins[name].path.name}")
        if plugin.name not in names:
            continue
        known = plugin.meta.get("params", {})
        _check_params(f"variants.{name}.params", plugin, entry.get("params", {}), known)
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
        plugin = _known("quirks", name, plugins)
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


def _check_names(
    instances: list[Instance],
    variants: Mapping[str, Variant],
    metrics: Mapping[str, Plugin],
    named: Iterable[str],
) -> None:
    """Raise ConfigError for a name of what is not there; `named` datasets may be switched off."""
    for instance in instances:
        for name in instance.skip_metrics:
            _known(f"datasets.{instance.name}.skip_metrics", name, metrics)
        for name in instance.methods or ():
            _known(f"datasets.{instance.name}.methods", name, variants)
    datasets = {instance.plugin for instance in instances} | {i.name for i in instances}
    plugins = set(discover("datasets")) | datasets | set(named)
    for variant in variants.values():
        key = f"variants.{variant.name}" if variant.quirk is None else "quirks"
        for name in variant.datasets or ():
            _known(f"{key}.datasets", name, dict.fromkeys(plugins))
        for name in variant.replicates if isinstance(variant.replicates, dict) else ():
            _known(f"{key}.replicates", name, dict.fromkeys(plugins))


def _check_tuning(
    instances: list[Instance], variants: Mapping[str, Variant], metrics: Mapping[str, Plugin]
) -> None:
    """Raise ConfigError for a search that names what is not there, or selects by the truth."""
    for instance in instances:
        if (asked := instance.tuning) is None:
            continue
        key = f"datasets.{instance.name}.tuning"
        for name in asked["methods"]:
            _known(f"{key}.methods", name, variants)
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
        if _known(f"{key}: the headline", judge, _by_value(metrics)).meta.get("direction") is None:
            raise ConfigError(
                f"{key}: the headline {judge!r} has no better side, by which trials are judged: "
                f"name another one, datasets.{instance.name}.headline"
            )


def _by_value(metrics: Mapping[str, Plugin]) -> dict[str, Plugin]:
    """The metric that gives each value."""
    return {str(v): p for name, p in metrics.items() for v in p.meta.get("values", [name])}


def _check_values(metrics: Mapping[str, Plugin]) -> None:
    """Raise ConfigError where two metrics give a value of one name."""
    by_value = _by_value(metrics)
    for name, plugin in metrics.items():
        for value in plugin.meta.get("values", [name]):
            if by_value[value] is not plugin:
                raise ConfigError(
                    f"metrics: {plugin.path} and {by_value[value].path} both give {value!r}: give "
                    "the value of one of them another name"
                )


def _check_statistics(
    config: Mapping[str, Any],
    instances: list[Instance],
    metrics: Mapping[str, Plugin],
    methods: set[str],
) -> None:
    """Raise ConfigError for a metric or method named in `rope`, `contrasts`, `headline` that is not
    there."""
    named = dict.fromkeys(sorted(_by_value(metrics)))
    for name in config["rope"]:
        _known("rope", name, named)
    pairs: set[frozenset[str]] = set()
    for pair in config["contrasts"]:
        for name in pair:
            _known("contrasts", name, dict.fromkeys([*config["variants"], *sorted(methods)]))
        if len(set(pair)) < 2 or frozenset(pair) in pairs:
            again = "is a method and itself" if len(set(pair)) < 2 else "is there twice"
            raise ConfigError(
                f"contrasts: [{', '.join(pair)}] {again}: each pair is a test of its family"
            )
        pairs.add(frozenset(pair))
    for instance in instances:
        lines = instance.headline or {}
        for name in [lines] if isinstance(lines, str) else lines.values():
            _known(f"datasets.{instance.name}.headline", name, named)


def _fits(variant: Variant, instance: Instance) -> bool:
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
        return protocol_parameters(*given)
    except PluginError as error:
        raise ConfigError(f"{variant.name}: {error}") from None


def _jobs(instances: list[Instance], variant: Variant, config: Mapping[str, Any]) -> list[Job]:
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


def _with_search(jobs: list[Job], seed: int, metrics: Mapping[str, Plugin]) -> list[Job]:
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


def _merged(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for values in sets.values() for key, value in values.items()}


def default_latent(n_features: int) -> int:
    """Number of latent factors where nobody named one: half the features, at most 10."""
    return max(1, min(10, n_features // 2))


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
