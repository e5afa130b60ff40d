"""The report in a headless Chromium: what a reader does with it."""

from __future__ import annotations

import re

import pytest
from browser import Page, executable
from fake_results import demo_datasets, fake
from test_report import LOST, REASON, leave, leave_factors

from anchorbench.reporting import report

pytestmark = pytest.mark.skipif(executable() is None, reason="there is no chromium here")
VALUES = "[...document.querySelectorAll('.board td.value')].map(td => parseFloat(td.textContent))"
METHODS = "[...document.querySelectorAll('.board tbody th')].map(th => th.textContent)"
PANEL = "document.querySelector('#panel')"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    leave(fake(demo_datasets(), replicates=5, failures=LOST), folder)
    leave_factors(folder)
    leave_factors(folder, method="vae")
    return report.write(folder, configs=["config/demo.yaml"])


@pytest.fixture(scope="module")
def browser():
    page = Page()
    yield page
    page.close()


@pytest.fixture
def page(browser, path):
    browser.look(1280)
    browser.open(path)
    yield browser
    assert browser.errors == []
    assert set(browser.requests) == {path.as_uri()}, "no request leaves the page"


def choose(page, field, value):
    page.run(
        f"(() => {{ const field = document.querySelector('{field}'); field.value = '{value}';"
        "field.dispatchEvent(new Event('change')); field.dispatchEvent(new Event('input')); })()"
    )


def test_a_click_on_a_heading_sorts_and_another_turns_round(page):
    choose(page, "#f-dataset", "synthetic_rho0")
    choose(page, "#f-metric", "mse")
    assert page.run(VALUES) == sorted(page.run(VALUES)) and len(page.run(VALUES)) > 5
    page.run("document.querySelector('[data-sort=value]').click()")
    assert page.run(VALUES) == sorted(page.run(VALUES), reverse=True)
    assert page.run("document.querySelector('[aria-sort]').ariaSort") == "descending"
    page.run("document.querySelector('[data-sort=method]').click()")
    names = page.run(METHODS)
    assert names == sorted(names, key=str.lower) or names[0] < names[-1]
    assert page.run("document.activeElement.dataset.sort") == "method"


def test_filters_narrow_the_rows_and_say_how_many_are_left(page):
    choose(page, "#f-dataset", "synthetic_rho0")
    choose(page, "#f-method", "sparse")
    names = page.run(METHODS)
    assert names and all("Sparse" in name for name in names)
    assert page.run("document.querySelector('#f-count').textContent").startswith(f"{len(names)} ")
    choose(page, "#f-method", "nothing is called so")
    assert "Nothing was run" in page.run("document.querySelector('.board tbody').textContent")
    choose(page, "#f-method", "")
    choose(page, "#f-kind", "0")
    few = len(page.run(METHODS))
    choose(page, "#f-kind", "3")
    assert len(page.run(METHODS)) > few


def test_from_any_cell_two_clicks_lead_to_a_run(page):
    for link in (".matrix td a", ".board tbody th a"):
        page.run(f"document.querySelector('{link}').click()")
        page.wait(f"{PANEL}.open")
        page.run(f"{PANEL}.querySelector('tr[data-at] button').click()")
        text = page.run(f"{PANEL}.querySelector('tr.record').textContent")
        assert "Seed" in text and "Digest" in text and "All its metrics" in text
        assert "anchorbench fit --configfile config/demo.yaml --dataset" in text
        assert page.run("location.hash.split('/').length") == 5
        page.run(f"{PANEL}.querySelector('.close').click()")
        page.wait(f"!{PANEL}.open && !location.hash.includes('/')")


def test_a_failure_leads_to_its_run(page):
    page.run("document.querySelector('.fails a').click()")
    page.wait(f"{PANEL}.open && {PANEL}.querySelector('tr.record')")
    assert REASON in page.run(f"{PANEL}.querySelector('tr.record').textContent")
    assert "1 of 5 without a value" in page.run(f"{PANEL}.textContent")


def test_an_address_opens_its_run(page, path):
    page.open(path, "#synthetic_rho0/vae/corrected/mcc/3")
    page.wait(f"{PANEL}.open && {PANEL}.querySelector('tr.record')")
    assert "VAE on Synthetic" in page.run(f"{PANEL}.querySelector('h2').textContent")
    assert page.run(f"{PANEL}.querySelector('[aria-expanded=true]').textContent") == "3"


