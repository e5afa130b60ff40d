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
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anchorbench import _EXPORTS
from anchorbench.data.json_text import json_text
from anchorbench.study.digest import digest
from anchorbench.study.plugins import METADATA, PACKAGE, SUITE

VERSION = 3
"""Of the canonical text; files cached by another version are read anew."""
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_END = object()
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


@cache  # asked for once for each metric of each job: finding the path's links takes longer
def source_digest(path: Path) -> str:
    """Return the digest of a Python file and of all it imports of the suite or from beside it."""
    return _source_digest(path.resolve())


def sources(path: Path) -> dict[str, str]:
    """Return the files that `source_digest` counts, by path, each with the digest of its tree."""
    return {_place(file): read(file).tree for file in sorted(_reached(path.resolve()))}


def clear() -> None:
    """Forget what was read: files may have changed."""
    for known in (source_digest, _source_digest, _reached, read):
        known.cache_clear()


@cache
def _source_digest(path: Path) -> str:
    own = _own(path)
    others = sorted(digest(_own(file)) for file in _reached(path) - {path})
    CACHE.save()
    return digest([own, others])


def _own(path: Path) -> list[Any]:
    """A file's tree, and for each of its imports the target's tree and the names bound."""
    return [read(path).tree, [[read(file).tree, names] for file, names in _arrows(path)]]


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
        parts = statement.module.split(".") if statement.module else []
        base = _folder(path, statement.level, parts)
        if base is None:
            continue
        module = base.joinpath(*parts)
        arrows += [(file, []) for file in _fronts(base, parts)]
        for name, bound in statement.names or (("", ""),):
            lazily = _EXPORTS.get(name) if statement.module == "anchorbench" else None
            if lazily:
                file = _file(PACKAGE.parent.joinpath(*lazily.split(".")))
                arrows += [(file, [[name, bound]])] if file else []
            elif name and (file := _file(module / name)):
                arrows.append((file, [["", bound]]))
            elif file := _file(module):
                arrows.append((file, [[name, bound]] if bound else []))
    # The front door of the suite gives names of others; its version decides no number.
    return [(file, names) for file, names in arrows if file != PACKAGE / "__init__.py"]


def _folder(path: Path, level: int, parts: list[str]) -> Path | None:
    """Where an import starts from; None for what is neither of the suite nor beside the file."""
    if level:
        return path.parents[level - 1]
    if parts[0] == "anchorbench":
        return PACKAGE.parent
    if path.is_relative_to(PACKAGE) and path.parent.parent != SUITE:
        return None
    folder, own = path.parent, parts[0]
    while not (_is_there(folder / parts[0]) and (own == parts[0] or folder.name in METADATA)):
        if not (folder / "__init__.py").is_file():
            return None
        # Above a package lie other libraries, unless it is a helper in a folder of plugins.
        own, folder = folder.name, folder.parent
    return folder


def _is_there(place: Path) -> bool:
    return _file(place) is not None or any(place.glob("*.py"))


