"""Paired comparisons of any two methods, as intervals and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from anchorbench.reporting import standing
from anchorbench.reporting.page import numbers
from anchorbench.reporting.page.material import Material
from anchorbench.reporting.standing import Comparison
from anchorbench.study.protocols import ORACLE_TUNED

FAR = 300
"""Smallest differences that matter at which the axis ends."""
TICKS = (-100, -10, 0, 10, 100)


def section(material: Material) -> dict[str, Any]:
    """The comparisons: rows by protocol, the pair shown first, all others for the script."""
    compared = [m for m in material.methods if material.kinds[m] in ("method", "variant")]
    judged = [p for p in material.results.shown if p != ORACLE_TUNED]  # which is in no ranking
    rows = {p: _rows(material, p, compared) for p in judged}
    first = _first(material, compared)
    pairs = {
        f"{protocol}/{a}/{b}": found
        for protocol, asked in rows.items()
        for a, b in combinations(compared, 2)
        if any(found := _pair(material, protocol, asked, a, b))
    }
    protocols = []
    for protocol, asked in rows.items():
        shown: list[Any] = pairs.get("/".join((protocol, *first)), [])
        lines = [_head(material, protocol, *where) for where in asked]
        for i, line in enumerate(lines):
            line["found"] = said = shown[i] if i < len(shown) else None
            line["text"] = _text(said, line["decimals"]) if said else ""
            line["marks"] = _marks(said, line) if said else []
            line["first"] = not i or lines[i - 1]["name"] != line["name"]
        if lines:
            protocols.append({"protocol": protocol, "rows": lines})
    return {
        "protocols": protocols if pairs else [],
        "methods": [(m, material.results.labels[m]) for m in compared],
        "first": first,
        "pairs": pairs,
        "far": FAR,
        "ticks": [{"text": numbers.number(abs(t), 0), "at": place(t)} for t in TICKS],
        "band": (place(-1), place(1)),
    }


def _rows(material: Material, protocol: str, compared: Sequence[str]) -> list[tuple[str, str]]:
    """Dataset and metric of every row: the headline, then prediction where that is another."""
    found = []
    for dataset in material.datasets:
        ran = {m for m, p in material.results.present[dataset] if p == protocol}
        if len(ran & set(compared)) > 1:
            found += [(dataset, metric) for metric in material.shown(dataset, protocol)]
    families = [standing.family(material.results, dataset) for dataset, _ in found]
    first = {name: families.index(name) for name in families}
    place_of = {where: i for i, where in enumerate(found)}

    def order(where: tuple[str, str]) -> tuple[int, bool, int]:
        name = standing.family(material.results, where[0])
        return first[name], where[1] != material.headline(where[0], protocol), place_of[where]

    return sorted(found, key=order)


def _first(material: Material, compared: Sequence[str]) -> tuple[str, str]:
    """The first contrast of the configuration, else the first two methods."""
    named = (material.results.manifest.get("config") or {}).get("contrasts") or []
    for a, b in named:
        if a in compared and b in compared:
            return (a, b) if compared.index(a) < compared.index(b) else (b, a)
    methods = [m for m in compared if material.kinds[m] == "method"]
    known = [m for m in ("sparse_vae", "vae") if m in methods]
    first = [*known, *(m for m in methods if m not in known), "", ""]
    return first[0], first[1]


def _head(material: Material, protocol: str, dataset: str, metric: str) -> dict[str, Any]:
    """What a row says beside its differences; unit: the smallest that matters."""
    about, measure = material.results.about(dataset), material.results.metrics[metric]
    return {
        "name": about["label"],
        "setting": numbers.setting(about["setting"]),
        "metric": measure["label"],
        "direction": measure["direction"],
        "decimals": material.decimals[dataset, metric],
        "unit": numbers.digits(material.standings[dataset, protocol, metric].rope, 4),
        "sign": 1 if measure["direction"] == "max" else -1,
    }


def _pair(
    material: Material, protocol: str, asked: Sequence[tuple[str, str]], a: str, b: str
) -> list[list[Any] | None]:
    """A row each: word, difference and its ends; or None."""
    values = material.results.values
    have = [
        (dataset, metric, protocol, a, b)
        for dataset, metric in asked
        if (dataset, a, protocol, metric) in values and (dataset, b, protocol, metric) in values
    ]
    found = {
        c[:2]: t
        for c, t in zip(have, standing.family_of_tests(material.results, have), strict=True)
    }
    return [_said(material, found[where]) if where in found else None for where in asked]


def _said(material: Material, item: Comparison) -> list[Any] | None:
    """Word, difference and ends of a comparison; None where there is nothing to compare."""
    places = material.decimals[item.dataset, item.metric]
    shifts = [item.interval.estimate, item.interval.low, item.interval.high]
    if material.brief:  # as many digits as are shown
        shifts = [round(v, places) if math.isfinite(v) else v for v in shifts]
    return None if math.isnan(shifts[0]) else [item.word, *(numbers.digits(v) for v in shifts)]


def _bounds(found: Sequence[Any]) -> tuple[float, float, float]:
    """The difference with its ends, which are unbounded where there are too few replicates."""
    _, estimate, low, high = found
    return estimate, -math.inf if low is None else low, math.inf if high is None else high


def _text(found: Sequence[Any], places: int) -> str:
    return numbers.interval(*_bounds(found), places)


def _marks(found: Sequence[Any], line: Mapping[str, Any]) -> list[float]:
    """Where a difference and its ends lie on the axis, better to the right; as in script.js."""
    shifts = _bounds(found)
    unit = line["unit"] or max(abs(shifts[0]), 1e-12) / 10
    return [place(line["sign"] * shift / unit) for shift in shifts]


def place(units: float) -> float:
    """Where a difference lies on the axis, in percent: logarithmic on both sides of zero."""
    share = math.log10(1 + abs(units)) / math.log10(1 + FAR) if math.isfinite(units) else 1.0
    return round(50 + 48 * math.copysign(min(1.0, share), units), 1)