def test_arrows_move_in_the_matrix_enter_opens_escape_closes(page):
    page.run("document.querySelector('.matrix td a').focus()")
    first = page.run("document.activeElement.hash")
    page.press("ArrowDown")
    below = page.run("document.activeElement.hash")
    page.press("ArrowRight")
    right = page.run("document.activeElement.hash")
    assert len({first, below, right}) == 3
    assert first.split("/")[1] != below.split("/")[1] == right.split("/")[1]
    page.press("Enter")
    page.wait(f"{PANEL}.open")
    assert page.run("location.hash").startswith(right)
    assert page.run("document.activeElement.className") == "close"
    page.press("Escape")
    page.wait(f"!{PANEL}.open")


def test_the_first_tab_leads_past_the_bar(page):
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"


def test_another_pair_and_the_same_turned_round(page):
    cell = "document.querySelector('.forest .says span').textContent"
    choose(page, "#pair-b", "nmf")
    choose(page, "#pair-a", "vae")
    choose(page, "#pair-b", "sparse_vae")
    turned = page.run(cell)
    choose(page, "#pair-a", "sparse_vae")
    choose(page, "#pair-b", "vae")
    straight = page.run(cell)
    signs = str.maketrans("+−", "−+")
    assert straight.split(" ")[0].translate(signs) == turned.split(" ")[0] != ""


def test_the_script_draws_differences_where_the_page_has_them(page, path):
    marks = r'<line class="ends" x1="([\d.]+)%" x2="([\d.]+)%"[^>]*/><circle cx="([\d.]+)%"'
    written = re.findall(marks, path.read_text(encoding="utf-8"))
    drawn = page.run(
        "[...document.querySelectorAll('.forest circle')].flatMap(c => ["
        "c.previousSibling.getAttribute('x1'), c.previousSibling.getAttribute('x2'),"
        "c.getAttribute('cx')].map(parseFloat))"
    )
    assert len(written) > 5
    assert drawn == pytest.approx([float(v) for found in written for v in found], abs=0.11)


def test_a_brief_page_puts_its_tables_in(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("anchorbench.reporting.page.material.MANY", 0)
    leave(fake(demo_datasets(), replicates=5), tmp_path, names=("cost",))
    brief = report.write(tmp_path)
    assert (
        "VAE" not in brief.read_text(encoding="utf-8").split('id="artefact-cost"')[1].split("<p")[1]
    )
    browser.look(1280)
    browser.open(brief)
    assert "VAE" in browser.run("document.querySelector('#artefact-cost').textContent")
    browser.run("location.hash = document.querySelector('td a').hash")
    browser.wait(f"{PANEL}.open")
    assert "Seed" not in browser.run(f"{PANEL}.textContent")
    assert browser.errors == []


def test_factors_of_another_method_are_put_in(page):
    view = "document.querySelector('article.factors .files').textContent"
    assert "sparse_vae/loadings.csv" in page.run(view)
    choose(
        page, "[data-views]", page.run("document.querySelector('[data-views]').options[1].value")
    )
    assert "simulated_counts/vae/loadings.csv" in page.run(view)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_scrolls_sideways_and_text_stands_out(page, path, dark):
    for width in (320, 390, 768, 1280, 1920):
        page.look(width, dark=dark)
        page.open(path)
        assert page.run("document.documentElement.scrollWidth") <= width
    light = page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light != dark
    assert page.run(CONTRAST) >= 4.5


CONTRAST = """(() => {
  const light = rgb => rgb.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  } return "rgb(255, 255, 255)"; };
  const texts = [...document.querySelectorAll("main *")].filter(e => e.offsetParent
    && !e.closest("svg, select") && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  return Math.min(...texts.map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort();
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
})()"""
"""The least contrast of a text with what lies behind it (WCAG 2.1)."""


def test_without_scripts_and_in_print_the_tables_stand(browser, path):
    shown = "document.querySelector('#tables').offsetHeight > 200"
    hidden = "getComputedStyle(document.querySelector('#scores')).display === 'none'"
    browser.look(1280, print_=True)
    browser.open(path)
    assert browser.run(f"{shown} && {hidden}")
    browser.look(1280)
    browser.scripts(False)
    try:
        browser.open(path, ready=False)
        assert browser.run(f"{shown} && {hidden}")
    finally:
        browser.scripts(True)
