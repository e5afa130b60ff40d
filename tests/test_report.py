"""The report: one page that stands alone and hides nothing."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fake_results import demo_datasets, fake

from anchorbench.reporting import catalogue, report, standing
from anchorbench.reporting.collect import _one_of
from anchorbench.reporting.factors import codes, place, write
from anchorbench.reporting.page import comparisons, documents, factors, numbers, overview, records
from anchorbench.reporting.page.material import Material
from anchorbench.reporting.results import load_results
from anchorbench.scores import statistics

VOID = {"meta", "img", "br", "link", "hr", "input"}
ENDED_BY = {  # elements whose end tag may be left out, by the tags that end them
    "td": {"<td>", "<th>", "<tr>", "</tr>", "</tbody>"},
    "th": {"<td>", "<th>", "<tr>", "</tr>", "</tbody>"},
    "tr": {"<tr>", "</tbody>"},
}
# What an HTML parser closes by itself where it is written so.
SELF_CLOSED = {"path", "rect", "line", "circle"}
REASON = "NaN loss <epoch 3> & more"
LOST = [("synthetic_rho0", "vsc", "published", 1, "diverged", REASON)]


class Checker(HTMLParser):
    """Collects text, ids and links; insists on the order of tags."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.ids, self.links, self.sources = [], [], set(), set(), []
        self.tables, self.alts = [], []

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.sources += [about[k] for k in ("src", "srcset") if k in about]
        if tag == "img":
            self.alts.append(about.get("alt", ""))
        if tag == "th":
            self.tables.append(about.get("scope"))
        if "id" in about:
            assert about["id"] not in self.ids, f"id {about['id']} twice"
            self.ids.add(about["id"])
        if tag == "a":
            self.links.add(about["href"])
        if tag not in VOID:
            self.end(f"<{tag}>")
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in SELF_CLOSED | VOID, tag

    def handle_endtag(self, tag):
        self.end(f"</{tag}>")
        assert self.open.pop() == tag

    def end(self, by):
        while self.open and by in ENDED_BY.get(self.open[-1], ()):
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def parsed(path):
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    checker.close()
    assert checker.open == []
    return checker


def unpacked(path):
    """What the page's script reads."""
    packed = re.search(r'id="records">([^<]+)<', path.read_text(encoding="utf-8"))[1]
    return json.loads(gzip.decompress(base64.b85decode(packed.replace(",", "<"))))


