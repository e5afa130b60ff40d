"""The report: everything in a results folder on one page that needs no other file."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anchorbench.reporting import catalogue
from anchorbench.reporting.render import slug
from anchorbench.runs.status import Status

NAME = "report.html"
LONG = 45  # table rows from which a table starts folded
SHOWN = 200  # failures listed one by one

CSS = """
:root { --ink: #1f2328; --muted: #5f6670; --rule: #d8dce1; --soft: #f5f6f8; --accent: #0072b2;
  --bad: #b00020; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main, header, nav { max-width: 84rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 1rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 2.2rem 0 .3rem; }
h4 { font-size: .95rem; margin: 1.2rem 0 .3rem; }
p.lead, p.caption, ul.notes, footer { color: var(--muted); }
p.caption { margin: 0 0 .7rem; max-width: 48rem; }
ul.notes { font-size: .85rem; padding-left: 1.1rem; max-width: 48rem; }
nav { font-size: .9rem; padding-top: .8rem; }
nav ul { list-style: none; margin: 0; padding: 0; columns: 2; column-gap: 2rem; }
nav li.section { font-weight: 600; margin-top: .5rem; break-after: avoid; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; padding: 0; }
.card { flex: 1 1 8rem; background: var(--soft); border-radius: 6px; padding: .7rem 1rem; }
.card b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card span { color: var(--muted); font-size: .85rem; }
.card.bad b { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .83rem; font-variant-numeric: tabular-nums;
  border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink); }
