"""All scores and runs as one JSON, from which the page's script sorts, filters and opens."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anchorbench.models.convergence import lower_bound
from anchorbench.reporting import standing
from anchorbench.reporting.page import numbers
from anchorbench.reporting.page.material import FEW, Material
from anchorbench.reporting.results import CELL, SHARED
from anchorbench.runs.sealed import read_json
from anchorbench.runs.status import Status
from anchorbench.runs.store import Store

POINTS = 40
"""Of a training curve."""
BEGINNING = 8
"""Characters of a digest that name a run."""
CURVES = 5
"""Replicates of a cell whose curves are shown."""
LINES, FEW_LINES = 15, 3
"""Of a log's end, where a run failed and where all went well."""


class Records:
    """What the script gets."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.results = material.results
        self.store = Store(material.source / "store")

    def packed(self, **more: Any) -> str:
        """The JSON, gzip in base 85, with what other sections add; a comma for each <."""
        text = json.dumps(self.payload() | more, separators=(",", ":"), ensure_ascii=False)
        packed = base64.b85encode(gzip.compress(text.encode(), 9, mtime=0))
        return packed.decode("ascii").replace("<", ",")

    def payload(self) -> dict[str, Any]:
        """Datasets, methods and metrics by place, cells with values, runs, settings, curves."""
        m, results = self.material, self.results
        return {
            "datasets": [[d, m.title(d), standing.resampling(results, d)] for d in m.datasets],
            "methods": [[n, results.labels[n], m.kinds[n]] for n in m.methods],
            "metrics": [
                [k, results.metrics[k]["label"], results.metrics[k]["direction"] or ""]
                for k in self.metrics
            ],
            "protocols": results.shown,
            "sharing": m.sharing,
            "headline": {
                f"{d}/{p}": m.headline(d, p) for d in m.datasets for p in m.protocols_of(d)
            },
            "decimals": {f"{d}/{k}": e for (d, k), e in m.decimals.items()},
            "cells": self.cells(),
            "standings": self.standings(),
            "runs": self.runs(),
            "settings": self.settings(),
            "curves": self.curves(),
            "logs": list(self.logs.values()),
            "log_of": {digest: list(self.logs).index(path) for digest, path in self.log_of.items()},
            "blocks": {d: self.block(d) for d in m.datasets},
        }

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that have scores, by label."""
        have = {metric for *_, metric in self.material.standings}
        return sorted(have, key=lambda k: str(self.results.metrics[k]["label"]).lower())

    def tag(self, dataset: str, method: str, protocol: str) -> str | None:
        """The protocol of a cell, "shared" once for all that share it, None for the repetitions."""
        sharing = self.material.sharing
        if (dataset, method) not in self.material.shared or protocol not in sharing:
            return protocol
        return SHARED if protocol == sharing[0] else None

    def cells(self) -> list[list[Any]]:
        """[metric, dataset, method, protocol, middle, values by replicate less the middle].

        Names are places in their lists; numbers are whole, in units of the last digit shown. Mean
        and sd, which `standings` have of other methods, follow for those that switch a quirk. On a
        brief page how many values there are stands in place of many.
        """
        at = {name: i for i, name in enumerate(self.metrics)}
        datasets = {name: i for i, name in enumerate(self.material.datasets)}
        methods = {name: i for i, name in enumerate(self.material.methods)}
        found = []
        for (dataset, method, protocol, metric), series in self.results.values.items():
            tag = self.tag(dataset, method, protocol)
            if tag is None or (dataset, protocol, metric) not in self.material.standings:
                continue
            n = self.results.counts.get((dataset, method, protocol), (0, 0))[0]
            places = self.material.decimals[dataset, metric]
            unit = 10**places
            middle = round(float(series.median()) * unit)
            whole = series.reindex(range(max(n, int(series.index.max()) + 1)))
            values = [None if np.isnan(v) else round(v * unit) - middle for v in whole]
            row = [at[metric], datasets[dataset], methods[method], tag, middle, values]
            speaks = self.material.speaks(dataset, protocol, metric)
            if self.material.brief and len(values) > FEW and not speaks:
                row[-2:] = [0, len(series)]
            if self.material.kinds[method] == "quirk":
                row += [round(float(v), places + 1) for v in (series.mean(), series.std(ddof=0))]
            found.append(row)
        return sorted(found, key=lambda cell: (*cell[:3], cell[3]))

    def standings(self) -> dict[str, list[Any]]:
        """dataset/protocol/metric -> [kind, rope, {method: what its scores bear}]."""
        methods = {name: i for i, name in enumerate(self.material.methods)}
        found = {}
        for (dataset, protocol, metric), stand in self.material.standings.items():
            entries = {
                methods[name]: self.entry(stand, name)
                for name, entry in stand.entries.items()
                if entry.n
            }
            best = methods.get(stand.best or "", -1)
            found[f"{dataset}/{protocol}/{metric}"] = [
                stand.kind,
                numbers.digits(stand.rope),
                best,
                entries,
            ]
        return found

    def entry(self, stand: standing.Standing, name: str) -> list[Any]:
        """[value, sd, low, high, group, sunk, unconverged, leader, word, interval].

        A brief page has intervals of the metrics alone that speak for a dataset.
        """
        entry = stand.entries[name]
        places = self.material.decimals[stand.dataset, stand.metric]
        which = (stand.dataset, stand.protocol, stand.metric)
        whole = not self.material.brief or self.material.speaks(*which)
        ends = (entry.low, entry.high) if whole else (math.nan, math.nan)
        shown = (entry.value, entry.sd, *ends)
        head = [round(v, places) if math.isfinite(v) else None for v in shown]
        row = [*head, entry.group or 0, int(entry.below_floor), entry.unconverged]
        if not whole or entry.place is None or entry.place.interval is None:
            return row
        i = entry.place.interval
        methods = {method: k for k, method in enumerate(self.material.methods)}
        text = numbers.interval(i.estimate, i.low, i.high, places)
        return [*row, methods[entry.place.leader], entry.place.word, text]

    def runs(self) -> dict[str, dict[str, Any]]:
        """dataset/method/protocol -> columns by replicate; of a constant one, its one value.

        A brief page has a digest's beginning, and leaves seeds, memory and sizes to runs.csv.
        """
        found = {}
        # Logs and curves, which go by a digest, are the store's.
        length = BEGINNING if self.material.brief and not self.store.root.is_dir() else None
        listed = self.results.runs["dataset"].isin(self.material.datasets)
        for key, part in self.results.runs[listed].groupby(CELL, sort=False):
            tag = self.tag(*key)
            if tag is None:
                continue
            rows = part.sort_values("replicate").drop_duplicates("replicate")
            columns: dict[str, Any] = {
                "r": [int(r) for r in rows["replicate"]],
                "seed": [int(s) if str(s).isdigit() else None for s in rows["seed"]],
                "s": [_three(v) for v in rows["seconds"]],
                "mb": [_whole(v) for v in rows["peak_mb"]],
                "size": [_whole(v) for v in rows["n_parameters"]],
                "device": [str(v) for v in rows["device"]],
                "converged": [str(v) for v in rows["converged"]] if "converged" in rows else [""],
                "digest": [str(v)[:length] for v in rows["digest"]],
            }
            if self.material.brief:
                columns |= {name: [None] for name in ("seed", "mb", "size")}
            columns = {
                k: v if len(set(v)) > 1 or k in ("r", "digest") else v[:1]
                for k, v in columns.items()
            }
            bad = rows[rows["status"] != Status.DONE]
            columns["bad"] = {
                int(r.replicate): [str(r.status), str(r.reason)] for r in bad.itertuples()
            }
            found["/".join((*key[:2], tag))] = columns
        return found

    def settings(self) -> dict[str, Any]:
        """dataset/method/protocol -> parameters and commits."""
        found = {}
        for cell in self.results.manifest.get("settings", []):
            tag = self.tag(cell["dataset"], cell["method"], cell["protocol"])
            if tag is not None and cell["dataset"] in self.material.datasets:
                key = "/".join((cell["dataset"], cell["method"], tag))
                found[key] = [cell.get("params", {}), [c[:12] for c in cell.get("commits", [])]]
        return found

    def curves(self) -> dict[str, list[float]]:
        """Digest -> the bound on the training rows by epoch, at most POINTS of it."""
        runs = self.results.runs[self.results.runs["dataset"].isin(self.material.datasets)]
        done = runs[(runs["status"] == Status.DONE) & (runs["replicate"] < CURVES)]
        found = {}
        for digest in dict.fromkeys(str(d) for d in done["digest"]):
            curve = self._curve(digest)
            if curve is not None and len(curve) > 1:
                at = np.unique(np.linspace(0, len(curve) - 1, POINTS).round().astype(int))
                found[digest] = [len(curve), *(float(f"{v:.5g}") for v in curve[at])]
        return found

    def _curve(self, digest: str) -> np.ndarray | None:
        path = self.store.run(digest) / "arrays.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            names = {n.removeprefix("curve_"): n for n in arrays.files if n.startswith("curve_")}
            if not {"reconstruction", "kl"} <= set(names):
                return None
            curve = lower_bound({n: arrays[names[n]] for n in ("reconstruction", "kl")})
        return curve if np.isfinite(curve).all() else None

    @cached_property
    def log_of(self) -> dict[str, Path]:
        """Digest -> the log of its job, for runs whose log is there."""
        wanted = {str(digest) for digest in self.results.runs["digest"]}
        found: dict[str, Path] = {}
        for job in sorted((self.store.root / "jobs").glob("*/*/*/*/*.json")):
            dataset, method, tag, recipe = job.parts[-5:-1]
            name = f"{tag}-{recipe}-{job.stem}.log"
            path = self.material.source / "logs" / "fit" / dataset / method / name
            runs = wanted & set((read_json(job) or {}).get("runs", ()))
            if runs and path.is_file():
                found |= dict.fromkeys(sorted(runs), path)
        return found

    @cached_property
    def logs(self) -> dict[Path, str]:
        """The end of each log: more of it where a run failed."""
        runs = self.results.runs
        failed = set(runs["digest"][runs["status"] != Status.DONE].astype(str))
        bad = {path for digest, path in self.log_of.items() if digest in failed}
        return {
            path: log_end(path, LINES if path in bad else FEW_LINES)
            for path in self.log_of.values()
        }

    def block(self, dataset: str) -> int:
        """Replicates that one job trains together."""
        config: Mapping[str, Any] = self.results.manifest.get("config", {})
        entries = config.get("datasets", {})
        plugin = self.results.about(dataset)["plugin"]
        family = standing.family(self.results, dataset)
        entry = entries.get(dataset) or entries.get(family) or entries.get(plugin) or {}
        return int(entry.get("block") or config.get("block") or 25)


def log_end(path: Path, lines: int) -> str:
    """The last lines of a log."""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _three(value: float) -> float | None:
    return None if pd.isna(value) else float(f"{value:.3g}")


def _whole(value: float) -> int | None:
    return None if pd.isna(value) else round(value)
