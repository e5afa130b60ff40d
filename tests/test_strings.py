"""Whatever a label, a reason, a feature or a class is called: every artefact is made, and says it.

One example gives a different text to everything that has a name, so that a few examples go through
all places in all formats.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest
from fake_results import METHODS, demo_datasets, fake, fake_runs, instance
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anchorbench.cli import main
from anchorbench.reporting import catalogue, collect, render, text
from anchorbench.reporting.artefacts import _style
from anchorbench.reporting.results import Results, load_results

BAD = [
    "\ud800 half a pair",
    "two\nlines\r\nand\x85more\u2028end",
    "A|B \\| C\\",
    r"$\frac$ a$b$ $",
    "_hidden",
    "漢字 كتاب हिन्दी 🧬",
    "\u202eright to left",
    "**bold** [x](y) <b>&amp;</b> # - {} %s {0} \\textbf{",
    "",
    " \t ",
    "nan",
    "007",
    "\x00\x1b[31m",
    "\ufffe\U0010ffff",
]
ANYTHING = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)


def named_by(texts: list[str]) -> Results:
    """Made-up results in which every text of users is one of `texts`, in turn."""
    place = iter(range(10_000))

    def next_text() -> str:
        return texts[next(place) % len(texts)]

    zeisel = {"zeisel": instance("zeisel", n_rows=753)}
    methods = {m: next_text() for m in ("sparse_vae", "vae", "nmf", "floor")}
    lost = [("zeisel", "vae", "published", 1, "failed", next_text())]
    lost += [("synthetic_rho0", "vae", "published", 0, "diverged", next_text())]
    small = {name: about for name, about in demo_datasets().items() if name != "synthetic_rho0.8"}
    results = fake(small | zeisel, methods, replicates=2, failures=lost)
    manifest = results.manifest
    for about in [*manifest["datasets"].values(), *manifest["methods"].values()]:
        about["label"] = next_text()
    for about in manifest["metrics"].values():
        about["label"] = next_text()
        about["values"] = {name: next_text() for name in about.get("values", {})} or about.get("x")
        if about["values"] is None:
            del about["values"]
    manifest["datasets"]["zeisel"]["class_name"] = next_text()
    manifest["metric_failures"] = [
        {"dataset": "zeisel", "method": "nmf", "protocol": "published", "replicate": 0}
        | {"metric": "mse", "reason": next_text()}
    ]
    return Results(results.scores, results.runs, manifest)


def build_all(results: Results, texts: list[str], folder) -> None:
    """What the steps do: collect's files, then each artefact from them and its extract."""
    collect.write(results, folder)
    loaded = load_results(*(folder / n for n in ("scores.csv", "runs.csv", "manifest.json")))
    for name, about in catalogue.discover().items():
        if about["extract"]:
            runs = [
                run
                for dataset, data in loaded.datasets.items()
                if data["plugin"] in about["datasets"]
                for run in fake_runs(loaded, dataset)
            ]
            for run in runs:
                run.features = [texts[j % len(texts)] for j in range(len(run.features))]
                run.labels = {
                    name: tuple(
                        pd.Series(c).map(lambda k: texts[len(k) % len(texts)]) for c in both
                    )
                    for name, both in (run.labels or {}).items()
                }
            extract = catalogue.extract(name, runs)
            extract.to_csv(folder / f"{name}.csv", index=False)
            loaded.extract = catalogue_extract(folder / f"{name}.csv", loaded)
        for path in catalogue.build(name, loaded, folder):
            content = path.read_bytes()
            assert content, path.name
            if path.suffix in (".csv", ".md", ".tex"):
                content.decode("utf-8")
            if path.suffix == ".md":
                _same_columns(content.decode("utf-8"))


def catalogue_extract(path, results):
    from anchorbench.reporting.results import read_extract

    return read_extract(path, results.protocols)


def _same_columns(markdown: str) -> None:
    """Every line of a pipe table has as many cells as its head."""
    width = None
    for line in markdown.split("\n"):
        cells = line.replace(r"\|", "").count("|")
        width = (width or cells) if line.startswith("|") else None
        assert width in (None, cells), line


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@example(texts=BAD)
@given(texts=st.lists(ANYTHING, min_size=3, max_size=9))
def test_every_artefact_is_made_whatever_things_are_called(tmp_path_factory, texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "DPI", 40)
        build_all(named_by(texts), texts, tmp_path_factory.mktemp("named"))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(raw=ANYTHING)
def test_clean_text_is_one_line_that_files_hold(raw):
    cleaned = text.clean(raw)
    cleaned.encode("utf-8")
    assert text.clean(cleaned) == cleaned
    assert cleaned.splitlines() in ([], [cleaned]) and cleaned == cleaned.strip()
    assert len(cleaned) <= len(raw)
    if raw.isprintable() and raw.isascii():
        assert cleaned.split() == raw.split()


def test_cleaning_keeps_what_is_fine():
    for fine in ("β-VAE", "漢字", "a|b", "$5", "é", "x₁ − y"):
        assert text.clean(fine) == fine
    assert text.clean("a\n b\ud800") == "a b\N{REPLACEMENT CHARACTER}"


def test_labels_name_one_method_each():
    labels = {"a": "Mine", "b": "Mine", "c": "", "d": "Other"}
    assert text.distinct(labels) == {"a": "Mine (a)", "b": "Mine (b)", "c": "c", "d": "Other"}


def test_characters_that_the_font_lacks_are_told_apart():
    assert _style.legible("β-VAE, λ₀") == "β-VAE, λ₀"
    assert _style.legible("漢") != _style.legible("字")
    assert _style.legible("a漢") == "a\\u6f22"


def test_features_and_classes_are_text_as_they_stand(tmp_path):
    frame = pd.DataFrame({"dataset": ["d"] * 3, "feature": ["007", "NA", "1e3"], "weight": 1.0})
    frame["protocol"] = "published"
    frame.to_csv(tmp_path / "x.csv", index=False)
    read = catalogue_extract(tmp_path / "x.csv", fake(replicates=1))
    assert read["feature"].tolist() == ["007", "NA", "1e3"] and read["weight"].tolist() == [1.0] * 3


# --- an artefact that fails ---------------------------------------------------------------------


def boom(results: Results) -> None:
    raise RuntimeError("no luck\nat all")


def test_a_failing_artefact_stops_nothing_and_is_told_at_the_end(tmp_path, monkeypatch, capsys):
    source = tmp_path / "source"
    collect.write(fake(demo_datasets(), METHODS, replicates=2, quirks=False), source)
    monkeypatch.setattr(render, "DPI", 40)
    for name in ("table_1a", "figure_3"):
        monkeypatch.setattr(catalogue.load(name), "make", boom)
    out = tmp_path / "out"
    arguments = ["rebuild", "--source", str(source), "--results", str(out)]
    assert main(arguments) == 1
    for name in catalogue.discover():
        for path in catalogue.outputs(name, out):
            assert path.stat().st_size > 0, path
    assert catalogue.failures(out) == dict.fromkeys(
        ("figure_3", "table_1a"), "RuntimeError: no luck at all"
    )
    assert "no luck at all" in (out / "tables" / "table_1a.md").read_text()
    capsys.readouterr()
    assert main(["gate", "--results", str(out)]) == 1
    assert "artefact figure_3: RuntimeError: no luck at all" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(render, "DPI", 40)
    assert main(arguments) == 0
    assert catalogue.failures(out) == {}
    json.loads((out / "manifest.json").read_text())
