"""YAML as configurations use it: mappings with text keys, lists, text, numbers, true and false.

Read as people mean it: 1e-3 is a number, 010 and 12:30 and 2024-01-01 are text. Whatever would
vanish or blow up is refused with its line: a key given twice, a key that is not text, numbers that
are not finite, aliases that go in circles or multiply, tags of other types.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

MOST_VALUES = 100_000
"""More values than any configuration has; aliases of aliases reach it in a few lines."""
DEEPEST = 50
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_PLAIN = {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null")
}


class YamlError(ValueError):
    """Text that is no YAML of a configuration; the message says where and what to do."""


class _Loader(yaml.SafeLoader):
    """YAML's plain types, with numbers as in YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in known
        if not tag.endswith((":int", ":float", ":timestamp"))
    ]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"([-+]?(0|[1-9][0-9]*)?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?(0|[1-9][0-9]*)\.?([eE][-+]?[0-9]+)"
        r"|[-+]?(0|[1-9][0-9]*)\.|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def parse(text: str) -> Any:
    """Return what YAML text says. Raises YamlError."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except YamlError:
        raise
    except RecursionError:
        raise YamlError("is nested too deeply: a configuration has few levels") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise YamlError(f"not valid YAML: {_said(error)}") from None
    check_values(value)
    return value


def check_values(value: Any, where: str = "") -> None:
    """Raise YamlError for a value that no configuration may hold, whoever read it."""
    at = f"{where}: " if where else ""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise YamlError(f"{at}the key {key!r} is {_kind(key)}, not text: put it in quotes")
            check_values(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            check_values(item, f"{where}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise YamlError(f"{at}{value} is not a finite number: give one, or leave the key out")
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise YamlError(f"{at}{value!r} is {_kind(value)}: give text, a number or a list")


def _kind(value: Any) -> str:
    words = {bool: "true or false", int: "a number", float: "a number", type(None): "empty"}
    return words.get(type(value), f"a {type(value).__name__}")


def _check(root: yaml.Node) -> None:
    """Raise YamlError for the first node, in the order of the text, that is not acceptable."""
    seen = 0
    stack: list[tuple[yaml.Node, tuple[int, ...]]] = [(root, ())]
    while stack:
        node, above = stack.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise YamlError(
                f"stands for more than {MOST_VALUES} values, by aliases of aliases: write them out"
            )
        if id(node) in above:
            raise YamlError(f"{_line(node)}: an alias leads back to itself: write the values out")
        if len(above) > DEEPEST:
            raise YamlError(f"{_line(node)}: is nested more than {DEEPEST} levels deep")
        if node.tag not in _PLAIN:
            raise YamlError(
                f"{_line(node)}: {node.tag.replace('tag:yaml.org,2002:', '!!')} is no type of a "
                "configuration: give text (in quotes), a number, a list or a mapping"
            )
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            stack += [(value, inside) for _, value in reversed(node.value)]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(value, inside) for value in reversed(node.value)]


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise YamlError for a key that is not text or was given before."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag == _MERGE:
            continue
        if key.tag != _STR:
            text = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            what = {
                "bool": "true or false",
                "null": "empty",
                "int": "a number",
                "float": "a number",
            }
            kind = what.get(key.tag.rsplit(":", 1)[-1], "something else")
            raise YamlError(f"{_line(key)}: the key {text!r} is {kind}, not text: put it in quotes")
        if key.value in lines:
            raise YamlError(
                f"{_line(key)}: the key {key.value!r} was given before, in line "
                f"{lines[key.value]}: merge the two, the first would vanish"
            )
        lines[key.value] = key.start_mark.line + 1


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _said(error: Exception) -> str:
    return " ".join(str(error).replace('in "<unicode string>", ', "").split())[:300]
