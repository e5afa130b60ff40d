"""Views of factors: loadings as a heat map and as lists, codes as a map, by dataset and method."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from anchorbench.reporting.factors import CODES, FACTOR, FOLDER, LOADINGS, TRUTH, place
from anchorbench.reporting.page.material import Material
from anchorbench.reporting.results import CELL, SHARED, read_extract

ALL_FEATURES = 40
"""Features up to which a heat map shows all; of more, the first two of each factor."""
LEADING, TOP = 2, 6
STEPS = 5
WIDTH, HEIGHT = 15, 14
"""Of a cell of a heat map."""
INACTIVE = 0.01
"""Share of the strongest factor's loadings below which a factor has none to speak of."""
POINTS, CLASSES, SIDE = 700, 9, 300
TOPIC, MAP, GRID = {"factor", "feature", "weight"}, {"x", "y", "type"}, {"part", "row", "column"}


@dataclass
class Loadings:
    """Loadings (G, K) of named features; NaN where they are not known."""

    features: list[str]
    values: np.ndarray
    truth: np.ndarray | None = None


@dataclass
class Codes:
    """Two coordinates of every row's codes, with the rows' classes."""

    points: np.ndarray
    label: str
    classes: np.ndarray
    what: str


Extract = tuple[set[str], dict[tuple[str, str, str], pd.DataFrame]]
"""Columns of an artefact's extract, and its rows by dataset, method and protocol."""


def section(material: Material) -> list[dict[str, Any]]:
    """Datasets with the views of their methods, corrected before published."""
    extracts = _extracts(material)
    found = []
    for dataset in material.datasets:
        views: dict[str, dict[str, Any]] = {}
        for protocol in material.results.shown:
            for method in material.methods:
                here = (method, protocol) in material.results.present[dataset]
                if here and material.kinds[method] in ("method", "variant"):
                    view = _view(material, extracts, (dataset, method, protocol))
                    if view is not None:
                        views.setdefault(view["id"], view)
        if views:
            title = material.title(dataset)
            found.append({"dataset": dataset, "title": title, "views": list(views.values())})
    return found


def _extracts(material: Material) -> list[Extract]:
    """What a reference keeps of loadings and codes."""
    found = []
    for path in sorted((material.source / "extracts").glob("*.csv")):
        frame = read_extract(path, material.results.protocols)
        if frame is not None and set(CELL) <= set(frame):
            found.append((set(frame), dict(iter(frame.groupby(CELL, sort=False)))))
    return found


def _view(
    material: Material, extracts: Sequence[Extract], cell: tuple[str, str, str]
) -> dict[str, Any] | None:
    """One method's factors on a dataset; None where nothing is known of them."""
    dataset, method, protocol = cell
    shared = (dataset, method) in material.shared
    folder = material.source / FOLDER / dataset / place(method, SHARED if shared else protocol)
    loadings = _read_loadings(folder) or _from_extracts(extracts, cell)
    codes = _read_codes(folder) or _map_of(extracts, cell)
    if loadings is None and codes is None:
        return None
    label = material.results.labels[method]
    files = [folder / name for name in (LOADINGS, CODES) if (folder / name).is_file()]
    return {
        "id": "/".join((dataset, method, SHARED if shared else protocol)),
        "label": label if shared else f"{label}, {protocol}",
        "heat": loadings and _heat(loadings),
        "lists": loadings and _lists(loadings),
        "map": codes and _drawn(codes),
        "files": [str(path.relative_to(material.source)) for path in files],
    }


def _read_loadings(folder: Path) -> Loadings | None:
    if not (folder / LOADINGS).is_file():
        return None
    frame = pd.read_csv(folder / LOADINGS, dtype={"feature": str}, keep_default_na=False)
    truth = folder.parent / TRUTH
    known = pd.read_csv(truth).drop(columns="feature").to_numpy(float) if truth.is_file() else None
    values = frame.drop(columns="feature").to_numpy(float)
    return Loadings(
        list(frame["feature"]),
        values,
        known if known is None or len(known) == len(values) else None,
    )