def leave(results, folder, names=()):
    """Leave results in a folder as a run does, with some of the artefacts."""
    folder.mkdir(parents=True, exist_ok=True)
    results.scores.to_csv(folder / "scores.csv", index=False)
    results.runs.to_csv(folder / "runs.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps(results.manifest))
    for name in names:
        catalogue.build(name, results, folder)


def material_of(folder):
    return Material(load_results(*(folder / name for name in report.FILES)), folder, folder)


def leave_factors(folder, dataset="simulated_counts", method="sparse_vae"):
    """Loadings of two factors whose signs and order are known, and codes of two classes."""
    here = folder / "factors" / dataset / method
    here.mkdir(parents=True)
    loadings = {"feature": ["a", "b", "c", "<d>"], "factor_1": [0, 0, 0.2, -0.1]}
    pd.DataFrame(loadings | {"factor_2": [3.0, -2.0, 0, 0]}).to_csv(
        here / "loadings.csv", index=False
    )
    codes = pd.DataFrame({"row": range(40), "split": ["train", "test"] * 20})
    codes["diet"] = np.where(codes["row"] < 20, "fish", "seeds")
    codes["factor_1"], codes["factor_2"] = codes["row"] - 20.0, np.sin(codes["row"])
    codes.to_csv(here / "codes.csv", index=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    results = fake(demo_datasets(), replicates=5, failures=LOST, quirks=False)
    failure = {"dataset": "synthetic_rho0", "method": "vae", "protocol": "shared", "replicate": 0}
    results.manifest["metric_failures"] = [{**failure, "metric": "dci", "reason": "ZeroDivision"}]
    leave(results, path, catalogue.discover())
    leave_factors(path)
    report.write(path, configs=["config/demo.yaml"])
    return path


@pytest.fixture(scope="module")
def material(folder):
    return material_of(folder)


def test_report_is_well_formed_and_links_lead_somewhere(folder):
    page = parsed(folder / "report.html")
    runs = {link for link in page.links if link.count("/") == 4 and link.startswith("#")}
    assert runs, "failures lead to their runs"
    assert {link[1:] for link in page.links - runs if link.startswith("#")} <= page.ids
    for link in page.links - runs:
        assert link.startswith("#") or (folder / link).is_file(), link


def test_report_stands_alone(folder):
    page = parsed(folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert page.sources and all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert "@import" not in text and "<link" not in text and "url(" not in text


def test_headings_have_a_scope_and_pictures_say_what_they_show(folder):
    page = parsed(folder / "report.html")
    assert page.tables and all(page.tables)
    assert page.alts and all(len(alt) > 20 for alt in page.alts)


def test_report_names_each_failure_with_its_reason(folder):
    text = " ".join(parsed(folder / "report.html").text)
    assert f"diverged: {REASON}" in text
    assert "ZeroDivision" in text
    assert "1 run of" in text and "did not finish; 1 metric failed" in text


def test_report_has_tables_figures_and_provenance(folder):
    page = parsed(folder / "report.html")
    text = " ".join(page.text)
    figures = [n for n, about in catalogue.discover().items() if "figure" in about["kind"]]
    assert 0 < len(page.sources) <= len(figures)
    for about in catalogue.discover().values():
        assert about["label"] in text
    assert "0123456789abcdef" in text and "ab" * 32 in text and "torch 2.1" in text
    assert "config/demo.yaml" in text


def test_what_was_not_made_or_shows_nothing_is_one_line(folder, tmp_path):
    shown = documents.section(folder)
    assert not shown["missing"]
    names = [a["label"] for c in shown["categories"] for a in c["artefacts"]]
    assert "Table 3a" not in " ".join(names)  # films, of which none were run
    assert any("3a" in label for label in shown["empty"])
    nothing = documents.section(tmp_path)
    assert not nothing["categories"] and len(nothing["missing"]) == len(catalogue.discover())


def test_report_without_anything(tmp_path):
    page = parsed(report.write(tmp_path / "new", "A title"))
    text = " ".join(page.text)
    assert "A title" in text and "scores.csv: no such file" in text and "Not made:" in text
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids


def test_report_when_everything_failed(tmp_path):
    results = fake(demo_datasets(), replicates=2, everything=True, quirks=False)
    leave(results, tmp_path, ["table_1b", "figure_3"])
    text = " ".join(parsed(report.write(tmp_path)).text)
    cells = [
        c for m in overview.matrices(material_of(tmp_path)) for r in m["rows"] for c in r["cells"]
    ]
    assert {cell["text"] for cell in cells if cell} == {"failed"}
    assert "ValueError: made to fail <here> & now" in text
    assert "all" in text and "failed [0/2]" in text


def test_report_of_a_clean_run_says_so(tmp_path):
    leave(fake(demo_datasets(), replicates=1, quirks=False), tmp_path)
    assert "None: every run finished" in " ".join(parsed(report.write(tmp_path)).text)


def test_a_run_that_protocols_share_fails_once(tmp_path):
    lost = [("zeisel", "vae", p, 0, "oom", "too large") for p in ("published", "corrected")]
    results = fake(replicates=1, failures=lost)
    results.runs["digest"] = "0" * 12
    leave(results, tmp_path)
    found = material_of(tmp_path)
    (failure,) = report.failures(found, records.Records(found))
    assert failure["where"] == "published, corrected, replicate 0"


def test_replicates_that_fail_alike_are_one_line(tmp_path):
    runs = (0, 1, 2, 4)
    lost = [("zeisel", "vae", "corrected", r, "diverged", "one row for all") for r in runs]
    lost += [("zeisel", "vae", "corrected", 3, "timeout", "too slow")]
    results = fake(replicates=5, failures=lost)
    leave(results, tmp_path)
    found = material_of(tmp_path)
    where = {f["what"]: f["where"] for f in report.failures(found, records.Records(found))}
    assert where == {
        "diverged: one row for all": "corrected, replicates 0–2, 4",
        "timeout: too slow": "corrected, replicate 3",
    }


def test_fits_of_a_split_are_counted_apart_from_splits(tmp_path):
    results = fake(replicates=6)
    results.manifest["datasets"]["zeisel"]["splits"] = 3
    leave(results, tmp_path)
    found = material_of(tmp_path)
    assert overview._unit(found, "zeisel", "corrected") == "3 folds × 2"
    assert overview._unit(found, "peerread", "corrected") == "6 folds"


def test_a_brief_page_counts_what_it_leaves_out(folder, monkeypatch):
    full = records.Records(material_of(folder)).payload()
    monkeypatch.setattr("anchorbench.reporting.page.material.MANY", 0)
    monkeypatch.setattr("anchorbench.reporting.page.records.FEW", 2)
    found = material_of(folder)
    brief = records.Records(found).payload()
    assert found.brief and len(brief["cells"]) < len(full["cells"])
    names = [name for name, *_ in brief["metrics"]]
    values = {cell[5] if isinstance(cell[5], int) else tuple(cell[5]) for cell in brief["cells"]}
    assert values and {True, False} == {isinstance(v, int) for v in values}
    for metric, dataset, _, tag, _, kept, *_ in brief["cells"]:
        where = (found.datasets[dataset], found.sharing[0] if tag == "shared" else tag)
        assert isinstance(kept, list) == found.speaks(*where, names[metric])


def test_a_brief_page_packs_the_tables_that_a_full_one_prints(tmp_path, monkeypatch):
    leave(fake(demo_datasets(), replicates=3), tmp_path, names=("comparisons", "cost"))
    full = report.write(tmp_path).read_text(encoding="utf-8")
    monkeypatch.setattr("anchorbench.reporting.page.material.MANY", 0)
    path = report.write(tmp_path)
    brief, views = path.read_text(encoding="utf-8"), unpacked(path)["views"]
    names = re.findall(r'data-packed="([^"]+)"', brief)
    assert "artefact-cost" in names and set(names) <= set(views)
    for name in names:
        start = full.index(f'id="{name}"')
        inside = " ".join(full[start : full.index("</details>", start)].split())
        assert " ".join(views[name].split()) in inside
        assert "<td" in views[name] and views[name] not in brief
    assert not {v["seed"][0] for v in unpacked(path)["runs"].values()} - {None}


def test_what_protocols_share_is_not_shown_under_a_search(tmp_path):
    results = fake(replicates=2)
    results.runs["digest"] = [f"{d}{m}{r}" for d, m, r in zip(
        results.runs["dataset"], results.runs["method"], results.runs["replicate"], strict=True
    )]  # fmt: skip
    searched = results.runs[results.runs["method"] == "vae"].assign(protocol="tuned", digest="t")
    results.runs = pd.concat([results.runs, searched])
    leave(results, tmp_path)
    found = material_of(tmp_path)
    assert ("zeisel", "nmf") in found.shared and "tuned" not in found.sharing
    tags = {records.Records(found).tag("zeisel", "nmf", p) for p in found.results.protocols}
    assert tags == {"shared", None, "tuned"}


def test_same_folder_same_page(folder):
    assert report.page(folder) == report.page(folder)


def test_the_matrix_says_what_the_statistics_say(material):
    (corrected, published) = overview.matrices(material)
    assert (corrected["protocol"], published["protocol"]) == ("corrected", "published")
    seen = 0
    for matrix in (corrected, published):
        for row in matrix["rows"] + matrix["controls"]:
            for cell, column in zip(row["cells"], matrix["columns"], strict=True):
                if cell is None:
                    continue
                place = column["dataset"], column["metric"], matrix["protocol"]
                stand = standing.standing(material.results, *place)
                entry = stand.entries[row["method"]]
                assert (cell["group"], cell["sunk"]) == (entry.group, entry.below_floor)
                assert cell["text"] == numbers.short(entry.value, material.bounded(place[1]))
                seen += 1
    assert seen > 30
    row = next(row for row in published["rows"] if row["method"] == "vsc")
    assert "4/5" in {cell["few"] for cell in row["cells"] if cell}


def test_beside_recovery_stands_prediction(material):
    (corrected, _) = overview.matrices(material)
    asked = [(c["dataset"], c["metric"]) for c in corrected["columns"]]
    headlines = {d: standing.headline(material.results, d, "corrected") for d, _ in asked}
    assert headlines["synthetic_rho0"] == "mcc"
    assert asked.index(("synthetic_rho0", "mse")) > asked.index(("synthetic_rho0.8", "mcc"))


def test_findings_are_made_from_the_verdicts(material):
    found = {finding["label"]: finding for finding in overview.findings(material)}
    line = "".join(text for text, _ in found["Sparse VAE against VAE"]["lines"][0])
    pairs = [
        (d, material.headline(d, "corrected"), "corrected", "sparse_vae", "vae")
        for d in material.datasets
    ]
    words = {item.word for item in standing.family_of_tests(material.results, pairs)}
    for word in (statistics.BETTER, statistics.WORSE, statistics.SAME):
        assert (word in words) == (f"{word} on" in line)


def test_a_contrast_without_a_common_score_has_no_interval(material):
    nothing = statistics.Interval(np.nan, -np.inf, np.inf, np.nan, 0)
    item = SimpleNamespace(interval=nothing, dataset="synthetic_rho0", metric="mcc")
    assert overview._difference(material, item) == " (no replicate of which both have it)"
    item.interval = statistics.Interval(0.1, 0.05, 0.15, 0.01, 25)
    assert overview._difference(material, item) == " (MCC +.100 [+.050, +.150])"


def test_the_records_are_the_scores_to_the_digit_that_is_shown(folder, material):
    data = unpacked(folder / "report.html")
    count = 0
    for metric, dataset, method, tag, middle, shifts, *_ in data["cells"]:
        key = data["datasets"][dataset][0], data["methods"][method][0], data["metrics"][metric][0]
        protocol = data["protocols"][0] if tag == "shared" else tag
        places = data["decimals"][f"{key[0]}/{key[2]}"]
        series = material.results.values[key[0], key[1], protocol, key[2]]
        for replicate, value in series.items():
            assert (middle + shifts[replicate]) / 10**places == pytest.approx(
                value, abs=0.5001 * 10**-places
            )
            count += 1
    assert count == len(material.results.scores)
    vsc = data["runs"]["synthetic_rho0/vsc/published"]
    assert vsc["bad"] == {"1": ["diverged", REASON]} and vsc["r"] == [0, 1, 2, 3, 4]


def test_comparisons_are_those_of_the_suites_statistics(material):
    found = comparisons.section(material)
    rows = found["pairs"]["corrected/sparse_vae/vae"]
    asked = comparisons._rows(material, "corrected", ["sparse_vae", "vae"])
    for (dataset, metric), row in zip(asked, rows, strict=True):
        pair = (dataset, metric, "corrected", "sparse_vae", "vae")
        item = standing.family_of_tests(material.results, [pair])[0].interval
        assert row[1] == pytest.approx(item.estimate, rel=1e-5)
        line = comparisons._head(material, "corrected", dataset, metric)
        at, *ends = comparisons._marks(row, line)
        assert (at > 50) == (
            item.estimate * (1 if material.results.direction(metric) == "max" else -1) > 0
        )
        assert min(ends) <= at <= max(ends)


def test_the_axis_is_odd_monotone_and_bounded():
    at = [comparisons.place(u) for u in (-math.inf, -400, -10, -1, 0, 1, 10, 400, math.inf)]
    assert at == sorted(at) and at[4] == 50
    assert all(a + b == pytest.approx(100) for a, b in zip(at, reversed(at), strict=True))
    assert at[0] == at[1] == 2


def test_factors_are_listed_with_signs_strongest_first(folder, material):
    (page,) = factors.section(material)
    assert (page["dataset"], len(page["views"])) == ("simulated_counts", 1)
    view = page["views"][0]
    first, second = view["lists"]["factors"]
    assert [(f["name"], f["negative"], f["share"]) for f in first["features"]] == [
        ("a", False, 100),
        ("b", True, 67),
    ]
    assert [f["name"] for f in second["features"]] == ["c", "<d>"]
    assert view["heat"]["features"] == ["a", "b", "c", "<d>"]
    assert view["heat"]["squares"]["p5"] == "M0 0h14v13h-14zM15 28h14v13h-14z"
    assert {c["name"]: c["n"] for c in view["map"]["classes"]} == {"fish": 10, "seeds": 10}
    assert view["map"]["label"] == "diet"
    text = " ".join(parsed(folder / "report.html").text)
    assert "−<d>" in text and "factors/simulated_counts/sparse_vae/codes.csv" in text


def test_factors_stand_in_the_order_of_the_truth_where_it_is_known():
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, -1.0]])
    loadings = factors.Loadings(list("abcd"), 9 * truth[:, ::-1], truth)
    assert list(factors._column_order(loadings)) == [1, 0]
    heat = factors._heat(loadings)
    assert heat["features"] == list("abcd") and heat["squares"] == heat["truth"]["squares"]


