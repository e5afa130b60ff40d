"""Names and parameters that a configuration gives, looked up among those that there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from anchorbench.study.config import ConfigError
from anchorbench.study.hints import suggest
from anchorbench.study.metadata import is_number
from anchorbench.study.plugins import Plugin

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def known(key: str, name: str, among: Mapping[str, Any]) -> Any:
    """Return what goes by a name; raises ConfigError for an unknown one."""
    if name not in among:
        raise ConfigError(f"config key {key}: there is no {name!r}; {suggest(name, among)}")
    return among[name]


def check_params(
    place: str, plugin: Plugin, given: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Raise ConfigError for a parameter that a plugin has not, and a number that is a text."""
    for key, value in given.items() if not plugin.broken else ():
        if key not in known:
            raise ConfigError(
                f"{place}: {plugin.path.name} has no parameter {key!r}; {suggest(key, known)}"
            )
        numeric = is_number(known[key])
        if numeric and isinstance(value, str) and NUMBER.fullmatch(value.strip()):
            raise ConfigError(f"{place}: {key}: {value!r} is a text: write it without quotes")
