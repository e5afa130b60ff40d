"""Datasets as a configuration asks for them: plugins with parameters, by setting and protocol."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from anchorbench.data.local_files import files_of_table, local_path
from anchorbench.study import recipe
from anchorbench.study.config import FILE_OPTIONS, ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.lookup import check_params, known
from anchorbench.study.plugins import FILE_PLUGIN, PACKAGE, Plugin, discover, likelihoods
from anchorbench.study.protocols import LENGTHS, PROTOCOLS

SETTING_KEYS = (
    "n_latent",
    "training",
    "replicates",
    "tuning",
)  # a setting's own, in place of its dataset's
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


def instances_of(config: Mapping[str, Any], root: Path | None) -> list[Instance]:
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
            plugin = known(f"datasets.{name}", entry.get("plugin", name), plugins)
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
    check_params(f"datasets.{name}", plugin, params, known)
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
    known(f"datasets.{dataset}: likelihood", name, likelihoods())
    return name


def _sources(
    name: str, meta: Mapping[str, Any], renamed: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """What the configuration says of a dataset's sources, by the names that its plugin has."""
    needed = meta.get("sources", [])
    for source in renamed:
        known(f"datasets.{name}.sources", source, dict.fromkeys(needed))
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


def _merged(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {key: value for values in sets.values() for key, value in values.items()}


def default_latent(n_features: int) -> int:
    """Number of latent factors where nobody named one: half the features, at most 10."""
    return max(1, min(10, n_features // 2))
