"""The configuration of a run: read, merged, validated. No plugin is imported, nor torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anchorbench.study.plugins import SUITE, suggest

SCHEMA = SUITE / "workflow" / "schemas" / "config.schema.yaml"
STUDY, PAPER = "config.yaml", "config/paper.yaml"
DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "device": "auto",
    "threads": 1,
    "block": 25,
    "checkpoint_minutes": 10,
    "protocols": ["published", "corrected"],
    "limits": {"seconds": 14400, "memory_mb": 16000},
    "skip_methods": [],
    "sources": {},
    "datasets": {},
    "variants": {},
    "quirks": {},
    "rope": {},
    "contrasts": [],
}


class ConfigError(Exception):
    """A configuration that cannot be run; the message names the file, the key and a remedy."""


def load(paths: Iterable[str | Path], overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the validated configuration of one or several YAML files, later ones winning.

    `overrides` are key=value pairs of the command line; string values are read as YAML, because a
    command line knows no other type. Raises ConfigError.
    """
    layers = [(str(path), _read(Path(path))) for path in paths]
    if overrides:
        parsed = {key: _parse(value) for key, value in overrides.items()}
        layers.append(("--config", parsed))
    config: dict[str, Any] = {}
    for origin, layer in [("default", DEFAULTS), *layers]:
        if not isinstance(layer, dict):
            raise ConfigError(f"{origin}: expected a mapping of keys to values")
        config = merge(config, layer)
    validate(config, layers)
    if all(entry is False for entry in config["datasets"].values()):
        files = " ".join(origin for origin, _ in layers) or "no file"
        raise ConfigError(
            f"{files}: no datasets to run; give a file that lists some first, "
            "e.g. --configfile config/paper.yaml"
        )
    return config


def default_files() -> list[str]:
    """Return the configuration of the working folder: a study's own, or the paper's.

    Raises ConfigError where there is neither.
    """
    for name in (STUDY, PAPER):
        if Path(name).is_file():
            return [name]
    raise ConfigError(
        f"no {STUDY} in {Path.cwd()}: make a study with `anchorbench init FOLDER` and go there, "
        "or name a file with --configfile"
    )


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` updated by `over`, mappings merged key by key, everything else replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def validate(config: Mapping[str, Any], layers: Iterable[tuple[str, Any]] = ()) -> None:
    """Check a configuration against the schema; raise ConfigError for the first thing wrong."""
    import jsonschema
    import yaml

    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(config), key=lambda e: [str(p) for p in e.absolute_path])
    if not errors:
        return
    error = errors[0]
    while error.context:  # the alternative that got furthest says what is wrong
        error = max(
            error.context, key=lambda e: len(e.absolute_path) + 2 * (e.validator != "const")
        )
    where = list(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = error.schema.get("properties", {})  # type: ignore[union-attr]
        key = next(str(k) for k in error.instance if k not in known)
        where.append(key)
        message = f"unknown key {key!r}; {suggest(key, known)}"
    else:
        message = error.message
    dotted = ".".join(str(part) for part in where) or "the file"
    raise ConfigError(f"{_origin(where, layers)}: {dotted}: {message}")


def _origin(where: list[Any], layers: Iterable[tuple[str, Any]]) -> str:
    """Return the last layer that holds the key at `where`."""
    holder = "configuration"
    for origin, layer in layers:
        node: Any = layer
        for part in where:
            if not isinstance(node, Mapping | list) or (
                part not in node if isinstance(node, Mapping) else part >= len(node)
            ):
                break
            node = node[part]
        else:
            holder = origin
    return holder


def _read(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None


def _parse(value: Any) -> Any:
    import yaml

    return yaml.safe_load(value) if isinstance(value, str) else value
