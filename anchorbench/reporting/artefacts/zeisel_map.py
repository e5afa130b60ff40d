"""A map of the cells by each method's codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts import _style as style
from anchorbench.reporting.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Map of the Zeisel cells, by method",
    "caption": "t-SNE of each method's codes of all cells (first split, perplexity 30), coloured "
    "by the cell type, which no method was shown. Distances between groups mean little.",
    "category": "Interpretation",
    "datasets": ["zeisel"],
    "extract": True,
}
COLUMNS = ["dataset", "method", "protocol", "cell", "x", "y", "type"]
CELLS, PERPLEXITY = 1500, 30
ACROSS = 4


def extract(runs: Iterable[Any]) -> pd.DataFrame:
    """Return a two-dimensional t-SNE of the codes (N, K) of each method's first split.

    Constant codes have no map and are left out.
    """
    frames = [
        _map(run) for run in runs if run.record["replicate"] == 0 and run.codes_train.std() > 0
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _map(run: Any) -> pd.DataFrame:
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    train, test = run.truth.index
    new = ~np.isin(test, train)  # as published, a method is trained on its test cells, too
    codes = np.vstack([run.codes_train, run.codes[new]])
    labels = run.labels or {}
    name = min(labels, default=None)
    types = np.full(len(codes), "cell")
    if name:
        types = np.concatenate([labels[name][0], labels[name][1][new]])
    kept = np.sort(np.random.default_rng(0).permutation(len(codes))[:CELLS])
    scaled = StandardScaler().fit_transform(codes[kept]).astype(np.float32)
    tsne = TSNE(perplexity=min(PERPLEXITY, (len(kept) - 1) / 3), init="pca", random_state=0)
    with threadpool_limits(1):  # the same map whatever the number of cores
        place = tsne.fit_transform(scaled)
    frame = pd.DataFrame({"cell": kept, "x": place[:, 0], "y": place[:, 1], "type": types[kept]})
    for i, key in enumerate(COLUMNS[:3]):
        frame.insert(i, key, run.record[key])
    return frame


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return a panel for each method and protocol, and the places of the cells."""
    frame = results.extract
    if frame is None or frame.empty:
        why = "no finished run" if results.instances("zeisel") else "Zeisel was not run"
        return style.message(f"The map is empty: {why}."), pd.DataFrame(columns=COLUMNS)
    names = [m for m in results.methods if m in set(frame["method"]) and not results.is_quirk(m)]
    protocols = [p for p in results.protocols if p in set(frame["protocol"])]
    across = min(ACROSS, len(names))
    each = -(-len(names) // across)  # rows of panels for one protocol
    down = each * len(protocols)
    width = style.PAGE if across > 2 else style.COLUMN
    figure, axes = style.subplots(down, across, width, width / across * down * 1.2 + 0.4)
    types = sorted(frame["type"].astype(str).unique())
    for ax in axes.flat:
        ax.axis("off")
    for number, protocol in enumerate(protocols):
        for method, ax in zip(names, axes[number * each :].flat, strict=False):
            part = frame[(frame["method"] == method) & (frame["protocol"] == protocol)]
            for i, kind in enumerate(types):
                here = part[part["type"].astype(str) == kind]
                ax.scatter(here["x"], here["y"], s=3, linewidths=0, **_look(i))
            ax.set_title(f"{results.labels.get(method, method)}\n{protocol}")
            ax.set_box_aspect(1)
            if part.empty:
                ax.text(0.5, 0.5, "no map", ha="center", color=style.MUTED, transform=ax.transAxes)
    _legend(figure, types)
    return figure, frame


def _look(index: int) -> dict[str, Any]:
    colours, markers = style.CATEGORIES, style.MARKERS
    return {"color": colours[index % len(colours)], "marker": markers[index % len(markers)]}


def _legend(figure: Figure, types: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", markersize=3.5, label=kind.replace("_", " "), **_look(i))
        for i, kind in enumerate(types)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.1)
