"""What the artefacts of the dataset `theory` share: which cells there are and what they differ in.

The dataset that bears the plugin's name is the star design: one base cell, and cells that turn a
dial. Other datasets of the plugin are planes, curves, or longer training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from anchorbench.reporting.results import Results
from anchorbench.scores.statistics import Interval, draws_interval

PLUGIN, BASE = "theory", "base"
UNCHANGING = ("n_test",)
SCALE = {"n_factors", "n_features", "n_latent"}
"""What goes with the number of factors."""
PREDICTED_C = 0.3
"""Constant of the threshold in the predicted boundary."""


def parameters(about: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an instance, with the number of latent factors of its models."""
    own = {k: v for k, v in (about.get("params") or {}).items() if k not in UNCHANGING}
    return {**own, "n_latent": about.get("n_latent")}


def family(name: str, setting: str) -> str:
    """The dataset of the configuration that an instance is a setting of."""
    return name.removesuffix(f"_{setting}") if setting else name


def families(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """Dataset -> its instances that were run, each with its parameters."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in results.instances(PLUGIN):
        about = results.about(name)
        cells = found.setdefault(family(name, about["setting"]), {})
        cells[name] = parameters(about)
    return found


def dials(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Dial -> {instance: its value, for people}, the base cell among them, in order of values.

    A cell that differs from the base in one parameter is on that parameter's dial; one of another
    link on that of the links, by its setting. Cells that differ in more are on an anchor dial of
    their own, where they share all but their anchors.
    """
    base_name = f"{PLUGIN}_{BASE}"
    base = cells.get(base_name)
    if base is None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, params in cells.items():
        changed = {key: value for key, value in params.items() if value != base.get(key)}
        if not changed:
            continue
        if "link" in changed:
            place, value = "link", name.removeprefix(f"{PLUGIN}_link_")
        elif len(changed) == 1:
            ((place, value),) = changed.items()
        elif set(changed) == SCALE:
            place, value = "n_factors", changed["n_factors"]
        else:
            ordered = sorted(changed.items(), key=lambda item: (item[0] != "n_latent", item[0]))
            others = [f"{key} {v}" for key, v in ordered if key != "anchors"]
            place, value = f"anchors ({', '.join(others)})", params["anchors"]
        found.setdefault(place, {})[name] = value
    for place, values in found.items():
        if place in base:
            values[base_name] = base[place]
    return {place: _in_order(found[place]) for place in sorted(found)}


def longer(results: Results) -> dict[str, dict[str, str]]:
    """Dial -> {instance: the cell of the star design with the same data}, by rows.

    Of each dataset all of whose cells are again those of the dial of rows, trained otherwise.
    """
    every = families(results)
    star = every.pop(PLUGIN, {})
    of_rows = {
        tuple(sorted(star[name].items(), key=str)): name for name in dials(star).get("n", {})
    }
    found = {}
    for name, of in every.items():
        again = {cell: of_rows.get(tuple(sorted(p.items(), key=str))) for cell, p in of.items()}
        if len(again) > 1 and all(again.values()):
            label = results.about(next(iter(of)))["label"]
            in_order = sorted(again.items(), key=lambda item: of[item[0]]["n"])
            found[f"n ({label or name})"] = {cell: str(same) for cell, same in in_order}
    return found


def _in_order(values: Mapping[str, Any]) -> dict[str, str]:
    """Instances by value, numbers by size; as text."""
    numbers = all(isinstance(v, int | float) for v in values.values())
    key = (lambda item: item[1]) if numbers else (lambda item: str(item[1]))
    return {name: text_of(value) for name, value in sorted(values.items(), key=key)}


def text_of(value: Any) -> str:
    """A dial's value for people."""
    return "by link" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def plane(results: Results, across: str, metric: str) -> dict[tuple[Any, Any], str]:
    """(value of `across`, n) -> instance, of the dataset with most such cells.

    Cells have values of a metric and share all other parameters; the star design is no plane.
    """
    measured = {dataset for dataset, _, _, name in results.values if name == metric}
    best: dict[tuple[Any, Any], str] = {}
    for name, of in families(results).items():
        if name == PLUGIN:
            continue
        kept = {cell: params for cell, params in of.items() if cell in measured}
        for group in groups_but(kept, (across, "n")).values():
            places = {(of[cell][across], of[cell]["n"]): cell for cell in group}
            both = all(len({place[i] for place in places}) > 1 for i in (0, 1))
            if both and len(places) > len(best):
                best = places
    return best


def groups_but(
    cells: Mapping[str, Mapping[str, Any]], free: Sequence[str]
) -> dict[tuple[tuple[str, str], ...], list[str]]:
    """Instances that share all parameters but some, by these parameters."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, params in cells.items():
        rest = tuple(sorted((k, str(v)) for k, v in params.items() if k not in free))
        found.setdefault(rest, []).append(name)
    return found


def interval(values: np.ndarray) -> Interval:
    """The mean of draws with its 95 % interval; of a single one the interval is its value."""
    if len(values) == 1:
        only = float(values[0])
        return Interval(only, only, only, math.nan, 1)
    return draws_interval(values)


def rotation_line(rho: float) -> float:
    """MCC of the codes z1 + z2 and z1 - z2: wrong by 45 degrees."""
    return (math.sqrt((1 + rho) / 2) + math.sqrt((1 - rho) / 2)) / 2


def copy_line(rho: float) -> float:
    """MCC of two codes that both are z1."""
    return (1 + rho) / 2


def rows_needed(rho: float, n_features: int) -> float:
    """n* = 16 c^2 log G / (1 - rho)^2: where the gap 1 - rho of covariances is 4 thresholds."""
    return 16 * PREDICTED_C**2 * math.log(n_features) / (1 - rho) ** 2


def methods_of(results: Results, datasets: Iterable[str], protocol: str) -> list[str]:
    """Methods with runs on some datasets under a protocol, in the results' order."""
    run = {m for name in datasets for m, p in results.present.get(name, ()) if p == protocol}
    return [name for name in results.methods if name in run and not results.is_quirk(name)]
