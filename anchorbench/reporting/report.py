"""The report: everything in a results folder on one page that needs no other file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from anchorbench.reporting.page import comparisons, documents, factors, overview, records
from anchorbench.reporting.page import numbers as text
from anchorbench.reporting.page.material import Material
from anchorbench.reporting.results import FILES, Results, ResultsError, load_results
from anchorbench.runs.status import Status

NAME = "report.html"
HERE = Path(__file__).parent / "page"
SHOWN = 200  # failures listed one by one


def write(
    results_dir: str | Path,
    title: str = "",
    configs: Sequence[str] = (),
    source: str | Path | None = None,
    results: Results | None = None,
) -> Path:
    """Write report.html of a results folder and return its path.

    Used are runs.csv, scores.csv, manifest.json and what is in tables/, figures/, factors/,
    extracts/, store/ and logs/. Whatever is missing is named as missing; the report is always
    written.

    Parameters
    ----------
    title : heading; default: the names of the configuration's files.
    configs : the configuration's files, for the heading and for commands that make a run again.
    source : where factors/, extracts/, store/ and logs/ lie; default: `results_dir`.
    results : those of the folder's files where they were read already, with what was worked out.
    """
    folder = Path(results_dir)
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    content = page(folder, title, configs, Path(source) if source else folder, results)
    path.write_text(content, encoding="utf-8", newline="\n")
    return path


def page(
    folder: Path,
    title: str = "",
    configs: Sequence[str] = (),
    source: Path | None = None,
    results: Results | None = None,
) -> str:
    """Return the report of a results folder as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    shown: dict[str, Any] = {
        "title": title or ", ".join(configs) or "Results",
        "configs": list(configs),
        "style": Markup((HERE / "style.css").read_text(encoding="utf-8")),
        "script": Markup((HERE / "script.js").read_text(encoding="utf-8")),
        "artefacts": documents.section(folder),
    }
    try:
        results = results or load_results(*(folder / name for name in FILES))
    except ResultsError as error:
        shown["missing"] = str(error)
    else:
        material = Material(results, folder, source or folder)
        shown |= _sections(material, environment, configs, shown["artefacts"])
    html = environment.get_template("report.html.j2").render(shown)
    return re.sub(r"\n\s*\n+", "\n", html)


def _sections(
    material: Material,
    environment: jinja2.Environment,
    configs: Sequence[str],
    artefacts: Mapping[str, Any],
) -> dict[str, Any]:
    """What the template shows of results; a brief page has the artefacts' tables packed."""
    all_records = records.Records(material)
    pairs = comparisons.section(material)
    views = factors.section(material)
    macro = environment.get_template("view.html.j2")
    later = {view["id"]: macro.render(view=view) for view in factors.each(views)}
    if material.brief:
        blocks = environment.get_template("blocks.html.j2")
        later |= {name: blocks.render(one=one) for name, one in documents.pack(artefacts).items()}
    packed = all_records.packed(pairs=pairs["pairs"], views=later, configs=list(configs))
    return {
        "facts": overview.facts(material),
        "findings": overview.findings(material),
        "fidelity": overview.fidelity(material),
        "matrices": overview.matrices(material),
        "pairs": pairs,
        "factors": views,
        "failures": failures(material, all_records),
        "tables": overview.tables(material),
        "data": _data(material),
        "manifest": material.results.manifest,
        "config": _yaml(material.results.manifest.get("config") or {}),
        "packed": Markup(packed),
    }


def failures(material: Material, known: records.Records) -> list[dict[str, Any]]:
    """Return what failed: runs that did not end well, then metrics on runs that did.

    Replicates of a cell that failed alike are one failure, and so are a run's protocols.
    """
    runs = material.results.runs
    failed = runs[runs["status"] != Status.DONE]
    keys = ["dataset", "method", "replicate", "status", "reason", "digest"]
    merged = failed.groupby(keys, sort=False, dropna=False)["protocol"].agg(tuple).reset_index()
    alike = ["dataset", "method", "protocol", "status", "reason"]
    found = []
    for key, rows in merged.groupby(alike, sort=False, dropna=False):
        dataset, method, protocols, status, reason = key
        cell = (dataset, method, protocols, list(rows["replicate"]))
        digest = str(rows["digest"].iloc[0])
        log = known.log_of.get(digest)
        one = _failure(material, *cell, f"{status}: {reason}")
        found.append(one | {"log": known.logs[log] if log else "", "digest": digest})
    together: dict[tuple[Any, ...], list[int]] = {}
    for (dataset, method, protocol, replicate, reason), names in _metrics_lost(material).items():
        what = f"done, but without {text.listed(names)}: {reason}"
        together.setdefault((dataset, method, protocol, what), []).append(replicate)
    for (dataset, method, protocol, what), replicates in together.items():
        shared = protocol not in material.results.protocols
        protocols = material.results.protocols if shared else [protocol]
        found.append(_failure(material, dataset, method, protocols, replicates, what))
    return found


def _metrics_lost(material: Material) -> dict[tuple[Any, ...], list[str]]:
    """(dataset, method, protocol, replicate, reason) -> metrics that failed for it."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for item in material.results.manifest.get("metric_failures", []):
        key = (item["dataset"], item["method"], item["protocol"], item["replicate"], item["reason"])
        found.setdefault(key, []).append(item["metric"])
    return found


def _failure(
    material: Material,
    dataset: str,
    method: str,
    protocols: Sequence[str],
    replicates: Sequence[int],
    what: str,
) -> dict[str, Any]:
    metric = material.headline(dataset, protocols[0]) or "none"
    listed = dataset in material.datasets
    said = "replicate" if len(replicates) == 1 else "replicates"
    return {
        "key": f"{dataset}/{method}/{protocols[0]}/{metric}/{replicates[0]}" if listed else "",
        "method": material.results.labels.get(method, method),
        "dataset": material.title(dataset),
        "where": f"{', '.join(protocols)}, {said} {text.ranges(replicates)}",
        "what": what,
        "log": "",
        "digest": "",
    }


def _yaml(config: Mapping[str, Any]) -> str:
    """A configuration as people write one."""
    return yaml.safe_dump(dict(config), default_flow_style=None, allow_unicode=True, width=100)


def _params(about: Mapping[str, Any]) -> str:
    """A dataset's parameters, and those that a protocol has otherwise."""
    own: Mapping[str, Any] = about.get("params") or {}
    parts = [_listed(own)]
    for protocol, other in (about.get("by_protocol") or {}).items():
        if changed := {k: v for k, v in other.get("params", {}).items() if v != own.get(k)}:
            parts.append(f"{_listed(changed)} ({protocol})")
    return "; ".join(parts)


def _listed(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in params.items())


def _data(material: Material) -> list[dict[str, Any]]:
    """The datasets as the manifest describes them."""
    found = []
    for dataset in material.datasets:
        about: Mapping[str, Any] = material.results.about(dataset)
        sizes = {k: about.get(k) for k in ("n_rows", "n_features", "n_latent")}
        shown = {k: f"{int(v):,}" if v else "" for k, v in sizes.items()}
        params = _params(about)
        notes = about.get("notes") or []
        found.append(
            {"title": material.title(dataset), "name": dataset, "params": params, "notes": notes}
            | {"likelihood": about.get("likelihood") or ""}
            | shown
        )
    return found
