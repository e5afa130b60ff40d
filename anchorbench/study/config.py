"""The configuration of a run: read, merged, validated. No plugin is imported, nor torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from anchorbench.study.hints import suggest
from anchorbench.study.plugins import NAMING, SUITE, is_name

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
    "downloads": {"max_mb": 3000, "unpacked_mb": 20000},
    "skip_methods": [],
    "sources": {},
    "datasets": {},
    "variants": {},
    "quirks": {},
    "rope": {},
    "contrasts": [],
}

MOST_SAID = 300
"""Characters of a message that quotes a value."""
FILE_OPTIONS = (
    *("labels", "transpose", "drop", "features", "id", "header", "separator", "decimal", "layer"),
    "folds",
)
"""Keys of an own table, as `own_tables.read_table` takes them."""
FILE_KEYS = ("likelihood", *FILE_OPTIONS)


class ConfigError(Exception):
    """A configuration that cannot be run; the message names the file, the key and a remedy."""


def load(paths: Iterable[str | Path], overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the validated configuration of one or several YAML files, later ones winning.

    `overrides` are key=value pairs of the command line; string values are read as YAML, because a
    command line knows no other type. Raises ConfigError.
    """
    layers = [(str(path), read(Path(path))) for path in paths]
    if overrides:
        layers.append(("--config", _overrides(overrides)))
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
    layers = list(layers)
    errors = sorted(
        _validator().iter_errors(config), key=lambda e: [str(p) for p in e.absolute_path]
    )
    if errors:
        error = errors[0]
        while error.context:  # the alternative that got furthest says what is wrong
            error = max(
                error.context, key=lambda e: len(e.absolute_path) + 2 * (e.validator != "const")
            )
        where, message = _explained(error)
        dotted = ".".join(str(part) for part in where) or "the file"
        raise ConfigError(f"{_origin(where, layers)}: {dotted}: {message}")
    for name, entry in config["datasets"].items():
        if entry is not False and (message := _misplaced(entry)):
            where = ["datasets", name]
            raise ConfigError(f"{_origin(where, layers)}: datasets.{name}: {message}")


@cache
def _validator() -> Any:
    import jsonschema

    from anchorbench.study.yaml_text import parse

    draft, names = jsonschema.Draft202012Validator, jsonschema.FormatChecker(())
    names.checks("name")(lambda value: not isinstance(value, str) or is_name(value))
    types = draft.TYPE_CHECKER.redefine(  # 3.0 is no number of replicates
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    schema = parse(SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.validators.extend(draft, type_checker=types)(schema, format_checker=names)


def _explained(error: Any) -> tuple[list[Any], str]:
    """Where an error of the schema is, and a sentence about it."""
    where, value = list(error.absolute_path), error.instance
    if error.validator == "additionalProperties" and isinstance(value, Mapping):
        known = error.schema.get("properties", {})
        key = next(str(k) for k in value if k not in known)
        return [*where, key], f"unknown key {key!r}; {suggest(key, known)}"
    if error.validator == "format":
        return where, f"{value!r} is no name: {NAMING}"
    if error.validator in ("minItems", "minProperties") and not value:
        return where, "is empty: list something, or leave the key out"
    message = str(error.message)
    if len(message) > MOST_SAID:  # it begins with the value
        message = f"{repr(value)[:100]} … {message[-100:]}"
    if isinstance(value, float) and value.is_integer() and "'integer'" in message:
        message += f": write {int(value)}"
    if isinstance(value, bool) and "'string'" in message:
        message += ": words such as no, off and true need quotes to be text"
    return where, message


def _misplaced(entry: Mapping[str, Any]) -> str:
    """What is wrong with the keys of a dataset's entry taken together, or nothing."""
    if "file" in entry:
        for key in ("plugin", "params", "sources"):
            if key in entry:
                return f"`file` and `{key}` exclude each other: an own table has no plugin"
        from anchorbench.data.dataset import FOLDS  # slow, with what it brings along

        folds = entry.get("folds", FOLDS)
        if entry.get("replicates", 1) > folds:
            return f"{entry['replicates']} replicates of {folds} folds: raise `folds` to as many"
        return ""
    for key in FILE_KEYS:
        if key in entry:
            hint = "put it under `params`" if key == "likelihood" else "leave it out"
            return f"`{key}` is for own tables (`file`), and this is a plugin: {hint}"
    return ""


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


def read(path: Path) -> Any:
    """Return the content of a file: JSON by its suffix, otherwise YAML. Raises ConfigError."""
    from anchorbench.study.yaml_text import parse

    try:
        text = path.read_bytes().decode("utf-8-sig")
        value = _json(text) if path.suffix == ".json" else parse(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder: name the file in it") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            byte = f"byte {error.start + 1} is 0x{error.object[error.start]:02x}"
            raise ConfigError(f"{path} is no text in UTF-8 ({byte}): save it as UTF-8") from None
        raise ConfigError(f"{path}: {error}") from None
    return {} if value is None else value


def _json(text: str) -> Any:
    from anchorbench.study.yaml_text import YamlError, check_values

    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise YamlError(f"not valid JSON: {error}") from None
    check_values(value)
    return value


def _typed(value: Any) -> Any:
    """A value with its strings read as YAML, however deep: of some, Snakemake leaves strings."""
    from anchorbench.study.yaml_text import parse

    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return parse(value) if isinstance(value, str) else value


def _overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the command line."""
    from anchorbench.study.yaml_text import YamlError, check_values

    try:
        parsed: dict[str, Any] = _typed(dict(given))
        check_values(parsed)
    except YamlError as error:
        raise ConfigError(f"--config: {error}") from None
    return parsed
