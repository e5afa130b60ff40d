"""Dependencies point one way, environments agree, and the tree says nothing it should not."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from anchorbench.study.plugins import METADATA, SUITE, discover

# Rooms from the ground up; a room knows those of its own floor never, and of lower floors all.
FLOORS = [
    {"data"},
    {"study", "models", "scores"},
    {"runs"},
    {"reporting"},
    {"cli", "dag", "estimators", "warm"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = SUITE / "anchorbench"
# conda-forge splits or renames some packages.
CONDA_NAMES = {"pytorch": "torch", "snakemake-minimal": "snakemake"}
CONDA_NAMES |= {"matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}


def imports(path: Path) -> set[str]:
    """Dotted names imported anywhere in a file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{a.name}" for a in node.names)})
    return names


def rooms(names: set[str]) -> set[str]:
    """First level below `anchorbench` of imported names."""
    return {name.split(".")[1] for name in names if name.startswith("anchorbench.")} & set(FLOOR)


def test_every_file_is_in_a_room():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == {
        room for room in FLOOR if not (PACKAGE / f"{room}.py").exists()
    }
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__", "__main__", "cli", "dag", "estimators", "warm"}


@pytest.mark.parametrize("room", sorted(room for room in FLOOR if (PACKAGE / room).is_dir()))
def test_rooms_know_lower_rooms_only(room):
    for path in (PACKAGE / room).rglob("*.py"):
        above = {other for other in rooms(imports(path)) if FLOOR[other] >= FLOOR[room]}
        assert above <= {room}, f"{path} imports {above - {room}}"


def test_no_two_modules_import_each_other():
    files = {module(path): path for path in PACKAGE.rglob("*.py")}
    arrows = {name: imports(path) & set(files) - {name} for name, path in files.items()}
    while free := [name for name, targets in arrows.items() if not targets & set(arrows)]:
        for name in free:
            del arrows[name]
    assert not arrows, f"these go round in circles: {sorted(arrows)}"


def module(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(SUITE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_front_door_of_a_room_holds_a_docstring_and_nothing_else():
    for path in PACKAGE.glob("*/**/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert [type(node) for node in body] == [ast.Expr], path


def test_functions_are_short():
    for path in [
        *PACKAGE.rglob("*.py"),
        *(p for kind in METADATA for p in (SUITE / kind).glob("*")),
    ]:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= 60, f"{path}: {node.name} has {lines} lines"


@pytest.mark.parametrize("kind", METADATA)
def test_plugins_import_the_library_and_no_other_plugin(kind):
    for path in (SUITE / kind).glob("*.py"):
        used = imports(path)
        assert rooms(used) <= {"data", "models", "scores"}, path
        assert not {name.split(".")[0] for name in used} & set(METADATA), path


def test_artefacts_need_no_store_nor_torch():
    for path in (PACKAGE / "reporting" / "artefacts").glob("*.py"):
        used = imports(path)
        assert "torch" not in {name.split(".")[0] for name in used}, path
        assert rooms(used) <= {"reporting", "scores", "runs", "study", "data"}, path
        of_runs = {name for name in used if name.startswith("anchorbench.runs.")}
        assert of_runs <= {"anchorbench.runs.status", "anchorbench.runs.status.Status"}, path


def test_planning_imports_no_torch():
    import subprocess
    import sys

    code = "import sys; from anchorbench import dag; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SUITE).returncode == 0


@pytest.mark.parametrize("kind", METADATA)
def test_every_plugin_has_usable_metadata(kind):
    found = discover(kind)
    assert found
    for plugin in found.values():
        assert plugin.broken is None
        assert plugin.meta["label"] != plugin.name, f"{plugin.path}: give it a label for people"


def test_protocol_and_setting_parameters_exist():
    for plugin in discover("methods").values():
        known = set(plugin.meta.get("params", {}))
        sets = [*plugin.meta.get("protocols", {}).values()]
        for setting in plugin.meta.get("settings", {}).values():
            nested = {k: v for k, v in setting.items() if k in ("published", "corrected")}
            sets += [{k: v for k, v in setting.items() if k not in nested}, *nested.values()]
        for values in sets:
            assert set(values) <= known, f"{plugin.path}: {set(values) - known}"


def test_environment_is_true_to_requirements():
    pinned = dict(
        line.split("==")
        for line in (SUITE / "requirements.txt").read_text().split("\n")
        if line and not line.startswith("#")
    )
    conda = yaml.safe_load((SUITE / "environment.yml").read_text())["dependencies"]
    versions = dict(item.split("=") for item in conda)
    assert versions.pop("python") == "3.11"
    assert {CONDA_NAMES.get(name, name): v for name, v in versions.items()} == pinned


def test_every_configuration_key_is_documented():
    schema = yaml.safe_load((SUITE / "workflow/schemas/config.schema.yaml").read_text())
    text = (SUITE / "config" / "README.md").read_text()
    dataset = schema["properties"]["datasets"]["additionalProperties"]["anyOf"][1]["properties"]
    for key in [*schema["properties"], *dataset]:
        assert re.search(rf"\b{key}\b", text), f"config/README.md does not explain {key}"


def test_links_in_the_documents_lead_somewhere():
    files = [
        file for at in (".", "config", "docs", "results") for file in (SUITE / at).glob("*.md")
    ]
    assert {SUITE / "README.md", SUITE / "CONTRIBUTING.md"} <= set(files)
    for file in files:
        for target in re.findall(r"\]\(([^)#:]+)[)#]", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_what_is_named_for_contributors_exists():
    text = (SUITE / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`([a-z_/]+/[a-z_]*(?:\.py|\.yaml|\.md|/))(?::(\w+))?[` ]", text)
    assert len(named) > 20
    for name, symbol in named:
        found = [base / name for base in (SUITE, PACKAGE) if (base / name).exists()]
        assert found, f"CONTRIBUTING.md: there is no {name}"
        if symbol:
            assert re.search(rf"(def|class) {symbol}\b", found[0].read_text()), (name, symbol)
