"""Digests of source: what code does counts, what it looks like and where it lies does not."""

import json
import re
import shutil
from pathlib import Path

import pytest

from anchorbench.study import config, plan, plugins, recipe, source
from anchorbench.study.source import parse, source_digest

CODE = '''
"""Doc."""
import os
import numpy as np

RATE = 0.5


class Model:
    """Doc."""

    width: int = 3

    def fit(self, X, *, rate=RATE):
        """Doc."""
        # why
        return f"{X!r:>{self.width}}" if rate > 1 else X[1:-1]
'''
SAME = {
    "a comment": CODE.replace("# why", "# because"),
    "no comment": CODE.replace("        # why\n", ""),
    "a docstring": CODE.replace("Doc.", "Another text\n\n    of two lines."),
    "no docstring": CODE.replace('        """Doc."""\n', ""),
    "blank lines and brackets": CODE.replace("RATE = 0.5", "\n\nRATE = (\n    0.5\n)"),
    "quotes": CODE.replace('"Doc."', "'Doc.'").replace('""', "''"),
    "no docstring but pass": CODE.replace('    """Doc."""\n\n', "    pass\n\n", 1),
    "a number's notation": CODE.replace("0.5", "5e-1"),
}
OTHER = {
    "a constant": CODE.replace("0.5", "0.6"),
    "an operator": CODE.replace("rate > 1", "rate >= 1"),
    "a default": CODE.replace("width: int = 3", "width: int = 4"),
    "a name": CODE.replace("Model", "Other"),
    "an import": CODE.replace("import os", "import sys"),
    "an alias": CODE.replace("numpy as np", "numpy as xp"),
    "a decorator": CODE.replace("    def fit", "    @staticmethod\n    def fit"),
    "a slice": CODE.replace("[1:-1]", "[1:]"),
    "a format": CODE.replace("!r:>", "!s:>"),
    "a type of constant": CODE.replace("width: int = 3", "width: int = 3.0"),
    "a string that is no docstring": CODE.replace("RATE = 0.5", 'RATE = 0.5\n"text"'),
}


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(source.CACHE, "path", tmp_path / "cache" / "sources.json")
    monkeypatch.setattr(source.CACHE, "entries", None)
    source.clear()
    yield
    source.clear()
    plugins._discover.cache_clear()


@pytest.mark.parametrize("change", SAME)
def test_looks_do_not_count(change):
    assert SAME[change] != CODE
    assert parse(SAME[change]).tree == parse(CODE).tree


@pytest.mark.parametrize("change", OTHER)
def test_what_code_does_counts(change):
    assert OTHER[change] != CODE
    assert parse(OTHER[change]).tree != parse(CODE).tree


def test_a_body_of_a_docstring_alone_is_a_body():
    assert parse('def f():\n    """A."""').tree == parse('def f():\n    """B."""').tree
    assert parse('class A:\n    """A."""').tree != parse("class A:\n    x = 1").tree


def test_the_text_is_the_same_on_every_python():
    text = source.canonical(source.ast.parse("def f(a, b=1):\n    'doc'\n    return a[b]"))
    assert text == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='a'),arg(arg='b')],"
        "defaults=[Constant(value=1)]),body=[Return(value=Subscript(value=Name(id='a'),"
        "slice=Name(id='b')))])])"
    )