def test_codes_are_in_the_order_of_the_data_and_a_row_of_both_sides_is_listed_once():
    """As published a method is trained on its test rows, too: row 2 is in both."""
    run = SimpleNamespace(
        codes_train=np.array([[0.0, 0], [2, 2], [1, 1]]),
        codes=np.array([[3.0, 3], [2, 2]]),
        truth=SimpleNamespace(index=(np.array([0, 2, 1]), np.array([3, 2]))),
        labels={
            "split": (np.array(["a", "c", "b"]), np.array(["d", "c"])),
            "factor_1": (np.array([7, 9, 8]), np.array([6, 9])),
            "factor_level": (np.array(["lo", "hi", "lo"]), np.array(["lo", "hi"])),
        },
    )
    frame = codes(run)
    assert frame["row"].tolist() == frame["factor_2"].tolist() == [0, 1, 2, 3]
    assert frame["split"].tolist() == ["train", "train", "test", "test"]
    assert frame["label_split"].tolist() == list("abcd")
    assert frame["label_factor_1"].tolist() == [7, 8, 9, 6]
    assert frame["factor_level"].tolist() == ["lo", "lo", "hi", "lo"]


def test_a_label_is_no_code_whatever_its_name(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(6, 2)), columns=["factor_1", "factor_2"])
    frame = frame.assign(row=range(6), split="test", factor_level=list("ababab"))
    frame.to_csv(tmp_path / "codes.csv", index=False)
    found = factors._read_codes(tmp_path)
    assert found.label == "factor_level" and found.what.startswith("First two principal")
    assert "100 %" in found.what


