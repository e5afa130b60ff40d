"""What a plugin may say of itself: the keys of METHOD, METRIC and DATASET, and their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from anchorbench.study.hints import suggest

PROTOCOLS = ("published", "corrected")
SEARCHED = ("tuned", "tuned_stable", "oracle_tuned")
SHOWN = {*PROTOCOLS, *SEARCHED}
DIRECTIONS = ("max", "min", None)
RESAMPLING = ("folds", "draws")
TRUTH = ("factors", "support", "keys")
"""What a split may know of its origin."""
KNOWN = (*TRUTH, "labels")
NEEDS = (*KNOWN, "codes", "loadings", "anchors", "posterior", "log_prob", "elbo", "peers")
"""What a metric may ask of a run."""

Rule = tuple[Callable[[Any], bool], str]


def is_number(value: Any) -> bool:
    """Whether a literal is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_dict(value: Any, inside: Callable[[Any], bool] = lambda _: True) -> bool:
    return isinstance(value, Mapping) and all(map(inside, value.values()))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_range(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    ends = [v for v in value if v is not None]
    return all(map(is_number, ends)) and ends == sorted(set(ends))


def _is_headline(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _is_dict(value, _is_text) and set(value) <= SHOWN
    return value is None or _is_text(value)


def _one_of(*values: Any) -> Rule:
    words = [str(v) if v is None else repr(v) for v in values]
    return (lambda v: v in values), f"one of {', '.join(words)}"


def _some_of(*values: str) -> Rule:
    right = lambda v: _is_names(v) and set(v) <= set(values)  # noqa: E731
    return right, f"a list of any of {', '.join(map(repr, values))}"


TEXT: Rule = (_is_text, "a text")
SWITCH: Rule = ((lambda v: isinstance(v, bool)), "True or False")
NAMES: Rule = (_is_names, "a list of names")
DICT: Rule = (_is_dict, "a dict by name")
COUNT: Rule = (_is_count, "a whole number above 0")
BY_PROTOCOL: Rule = (
    lambda v: _is_dict(v, _is_dict) and set(v) <= set(PROTOCOLS),
    f"a dict by protocol ({', '.join(PROTOCOLS)}) of parameters",
)
ANYTHING: Rule = ((lambda _: True), "")  # what another module reads says what is wrong with it

KEYS: dict[str, dict[str, Rule]] = {
    "methods": {
        "label": TEXT,
        "cite": TEXT,
        "likelihoods": NAMES,
        "datasets": NAMES,
        "params": DICT,
        "protocols": BY_PROTOCOL,
        "settings": ((lambda v: _is_dict(v, _is_dict)), "a dict by dataset of parameters"),
        "search": ANYTHING,
        "quirks": ((lambda v: _is_dict(v, _is_names)), "a dict by parameter of likelihoods"),
        "wraps": TEXT,
        "needs": _some_of("truth"),
        "codes": SWITCH,
        "control": SWITCH,
        "gpu": SWITCH,
        "requirements": ANYTHING,
        "environment": ANYTHING,
    },
    "metrics": {
        "label": TEXT,
        "direction": _one_of(*DIRECTIONS),
        "range": (_is_range, "[lowest, highest], None where there is no limit"),
        "likelihoods": NAMES,
        "datasets": NAMES,
        "needs": _some_of(*NEEDS),
        "values": ((lambda v: _is_dict(v, _is_text)), "a dict of labels"),
    },
    "datasets": {
        "label": TEXT,
        "cite": TEXT,
        "terms": TEXT,
        "likelihood": TEXT,
        "sources": NAMES,
        "provides": _some_of(*KNOWN),
        "class_name": TEXT,
        "params": DICT,
        "protocols": BY_PROTOCOL,
        "replicates": COUNT,
        "n_latent": COUNT,
        "resampling": _one_of(*RESAMPLING),
        "headline": (_is_headline, "a metric, or a dict of them by protocol"),
        "paired_settings": SWITCH,
        "on_request": SWITCH,
    },
}


def wrong_with(kind: str, meta: Mapping[str, Any]) -> str:
    """Say what is wrong with the metadata of a plugin, "" where nothing is.

    kind : "methods", "metrics" or "datasets".
    """
    rules = KEYS[kind]
    for key, value in meta.items():
        if key not in rules:
            return f"unknown key {key!r}; {suggest(str(key), rules)}"
        right, words = rules[key]
        if not right(value):
            return f"{key} must be {words}, not {value!r}"
    return ""


def plain(value: Any, where: str) -> Any:
    """Return a literal as JSON, and so a record, has it: tuples as lists.

    Raises ValueError for what JSON cannot hold: sets, bytes, numbers such as 1e999, keys that are
    no texts.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{where}: the key {key!r} is no text: put it in quotes")
        return {key: plain(item, f"{where}, {key!r}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: {value} is not finite: use None for no limit")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"{where}: {value!r} is a {type(value).__name__}: use a list, a text or a number"
    )