def digest_of(folder: Path, **files: str) -> str:
    """The digest of plugin.py beside other files."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    source.clear()
    return source_digest(folder / "plugin.py")


IMPORTS = [
    "from ._help import f",
    "from . import _help",
    "import _help",
    "from _help import f",
    "def g():\n    from _help import f\n    return f",
    "import _help as h",
]


@pytest.mark.parametrize("statement", IMPORTS)
def test_a_helper_beside_a_plugin_counts(tmp_path, statement):
    before = digest_of(tmp_path, plugin=statement, _help="def f():\n    return 1")
    assert digest_of(tmp_path, _help="def f():\n    return 1  # one") == before
    assert digest_of(tmp_path, _help="def f():\n    return 2") != before


def test_helpers_of_helpers_count_and_circles_end(tmp_path):
    files = {"plugin": "import _a", "_a": "import _b", "_b": "import _a\nX = 1"}
    before = digest_of(tmp_path, **files)
    assert digest_of(tmp_path, _b="import _a\nX = 2") != before
    assert digest_of(tmp_path, _b="import _a\nX = 1") == before


def test_packages_beside_a_plugin_count(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").write_text("")
    (tmp_path / "tools" / "deep.py").write_text("X = 1")
    before = digest_of(tmp_path, plugin="from tools.deep import X")
    (tmp_path / "tools" / "deep.py").write_text("X = 2")
    assert digest_of(tmp_path) != before


def test_a_file_that_is_no_python_counts_by_its_bytes(tmp_path):
    assert digest_of(tmp_path, plugin="def") != digest_of(tmp_path, plugin="def ")


# Pairs of a plugin and its helpers that do other things.
UNLIKE = {
    "the front of a package": [
        ("from ._p.inner import f", {"_p/__init__": f"import os\nX = {x}", "_p/inner": "f = 1"})
        for x in (1, 2)
    ],
    "a neighbour of a package": [
        ("from _p.inner import f", {"_p/__init__": "", "_p/inner": "import _q", "_q": f"X = {x}"})
        for x in (1, 2)
    ],
    "a package without a front": [
        ("from _p import inner", {"_p/inner": f"X = {x}"}) for x in (1, 2)
    ],
    "branches of imports": [
        (f"if A:\n from ._{x} import f\nelse:\n from ._{y} import f", {"_a": "f=1", "_b": "f=2"})
        for x, y in ("ab", "ba")
    ],
    "the later of two of a name": [
        ("\n".join(f"from anchorbench.data.dataset import {n} as f" for n in names), {})
        for names in (("dense", "kfold"), ("kfold", "dense"))
    ],
    "the function that imports": [
        (text.format("from anchorbench.data.dataset import kfold as f\n ", ""), {})
        for text in (
            "def a():\n {0}return f\ndef b():\n {1}return f",
            "def a():\n {1}return f\ndef b():\n {0}return f",
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", UNLIKE)
def test_whatever_is_imported_and_where_counts(tmp_path, case):
    found = []
    for number, (plugin, helpers) in enumerate(UNLIKE[case]):
        folder = tmp_path / str(number) / "methods"
        folder.mkdir(parents=True)
        for name in helpers:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        found.append(digest_of(folder, plugin=plugin, **helpers))
    assert found[0] != found[1]


def test_of_a_package_of_plugins_its_own_files_count_and_no_other_library(tmp_path):
    for name in ("theirs/__init__", "theirs/_own", "theirs/deep/__init__", "other/__init__"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("X = 1" if name.endswith("_own") else "")
    plugin = tmp_path / "theirs" / "deep" / "plugin.py"
    plugin.write_text("import other\nfrom theirs._own import X")
    assert set(source.sources(plugin)) == {"deep/plugin.py", "theirs/_own.py"}


SEEN = {
    "import anchorbench\nanchorbench.kfold()": "anchorbench/data/dataset.py",
    "import anchorbench as ab\nab.kfold()": "anchorbench/data/dataset.py",
    "import os, anchorbench.data.dataset as d": "anchorbench/data/dataset.py",
    "import anchorbench.methods.vae": "methods/vae.py",
    "from anchorbench.methods.vae import build": "methods/vae.py",
    "from anchorbench.methods import vae": "methods/vae.py",
}


@pytest.mark.parametrize("plugin", SEEN)
def test_every_way_to_a_file_of_the_suite_is_seen(tmp_path, plugin):
    (tmp_path / "plugin.py").write_text(plugin)
    found = source.sources(tmp_path / "plugin.py")
    assert SEEN[plugin] in found
    assert "anchorbench/__init__.py" not in found, "a new version of the suite re-keys nothing"


@pytest.mark.parametrize("text", ["x = " + "-" * 200_000, "x = " + "1 + " * 5000, "x = 1\0"])
def test_code_beyond_the_parser_counts_by_its_bytes(tmp_path, text):
    one, two = (digest_of(tmp_path, plugin=f"{text}{end}") for end in (1, 2))
    assert one != two and source.VERSION


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_cache_needs_no_home(tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.setattr(source.os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(source, "CACHE", source._Cache())
    digest_of(tmp_path, plugin="x = 1")
    assert [path.name for path in tmp_path.iterdir()] == ["plugin.py"]


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A copy of the suite's code whose files can be changed; `recipes` plans on it."""
    root = tmp_path / "suite"
    for folder in ("anchorbench", "methods", "datasets", "metrics"):
        shutil.copytree(
            plugins.SUITE / folder, root / folder, ignore=shutil.ignore_patterns("__pyc*")
        )
    monkeypatch.setattr(source, "PACKAGE", root / "anchorbench")
    return root