def _from_extracts(extracts: Sequence[Extract], cell: tuple[str, str, str]) -> Loadings | None:
    """Loadings of a reference: the top features of topics, or a small matrix beside its truth."""
    for columns, by_cell in extracts:
        rows = by_cell.get(cell)
        if rows is None:
            continue
        if columns >= TOPIC:
            wide = rows.pivot_table(index="feature", columns="factor", values="weight", sort=False)
            return Loadings([str(f) for f in wide.index], wide.sort_index(axis=1).to_numpy(float))
        if columns >= GRID and len(part := rows[rows["part"] == "loading"]):
            wide = part.pivot(index="row", columns="column", values="value")
            true = rows[rows["part"] == "truth"].pivot(
                index="row", columns="column", values="value"
            )
            names = [f"feature {row + 1}" for row in wide.index]
            return Loadings(
                names, wide.to_numpy(float), true.to_numpy(float) if len(true) else None
            )
    return None


def _read_codes(folder: Path) -> Codes | None:
    """The first two principal components of the test rows' codes."""
    if not (folder / CODES).is_file():
        return None
    frame = pd.read_csv(folder / CODES, keep_default_na=False)
    values = frame[[c for c in frame if re.fullmatch(FACTOR, str(c))]]
    tested = (frame["split"] == "test").to_numpy()
    X = values.to_numpy(float)[tested]
    X = X - X.mean(axis=0)
    if X.shape[1] < 2 or len(X) < 3 or not np.isfinite(X).all() or not X.any():
        return None
    u, s, _ = np.linalg.svd(X, full_matrices=False)
    share = 100 * (s[:2] ** 2).sum() / (s**2).sum()
    labels = [c for c in frame if c not in ("row", "split", *values)]
    name = labels[0] if labels else ""
    classes = _classes(frame.loc[tested, name]) if name else np.full(len(X), "")
    components = "First two principal components of the codes of the test rows"
    what = f"{components}, {share:.0f} % of their variance"
    return Codes(u[:, :2] * s[:2], name.removeprefix("label_"), classes, what)


def _map_of(extracts: Sequence[Extract], cell: tuple[str, str, str]) -> Codes | None:
    for columns, by_cell in extracts:
        rows = by_cell.get(cell)
        if columns >= MAP and rows is not None:
            what = (
                "t-SNE of the codes of all rows, first split; distances between groups mean little"
            )
            return Codes(rows[["x", "y"]].to_numpy(float), "type", _classes(rows["type"]), what)
    return None


def _classes(labels: pd.Series) -> np.ndarray:
    """Labels as at most ten classes: numbers by quarters, names beyond the commonest as others."""
    values = pd.to_numeric(labels, errors="coerce")
    if labels.nunique() > CLASSES + 1 and values.notna().all():
        return pd.qcut(values, 4, duplicates="drop").astype(str).to_numpy()
    common = labels.astype(str).value_counts().index[:CLASSES]
    named = labels.astype(str)
    few = labels.nunique() <= CLASSES + 1
    return (named if few else named.where(named.isin(common), "others")).to_numpy()


def _heat(loadings: Loadings) -> dict[str, Any]:
    """Rows, columns and squares of the heat map, sorted by factor, or by the truth where known."""
    W, order = loadings.values, _column_order(loadings)
    size = np.abs(np.nan_to_num(W))[:, order]
    rows = _row_order(loadings, size)
    top = np.where(size.max(axis=0) > 0, size.max(axis=0), 1)
    shares = np.sign(np.nan_to_num(W)[:, order]) * size / top
    found = {
        "features": [loadings.features[i] for i in rows],
        "all": len(rows) == len(loadings.features),
        "longest": max(len(loadings.features[i]) for i in rows),
        "n_factors": W.shape[1],
        "squares": _squares(shares[rows]),
        "signed": bool((np.nan_to_num(W) < 0).any()),
        "several": int(((np.abs(shares[rows]) > 0.25).sum(axis=1) > 1).sum()),
        "truth": None,
    }
    if loadings.truth is not None:
        true = loadings.truth[rows]
        found["truth"] = {"n_factors": true.shape[1], "squares": _squares(np.sign(true))}
    return found


