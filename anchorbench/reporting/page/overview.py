"""The first screen: what was run, one matrix a protocol, findings in words, the fidelity count."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from anchorbench.reporting import standing
from anchorbench.reporting.artefacts.fidelity import NOT_RUN, VERDICTS
from anchorbench.reporting.page import numbers
from anchorbench.reporting.page.material import Material
from anchorbench.reporting.standing import Comparison, Standing
from anchorbench.runs.status import Status
from anchorbench.scores.statistics import BETTER, SAME, WORSE

ABOUT = {
    "published": "The settings and measures of the paper, quirks of its released code included.",
    "corrected": "The objective as the mathematics has it; what is scored was hidden.",
    "tuned": "Settings chosen on training rows alone, with the same number of trials for all.",
    "tuned_stable": "Of settings that predict as well, those on which two seeds agree most.",
    "oracle_tuned": "Settings chosen by the test rows: an upper line, and no competitor.",
}
NAMED = 3
"""Methods or datasets that a finding names before it counts them."""


def facts(material: Material) -> dict[str, Any]:
    """What was run: counts, time, devices."""
    results = material.results
    runs = results.runs.drop_duplicates(["dataset", "method", "replicate", "digest"])
    kinds = [material.kinds[m] for m in material.methods]
    plural = (("method", "variant", "control", "quirk"), ("", "s"))
    counted = [(kinds.count(k), k if k != "quirk" else "single quirk") for k in plural[0]]
    failed = int((runs["status"] != Status.DONE).sum())
    config = results.manifest.get("config", {})
    return {
        "datasets": _count(len(results.present), "dataset"),
        "unlisted": len(results.present) - len(material.datasets),
        "brief": material.brief,
        "methods": ", ".join(_count(n, name) for n, name in counted if n),
        "runs": _count(len(runs), "run"),
        "n_runs": len(runs),
        "failed": failed,
        "metrics_failed": len(results.manifest.get("metric_failures", [])),
        "time": _time(float(runs["seconds"].sum())),
        "devices": numbers.listed(sorted({str(d) for d in runs["device"] if str(d)})),
        "threads": config.get("threads"),
        "commit": str(results.manifest.get("git_commit", ""))[:12],
    }


def _time(seconds: float) -> str:
    for size, name in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def _count(n: int, name: str) -> str:
    return f"{n:,} {name}{'' if n == 1 else 's'}"


def matrices(material: Material) -> list[dict[str, Any]]:
    """One matrix a protocol: methods by datasets, each cell with what marks it."""
    found = []
    for protocol in material.results.shown:
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
                    "rows": [row for row in rows if not row["control"]],
                    "controls": [row for row in rows if row["control"]],
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
    columns: list[dict[str, Any]] = []
    for name, datasets in families.items():
        asked = [(d, material.headline(d, protocol)) for d in _chosen(material, datasets)]
        asked += [(datasets[0], m) for m in material.shown(datasets[0], protocol)[1:]]
        for dataset, metric in asked:
            about = results.about(dataset)
            columns.append(
                {
                    "dataset": dataset,
                    "metric": metric,
                    "family": name,
                    "name": about["label"],
                    "unit": _unit(material, dataset, protocol),
                    "label": _heading(material, metric),
                    "setting": numbers.setting(about["setting"]),
                    "direction": results.direction(metric),
                    "title": f"{material.label(metric)} on {material.title(dataset)}",
                    "static": _static(material, dataset, protocol),
                    "first": not columns or columns[-1]["family"] != name,
                }
            )
    return columns


def _chosen(material: Material, datasets: Sequence[str]) -> Sequence[str]:
    """The two ends where settings are steps of one number, else all."""
    steps = len(datasets) > 2 and all(material.swept(d) is not None for d in datasets)
    return [datasets[0], datasets[-1]] if steps else datasets


def _unit(material: Material, dataset: str, protocol: str) -> str:
    """How many splits or draws, and fits of each where there are several."""
    counts = material.results.counts
    n = max((c[0] for (d, _, p), c in counts.items() if (d, p) == (dataset, protocol)), default=0)
    splits = min(n, material.results.about(dataset).get("splits") or n)
    kind = standing.resampling(material.results, dataset)
    times = f" × {n // splits}" if splits and n > splits else ""
    return f"{splits} {kind if splits != 1 else kind.removesuffix('s')}{times}"


def _heading(material: Material, metric: str) -> str:
    """A metric's name above a column: its plugin's where that is named after it."""
    plugins = material.results.manifest.get("metrics", {})
    return _plain(plugins.get(metric, {}).get("label") or material.label(metric))


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
    return {
        "method": method,
        "label": _beside_base(material, method),
        "title": material.results.labels[method],
        "kind": material.kinds[method],
        "control": material.results.is_control(method, protocol),
        # A variant that leads nowhere is a detail.
        "minor": material.kinds[method] == "variant"
        and not any(stand.best == method for stand in _headlines(material, protocol)),
        "cells": [_cell(material, method, protocol, c["dataset"], c["metric"]) for c in columns],
    }


def _beside_base(material: Material, method: str) -> str:
    """A method's label; that of a variant without its base's, which stands above it."""
    label, base = material.results.labels[method], material.results.methods[method]["plugin"]
    head = f"{material.results.labels.get(base, base)}, "
    is_variant = material.kinds[method] == "variant" and label.startswith(head)
    return f"… {label.removeprefix(head)}" if is_variant else label


def _cell(
    material: Material, method: str, protocol: str, dataset: str, metric: str
) -> dict[str, Any] | None:
    """A number with its marks; None where the method was not run or the metric does not apply."""
    stand = material.standings.get((dataset, protocol, metric))
    entry = None if stand is None else stand.entries.get(method)
    place = {"static": _static(material, dataset, protocol)}
    if stand is None or entry is None or not entry.n:
        runs, failed = material.results.counts.get((dataset, method, protocol), (0, 0))
        nothing = {"text": "failed", "group": None, "said": f"all {runs} runs"}
        return place | nothing if runs and failed == runs else None
    return place | {
        "text": numbers.short(entry.value, material.bounded(metric)),
        "group": entry.group,
        "best": stand.best == method,
        "sunk": entry.below_floor,
        "few": f"{entry.n}/{entry.runs}" if entry.n < entry.runs else "",
        "unconverged": entry.unconverged,
        "said": _said(stand, method),
    }


def _static(material: Material, dataset: str, protocol: str) -> str:
    """Where a number leads without scripts: its table, or the failures."""
    return (
        table(material, dataset, protocol)
        if (dataset, protocol) in material.measured
        else "failures"
    )


def table(material: Material, dataset: str, protocol: str) -> str:
    """The id of a dataset's static table: short, for every number of the overview has it."""
    places = material.datasets.index(dataset), material.results.protocols.index(protocol)
    return "t{}-{}".format(*places)


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
    """Findings, a line a protocol: pieces of (text, the verdict that it names or "")."""
    found = [*_contrasts(material), _leaders(material), _sunk(material)]
    return [finding for finding in found if finding["lines"]]


