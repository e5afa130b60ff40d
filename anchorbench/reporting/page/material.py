"""What every section of the page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from anchorbench.reporting import standing
from anchorbench.reporting.page import numbers
from anchorbench.reporting.results import PAPER_DATASETS, Results, fixed_protocols

RECOVERY = {"factors", "support", "keys", "labels"}
MANY, FEW = 50_000, 5
"""Scores above which the page is brief: of a metric with several values it has the one of its own
name, and the values of more than FEW replicates only of the metrics that speak for a dataset."""


@dataclass
class Material:
    """Results with the folders that hold the rest, and what several sections ask of them.

    folder : where tables/ and figures/ lie, and the page itself. source : where store/, logs/,
    factors/ and extracts/ lie; another folder where the page is made from a reference.
    """

    results: Results
    folder: Path
    source: Path

    @cached_property
    def standings(self) -> dict[tuple[str, str, str], standing.Standing]:
        """(dataset, protocol, metric) -> what its scores bear."""
        shown = set(self.datasets)
        every = sorted({(d, p, k) for d, _, p, k in self.results.values if d in shown})
        keys = [key for key in every if not self.brief or self._leads(*key)]
        return {(d, p, m): standing.standing(self.results, d, m, p) for d, p, m in keys}

    @property
    def brief(self) -> bool:
        """Whether there are too many scores for one page."""
        return len(self.results.scores) > MANY

    def speaks(self, dataset: str, protocol: str, metric: str) -> bool:
        """Whether a metric is a dataset's headline or that of prediction."""
        first = standing.headline(self.results, dataset, protocol)
        return metric in (first, standing.prediction(self.results, dataset))

    def _leads(self, dataset: str, protocol: str, metric: str) -> bool:
        """Whether a value is its metric's own, or speaks for the dataset."""
        plugin = self.results.metrics[metric]["plugin"]
        own = plugin == metric or plugin not in self.results.metrics
        return own or self.speaks(dataset, protocol, metric)

    @cached_property
    def measured(self) -> dict[tuple[str, str], list[str]]:
        """(dataset, protocol) -> metrics that have scores."""
        found: dict[tuple[str, str], list[str]] = {}
        for dataset, protocol, metric in self.standings:
            found.setdefault((dataset, protocol), []).append(metric)
        return found

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Method -> "method", "variant" (of another), "quirk" (one switched) or "control"."""
        return {name: self._kind(name) for name in self.results.methods}

    def _kind(self, name: str) -> str:
        about = self.results.methods[name]
        if about["control"]:
            return "control"
        if self.results.is_quirk(name):
            return "quirk"
        return "method" if about["plugin"] == name else "variant"

    @cached_property
    def methods(self) -> list[str]:
        """Methods that have runs: each followed by its variants, then quirks, controls last."""
        ran = {m for pairs in self.results.present.values() for m, _ in pairs}
        place = {name: i for i, name in enumerate(self.results.methods)}
        late = {"quirk": 1, "control": 2}

        def order(name: str) -> tuple[int, int, bool, int]:
            kind, base = self.kinds[name], self.results.methods[name]["plugin"]
            base_at = place[name] if kind == "control" else place.get(base, place[name])
            return late.get(kind, 0), base_at, kind == "variant", place[name]

        return sorted((m for m in self.results.methods if m in ran), key=order)

    @cached_property
    def datasets(self) -> list[str]:
        """Datasets that the page lists: the paper's first, a family together and in order."""
        present = standing.listed(self.results)
        families = list(dict.fromkeys(standing.family(self.results, d) for d in present))
        paper = {name: i for i, name in enumerate(PAPER_DATASETS)}

        def order(dataset: str) -> tuple[int, int, float]:
            plugin = self.results.about(dataset)["plugin"]
            family = families.index(standing.family(self.results, dataset))
            return paper.get(plugin, len(paper)), family, self.swept(dataset) or 0.0

        return sorted(present, key=order)

    def swept(self, dataset: str) -> float | None:
        """The number by which a dataset differs from all others of its family; None without one."""
        family = standing.family(self.results, dataset)
        siblings = [
            about.get("params") or {}
            for name, about in self.results.datasets.items()
            if standing.family(self.results, name) == family
        ]
        for key, value in (self.results.about(dataset).get("params") or {}).items():
            values = [params.get(key) for params in siblings]
            numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
            if numeric and 1 < len(set(values)) == len(values):
                return float(value)
        return None

    @cached_property
    def sharing(self) -> list[str]:
        """The protocols that may share runs: all but searches."""
        return fixed_protocols(self.results.protocols)

    @cached_property
    def shared(self) -> set[tuple[str, str]]:
        """(dataset, method) whose runs all of `sharing` share."""
        found = set()
        for key, part in self.results.runs.groupby(["dataset", "method"], sort=False):
            by_protocol = part[part["protocol"].isin(self.sharing)].groupby("protocol")
            sets = [frozenset(g["digest"]) for _, g in by_protocol]
            if len(sets) == len(self.sharing) > 1 and len(set(sets)) == 1:
                found.add(key)
        return found

    def protocols_of(self, dataset: str) -> list[str]:
        """The protocols that a dataset was run in."""
        ran = {p for _, p in self.results.present.get(dataset, ())}
        return [p for p in self.results.protocols if p in ran]

    def label(self, metric: str) -> str:
        """A metric's label; its name where it was never computed."""
        return str(self.results.metrics.get(metric, {}).get("label", metric))

    def bounded(self, metric: str) -> bool:
        """Whether a metric has a lowest and a highest value."""
        whole = self.results.metrics.get(metric, {}).get("range") or [None]
        return None not in whole

    @cached_property
    def decimals(self) -> dict[tuple[str, str], int]:
        """(dataset, metric) -> decimals, the same wherever it is shown."""
        means: dict[tuple[str, str], list[float]] = {}
        for (dataset, _, metric), stand in self.standings.items():
            shown = (e.value for e in stand.entries.values() if not e.control)
            means.setdefault((dataset, metric), []).extend(shown)
        return {key: numbers.decimals(v, self.bounded(key[1])) for key, v in means.items()}

    def title(self, dataset: str) -> str:
        """Label of a dataset with its setting."""
        about = self.results.about(dataset)
        return ", ".join(filter(None, [about["label"], numbers.setting(about["setting"])]))

    def headline(self, dataset: str, protocol: str) -> str:
        """The metric that speaks for a dataset; the first that it has where that was not computed.

        The one asked for where a dataset has no score at all.
        """
        asked = standing.headline(self.results, dataset, protocol)
        have = self.measured.get((dataset, protocol), [])
        ranked = [m for m in have if self.results.direction(m)]
        return asked if asked in have or not have else (ranked or have)[0]

    def shown(self, dataset: str, protocol: str) -> list[str]:
        """The headline metric, and one of prediction where that is one of recovery."""
        first = self.headline(dataset, protocol)
        if (dataset, protocol, first) not in self.standings:
            return []
        needs = self.results.metrics.get(first, {}).get("needs", ())
        second = standing.prediction(self.results, dataset)
        both = RECOVERY & set(needs) and (dataset, protocol, second) in self.standings
        return [first, second] if both and second != first else [first]
