"""The report: one page that stands alone and hides nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from fake_results import demo_datasets, fake

from anchorbench.reporting import catalogue, report

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Checker(HTMLParser):
    """Collects text, ids and links; insists that every tag is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.ids, self.links, self.sources = [], [], set(), set(), []

    def handle_starttag(self, tag, attributes):
        about = dict(attributes)
        self.sources += [about[k] for k in ("src", "srcset") if k in about]
        if "id" in about:
            assert about["id"] not in self.ids, f"id {about['id']} twice"
            self.ids.add(about["id"])
        if tag == "a":
            self.links.add(about["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(path):
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    checker.close()
    assert checker.open == []
    return checker


def leave(results, folder, names=()):
    """Leave results in a folder as a run does, with some of the artefacts."""
    folder.mkdir(parents=True, exist_ok=True)
    results.scores.to_csv(folder / "scores.csv", index=False)
    results.runs.to_csv(folder / "runs.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps(results.manifest))
    for name in names:
        catalogue.build(name, results, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    lost = [("synthetic_rho0", "vsc", "published", 1, "diverged", "NaN loss <epoch 3> & more")]
    results = fake(demo_datasets(), replicates=2, failures=lost, quirks=False)
    failure = {"dataset": "synthetic_rho0", "method": "vae", "protocol": "shared", "replicate": 0}
    results.manifest["metric_failures"] = [{**failure, "metric": "dci", "reason": "ZeroDivision"}]
    leave(results, path, catalogue.discover())
    report.write(path)
    return path


def test_report_is_well_formed_and_links_lead_somewhere(folder):
    page = parsed(folder / "report.html")
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert set(catalogue.discover()) <= page.ids


def test_report_stands_alone(folder):
    page = parsed(folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert page.sources and all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert "@import" not in text and "<link" not in text and "url(" not in text


def test_report_names_each_failure_with_its_reason(folder):
    text = " ".join(parsed(folder / "report.html").text)
    assert "diverged" in text and "NaN loss <epoch 3> & more" in text
    assert "ZeroDivision" in text
    assert "1 runs did not finish" in text or "1 run did not finish" in text


def test_report_has_tables_figures_and_provenance(folder):
    page = parsed(folder / "report.html")
    text = " ".join(page.text)
    figures = [n for n, about in catalogue.discover().items() if "figure" in about["kind"]]
    assert len(page.sources) == len(figures)
    for about in catalogue.discover().values():
        assert about["label"] in text and about["caption"] in text
    assert "0123456789abcdef" in text and "ab" * 32 in text and "torch 2.1" in text
    assert "Missing:" not in text


def test_report_without_anything(tmp_path):
    text = " ".join(parsed(report.write(tmp_path / "new")).text)
    assert "runs.csv is missing" in text and "manifest.json is missing" in text
    assert text.count("Missing:") == sum(
        len(about["kind"].split("+")) for about in catalogue.discover().values()
    )


def test_report_when_everything_failed(tmp_path):
    results = fake(demo_datasets(), replicates=2, everything=True, quirks=False)
    leave(results, tmp_path, ["table_1b", "figure_3"])
    page = parsed(report.write(tmp_path))
    text = " ".join(page.text)
    assert f"{len(results.runs):,}" in text or "runs did not finish" in text
    assert "ValueError: made to fail <here> & now" in text
    assert "all" in text and "failed [0/2]" in text


def test_report_of_a_clean_run_says_so(tmp_path):
    leave(fake(demo_datasets(), replicates=1, quirks=False), tmp_path)
    assert "None: every run finished" in " ".join(parsed(report.write(tmp_path)).text)


def test_a_run_that_protocols_share_fails_once():
    lost = [("zeisel", "vae", p, 0, "oom", "too large") for p in ("published", "corrected")]
    results = fake(replicates=1, failures=lost)
    (failure,) = report.failed_runs(results.runs.astype(str))
    assert failure["protocol"] == "published, corrected"


def test_same_folder_same_page(folder):
    assert report.page(folder) == report.page(folder)


def test_markdown_tables_become_html():
    text = "# T\n\nCaption\n\n## Sub\n\n| a | b |\n| :--- | ---: |\n| **Part** |  |\n"
    text += "| x\\|y | **1 < 2** |\n\n- note\n"
    out = report.markdown_body(text)
    assert "<h4>Sub</h4>" in out and "Caption" not in out and "<li>note</li>" in out
    assert '<tr class="section"><td colspan="2">Part</td></tr>' in out
    assert '<td>x|y</td><td class="r"><b>1 &lt; 2</b></td>' in out
    assert not re.search(r"\*\*", out)