Line = list[tuple[str, str]]


def _contrasts(material: Material) -> list[dict[str, Any]]:
    """The configuration's contrasts, else the paper's own comparison."""
    results = material.results
    named = standing.contrasts(results)
    why = "a contrast of the configuration"
    if not named:
        pairs = [
            (dataset, material.headline(dataset, protocol), protocol, "sparse_vae", "vae")
            for protocol in results.protocols
            for dataset in material.datasets
            if {("sparse_vae", protocol), ("vae", protocol)} <= results.present[dataset]
        ]
        why = "the paper’s comparison"
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
            [(f"{protocol}: ", ""), *_by_word(material, asked), (".", "")]
            for protocol in results.shown
            if (asked := [item for item in items if item.protocol == protocol])
        ]
        found.append({"label": label, "note": why, "lines": lines})
    return found


def _by_word(material: Material, items: Sequence[Comparison]) -> Line:
    """The datasets of each verdict: "better on A and B; not decided on C"."""
    words = {
        BETTER: BETTER,
        WORSE: WORSE,
        SAME: SAME,
        "not": "not decided",
        "no": "no better than the floor",
    }
    by_word: dict[str, list[Comparison]] = {}
    for item in items:
        key = item.word if item.word in (BETTER, WORSE, SAME) else item.word.split(" ")[0]
        by_word.setdefault(key, []).append(item)
    parts: Line = []
    for key, word in words.items():
        if key not in by_word:
            continue
        named = _families(material, [item.dataset for item in by_word[key]])
        where = numbers.listed(named)
        if len(named) > NAMED:
            where = f"{len(by_word[key])} of {len(items)} datasets"
        how = _difference(material, by_word[key][0]) if len(items) == 1 else ""
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
    if math.isnan(item.interval.estimate):
        return " (no replicate of which both have it)"
    places = material.decimals.get((item.dataset, item.metric), 3)
    text = numbers.interval(item.interval.estimate, item.interval.low, item.interval.high, places)
    return f" ({_plain(material.results.metrics[item.metric]['label'])} {text})"


