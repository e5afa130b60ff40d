"""The features that weigh most on each factor: what tables 3 and 5 show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from anchorbench.reporting.artefacts._tables import STAND_INS, chosen, named, with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, groups

EXTRACT = ["dataset", "method", "protocol", "factor", "strength", "rank", "feature", "weight"]
COLUMNS = ["dataset", "method", "protocol", "factor", "strength", "features"]
KEPT = 10  # features kept in the extract, a factor
INACTIVE = 0.01  # a factor whose loadings sum to less than this share of the strongest's


def extract(runs: Iterable[Any], plugin: str) -> pd.DataFrame:
    """Return the top features of each factor of every method with loadings, replicate 0.

    Features are ranked by the size of their loading, factors by the sum of these sizes.
    """
    rows = []
    for run in runs:
        record = run.record
        wanted = record["dataset_plugin"] in (plugin, STAND_INS.get(plugin))
        if record["replicate"] != 0 or not wanted or run.loadings is None:
            continue
        weights = np.asarray(run.loadings, dtype=float)
        size = np.abs(weights)
        key = [record["dataset"], record["method"], record["protocol"]]
        for place, k in enumerate(np.argsort(-size.sum(axis=0), kind="stable")):
            for rank, j in enumerate(np.argsort(-size[:, k], kind="stable")[:KEPT]):
                strength = float(size[:, k].sum())
                rows.append([*key, place + 1, strength, rank + 1, run.features[j], weights[j, k]])
    return pd.DataFrame(rows, columns=EXTRACT)


def topics(
    results: Results, plugin: str, top: int, methods: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return a row a factor: dataset, method, protocol, factor, strength, features.

    `features` joins the `top` ones with "; "; it is empty for a factor without weight. Variants
    that measure a single quirk are left out.
    """
    instances, notes = chosen(results, plugin)
    table = results.extract if results.extract is not None else pd.DataFrame(columns=EXTRACT)
    table = table[table["dataset"].isin(instances)]
    names = [m for m in results.methods if not results.is_quirk(m)]
    names = names if methods is None else [m for m in names if m in set(methods)]
    rows = []
    for protocol in results.protocols:
        for method in names:
            part = table[(table["method"] == method) & (table["protocol"] == protocol)]
            strongest = part["strength"].max()
            for (dataset, factor), words in groups(part, ["dataset", "factor"]):
                strength = float(words["strength"].iloc[0])
                listed = words.sort_values("rank")["feature"].astype(str)[:top]
                active = strength > 0 and strength >= INACTIVE * strongest
                text = "; ".join(listed) if active else ""
                rows.append([dataset, method, protocol, int(factor), strength, text])
    frame = pd.DataFrame(rows, columns=COLUMNS)
    if instances and not rows:
        notes = [*notes, "No finished run of replicate 0 has loadings to read features from."]
    return with_notes(frame, *notes, of=named(results, instances, f"{plugin} not run"))


def holds(frame: pd.DataFrame, results: Results, plugin: str) -> bool:
    """Whether a frame of topics is of a dataset of the paper, whatever its name here."""
    return any(results.about(name)["plugin"] == plugin for name in set(frame["dataset"]))


def topic_sheet(
    frame: pd.DataFrame, results: Results, heading: str, paper: dict[str, str] | None = None
) -> list[Sheet]:
    """Return the topics for readers, a section a method, the paper's own examples first."""
    sheet = Sheet(["Factor", heading], [], left={0, 1})
    if paper:
        sheet.rows += ["Paper (the three factors it shows)", *([k, v] for k, v in paper.items())]
    for (method, protocol), part in groups(frame, ["method", "protocol"]):
        sheet.rows.append(f"{results.labels.get(method, method)}, {protocol}")
        active = part[part["features"] != ""]
        sheet.rows += [
            [str(k), text] for k, text in zip(active["factor"], active["features"], strict=True)
        ]
        if len(active) < len(part):
            sheet.rows.append(["–", f"{len(part) - len(active)} of {len(part)} without weight"])
    return [sheet]
