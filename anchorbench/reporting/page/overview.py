"""The first screen: what was run, one matrix a protocol, findings in words, the fidelity count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from anchorbench.reporting import standing
from anchorbench.reporting.page import numbers
from anchorbench.reporting.page.material import Material
from anchorbench.reporting.standing import Comparison, Standing
from anchorbench.runs.status import Status
from anchorbench.scores.statistics import BETTER, SAME, WORSE

ABOUT = {
    "published": "The settings and the measures of the paper, quirks of the released code included.",
    "corrected": "The objective as the mathematics has it; what is scored was hidden.",
    "tuned": "Settings chosen on training rows alone, with the same number of trials for all.",
}
ALL_SETTINGS = 3
"""Settings of a dataset up to which each has a column; of more, the first and the last."""
VERDICTS = ("reproduced", "same order", "not reproduced", "not comparable", "not run")
NAMED = 3
"""Methods that a finding names before it counts the rest."""


def facts(material: Material) -> dict[str, Any]:
    """What was run: counts, time, devices."""
    results = material.results
    runs = results.runs.drop_duplicates(["dataset", "method", "replicate", "digest"])
    kinds = [material.kinds[m] for m in material.methods]
    plural = (("method", "variant", "control", "quirk"), ("", "s"))
    counted = [(kinds.count(k), k if k != "quirk" else "single quirk") for k in plural[0]]
    failed = int((runs["status"] != Status.DONE).sum())
    hours = float(runs["seconds"].sum()) / 3600
    config = results.manifest.get("config", {})
    return {
        "datasets": _count(len(material.datasets), "dataset"),
        "methods": ", ".join(_count(n, name) for n, name in counted if n),
        "runs": _count(len(runs), "run"),
        "n_runs": len(runs),
        "failed": failed,
        "metrics_failed": len(results.manifest.get("metric_failures", [])),
        "time": f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} minutes",
        "devices": numbers.listed(sorted({str(d) for d in runs["device"] if str(d)})),
        "threads": config.get("threads"),
        "commit": str(results.manifest.get("git_commit", ""))[:12],
    }


def _count(n: int, name: str) -> str:
    return f"{n:,} {name}{'' if n == 1 else 's'}"


def matrices(material: Material) -> list[dict[str, Any]]:
    """One matrix a protocol: methods by datasets, each cell with what marks it."""
    found = []
    for protocol in reversed(material.results.protocols):
        columns = _columns(material, protocol)
        shown = [m for m in material.methods if material.kinds[m] != "quirk"]
        rows = [_row(material, method, protocol, columns) for method in shown]
        rows = [row for row in rows if any(row["cells"])]
        if columns and rows:
            found.append(
                {
                    "protocol": protocol,
                    "about": ABOUT.get(protocol, ""),
                    "columns": columns,
                    "heads": _heads(columns),
                    "rows": [row for row in rows if row["kind"] != "control"],
                    "controls": [row for row in rows if row["kind"] == "control"],
                }
            )
    return found


def _columns(material: Material, protocol: str) -> list[dict[str, Any]]:
    """The headline metric of each dataset, and one of prediction a family beside recovery."""
    results = material.results
    families: dict[str, list[str]] = {}
    for dataset in material.datasets:
        if protocol in material.protocols_of(dataset):
            families.setdefault(standing.family(results, dataset), []).append(dataset)
    columns = []
    for name, datasets in families.items():
        asked = [(d, m) for d in _chosen(material, datasets) for m in material.shown(d, protocol)[:1]]
        asked += [(datasets[0], m) for m in material.shown(datasets[0], protocol)[1:]]
        for dataset, metric in asked:
            about, measure = results.about(dataset), results.metrics[metric]
            columns.append(
                {
                    "dataset": dataset,
                    "metric": metric,
                    "family": name,
                    "name": about["label"],
                    "unit": _unit(material, dataset, protocol),
                    "label": _plain(measure["label"]),
                    "setting": numbers.setting(about["setting"]),
                    "direction": measure["direction"],
                    "title": f"{measure['label']} on {material.title(dataset)}",
                    "first": not columns or columns[-1]["family"] != name,
                }
            )
    return columns


def _chosen(material: Material, datasets: Sequence[str]) -> Sequence[str]:
    """All settings where they are few or are not numbers, else the two ends."""
    settings = [material.results.about(d)["setting"] for d in datasets]
    if len(datasets) <= ALL_SETTINGS or not all(re.search(r"\d", s) for s in settings):
        return datasets
    return [datasets[0], datasets[-1]]


def _unit(material: Material, dataset: str, protocol: str) -> str:
    """How many replicates, and of what kind."""
    counts = material.results.counts
    n = max((c[0] for (d, _, p), c in counts.items() if (d, p) == (dataset, protocol)), default=0)
    kind = standing.resampling(material.results, dataset)
    return f"{n} {kind if n != 1 else kind.removesuffix('s')}"


def _plain(label: str) -> str:
    """A metric's label without what stands in brackets."""
    return re.sub(r"\s*\(.*\)", "", label)


