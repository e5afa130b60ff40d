"""Digests of source code that change with what the code does, and with nothing else.

A file is hashed as its syntax tree without comments, docstrings, positions and formatting. Of what
it imports from the suite, or from beside it, the target's tree counts and the names that are bound,
not the path: moving a file changes no digest. All that is reached counts, whatever the depth.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anchorbench import _EXPORTS
from anchorbench.study.digest import digest
from anchorbench.study.plugins import PACKAGE

VERSION = 1
"""Of the canonical text; files cached by another version are read anew."""
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_PASSED_OVER = {"ctx", "kind", "type_comment", "type_ignores"}


@dataclass(frozen=True)
class Import:
    """An import statement: `from <level dots><module> import <names>`, or `import <module>`.

    names : pairs of a name and what it is bound to; empty for `import module`.
    """

    level: int
    module: str
    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source:
    """A Python file: the digest of its own tree, suite imports left out, and all its imports."""

    tree: str
    imports: tuple[Import, ...]


def source_digest(path: Path) -> str:
    """Return the digest of a Python file and of all it imports of the suite or from beside it."""
    return _source_digest(path.resolve())


def sources(path: Path) -> dict[str, str]:
    """Return the files that `source_digest` counts, by path, each with the digest of its tree."""
    return {_place(file): read(file).tree for file in sorted(_reached(path.resolve()))}


def clear() -> None:
    """Forget what was read: files may have changed."""
    for known in (_source_digest, _reached, read):
        known.cache_clear()


@cache
def _source_digest(path: Path) -> str:
    own = _own(path)
    others = sorted(digest(_own(file)) for file in _reached(path) - {path})
    CACHE.save()
    return digest([own, others])


def _own(path: Path) -> list[Any]:
    """A file's tree, and for each of its imports the target's tree and the names bound."""
    return [read(path).tree, sorted([read(file).tree, names] for file, names in _arrows(path))]


@cache
def _reached(path: Path) -> frozenset[Path]:
    """The file itself and all that it imports, directly or through others."""
    found, queue = {path}, [path]
    while queue:
        for file, _ in _arrows(queue.pop()):
            if file not in found:
                found.add(file)
                queue.append(file)
    return frozenset(found)


def _arrows(path: Path) -> list[tuple[Path, list[list[str]]]]:
    """The files that a file imports, each with the names that the import binds."""
    arrows: list[tuple[Path, list[list[str]]]] = []
    for statement in read(path).imports:
        base = _folder(path, statement)
        if base is None:
            continue
        parts = statement.module.split(".") if statement.module else []
        if not statement.names:
            file = _file(base.joinpath(*parts))
            arrows += [(file, [])] if file else []
        for name, bound in statement.names:
            lazily = _EXPORTS.get(name) if statement.module == "anchorbench" else None
            if name == "":
                file = _file(base.joinpath(*parts))
                arrows += [(file, [["", bound]])] if file else []
            elif lazily:
                module = _file(PACKAGE.parent.joinpath(*lazily.split(".")))
                assert module is not None
                arrows.append((module, [[name, bound]]))
            elif file := _file(base.joinpath(*parts, name)):
                arrows.append((file, [["", bound]]))
            elif file := _file(base.joinpath(*parts)):
                arrows.append((file, [[name, bound]]))
    return arrows


def _folder(path: Path, statement: Import) -> Path | None:
    """Where an import starts from; None for what is neither of the suite nor beside the file."""
    if statement.level:
        return path.parents[statement.level - 1]
    top = statement.module.split(".")[0]
    if top == "anchorbench":
        return PACKAGE.parent
    beside = not path.is_relative_to(PACKAGE) and _file(path.parent / top) is not None
    return path.parent if beside else None


def _file(place: Path) -> Path | None:
    """The file of a module or package without its suffix, or None where there is none."""
    for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if file.is_file():
            return file.resolve()
    return None


def _place(file: Path) -> str:
    """A file's path for people: from the suite's or the plugin folder's parent."""
    base = PACKAGE.parent if file.is_relative_to(PACKAGE) else file.parents[1]
    return file.relative_to(base).as_posix()