def test_files_of_factors_that_no_run_stands_behind_are_removed(tmp_path):
    old = tmp_path / "factors" / "waves" / "vae"
    old.mkdir(parents=True)
    for name in ("codes.csv", "loadings.csv", "mine.txt"):
        (old / name).touch()
    assert write(SimpleNamespace(jobs=()), None, tmp_path) == []
    assert [path.name for path in old.iterdir()] == ["mine.txt"]


def test_parameters_that_protocols_have_otherwise_are_said():
    about = {"params": {"rho": 0.2, "counts": "rounded"}}
    drawn = {"params": {"rho": 0.2, "counts": "drawn"}}
    both = _one_of({"published": about, "corrected": drawn})
    assert both["by_protocol"] == {"published": {}, "corrected": drawn}
    assert report._params(both) == "rho 0.2, counts rounded; counts drawn (corrected)"
    assert report._params(_one_of({"shared": about})) == "rho 0.2, counts rounded"


def test_files_go_by_the_methods_name_but_for_the_published_protocol():
    names = [place("vae", tag) for tag in ("corrected", "shared", "published")]
    assert names == ["vae", "vae", "vae_published"]


def test_markdown_tables_become_blocks():
    text = "# T\n\nCaption\n\n## Sub\n\n| a | b |\n| :--- | ---: |\n| **Part** |  |\n"
    text += "| x\\|y | **1 < 2** |\n\n- note\n"
    heading, table, notes = documents.blocks(text)
    assert heading == {"kind": "heading", "text": [("Sub", False)]}
    assert table["head"] == ["a", "b"] and table["right"] == [False, True]
    assert table["rows"][0] == {"section": "Part", "cells": []}
    assert table["rows"][1]["cells"] == [[("x|y", False)], [("1 < 2", True)]]
    assert notes["items"] == [[("note", False)]]


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.1234, 3, ".123"),
        (-0.1234, 2, "−.12"),
        (-0.0004, 3, ".000"),
        (12345.6, 2, "12,346"),
        (1.005e9, 1, "1.0e+09"),
        (math.nan, 2, "–"),
        (math.inf, 2, "∞"),
    ],
)
def test_numbers(value, places, text):
    assert numbers.number(value, places) == text


def test_settings_are_named_as_readers_write_them():
    assert [numbers.setting(s) for s in ("rho0.6", "rho0.0", "high", "n_100")] == [
        "ρ .6",
        "ρ 0",
        "high",
        "n 100",
    ]
