"""Dependencies point one way, environments agree, and the tree says nothing it should not."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from anchorbench.plugins import METADATA, ROOT, discover

STEPS = {"cli", "collect", "config", "dag", "digest", "fitting", "guard", "plan", "preparing"}
STEPS |= {"publish", "scoring", "store", "__main__", "plugins", "provenance", "seeds"}
RESULTS = {"artefacts", "results", "render", "report"}
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


def modules(names: set[str]) -> set[str]:
    """First level below `anchorbench` of imported names."""
    return {name.split(".")[1] for name in names if name.startswith("anchorbench.")}


@pytest.mark.parametrize("kind", METADATA)
def test_plugins_import_the_library_and_no_other_plugin(kind):
    for path in (ROOT / kind).glob("*.py"):
        used = imports(path)
        assert not modules(used) & (STEPS | RESULTS), path
        assert not {name.split(".")[0] for name in used} & set(METADATA), path


def test_the_library_does_not_know_the_steps():
    for path in (ROOT / "anchorbench").glob("*.py"):
        if path.stem not in STEPS | RESULTS | {"__init__"}:
            assert not modules(imports(path)) & ((STEPS | RESULTS) - {"seeds"}), path


def test_artefacts_need_no_store_nor_torch():
    for path in (ROOT / "anchorbench" / "artefacts").glob("*.py"):
        used = imports(path)
        assert "torch" not in {name.split(".")[0] for name in used}, path
        assert not modules(used) & (STEPS - {"plugins"}), path


def test_planning_imports_no_torch():
    import subprocess
    import sys

    code = "import sys; from anchorbench import dag; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("kind", METADATA)
def test_every_plugin_has_usable_metadata(kind):
    found = discover(kind)
    assert found
    for plugin in found.values():
        assert plugin.broken is None
        assert plugin.meta["label"] != plugin.name, f"{plugin.path}: give it a label for people"
        likelihoods = plugin.meta.get("likelihoods", [plugin.meta.get("likelihood", "gaussian")])
        assert set(likelihoods) <= {"gaussian", "multinomial"}, plugin.path


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
        for line in (ROOT / "requirements.txt").read_text().split("\n")
        if line and not line.startswith("#")
    )
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    versions = dict(item.split("=") for item in conda)
    assert versions.pop("python") == "3.11"
    assert {CONDA_NAMES.get(name, name): v for name, v in versions.items()} == pinned


def test_every_configuration_key_is_documented():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    text = (ROOT / "config" / "README.md").read_text()
    dataset = schema["properties"]["datasets"]["additionalProperties"]["anyOf"][1]["properties"]
    for key in [*schema["properties"], *dataset]:
        assert re.search(rf"\b{key}\b", text), f"config/README.md does not explain {key}"


def test_links_in_the_documents_lead_somewhere():
    files = [file for at in (".", "config", "docs", "results") for file in (ROOT / at).glob("*.md")]
    assert {ROOT / "README.md", ROOT / "CONTRIBUTING.md"} <= set(files)
    for file in files:
        for target in re.findall(r"\]\(([^)#:]+)[)#]", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