def _heads(columns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The datasets above the columns."""
    heads: list[dict[str, Any]] = []
    for column in columns:
        if column["first"]:
            heads.append({"name": column["name"], "unit": column["unit"], "span": 0})
        heads[-1]["span"] += 1
    return heads


def _row(
    material: Material, method: str, protocol: str, columns: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    cells = [_cell(material, method, protocol, c["dataset"], c["metric"]) for c in columns]
    return {
        "method": method,
        "label": material.results.labels[method],
        "kind": material.kinds[method],
        # A variant that leads nowhere is a detail.
        "minor": material.kinds[method] == "variant"
        and not any(cell and cell["group"] == 1 for cell in cells),
        "cells": [cell and cell | {"first": c["first"]} for cell, c in zip(cells, columns, strict=True)],
    }


def _cell(
    material: Material, method: str, protocol: str, dataset: str, metric: str
) -> dict[str, Any] | None:
    """A number with its marks; None where the method was not run or the metric does not apply."""
    stand = material.standings.get((dataset, protocol, metric))
    entry = None if stand is None else stand.entries.get(method)
    if stand is None or entry is None:
        return None
    all_failed = entry.runs and material.results.counts[dataset, method, protocol][1] == entry.runs
    if not entry.n and not all_failed:
        return None
    return {
        "key": f"{dataset}/{method}/{protocol}/{metric}",
        "text": numbers.short(entry.value, material.bounded(metric)) if entry.n else "failed",
        "group": entry.group,
        "best": stand.best == method,
        "sunk": entry.below_floor,
        "few": f"{entry.n}/{entry.runs}" if 0 < entry.n < entry.runs else "",
        "unconverged": entry.unconverged,
        "said": _said(stand, method),
    }


def _said(stand: Standing, method: str) -> str:
    """What colour, weight and strokes say, in words."""
    entry = stand.entries[method]
    marks = [
        {1: "best group", 2: "second group"}.get(entry.group or 0, ""),
        "better than every other" if stand.best == method else "",
        "no better than the floor" if entry.below_floor else "",
        f"{entry.unconverged} of {entry.n} had not converged" if entry.unconverged else "",
    ]
    return ", ".join(filter(None, marks))


def findings(material: Material) -> list[dict[str, Any]]:
    """Findings as sentences: each a list of (text, word), `word` naming a verdict or empty."""
    found = _contrasts(material)
    found += [_leaders(material, protocol) for protocol in reversed(material.results.protocols)]
    found.append(_sunk(material))
    return [finding for finding in found if finding["parts"]]


Parts = list[tuple[str, str]]


def _contrasts(material: Material) -> list[dict[str, Any]]:
    """The configuration's contrasts, else the paper's own comparison."""
    results = material.results
    named = standing.contrasts(results)
    why = "named before the run"
    if not named:
        pairs = [
            (dataset, material.headline(dataset, protocol), protocol, "sparse_vae", "vae")
            for protocol in results.protocols
            for dataset in material.datasets
            if {("sparse_vae", protocol), ("vae", protocol)} <= results.present[dataset]
        ]
        why = "the paper's comparison"
        for protocol in results.protocols:
            family = [pair for pair in pairs if pair[2] == protocol and pair[1]]
            named += standing.family_of_tests(results, family)
    by_pair: dict[tuple[str, str], list[Comparison]] = {}
    for item in named:
        by_pair.setdefault((item.method, item.reference), []).append(item)
    found = []
    for (method, reference), items in by_pair.items():
        label = f"{results.labels[method]} against {results.labels[reference]}"
        lines = [
            (f"{protocol}: ", _by_word(material, [i for i in items if i.protocol == protocol]))
            for protocol in reversed(results.protocols)
            if any(i.protocol == protocol for i in items)
        ]
        parts: Parts = []
        for head, line in lines:
            parts += [(head, ""), *line, (". ", "")]
        found.append({"label": label, "note": why, "parts": parts})
    return found


def _by_word(material: Material, items: Sequence[Comparison]) -> Parts:
    """The datasets of each verdict: "better on A and B; not decided on C"."""
    words = {BETTER: BETTER, WORSE: WORSE, SAME: SAME, "not": "not decided", "no": "no better than the floor"}
    by_word: dict[str, list[Comparison]] = {}
    for item in items:
        key = item.word if item.word in (BETTER, WORSE, SAME) else item.word.split(" ")[0]
        by_word.setdefault(key, []).append(item)
    parts: Parts = []
    for key, word in words.items():
        if key not in by_word:
            continue
        where = numbers.listed(_families(material, [i.dataset for i in by_word[key]]))
        how = _difference(material, by_word[key][0]) if len(by_word[key]) == 1 else ""
        parts += [("; " if parts else "", ""), (word, key), (f" on {where}{how}", "")]
    return parts


def _families(material: Material, datasets: Iterable[str]) -> list[str]:
    """Datasets by name, settings of one together: "Synthetic ρ 0, .2"."""
    together: dict[str, list[str]] = {}
    for dataset in datasets:
        about = material.results.about(dataset)
        together.setdefault(about["label"], []).append(numbers.setting(about["setting"]))
    found = []
    for label, settings in together.items():
        first, *rest = settings
        head = first.split(" ")[0] + " "
        rest = [s.removeprefix(head) if len(head) < len(first) + 1 else s for s in rest]
        found.append(" ".join(filter(None, [label, ", ".join([first, *rest])])))
    return found


def _difference(material: Material, item: Comparison) -> str:
    places = material.decimals.get((item.dataset, item.metric), 3)
    text = numbers.interval(item.interval.estimate, item.interval.low, item.interval.high, places)
    return f" ({_plain(material.results.metrics[item.metric]['label'])} {text})"


def _leaders(material: Material, protocol: str) -> dict[str, Any]:
    """Who is in the best group of how many datasets, by the headline metric."""
    first: dict[str, int] = {}
    alone: dict[str, list[str]] = {}
    total = 0
    for dataset in material.datasets:
        stand = material.standings.get((dataset, protocol, material.headline(dataset, protocol)))
        if stand is None or not any(entry.group for entry in stand.entries.values()):
            continue
        total += 1
        for name, entry in stand.entries.items():
            if entry.group == 1 and material.kinds[name] == "method":
                first[name] = first.get(name, 0) + 1
        if stand.best is not None:
            alone.setdefault(stand.best, []).append(dataset)
    ordered = sorted(first, key=lambda name: -first[name])
    labels = material.results.labels
    named = [f"{labels[m]} {first[m]}" for m in ordered[:NAMED]]
    parts: Parts = []
    if named:
        left = len(ordered) - NAMED
        named += [f"{left} other{'s' if left > 1 else ''} at most {first[ordered[NAMED]]}"] if left > 0 else []
        parts.append((f"In the best group, of {_count(total, 'dataset')}: {', '.join(named)}. ", ""))
    for method, where in alone.items():
        listed = numbers.listed(_families(material, where))
        parts.append((f"{labels[method]} is better than every other on {listed}. ", ""))
    return {"label": "Best groups", "note": protocol, "parts": parts}


def _sunk(material: Material) -> dict[str, Any]:
    """Which methods predict no better than the training mean."""
    where: dict[str, dict[str, list[str]]] = {}
    for (dataset, protocol, metric), stand in material.standings.items():
        if metric != material.headline(dataset, protocol):
            continue
        for name, entry in stand.entries.items():
            if entry.below_floor and entry.n and material.kinds[name] == "method":
                where.setdefault(name, {}).setdefault(protocol, []).append(dataset)
    parts: Parts = []
    for name in material.methods:
        for protocol, datasets in where.get(name, {}).items():
            listed = numbers.listed(_families(material, datasets))
            parts.append((f"{material.results.labels[name]} on {listed} ({protocol}). ", ""))
    return {"label": "No better than the floor", "note": "the training mean alone", "parts": parts}


def fidelity(material: Material) -> list[dict[str, Any]]:
    """The paper's printed numbers by what became of them; empty where that was not counted."""
    path = material.folder / "tables" / "fidelity.csv"
    if not path.is_file():
        return []
    frame = pd.read_csv(path, keep_default_na=False)
    counts = frame[frame["protocol"] == "published"]["verdict"].value_counts()
    shown = [{"word": word, "n": int(counts.get(word, 0))} for word in VERDICTS]
    measured = sum(item["n"] for item in shown if item["word"] != "not run")  # type: ignore[misc]
    return [item for item in shown if item["n"]] if measured else []


def tables(material: Material, most: int = 7) -> list[dict[str, Any]]:
    """Static tables: every dataset and protocol, mean and sd of the measures that matter most."""
    found = []
    for dataset in material.datasets:
        for protocol in material.protocols_of(dataset):
            metrics = _measures(material, dataset, protocol)[:most]
            rows = [
                {"label": material.results.labels[method], "cells": cells}
                for method in material.methods
                if material.kinds[method] != "quirk"
                and any(cells := [_printed(material, method, protocol, dataset, m) for m in metrics])
            ]
            if rows:
                heads = [material.results.metrics[m] for m in metrics]
                title = f"{material.title(dataset)}, {protocol}"
                unit = _unit(material, dataset, protocol)
                key = f"t-{dataset}-{protocol}"
                found.append({"id": key, "title": title, "unit": unit, "heads": heads, "rows": rows})
    return found


def _measures(material: Material, dataset: str, protocol: str) -> list[str]:
    """The metrics of a dataset: the headline first, then one a plugin, then the others."""
    have = [m for d, p, m in material.standings if (d, p) == (dataset, protocol)]
    known = [m for m in material.results.metrics if m in have and material.results.direction(m)]
    first = material.shown(dataset, protocol)
    leading = [m for m in known if m not in first and material.results.metrics[m]["plugin"] == m]
    return [*first, *leading, *(m for m in known if m not in (*first, *leading))]


def _printed(
    material: Material, method: str, protocol: str, dataset: str, metric: str
) -> dict[str, Any] | None:
    entry = material.standings[dataset, protocol, metric].entries.get(method)
    if entry is None or not entry.n:
        return None
    places = material.decimals[dataset, metric]
    return {
        "text": numbers.number(entry.value, places),
        "sd": numbers.number(entry.sd, places) if entry.n > 1 else "",
        "group": entry.group,
        "few": f"{entry.n}/{entry.runs}" if entry.n < entry.runs else "",
    }
