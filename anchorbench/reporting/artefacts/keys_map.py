"""Loadings on the items of a questionnaire, sorted by its key, a panel a method."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.artefacts._theory import family
from anchorbench.reporting.results import Results
from anchorbench.scores.keys import congruences, signed_effects
from anchorbench.scores.matching import match_effects
from anchorbench.scores.recovery import in_true_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Loadings on the items of a questionnaire, sorted by its key",
    "caption": "Items (rows, by scale; reversed ones turned) and factors (columns, matched to the "
    "scales; those left over behind the line), first fold. Blue: positive, red: negative effects "
    "of a factor on an item, each row scaled to its largest. A method that finds the key has a "
    "blue diagonal of blocks and nothing beside it. The scales were themselves found by factor "
    "analysis with rotations, which favours methods of linear simple structure.",
    "category": "Recovery",
    "datasets": ["questionnaire"],
    "extract": True,
}
PLUGIN, ACCURACY = "questionnaire", "key_accuracy"
SETS = ("spi", "bfi")
"""The sets to show, the first that there is; any other after them."""
METHODS = ("pca", "pca_varimax", "vae", "vae_rotated", "sparse_vae", "sparse_vae_varimax_start")
CELL = ["dataset", "method", "protocol"]
HEAD = [*CELL, "replicate", "feature", "scale", "sign"]
FACTOR = "factor_"
LONGEST = 20
"""Characters of a scale's name."""
NOTHING = "No loadings of a questionnaire are kept yet."


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return effects of the first finished fold of METHODS on one set, a row an item.

    `scale` and `sign` are the item's by the key. factor_1 .. factor_K are the effects of a standard
    deviation of each factor, in the item's own, to two digits: factors in the order of the scales
    that they are matched to, with the sign that agrees with the key, those left over last. A scale
    without a factor has an empty column.
    """
    first: dict[tuple[str, ...], Any] = {}
    for run in runs:
        record = run.record
        if record["method"] not in METHODS or not _is_whole(record):
            continue
        cell = tuple(record[key] for key in CELL)
        known = first.get(cell)
        if known is None or record["replicate"] < known.record["replicate"]:
            first[cell] = run
    sets = {run.record["dataset"]: run.record["dataset_params"]["set"] for run in first.values()}
    frames = []
    for dataset in sorted(sets, key=lambda name: _preferred(sets[name]))[:1]:
        of_set = [run for cell, run in first.items() if cell[0] == dataset]
        frames = [_sorted(run) for run in of_set if run.loadings is not None]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=HEAD)


def _is_whole(record: dict[str, Any]) -> bool:
    """Whether a run is of the dataset that bears the plugin's name, with all of its rows."""
    name = family(record["dataset"], record["setting"])
    return name == PLUGIN and record["dataset_params"].get("rows") is None


def _preferred(name: str) -> tuple[int, str]:
    return (SETS.index(name) if name in SETS else len(SETS)), name


def _sorted(run: Any) -> pd.DataFrame:
    """The effects of one run, items and factors in the key's order."""
    keys = np.asarray(run.truth.keys, dtype=float)
    effects = signed_effects(run.loadings, run.codes, run.test)
    matched = match_effects(effects, keys)
    agreement = np.diag(in_true_order(congruences(effects, keys).T, matched)[0])
    ordered, rest = in_true_order(effects, matched)
    ordered = np.where(agreement < 0, -1.0, 1.0) * ordered
    ordered[:, matched < 0] = np.nan
    rest = rest[:, np.argsort(-np.abs(rest).sum(axis=0), kind="stable")]
    values = np.hstack([ordered, rest]).round(2) + 0.0
    scale = np.abs(keys).argmax(axis=1)
    named = run.data.dataset.arrays.get("scales", np.arange(keys.shape[1]) + 1)
    rows = np.argsort(scale, kind="stable")
    frame = pd.DataFrame(values, columns=[f"{FACTOR}{k + 1}" for k in range(values.shape[1])])
    signs = keys[np.arange(len(keys)), scale].astype(int)
    about = {"feature": run.features, "scale": np.asarray(named)[scale], "sign": signs}
    for place, key in enumerate(HEAD):
        frame.insert(place, key, about.get(key, run.record.get(key)))
    return frame.iloc[rows]


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return a panel for each method, and the effects in them."""
    frame = results.extract
    if frame is None or frame.empty:
        return style.message(NOTHING), pd.DataFrame(columns=HEAD)
    protocols = list(dict.fromkeys(frame["protocol"]))
    protocol = "corrected" if "corrected" in protocols else protocols[0]
    names = dict.fromkeys(frame["dataset"])
    dataset = min(names, key=lambda name: _preferred(name.removeprefix(f"{PLUGIN}_")))
    frame = frame[(frame["dataset"] == dataset) & (frame["protocol"] == protocol)]
    frame = frame.dropna(axis=1, how="all").reset_index(drop=True)
    methods = [m for m in METHODS if m in set(frame["method"])]
    items = len(frame) // len(methods)
    figure, axes = style.subplots(1, len(methods), style.PAGE, min(1.6 + 0.02 * items, 4.2))
    for ax, method in zip(axes[0], methods, strict=True):
        part = frame[frame["method"] == method]
        _heat(ax, part)
        score = results.series(dataset, method, protocol, ACCURACY).get(part["replicate"].iloc[0])
        said = "" if score is None else f"\naccuracy {score:.2f}"
        label = fill(style.entry(results.labels.get(method, method)), 14, max_lines=2)
        ax.set_title(label + said, fontsize=6)
    _name_scales(axes[0, 0], frame[frame["method"] == methods[0]])
    figure.supxlabel(f"Factors, {results.title(dataset)}, {protocol}", fontsize=7)
    return figure, frame


def _heat(ax: Axes, part: pd.DataFrame) -> None:
    """Effects of one method as colours, each row scaled to its largest; lines between scales."""
    values = part[[c for c in part if c.startswith(FACTOR)]].dropna(axis=1, how="all")
    effects = values.fillna(0).to_numpy(float) * part["sign"].to_numpy(float)[:, None]
    largest = np.abs(effects).max(axis=1, keepdims=True)
    shades = np.divide(effects, largest, out=np.zeros_like(effects), where=largest > 0)
    ends = _ends(part)
    places = [int(c.removeprefix(FACTOR)) - 1 for c in values]
    wide = np.zeros((len(shades), max(len(ends), *(place + 1 for place in places))))
    wide[:, places] = shades
    ax.pcolormesh(wide, cmap="RdBu", vmin=-1, vmax=1, rasterized=True)
    ax.invert_yaxis()
    for end in ends[:-1]:
        ax.axhline(end, color=style.RULE, linewidth=0.3)
    if wide.shape[1] > len(ends):
        ax.axvline(len(ends), color=style.INK, linewidth=0.5)
    ax.set_xticks([])
    ax.set_yticks([])


def _ends(part: pd.DataFrame) -> list[int]:
    """Row after the last item of each scale."""
    scale = part["scale"].astype(str).to_numpy()
    return [*(np.flatnonzero(scale[1:] != scale[:-1]) + 1).tolist(), len(scale)]


def _name_scales(ax: Axes, part: pd.DataFrame) -> None:
    """Name the scales beside a panel's rows."""
    ends = _ends(part)
    starts = [0, *ends[:-1]]
    middles = [(a + b) / 2 for a, b in zip(starts, ends, strict=True)]
    names = part["scale"].astype(str).to_numpy()[starts]
    size = 6.5 if len(names) < 15 else 4.5
    ax.set_yticks(
        middles,
        [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names],
        fontsize=size,
    )
    ax.tick_params(axis="y", length=0)
