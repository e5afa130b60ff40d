"""Digests: what went into a run, hashed. File times decide nothing."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from anchorbench import _EXPORTS
from anchorbench.study.plugins import ROOT


def digest(value: Any) -> str:
    """Return the hex sha256 (first 20 digits) of a JSON-serialisable value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@cache
def source_digest(path: Path) -> str:
    """Return the digest of a Python file and of every library module it uses, transitively."""
    files = sorted({path, *_closure(path)})
    return digest([[f.name, file_sha256(f)] for f in files])


@cache
def _closure(path: Path) -> frozenset[Path]:
    """Return the files of `anchorbench` that a Python file imports, directly or through others."""
    found: set[Path] = set()
    queue = [path]
    while queue:
        for module in _library_imports(queue.pop()):
            file = _module_file(module)
            if file is not None and file not in found:
                found.add(file)
                queue.append(file)
    return frozenset(found)


def _library_imports(path: Path) -> set[str]:
    """Return the dotted names of `anchorbench` modules imported anywhere in a file."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
            if node.module == "anchorbench":
                names.update(_EXPORTS.get(alias.name, "") for alias in node.names)
    return {name for name in names if name.startswith("anchorbench.")}


def _module_file(module: str) -> Path | None:
    """Return the file of a dotted module name, or None where it names something inside one."""
    base = ROOT.joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None