def codes(root: Path) -> dict[str, str]:
    """Digest of every method of a copy of the suite."""
    source.clear()
    return {file.stem: source_digest(file) for file in (root / "methods").glob("[!_]*.py")}


DEEP = {"vae", "beta_vae", "sparse_vae", "oi_vae", "vsc"}


def changed(root: Path, name: str, old: str, new: str) -> set[str]:
    """The methods whose digest changes with a file of the suite."""
    before, file = codes(root), root / "anchorbench" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    after = codes(root)
    file.write_text(text)
    return {method for method in before if before[method] != after[method]}


def test_a_change_in_the_suite_counts_for_those_that_import_it(suite):
    assert changed(suite, "models/nets.py", "ALIGN = 16", "ALIGN = 16  # floats") == set()
    assert changed(suite, "models/nets.py", "ALIGN = 16", "ALIGN = 32") >= DEEP
    assert not changed(suite, "models/nets.py", "ALIGN = 16", "ALIGN = 32") & {
        "nmf",
        "lda",
        "floor",
    }
    assert changed(suite, "models/masked_decoder.py", "KEEP = 2 / 3", "KEEP = 1") == {"sparse_vae"}
    assert changed(suite, "models/factorisation.py", "ConvergenceWarning", "UserWarning") == {
        "nmf", "kl_nmf", "lda",
    }  # fmt: skip
    assert changed(suite, "runs/store.py", "class Store", "class Storage") == set()


def moved(statement: re.Match[str]) -> str:
    """An import from models, for priors lying elsewhere."""
    names = [name for name in statement[1].split(", ") if name != "priors"]
    stay = f"from anchorbench.models import {', '.join(names)}\n" if names else ""
    return stay + "import anchorbench.elsewhere.beliefs as priors"


def test_moving_modules_changes_nothing(suite):
    before, package = codes(suite), suite / "anchorbench"
    (package / "elsewhere").mkdir()
    (package / "models" / "masked_decoder.py").rename(package / "elsewhere" / "tiles.py")
    (package / "models" / "priors.py").rename(package / "elsewhere" / "beliefs.py")
    for file in [*package.rglob("*.py"), *(suite / "methods").glob("*.py")]:
        text = file.read_text().replace("models.masked_decoder", "elsewhere.tiles")
        file.write_text(re.sub(r"from anchorbench.models import (.*\bpriors\b.*)", moved, text))
    assert codes(suite) == before


def test_names_that_are_bound_count(tmp_path):
    one = digest_of(tmp_path, plugin="from anchorbench.models.nets import linear as f")
    assert digest_of(tmp_path, plugin="from anchorbench.models.nets import uniform as f") != one
    assert digest_of(tmp_path, plugin="from anchorbench.models.nets import linear as g") != one


def test_lazy_names_lead_to_their_module(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("from anchorbench import Dataset")
    assert "anchorbench/data/dataset.py" in source.sources(plugin)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\xff\xfe\x00"),
        lambda file: file.write_text("[" * 100_000),
        lambda file: file.write_text("[1, 2]"),
        lambda file: file.write_text(file.read_text().replace("[]", '["x"]')),
        lambda file: file.write_text(file.read_text().replace("0", "1")),
        lambda file: file.unlink(),
    ],
)
def test_a_damaged_cache_changes_no_digest(tmp_path, damage):
    before = digest_of(tmp_path, plugin="import _help\nX = 10", _help="Y = 20")
    assert source.CACHE.path.exists()
    damage(source.CACHE.path)
    source.CACHE.entries = None
    assert digest_of(tmp_path) == before


def test_a_cache_is_used_and_one_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    before = digest_of(tmp_path, plugin="X = 1")
    assert len(json.loads(source.CACHE.path.read_text())) == 1
    source.CACHE.entries = None
    source.clear()
    with monkeypatch.context() as patch:
        patch.setattr(source, "parse", None)
        assert source_digest(tmp_path / "plugin.py") == before
    monkeypatch.setattr(source.CACHE, "path", tmp_path / "plugin.py" / "no" / "folder")
    source.CACHE.entries = None
    assert digest_of(tmp_path, plugin="X = 1") == before