th, td { padding: .22rem .8rem .22rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid var(--ink); font-weight: 600; }
td.r, th.r { text-align: right; }
td.r, th.r, td:first-child { white-space: nowrap; }
tr.section td { padding-top: .7rem; font-style: italic; border-bottom: 1px solid var(--rule); }
figure { margin: .8rem 0; }
figure img { max-width: 100%; height: auto; }
code { font-size: .9em; overflow-wrap: anywhere; }
details > summary { cursor: pointer; color: var(--accent); margin: .5rem 0; }
.status { color: var(--bad); font-weight: 600; }
.missing { color: var(--muted); font-style: italic; }
footer { font-size: .85rem; margin: 3rem 0 2rem; }
@media print {
  body { font-size: 10pt; }
  main, header, nav { max-width: none; padding: 0; }
  h2, h3, h4 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding-right: .45rem; }
  a { color: inherit; }
}
@page { margin: 16mm; }
"""
OPEN_FOR_PRINT = """
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
});
"""


def write(results_dir: str | Path) -> Path:
    """Write report.html of a results folder and return its path.

    Used are runs.csv, scores.csv, manifest.json and what is in tables/ and figures/. Whatever is
    missing is named as missing; the report is always written.
    """
    folder = Path(results_dir)
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(page(folder), encoding="utf-8", newline="\n")
    return path


def page(folder: Path) -> str:
    """Return the report of a results folder as HTML."""
    runs, scores = _frame(folder / "runs.csv"), _frame(folder / "scores.csv")
    manifest = _manifest(folder / "manifest.json")
    failures = failed_runs(runs)
    metric_failures = manifest.get("metric_failures", [])
    known = catalogue.discover()
    body = [
        _header(runs, scores, len(failures), len(metric_failures)),
        _contents(known),
        "<main>",
        _failures(failures, metric_failures, runs is None),
    ]
    for category in catalogue.CATEGORIES:
        body.append(f'<h2 id="section-{slug(category)}">{category}</h2>')
        for name, about in known.items():
            if about["category"] == category:
                body.append(_artefact(folder, name, about))
    body += [_provenance(manifest), "</main>"]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Anchorbench report</title>\n<style>{CSS}</style>\n"
        f"<script>{OPEN_FOR_PRINT}</script>\n</head>\n<body>\n" + "\n".join(body)
    ) + "\n</body>\n</html>\n"


def failed_runs(runs: pd.DataFrame | None) -> list[dict[str, str]]:
    """Return the runs that did not end well, one dict of text for each.

    A run that several protocols share is one failure, its protocols joined.
    """
    if runs is None:
        return []
    failed = runs[runs["status"] != Status.DONE]
    keys = ["dataset", "method", "replicate", "status", "reason", "digest"]
    merged = failed.groupby(keys, sort=False)["protocol"].agg(", ".join).reset_index()
    return [{str(k): str(v) for k, v in row.items()} for row in merged.to_dict("records")]


def _frame(path: Path) -> pd.DataFrame | None:
    try:
        return pd.read_csv(path, keep_default_na=False, dtype=str)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _header(
    runs: pd.DataFrame | None, scores: pd.DataFrame | None, failed: int, metrics_failed: int
) -> str:
    cards = [
        (_count(runs, "dataset"), "datasets", False),
        (_count(runs, "method"), "methods and variants", False),
        (_distinct(runs), "runs", False),
        (_count(scores, "metric"), "measures", False),
        (failed, "failed runs", failed > 0),
    ]
    cards += [(metrics_failed, "failed metrics", True)] if metrics_failed else []
    boxes = "".join(
        f'<div class="card{" bad" if bad else ""}"><b>{number:,}</b><span>{label}</span></div>'
        for number, label, bad in cards
    )
    return (
        "<header><h1>Anchorbench report</h1>"
        '<p class="lead">Sparse and identifiable deep generative models, measured. Protocol '
        "<b>published</b> copies the behaviour of the code released with the paper; "
        "<b>corrected</b> follows its mathematics. Numbers of the two are never mixed.</p>"
        f'<div class="cards">{boxes}</div></header>'
    )


def _count(frame: pd.DataFrame | None, column: str) -> int:
    return 0 if frame is None else frame[column].nunique()


def _distinct(runs: pd.DataFrame | None) -> int:
    """Number of runs, those that protocols share counted once."""
    if runs is None:
        return 0
    return len(runs.drop_duplicates(["dataset", "method", "replicate", "digest"]))


def _contents(known: Mapping[str, Mapping[str, Any]]) -> str:
    items = ['<li class="section"><a href="#failures">Failures</a></li>']
    for category in catalogue.CATEGORIES:
        names = [name for name, about in known.items() if about["category"] == category]
        items.append(f'<li class="section"><a href="#section-{slug(category)}">{category}</a></li>')
        items += [f'<li><a href="#{n}">{_text(known[n]["label"])}</a></li>' for n in names]
    items.append('<li class="section"><a href="#provenance">Provenance</a></li>')
    return f"<nav><ul>{''.join(items)}</ul></nav>"


def _failures(
    failures: list[dict[str, str]], metric_failures: list[dict[str, Any]], no_runs: bool
) -> str:
    parts = ['<h2 id="failures">Failures</h2>']
    if no_runs:
        parts.append('<p class="missing">runs.csv is missing: nothing is known of the runs.</p>')
    elif not failures and not metric_failures:
        parts.append("<p>None: every run finished and every metric that applies was computed.</p>")
    if failures:
        columns = ["dataset", "method", "protocol", "replicate", "status", "reason"]
        lines = [[str(failure[c]) for c in columns] for failure in failures]
        runs = "run" if len(failures) == 1 else "runs"
        parts.append(f"<p>{len(failures):,} {runs} did not finish.</p>")
        parts.append(_listing(columns, lines))
    if metric_failures:
        columns = ["dataset", "method", "protocol", "replicate", "metric", "reason"]
        lines = [[str(failure.get(c, "")) for c in columns] for failure in metric_failures]
        parts.append(f"<p>{len(metric_failures):,} metrics failed on finished runs.</p>")
        parts.append(_listing(columns, lines))
    return "\n".join(parts)


def _listing(columns: list[str], lines: list[list[str]]) -> str:
    """A table of failures, those beyond the first folded."""
    shown = _table(columns, lines[:SHOWN])
    if len(lines) <= SHOWN:
        return shown
    rest = _table(columns, lines[SHOWN:])
    return shown + f"<details><summary>{len(lines) - SHOWN:,} more</summary>{rest}</details>"


def _table(columns: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_text(c)}</th>" for c in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _artefact(folder: Path, name: str, about: Mapping[str, Any]) -> str:
    """One artefact: its figure, its table, or the word that it is missing."""
    parts = [f'<section><h3 id="{name}">{_text(about["label"])}</h3>']
    parts.append(f'<p class="caption">{_text(about["caption"])}</p>')
    for kind in about["kind"].split("+")[::-1]:  # a figure before its table
        path = folder / catalogue.FOLDERS[kind] / f"{name}{'.md' if kind == 'table' else '.png'}"
        if not path.is_file():
            where = path.relative_to(folder)
            parts.append(f'<p class="missing">Missing: {where} was not made.</p>')
        elif kind == "table":
            parts.append(markdown_body(path.read_text(encoding="utf-8")))
        else:
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            alt = _text(about["label"])
            image = f'<img src="data:image/png;base64,{data}" alt="{alt}">'
            parts.append(f"<figure>{image}</figure>")
    return "\n".join(parts) + "</section>"


def markdown_body(text: str) -> str:
    """Return the HTML of a table's .md file, without its title and caption."""
    blocks = [block for block in text.strip().split("\n\n") if not block.startswith("# ")]
    parts = []
    for place, block in enumerate(blocks):
        if block.startswith("## "):
            parts.append(f"<h4>{_inline(block[3:])}</h4>")
        elif block.startswith("|"):
            parts.append(_pipe_table(block))
        elif block.startswith("- "):
            items = "".join(f"<li>{_inline(line[2:])}</li>" for line in block.split("\n"))
            parts.append(f'<ul class="notes">{items}</ul>')
        elif place:
            parts.append(f"<p>{_inline(block)}</p>")
    return "\n".join(parts)


