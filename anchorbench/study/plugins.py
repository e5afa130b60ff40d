"""Discovery and loading of plugins: one file in methods/, metrics/ or datasets/ is one plugin.

Metadata is a literal dict at the top of the file, read with `ast`, so that nothing is imported to
find out what is there. A plugin is imported only by the step that runs it, and fails alone.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
METADATA = {"methods": "METHOD", "metrics": "METRIC", "datasets": "DATASET"}


class PluginError(Exception):
    """A plugin that cannot be used; the message names the file and what is wrong in it."""


@dataclass(frozen=True)
class Plugin:
    """A plugin as discovered: nothing of it has been imported yet.

    ``broken`` holds the reason when the file cannot even be parsed or has no usable metadata.
    """

    kind: str
    name: str
    path: Path
    meta: dict[str, Any] = field(hash=False)
    broken: str | None = None


def literal(path: Path, variable: str) -> dict[str, Any]:
    """Return the literal dict assigned to `variable` at the top level of a Python file.

    Raises PluginError, naming the file, where it is missing or not a literal.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise PluginError(f"{path}: not valid Python: {error}") from None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(t, ast.Name) and t.id == variable for t in targets):
            try:
                value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except (ValueError, TypeError):
                raise PluginError(
                    f"{path}: {variable} must be a literal dict (no names or calls), "
                    "because it is read without importing the file"
                ) from None
            if not isinstance(value, dict):
                raise PluginError(f"{path}: {variable} must be a dict, not {type(value).__name__}")
            return value
    raise PluginError(f"{path}: no top-level {variable} = {{...}}; see {path.parent}/_template.py")


@cache
def discover(kind: str, root: Path = ROOT) -> dict[str, Plugin]:
    """Return the plugins of a kind ("methods", "metrics" or "datasets") by name, sorted.

    Files that begin with "_" are passed over. A file without usable metadata is returned as a
    broken plugin, so that it is reported instead of vanishing.
    """
    found = {}
    for path in sorted((root / kind).glob("[!_]*.py")):
        try:
            meta, broken = {"label": path.stem, **literal(path, METADATA[kind])}, None
        except PluginError as error:
            meta, broken = {"label": path.stem}, str(error)
        found[path.stem] = Plugin(kind, path.stem, path, meta, broken)
    return found


def load(plugin: Plugin) -> ModuleType:
    """Import a plugin from its file.

    Raises PluginError with the original message when the import fails.
    """
    if plugin.broken:
        raise PluginError(plugin.broken)
    name = f"anchorbench_{plugin.kind}_{plugin.name}"
    spec = importlib.util.spec_from_file_location(name, plugin.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PluginError(
            f"{plugin.path} fails to import: {type(error).__name__}: {error}"
        ) from error
    return module


def method(name: str) -> Callable[..., Any]:
    """Return the estimator class or `build` function of the method called `name`.

    The estimator class is returned where the plugin names one in ``ESTIMATOR``, so that a person
    can write ``SparseVAE = method("sparse_vae")``.
    """
    known = discover("methods")
    if name not in known:
        raise PluginError(f"no method {name!r}; known methods: {', '.join(known)}")
    module = load(known[name])
    return getattr(module, "ESTIMATOR", module.build)