# Reading ------------------------------------------------------------------------------------------


@cache
def read(path: Path) -> Source:
    """Read a Python file; one that cannot be parsed is known by its bytes alone."""
    content = path.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    if (known := CACHE.get(key)) is not None:
        return known
    try:
        source = parse(content)
    except (SyntaxError, ValueError, RecursionError):
        source = Source(key, ())
    CACHE.put(key, source)
    return source


def parse(content: bytes | str) -> Source:
    """Return the digest of a file's tree, and its imports. Raises SyntaxError or ValueError."""
    tree = ast.parse(content)
    imports: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = tuple((a.name, a.asname or a.name) for a in node.names)
            imports.append(Import(node.level, node.module or "", names))
        elif isinstance(node, ast.Import):
            imports += [
                Import(0, a.name, (("", a.asname),) if a.asname else ()) for a in node.names
            ]
    text = canonical(tree)
    return Source(hashlib.sha256(text.encode()).hexdigest()[:20], tuple(imports))


def canonical(node: Any) -> str:
    """Return a syntax tree as text, the same on every version of Python from 3.9 on.

    Without docstrings, positions, empty fields, and imports of the suite, which count by their
    targets.
    """
    if isinstance(node, list):
        return "[" + ",".join(canonical(item) for item in node if not _of_suite(item)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name in _PASSED_OVER:
            continue
        if (
            name == "body"
            and isinstance(node, _WITH_DOCSTRING)
            and ast.get_docstring(node) is not None
        ):
            value = value[1:]
        text = canonical(value)
        if text not in ("None", "[]"):
            fields.append(f"{name}={text}")
    return f"{type(node).__name__}({','.join(fields)})"


def _of_suite(node: Any) -> bool:
    """Whether it imports from the suite, or relatively, under a name of its own."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").split(".")[0] == "anchorbench"
    if isinstance(node, ast.Import):
        return all(_of_suite(alias) for alias in node.names)
    of_import = isinstance(node, ast.alias) and node.asname is not None
    return of_import and node.name.startswith("anchorbench.")


# The cache on disk: every job of a workflow reads the same files ----------------------------------


def _import(level: int, module: str, names: list[list[str]]) -> Import:
    """An import as the cache holds it."""
    return Import(level, module, tuple((name, bound) for name, bound in names))


class _Cache:
    """What files were found to hold, by the sha256 of their bytes, in the user's cache folder.

    It saves time only: an entry counts if its checksum is right, and a cache that cannot be read
    or written is done without.
    """

    def __init__(self) -> None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.path = base / "anchorbench" / f"sources-{VERSION}.json"
        self.entries: dict[str, Any] | None = None
        self.new = False

    def get(self, key: str) -> Source | None:
        """The source whose bytes have this sha256, if it is known."""
        if self.entries is None:
            self.entries = self._load()
        entry = self.entries.get(key)
        try:
            if entry is None or entry["check"] != self._check(key, entry["source"]):
                return None
            tree, imports = entry["source"]
            return Source(
                tree,
                tuple(Import(a, m, tuple((n, b) for n, b in names)) for a, m, names in imports),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def put(self, key: str, source: Source) -> None:
        """Remember a source."""
        imports = [[i.level, i.module, [list(pair) for pair in i.names]] for i in source.imports]
        value = [source.tree, imports]
        if self.entries is None:
            self.entries = {}
        self.entries[key] = {"source": value, "check": self._check(key, value)}
        self.new = True

    def save(self) -> None:
        """Write what is new."""
        if not self.new:
            return
        self.new = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**self._load(), **(self.entries or {})}, file)
            os.replace(name, self.path)
        except OSError:
            pass

    def _load(self) -> dict[str, Any]:
        try:
            entries = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}

    @staticmethod
    def _check(key: str, value: Any) -> str:
        return digest([VERSION, key, value])


CACHE = _Cache()