def _pipe_table(block: str) -> str:
    lines = [_pipe_cells(line) for line in block.split("\n")]
    head, rules, rows = lines[0], lines[1], lines[2:]
    side = [' class="r"' if rule.endswith(":") else "" for rule in rules]
    out = [
        '<div class="wide"><table><thead><tr>',
        *(f"<th{s}>{_inline(cell)}</th>" for s, cell in zip(side, head, strict=True)),
        "</tr></thead><tbody>",
    ]
    for row in rows:
        if len(row) > 1 and row[0].startswith("**") and not any(row[1:]):
            text = _text(row[0].strip("*"))
            out.append(f'<tr class="section"><td colspan="{len(head)}">{text}</td></tr>')
        else:
            cells = (f"<td{s}>{_inline(cell)}</td>" for s, cell in zip(side, row, strict=True))
            out.append(f"<tr>{''.join(cells)}</tr>")
    table = "".join([*out, "</tbody></table></div>"])
    if len(rows) <= LONG:
        return table
    return f"<details><summary>Show {len(rows)} rows</summary>{table}</details>"


def _pipe_cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [cell.strip().replace(r"\|", "|") for cell in cells]


def _inline(text: str) -> str:
    """Escape text and set its **bold** parts."""
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", _text(text))


def _text(text: Any) -> str:
    return html.escape(str(text), quote=True)


def _provenance(manifest: Mapping[str, Any]) -> str:
    parts = ['<h2 id="provenance">Provenance</h2>']
    if not manifest:
        return "\n".join([*parts, '<p class="missing">manifest.json is missing.</p>'])
    parts.append(_code(manifest))
    parts.append(_sources(manifest.get("sources", {})))
    datasets = manifest.get("datasets", {})
    columns = ["plugin", "likelihood", "n_rows", "n_features", "n_latent", "tokens_per_row"]
    lines = [
        [name, *("" if about.get(c) is None else _plain(about[c]) for c in columns)]
        for name, about in datasets.items()
    ]
    heads = ["dataset", "plugin", "likelihood", "rows", "features", "latent", "tokens per row"]
    parts += ["<h4>Data</h4>", _table(heads, lines)]
    methods = manifest.get("methods", {}).items()
    cited = [[m.get("label", name), name, m.get("cite", "") or ""] for name, m in methods]
    parts += ["<h4>Methods</h4>", _table(["method", "name", "source"], cited)]
    versions = manifest.get("versions", {})
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts.append(f"<h4>Libraries</h4><p>{_text(listed)}</p>")
    config = json.dumps(manifest.get("config", {}), indent=1, sort_keys=True)
    parts.append(
        "<details><summary>Configuration as it was run</summary>"
        f"<pre>{_text(config)}</pre></details>"
    )
    parts.append(
        "<footer>Settings of every method are in Table 6; every run has its record in runs.csv."
        "</footer>"
    )
    return "\n".join(parts)


def _code(manifest: Mapping[str, Any]) -> str:
    """The commit of the code; one by dataset where runs of several commits were put together."""
    commit = manifest.get("git_commit", "unknown")
    made: dict[str, set[str]] = {}
    for cell in manifest.get("settings", []):
        made.setdefault(cell["dataset"], set()).update(cell.get("commits", []))
    if len(set().union(*made.values())) < 2:
        return f"<p>Code: commit <code>{_text(commit)}</code>.</p>"
    lines = [[name, ", ".join(sorted(found))] for name, found in made.items() if found]
    text = f"<p>Code: collected at commit <code>{_text(commit)}</code>, runs made at:</p>"
    return text + _table(["dataset", "commits"], lines)


def _sources(sources: Mapping[str, Any]) -> str:
    if not sources:
        return "<p>No source files: all data were simulated or given as tables.</p>"
    lines = []
    for name, about in sources.items():
        about = about if isinstance(about, Mapping) else {"sha256": about}
        lines.append([name, about.get("url", ""), about.get("sha256", "")])
    return "<h4>Source files</h4>" + _table(["name", "address", "sha256"], lines)


def _plain(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
