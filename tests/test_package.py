"""Outside the checkout: the wheel, a study of one's own, plugins from three places."""

import os
import pickle
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pandas as pd
import pytest
import yaml

from anchorbench.study import folder, plugins
from anchorbench.study.config import ConfigError
from anchorbench.study.plugins import SUITE, PluginError, discover, load

PCA = """from sklearn.decomposition import PCA
METHOD = {"label": "My PCA", "likelihoods": ["gaussian"], "params": {"whiten": False}}
def build(likelihood, n_latent, seed, **params):
    return PCA(n_components=n_latent, random_state=seed, **params)
"""
TINY = {
    "datasets": {
        "synthetic": {"replicates": 1, "n_latent": 2, "params": {"n": 60}},
        "simulated_counts": False,
    },
    "methods": ["my_pca", "floor"],
    "metrics": ["mse"],
    "artefacts": ["leaderboard"],
}
TEST_TOOLS = {"hypothesis", "hatchling", "pytest", "pytest-xdist", "ruff", "mypy", "snakefmt"}
TEST_TOOLS |= {"snakemake-executor-plugin-slurm", "py-rattler"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `anchorbench` command of an environment that has the wheel and none of the checkout."""
    place = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "wheel", *options, "--wheel-dir", place, SUITE], check=True)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "env", with_pip=False)
    # The heavy packages are those of the tests; what is there by the checkout's path is not.
    (site,) = (place / "env" / "lib").glob("python*/site-packages")
    (site / "heavy.pth").write_text(f"{Path(pd.__file__).parents[1]}\n")
    python = str(place / "env" / "bin" / "python")
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True)
    return place / "env" / "bin" / "anchorbench"


def call(command: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def study(installed, tmp_path_factory):
    """A study with a method of five lines, run."""
    empty = tmp_path_factory.mktemp("empty")
    done = call(installed, empty, "init", "study")
    assert done.returncode == 0, done.stderr
    assert "anchorbench run" in done.stdout
    at = empty / "study"
    (at / "methods" / "my_pca.py").write_text(PCA)
    (at / "config.yaml").write_text(yaml.safe_dump(TINY))
    done = call(installed, at, "run", "--cores", "2", "--quiet", "all")
    assert done.returncode == 0, done.stderr + done.stdout
    return at


def test_a_dropped_in_method_is_scored_and_in_the_report(study):
    scores = pd.read_csv(study / "results" / "scores.csv")
    assert set(scores["method"]) == {"my_pca", "floor"}
    assert "My PCA" in (study / "results" / "report.html").read_text()
    runs = pd.read_csv(study / "results" / "runs.csv")
    assert (runs["status"] == "done").all()


def test_what_ran_was_the_installed_suite(installed, study):
    code = "import anchorbench; print(anchorbench.__file__)"
    found = call(installed.with_name("python"), study, "-c", code).stdout
    assert str(installed.parents[1]) in found
    manifest = (study / "results" / "manifest.json").read_text()
    assert '"git_commit": "anchorbench 0.1.0"' in manifest


def test_a_second_call_does_nothing_and_the_report_can_be_made_again(installed, study):
    before = (study / "results" / "scores.csv").stat().st_mtime_ns
    assert call(installed, study, "run", "--cores", "1").returncode == 0
    assert (study / "results" / "scores.csv").stat().st_mtime_ns == before
    (study / "results" / "report.html").unlink()
    assert call(installed, study, "report").returncode == 0
    assert (study / "results" / "report.html").exists()


def test_a_second_study_shares_nothing(installed, study, tmp_path):
    assert call(installed, tmp_path, "init", "other").returncode == 0
    other = tmp_path / "other"
    (other / "config.yaml").write_text(yaml.safe_dump({**TINY, "methods": ["floor"]}))
    done = call(installed, other, "plan")
    assert "floor" in done.stdout and "my_pca" not in done.stdout
    assert not (other / "results").exists()
    done = call(installed, other, "plan", "--config", "methods=[my_pca]")
    assert done.returncode == 2 and "no 'my_pca'" in done.stderr


def test_a_name_that_exists_already_names_both_files(installed, study, tmp_path):
    assert call(installed, tmp_path, "init", "clash").returncode == 0
    own = tmp_path / "clash" / "methods" / "vae.py"
    own.write_text(PCA)
    done = call(installed, tmp_path / "clash", "plan")
    assert done.returncode == 2
    assert str(own) in done.stderr
    assert str(Path("anchorbench", "methods", "vae.py")) in done.stderr


def test_without_a_configuration_there_is_a_remedy(installed, tmp_path):
    done = call(installed, tmp_path, "plan")
    assert done.returncode == 2 and "anchorbench init FOLDER" in done.stderr


def test_a_study_as_written_is_valid_and_written_once(tmp_path, monkeypatch):
    written = folder.init(tmp_path / "a" / "b")
    assert {path.name for path in written} >= {"config.yaml", "Snakefile", ".gitignore"}
    assert len((tmp_path / "a" / "b" / "Snakefile").read_text().splitlines()) == 2
    (tmp_path / "a" / "b" / "config.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"config\.yaml is there already: name another folder"):
        folder.init(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "config.yaml").read_text() == "mine"


ADDED = {
    "-n": {"--cores", "--snakefile", "--workflow-profile"},
    "-c 4": {"--snakefile", "--workflow-profile"},
    "-c4 -n": {"--snakefile", "--workflow-profile"},
    "-j2": {"--snakefile", "--workflow-profile"},
    "--core 2": {"--snakefile", "--workflow-profile"},
    "--cores=3 -- x": {"--snakefile", "--workflow-profile"},
    "-sFile --profile p": {"--workflow-profile"},
    "--workflow-profile p --snakefile f --executor slurm": set(),
    "-- --cores": {"--cores", "--snakefile", "--workflow-profile"},
    "--config cores=3": {"--cores", "--snakefile", "--workflow-profile"},
}


@pytest.mark.parametrize("given", ADDED)
def test_arguments_of_snakemake_are_passed_on_and_completed(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    arguments = given.split()
    found = folder.snakemake_arguments(arguments)
    assert found[len(found) - len(arguments) :] == arguments, "what is added stands before a --"
    assert {a for a in found[: -len(arguments)] if a.startswith("--")} == ADDED[given]
    (tmp_path / "Snakefile").touch()
    (tmp_path / "profiles" / "default").mkdir(parents=True)
    added = set(folder.snakemake_arguments(arguments)[: -len(arguments)])
    assert not added & {"--snakefile", "--workflow-profile"}


def test_a_file_in_the_way_of_a_study_gets_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be made a study .*: name another folder"):
        folder.init(tmp_path / "file")


# Plugins ------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    (tmp_path / "methods").mkdir()
    yield tmp_path
    plugins._discover.cache_clear()


def write(root: Path, name: str, text: str) -> Path:
    path = root / "methods" / f"{name}.py"
    path.write_text(text)
    plugins._discover.cache_clear()
    return path


HELPED = 'METHOD = {{"label": "x"}}\n{0}\ndef build(*_, **__):\n    return {1}'
HELPERS = {
    "from ._help import f": "f()",
    "from . import _help": "_help.f()",
    "import _help": "_help.f()",
    "from _help import f": "f()",
}


@pytest.mark.parametrize("statement", HELPERS)
def test_a_plugin_reaches_what_lies_beside_it_and_nothing_of_others(tmp_path, statement):
    found = []
    for value in ("one", "two"):
        at = tmp_path / value
        (at / "methods").mkdir(parents=True)
        write(at, "_help", f"def f():\n    return {value!r}")
        write(at, "mine", HELPED.format(statement, HELPERS[statement]))
        found.append(load(discover("methods", at)["mine"]).build())
    assert found == ["one", "two"]


def test_a_plugin_is_imported_once_until_it_changes(root):
    write(root, "mine", PCA)
    first = load(discover("methods", root)["mine"])
    assert load(discover("methods", root)["mine"]) is first
    write(root, "mine", PCA.replace("My PCA", "Other"))
    assert load(discover("methods", root)["mine"]).METHOD["label"] == "Other"


def test_fitted_models_of_the_suite_are_unpickled_by_a_fresh_process(tmp_path):
    model = load(discover("methods")["floor"]).build("gaussian", 2, 0)
    (tmp_path / "model").write_bytes(pickle.dumps(model))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'model')!r}, 'rb')).n_latent)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SUITE, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2"


def test_two_plugins_of_one_name_are_refused(root, monkeypatch):
    own = write(root, "vae", PCA)
    monkeypatch.chdir(root)
    plugins._discover.cache_clear()
    with pytest.raises(PluginError, match=re.escape(str(own))) as error:
        discover("methods")
    assert str(SUITE / "methods" / "vae.py") in str(error.value)


@pytest.fixture
def offers(root, monkeypatch):
    """A package that offers plugins: `offers(points)` writes its entry points."""
    package = root / "offers" / "deep"
    package.mkdir(parents=True)
    (root / "offers" / "__init__.py").write_text("")
    (package / "__init__.py").write_text(PCA.replace("My PCA", "A package"))
    (package / "theirs.py").write_text("from ..helper import NAME\n" + PCA)
    (root / "offers" / "helper.py").write_text("NAME = 1")
    about = root / "offers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offers\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(root)

    def write(points):
        (about / "entry_points.txt").write_text(f"[anchorbench.methods]\n{points}\n")
        plugins._discover.cache_clear()
        return discover("methods")

    yield write
    for name in [n for n in sys.modules if n.split(".")[0] == "offers"]:
        del sys.modules[name]


def test_other_packages_offer_plugins_by_entry_points(offers):
    found = offers("nice = offers.deep.theirs")["nice"]
    assert found.meta["label"] == "My PCA" and found.broken is None
    assert "offers" not in sys.modules, "nothing is imported to find it"
    assert load(found).NAME == 1
    assert offers("whole = offers.deep")["whole"].meta["label"] == "A package"


@pytest.mark.parametrize("points", ["x = offers.nowhere", "x = no_such_package.deep"])
def test_a_package_that_offers_what_is_not_there_is_broken_alone(offers, points):
    found = offers(points)
    assert "cannot be read" in found["x"].broken
    assert found["vae"].broken is None


def test_estimators_of_a_study_are_pickled_after_others_were_loaded(root):
    write(root, "_help", "def f():\n    return 1")
    text = PCA + "class Own:\n    x = 1\n"
    for name in ("one", "two"):
        write(root, name, text)
    modules = [load(discover("methods", root)[name]) for name in ("one", "two")]
    assert pickle.loads(pickle.dumps(modules[0].Own())).x == 1


def test_helpers_are_reached_when_a_plugin_works_too(root, tmp_path):
    write(root, "_help", "def f():\n    return 'late'")
    write(
        root,
        "mine",
        'METHOD = {"label": "x"}\ndef build():\n    import _help\n    return _help.f()',
    )
    mine = load(discover("methods", root)["mine"])
    (root / "metrics").mkdir()
    (root / "metrics" / "other.py").write_text('METRIC = {"label": "y"}')
    load(discover("metrics", root)["other"])
    assert mine.build() == "late"


def test_the_packages_needed_are_those_of_requirements():
    project = tomllib.loads((SUITE / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", item)[0] for item in project["dependencies"]}
    lines = (SUITE / "requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    assert needed == pinned - TEST_TOOLS