# Files that a configuration names -----------------------------------------------------------------


def key_of(**entry: object) -> str:
    """The key of the prepared data of an own table."""
    source.clear()
    recipe.contents.clear()
    entry = {"likelihood": "gaussian", **entry}
    made = plan.make(config.merge(config.DEFAULTS, {"datasets": {"mine": entry}}))
    return made.instances["mine", "shared"].data_key


FORMS = {
    "plain": str,
    "file": lambda path: f"file://{path}",
    "home": lambda path: f"~/{path.name}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", ["table", "features"])
def test_contents_of_files_that_a_config_names_count(tmp_path, monkeypatch, form, which):
    monkeypatch.setenv("HOME", str(tmp_path))
    files = {"table": tmp_path / "t.npz", "features": tmp_path / "names.txt"}
    for file in files.values():
        file.write_text("one")
    entry = {"file": FORMS[form](files["table"]), "features": FORMS[form](files["features"])}
    before = key_of(**entry)
    (tmp_path / "other").mkdir()
    copy = shutil.copy(files["table"], tmp_path / "other" / "t.npz")
    assert key_of(**{**entry, "file": str(copy)}) == before, "a path is not a content"
    copy = shutil.copy(files["features"], tmp_path / "other" / "names.txt")
    assert key_of(**{**entry, "features": str(copy)}) == before
    files[which].write_text("two")
    assert key_of(**entry) != before


def test_the_kind_of_a_table_counts(tmp_path):
    for name in ("t.csv", "t.tsv"):
        (tmp_path / name).write_text("the same")
    assert key_of(file=str(tmp_path / "t.csv")) != key_of(file=str(tmp_path / "t.tsv"))


def test_files_that_parameters_name_count_by_their_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plugin = plugins.discover("methods")["nmf"]

    def key(name: str, text: str) -> dict[str, object]:
        (tmp_path / name).write_text(text)
        recipe.contents.clear()
        return recipe.of_run("data", {}, plugin, "nmf", {"init": [f"./{name}"]}, 0)

    assert key("a.txt", "one") == key("b.txt", "one") != key("b.txt", "two")
    (tmp_path / "train").write_text("no parameter")
    assert recipe.of_data(plugin, {"fit_on": "train"}, {}, {})["params"] == {"fit_on": "train"}


@pytest.mark.parametrize("name", ["t.features.txt", "features.tsv", "features.tsv.gz", "genes.tsv"])
def test_names_beside_a_matrix_count(tmp_path, name):
    (tmp_path / "t.mtx").write_text("matrix")
    before = key_of(file=str(tmp_path / "t.mtx"))
    (tmp_path / name).write_text("a\nb")
    first = key_of(file=str(tmp_path / "t.mtx"))
    (tmp_path / name).write_text("a\nc")
    assert len({before, first, key_of(file=str(tmp_path / "t.mtx"))}) == 3


def test_a_local_source_counts_by_its_content_unless_a_checksum_is_stated(tmp_path):
    file = tmp_path / "raw.zip"
    file.write_text("one")
    about = {"url": f"file://{file}"}
    plugin = plugins.discover("datasets")["synthetic"]
    before = recipe.of_data(plugin, {}, {"raw": about}, {})
    stated = recipe.of_data(plugin, {}, {"raw": {**about, "sha256": "0" * 64}}, {})
    file.write_text("two")
    recipe.contents.clear()
    assert recipe.of_data(plugin, {}, {"raw": about}, {}) != before
    assert recipe.of_data(plugin, {}, {"raw": {**about, "sha256": "0" * 64}}, {}) == stated


def test_the_rule_of_seeds_counts(suite, monkeypatch):
    plugin = plugins.discover("methods")["nmf"]
    monkeypatch.setattr(recipe, "SEEDS", suite / "anchorbench" / "study" / "seeds.py")
    before = recipe.of_run("data", {}, plugin, "nmf", {}, 0)
    file = suite / "anchorbench" / "study" / "seeds.py"
    file.write_text(file.read_text().replace(">> 1", ">> 2"))
    source.clear()
    assert recipe.of_run("data", {}, plugin, "nmf", {}, 0) != before
