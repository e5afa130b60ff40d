"""Discovery and loading of plugins: one file in methods/, metrics/ or datasets/ is one plugin.

Three places are looked through: the suite's own folders, those of the study (the working folder),
and what other packages offer by entry points. Metadata is a literal dict at the top of the file,
read with `ast`, so that nothing is imported to find out what is there. A plugin is imported only by
the step that runs it, and fails alone.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from anchorbench.study import environments, metadata, search
from anchorbench.study.hints import suggest

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parent
"""Where the package lies: the checkout, unless it was installed."""
SUITE = CHECKOUT if (CHECKOUT / "workflow" / "Snakefile").is_file() else PACKAGE
"""Where the suite's own plugins, workflow and configurations lie: in the checkout beside the
package, in an installed suite inside it."""
METADATA = {"methods": "METHOD", "metrics": "METRIC", "datasets": "DATASET"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of datasets, settings, variants, sources and plugins: they become parts of paths, of
commands and of Snakemake's wildcards."""
NAMING = "use letters, digits, _, - and ., a letter or digit first, at most 64; labels are free"
FILE_PLUGIN = "file"
"""What stands for a plugin where a dataset is a user's own table."""
LIKELIHOODS = PACKAGE / "models" / "likelihoods"


class PluginError(Exception):
    """A plugin that cannot be used; the message names the file and what is wrong in it."""


@dataclass(frozen=True)
class Plugin:
    """A plugin as discovered: nothing of it has been imported yet.

    ``broken`` holds the reason when the file cannot even be parsed or has no usable metadata;
    ``module`` is the dotted name of what another package offers.
    """

    kind: str
    name: str
    path: Path
    meta: dict[str, Any] = field(hash=False)
    broken: str | None = None
    module: str | None = None

    @property
    def values(self) -> list[str]:
        """Names of the values that a metric gives."""
        return list(self.meta.get("values", [self.name]))


def is_name(text: str) -> bool:
    """Whether a text is a name that may stand in paths and commands."""
    return NAME.fullmatch(text) is not None


def literal(path: Path, variable: str) -> dict[str, Any]:
    """Return the literal dict assigned to `variable` at the top level of a Python file.

    Raises PluginError, naming the file, where it is missing or not a literal.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise PluginError(f"{path}: cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PluginError(
            f"{path}: not valid Python: {str(error) or type(error).__name__}"
        ) from None
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
            try:
                plain: dict[str, Any] = metadata.plain(value, variable)
            except ValueError as error:
                raise PluginError(f"{path}: {error}") from None
            return plain
    raise PluginError(f"{path}: no top-level {variable} = {{...}}; see {path.parent}/_template.py")


def discover(kind: str, root: Path | None = None) -> dict[str, Plugin]:
    """Return the plugins of a kind ("methods", "metrics" or "datasets") by name, sorted.

    Files that begin with "_" or "." are passed over. A file without usable metadata is returned as
    a broken plugin, so that it is reported instead of vanishing.

    Parameters
    ----------
    kind : str
    root : Path, optional
        Look in this folder's alone; by default in the suite's, the working folder's, and among
        what other packages offer.

    Raises
    ------
    PluginError
        Two files have the same name, or one has a name that cannot be used.
    """
    return _discover(kind, (root,) if root else tuple(dict.fromkeys((SUITE, Path.cwd().resolve()))))


@cache
def _discover(kind: str, roots: tuple[Path, ...]) -> dict[str, Plugin]:
    files = [path for root in roots for path in sorted((root / kind).glob("[!_.]*.py"))]
    packages = list(_offered(kind)) if SUITE in roots else []
    offered = [(name, path) for name, path, _ in packages]
    dotted = {name: module for name, _, module in packages}
    found: dict[str, Plugin] = {}
    for name, path in [*((path.stem, path) for path in files), *offered]:
        if not is_name(name) or (kind, name) == ("datasets", FILE_PLUGIN):
            taken = "the name stands for own tables" if name == FILE_PLUGIN else NAMING
            raise PluginError(f"{path}: rename it, {name!r} cannot be a name here: {taken}")
        if name in found:
            raise PluginError(
                f"{kind[:-1]} {name!r} exists twice: {found[name].path} and {path}: rename one"
            )
        try:
            meta, broken = {"label": name, **literal(path, METADATA[kind])}, None
            if reason := metadata.wrong_with(kind, meta):
                raise PluginError(f"{path}: {METADATA[kind]}: {reason}")
            _check_likelihoods(path, meta)
            if reason := search.wrong_with(meta):
                raise PluginError(f"{path}: {reason}")
            _check_environment(path, meta)
        except PluginError as error:
            meta, broken = {"label": name}, str(error)
        found[name] = Plugin(kind, name, path, meta, broken, module=dotted.get(name))
    return dict(sorted(found.items()))


@cache
def likelihoods() -> dict[str, dict[str, Any]]:
    """Return the metadata of every likelihood by name: its label and its kind of data."""
    files = sorted(LIKELIHOODS.glob("[!_]*.py"))
    return {file.stem: literal(file, "LIKELIHOOD") for file in files if file.stem != "base"}


def likelihood_file(name: str) -> Path:
    """The file of a likelihood."""
    return LIKELIHOODS / f"{name}.py"


def kind_of(likelihood: str) -> str:
    """The kind of data that a likelihood is of: "real", "counts", "binary"; "" if unknown."""
    return str(likelihoods().get(likelihood, {}).get("kind", ""))


def is_for(meta: dict[str, Any], likelihood: str) -> bool:
    """Whether a plugin is for data of a likelihood: named by itself or its kind, or none named."""
    named = meta.get("likelihoods")
    return named is None or bool({likelihood, kind_of(likelihood)} & set(named))


def _check_likelihoods(path: Path, meta: dict[str, Any]) -> None:
    """Raise PluginError for a likelihood, or a kind of data, that there is not."""
    named: list[str] = meta.get("likelihoods", [])
    own = [meta["likelihood"]] if "likelihood" in meta else []
    kinds = {about["kind"] for about in likelihoods().values()}
    for name in [*named, *own]:
        known = [*likelihoods(), *(sorted(kinds) if name not in own else ())]
        if name not in known:
            raise PluginError(f"{path}: no likelihood {name!r}; {suggest(str(name), known)}")


def _check_environment(path: Path, meta: dict[str, Any]) -> None:
    """Raise PluginError for libraries of a method's own that nothing can be made of."""
    try:
        environments.of(meta, path)
    except ValueError as error:
        raise PluginError(f"{path}: {error}") from None