def _fronts(base: Path, parts: list[str]) -> list[Path]:
    """The `__init__.py` of the packages that an import passes through, but empty ones."""
    places = [base.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
    files = [place.resolve() for place in places if place.is_file()]
    return [file for file in files if read(file) != parse("")]


def _file(place: Path) -> Path | None:
    """The file of a module or package without its suffix, or None where there is none.

    The suite's plugins are imported as anchorbench.methods.<name> wherever their folder lies.
    """
    if place.is_relative_to(PACKAGE):
        parts = place.relative_to(PACKAGE).parts
        place = (SUITE if parts and parts[0] in METADATA else PACKAGE).joinpath(*parts)
    for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
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
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        source = Source(key, ())
    CACHE.put(key, source)
    return source


def parse(content: bytes | str) -> Source:
    """Return the digest of a file's tree, and its imports. Raises SyntaxError or ValueError."""
    tree = ast.parse(content)
    imports: list[Import] = []
    _leave_out_search(tree)
    text = canonical(tree, imports)
    roots = {name for i in imports if (name := _root(i))}
    for node in ast.walk(tree) if roots else ():
        if not isinstance(node, ast.Attribute) or node.attr not in _EXPORTS:
            continue
        if isinstance(node.value, ast.Name) and node.value.id in roots:
            imports.append(Import(0, "anchorbench", ((node.attr, ""),)))
    return Source(hashlib.sha256(text.encode()).hexdigest()[:20], tuple(imports))


def _leave_out_search(tree: ast.Module) -> None:
    """Take `search` out of METHOD: of all runs it decides the searched ones', which list trials."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == METADATA["methods"] for t in targets):
            held = node.value
            kept = [
                (key, value)
                for key, value in zip(held.keys, held.values, strict=True)
                if not (isinstance(key, ast.Constant) and key.value == "search")
            ]
            held.keys, held.values = [key for key, _ in kept], [value for _, value in kept]


def _root(statement: Import) -> str:
    """What the suite itself is called after an import; "" where it is not imported."""
    if statement.level or statement.module.split(".")[0] != "anchorbench":
        return ""
    if not statement.names:
        return "anchorbench"
    (name, bound), *_ = statement.names
    return bound if name == "" and statement.module == "anchorbench" else ""


def canonical(node: Any, imports: list[Import] | None = None) -> str:
    """Return a syntax tree as text, the same on every version of Python from 3.9 on.

    Without positions, empty fields, docstrings and `pass`, which stands for a body without any. Of
    imports of the suite only the names stand there, whatever the order of neighbours: their targets
    count by themselves. All imports are added to `imports`, name by name, in the order of the text.
    """
    imports = [] if imports is None else imports
    if isinstance(node, list):
        return "[" + ",".join(_items(node, imports)) + "]"
    if isinstance(node, ast.JoinedStr):
        return "JoinedStr([" + ",".join(_pieces(node, imports)) + "])"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name in _PASSED_OVER:
            continue
        if name == "body" and isinstance(node, _WITH_DOCSTRING) and _is_text(value[:1]):
            value = value[1:]
        text = canonical(value, imports)
        if text not in ("None", "[]"):
            fields.append(f"{name}={text}")
    return f"{type(node).__name__}({','.join(fields)})"


def _is_text(statements: list[Any]) -> bool:
    """Whether these are one string alone, as a docstring is."""
    expressions = [node.value for node in statements if isinstance(node, ast.Expr)]
    return any(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in expressions)


def _items(nodes: list[Any], imports: list[Import]) -> Iterator[str]:
    """The items of a list; imports of the suite that follow each other as one, sorted."""
    near: list[Import] = []
    for node in [*nodes, _END]:
        if _of_suite(node):
            near += _single(node)
            continue
        if near:
            # Of two that bind the same name the later wins: these stay in their order.
            near.sort(key=_bound)
            yield "Names(" + ",".join(map(_bound, near)) + ")"
            imports += near
            near = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            # The suite's among several modules of a statement come with its list of names.
            outside = [alias for alias in node.names if not _of_suite(alias)]
            of_one = isinstance(node, ast.ImportFrom)
            imports += _single(node) if of_one else [i for a in outside for i in _single(a)]
        if node is not _END and not isinstance(node, ast.Pass):
            yield canonical(node, imports)


def _single(node: Any) -> list[Import]:
    """An import statement, or one of its names, as imports of one name each."""
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        return [Import(node.level, module, ((a.name, a.asname or a.name),)) for a in node.names]
    aliases = node.names if isinstance(node, ast.Import) else [node]
    return [Import(0, a.name, (("", a.asname),) if a.asname else ()) for a in aliases]


def _bound(statement: Import) -> str:
    return statement.names[0][1] if statement.names else statement.module


def _pieces(node: ast.JoinedStr, imports: list[Import]) -> Iterator[str]:
    """Parts of an f-string; versions of Python cut its text at different places."""
    text = ""
    for part in [*node.values, None]:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        if text:
            yield ascii(text)
            text = ""
        if part is not None:
            yield canonical(part, imports)


def _of_suite(node: Any) -> bool:
    """Whether it imports from the suite, or relatively, under a name of its own."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or (node.module or "").split(".")[0] == "anchorbench"
    if isinstance(node, ast.Import):
        return all(_of_suite(alias) for alias in node.names)
    of_import = isinstance(node, ast.alias) and node.asname is not None
    return of_import and node.name.startswith("anchorbench.")


# The cache on disk: every job of a workflow reads the same files ----------------------------------


class _Cache:
    """What files were found to hold, by the sha256 of their bytes, in the user's cache folder.

    It saves time only: an entry counts if its checksum is right, and a cache that cannot be read
    or written is done without.
    """

    def __init__(self) -> None:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():  # without a home the "~" stays, and the cache is done without
            base = Path(os.path.expanduser("~"), ".cache")  # noqa: PTH111
        version = f"{VERSION}-{sys.version_info.major}.{sys.version_info.minor}"
        self.path = base / "anchorbench" / f"sources-{version}.json"
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
        if not self.new or not self.path.is_absolute():
            return
        self.new = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json_text({**self._load(), **(self.entries or {})}, indent=None))
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