def _leaders(material: Material) -> dict[str, Any]:
    """Who is in the best group of how many datasets, by the headline metric."""
    lines: list[Line] = []
    for protocol in material.results.shown:
        first: dict[str, int] = {}
        alone: dict[str, list[str]] = {}
        ranked = [
            s for s in _headlines(material, protocol) if any(e.group for e in s.entries.values())
        ]
        for stand in ranked:
            for name, entry in stand.entries.items():
                if entry.group == 1 and material.kinds[name] == "method":
                    first[name] = first.get(name, 0) + 1
            if stand.best is not None:
                alone.setdefault(stand.best, []).append(stand.dataset)
        if not first:
            continue
        labels = material.results.labels
        text = f"{protocol}, of {_count(len(ranked), 'dataset')}: {_most(first, labels)}."
        for method, where in alone.items():
            listed = numbers.listed(_families(material, where))
            text += f" {labels[method]} is better than every other on {listed}."
        lines.append([(text, "")])
    return {"label": "In the best group", "note": "", "lines": lines}


def _headlines(material: Material, protocol: str) -> list[Standing]:
    """The standings of the headline metrics of all datasets."""
    keys = [(d, protocol, material.headline(d, protocol)) for d in material.datasets]
    return [material.standings[key] for key in keys if key in material.standings]


def _most(counts: dict[str, int], labels: dict[str, str]) -> str:
    """The largest counts by name, the others together."""
    ordered = sorted(counts, key=lambda name: -counts[name])
    named = [f"{labels[name]} {counts[name]}" for name in ordered[:NAMED]]
    left = ordered[NAMED:]
    if left:
        others = f"{len(left)} others" if len(left) > 1 else labels[left[0]]
        named.append(f"{others} {'at most ' if len(left) > 1 else ''}{counts[left[0]]}")
    return ", ".join(named)


def _sunk(material: Material) -> dict[str, Any]:
    """Which methods predict no better than the training mean, on how many datasets."""
    lines: list[Line] = []
    for protocol in material.results.shown:
        counts: dict[str, int] = {}
        standings = _headlines(material, protocol)
        for stand in standings:
            for name, entry in stand.entries.items():
                if entry.below_floor and entry.n and material.kinds[name] == "method":
                    counts[name] = counts.get(name, 0) + 1
        if counts:
            named = _most(counts, material.results.labels)
            lines.append([(f"{protocol}, of {_count(len(standings), 'dataset')}: {named}.", "")])
    return {"label": "No better than the floor", "note": "the training mean", "lines": lines}


def fidelity(material: Material) -> list[dict[str, Any]]:
    """The paper's printed numbers by what became of them; empty where that was not counted."""
    path = material.folder / "tables" / "fidelity.csv"
    if not path.is_file():
        return []
    frame = pd.read_csv(path, keep_default_na=False)
    counts = frame[frame["protocol"] == "published"]["verdict"].value_counts()
    shown = [
        {"word": word, "n": int(counts.get(word, 0)), "place": i + 1}
        for i, word in enumerate(VERDICTS)
    ]
    measured = sum(item["n"] for item in shown if item["word"] != NOT_RUN)  # type: ignore[misc]
    return [item for item in shown if item["n"]] if measured else []


def tables(material: Material, most: int = 5) -> list[dict[str, Any]]:
    """Static tables: every dataset and protocol, mean and sd of the measures that matter most."""
    found = []
    for dataset in material.datasets:
        for protocol in material.protocols_of(dataset):
            metrics = _measures(material, dataset, protocol)[: 1 if material.brief else most]
            rows = [
                {"label": material.results.labels[method], "cells": cells}
                for method in material.methods
                if material.kinds[method] != "quirk"
                and any(
                    cells := [_printed(material, method, protocol, dataset, m) for m in metrics]
                )
            ]
            if rows:
                heads = [material.results.metrics[m] for m in metrics]
                title = f"{material.title(dataset)}, {protocol}"
                unit = _unit(material, dataset, protocol)
                key = table(material, dataset, protocol)
                found.append(
                    {"id": key, "title": title, "unit": unit, "heads": heads, "rows": rows}
                )
    return found


def _measures(material: Material, dataset: str, protocol: str) -> list[str]:
    """The metrics of a dataset: the headline first, then one a plugin, then the others."""
    have = material.measured.get((dataset, protocol), [])
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