def _column_order(loadings: Loadings) -> np.ndarray:
    """Factors by strength; those that resemble a true factor in the truth's order before others."""
    size = np.abs(np.nan_to_num(loadings.values))
    by_strength = np.argsort(-size.sum(axis=0), kind="stable")
    if loadings.truth is None:
        return by_strength
    a, b = (_unit(m) for m in (size, np.abs(loadings.truth)))
    ours, true = linear_sum_assignment(-(a.T @ b))
    matched = [int(k) for _, k in sorted(zip(true, ours, strict=True))]
    return np.array([*matched, *(int(k) for k in by_strength if k not in matched)])


def _unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.maximum(np.linalg.norm(matrix, axis=0), 1e-12)


def _row_order(loadings: Loadings, size: np.ndarray) -> list[int]:
    """Features by the factor that they weigh most on, the true one where known."""
    by = size if loadings.truth is None else np.abs(loadings.truth)
    if len(size) <= ALL_FEATURES:
        chosen = list(range(len(size)))
    else:
        leading = np.argsort(-size, axis=0, kind="stable")[:LEADING]
        chosen = sorted(
            {
                int(i)
                for i, k in zip(
                    leading.T.ravel(), np.repeat(np.arange(size.shape[1]), LEADING), strict=True
                )
                if size[i, k] > 0
            }
        )
    return sorted(chosen, key=lambda i: (int(by[i].argmax()), -float(size[i].max()), i))


def _squares(shares: np.ndarray) -> dict[str, str]:
    """An SVG path for each colour of squares; what is below a twentieth stays blank."""
    paths: dict[str, str] = {}
    for (i, j), share in np.ndenumerate(shares):
        if abs(share) >= 0.05:
            step = max(1, math.ceil(STEPS * abs(share)))
            name = f"{'n' if share < 0 else 'p'}{step}"
            square = f"M{WIDTH * j} {HEIGHT * i}h{WIDTH - 1}v{HEIGHT - 1}h-{WIDTH - 1}z"
            paths[name] = paths.get(name, "") + square
    return dict(sorted(paths.items()))


def _lists(loadings: Loadings) -> dict[str, Any]:
    """The features that weigh most on each factor, with signs, in the heat map's order."""
    W = np.nan_to_num(loadings.values)
    strength = np.abs(W).sum(axis=0)
    order = _column_order(loadings)
    factors = []
    for place_, k in enumerate(order):
        if strength[k] < INACTIVE * strength.max() or not strength[k]:
            continue
        first = np.argsort(-np.abs(W[:, k]), kind="stable")[:TOP]
        top = np.abs(W[first[0], k])
        kept = [i for i in first if np.abs(W[i, k]) >= 0.05 * top]
        factors.append(
            {
                "number": place_ + 1,
                "share": round(100 * float(strength[k] / strength.max())),
                "features": [
                    {
                        "name": loadings.features[i],
                        "share": round(100 * float(abs(W[i, k]) / top)),
                        "negative": bool(W[i, k] < 0),
                    }
                    for i in kept
                ],
            }
        )
    return {"factors": factors, "inactive": len(order) - len(factors)}


def _drawn(codes: Codes) -> dict[str, Any]:
    """The map as a path for each class; of many points, every n-th is drawn."""
    step = max(1, math.ceil(len(codes.points) / POINTS))
    points, classes = codes.points[::step], codes.classes[::step]
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / max(float((high - low).max()), 1e-12) * (SIDE - 16) + 8
    whole = scaled.round().astype(int)
    whole[:, 1] = whole[:, 1].max() + 8 - whole[:, 1]
    names = sorted(set(classes))
    return {
        "label": codes.label,
        "what": codes.what,
        "n": len(points),
        "height": int(whole[:, 1].max()) + 8,
        "side": SIDE,
        "classes": [
            {
                "name": name,
                "place": i,
                "n": int((classes == name).sum()),
                "path": _dots(whole[classes == name]),
            }
            for i, name in enumerate(names)
        ],
    }


def _dots(points: np.ndarray) -> str:
    """An SVG path of points: lines without length, with round ends."""
    ordered = points[np.lexsort((points[:, 0], points[:, 1]))]
    return "".join(f"M{x} {y}h0" for x, y in ordered)


def each(sections: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield all views but the first of each dataset: those that the script puts in."""
    for one in sections:
        yield from one["views"][1:]