def _offered(kind: str) -> Iterator[tuple[str, Path, str]]:
    """Name, file and module of what other packages offer as "anchorbench.<kind>"; none is imported.

    An entry point names a module, "package.module": the place of its top package is looked up, and
    the rest is taken to lie below it. A file that is not there makes a broken plugin.
    """
    for entry in importlib.metadata.entry_points(group=f"anchorbench.{kind}"):
        top, *below = entry.module.split(".")
        spec = importlib.util.find_spec(top)
        places = list(spec.submodule_search_locations or []) if spec is not None else []
        if spec is not None and not below and spec.origin is not None and not places:
            yield entry.name, Path(spec.origin), entry.module
            continue
        base = Path(places[0] if places else top).joinpath(*below)
        package = base / "__init__.py"
        file = package if package.is_file() else base.with_name(f"{base.name}.py")
        yield entry.name, file, entry.module


def load(plugin: Plugin) -> ModuleType:
    """Import a plugin, once in a process unless its file changes.

    The suite's own have the names anchorbench.methods.<name> and so on, under which pickles find
    them again. What lies beside a plugin can be imported by `from ._helper import …` and by
    `import _helper`.

    Raises PluginError with the original message when the import fails.
    """
    if plugin.broken:
        raise PluginError(plugin.broken)
    try:
        _reach(plugin.path.parent)
        if plugin.module is not None:
            return importlib.import_module(plugin.module)
        if plugin.path.parent.parent == SUITE:
            return importlib.import_module(f"anchorbench.{plugin.kind}.{plugin.name}")
        return _load_file(plugin.path, _contents(plugin.path.parent))
    except Exception as error:
        raise PluginError(
            f"{plugin.path} fails to import: {type(error).__name__}: {error}"
        ) from error


def _contents(folder: Path) -> str:
    """Digest of the Python files of a folder: a plugin's own file and what it may import."""
    sha = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        sha.update(file.read_bytes())
    return sha.hexdigest()


@cache
def _load_file(path: Path, contents: str) -> ModuleType:
    """Import a file as a module of a package of its folder's, anew if a file of it has changed."""
    folder = path.parent
    package = f"anchorbench_study_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    known = sys.modules.get(package)
    if known is None or known.__dict__["contents"] != contents:
        for name in [n for n in sys.modules if n.split(".")[0] == package]:
            del sys.modules[name]
        known = sys.modules[package] = ModuleType(package)
        known.__path__ = [str(folder)]
        known.__dict__["contents"] = contents
        _forget_bare(folder)
    spec = importlib.util.spec_from_file_location(f"{package}.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_reached: dict[Path, list[str]] = {}
"""By the parent of plugin folders, those that are importable: of one study, or the suite."""


def _reach(folder: Path) -> None:
    """Make what lies in a folder importable by its bare name, and nothing of another study."""
    own = _reached.setdefault(folder.parent, [])
    for other in [parent for parent in _reached if parent != folder.parent]:
        for place in _reached.pop(other):
            if place in sys.path:
                sys.path.remove(place)
            _forget_bare(Path(place))
    if str(folder) not in own:
        own.append(str(folder))
        sys.path.append(str(folder))


def _forget_bare(folder: Path) -> None:
    """Forget modules that were imported from a folder by their bare names."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." not in name and file and Path(file).parent == folder:
            del sys.modules[name]
