"""What the files that people read were made from: each has a stamp, and only that is believed.

A stamp names the digest of everything that decides an output (configuration, labels, code, and the
runs and scores that were there) and the checksums of its files. A file without the stamp that is
wanted now, a rebuilt one among them, is no output of this plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from anchorbench.reporting import catalogue
from anchorbench.reporting.collect import groups
from anchorbench.reporting.results import FILES, TRIALS_FILE
from anchorbench.runs.sealed import Whole, checksum, file_facts, read_sealed, write_sealed
from anchorbench.runs.store import META, Store
from anchorbench.study.digest import digest, file_sha256
from anchorbench.study.jobs import Job
from anchorbench.study.plan import Plan
from anchorbench.study.source import source_digest

COLLECTED, REPORT = "collected", "report"
HERE = Path(__file__).parent
ROOM = {COLLECTED: "collect.py", REPORT: "report.py"}
"""The module that makes an output; an artefact has its own."""


class Outputs:
    """The outputs of a plan in a results folder."""

    def __init__(self, plan: Plan, store: Store, results: Path) -> None:
        self.plan, self.store, self.results = plan, store, results
        self.artefacts = catalogue.chosen(plan.config)

    def cells(self, name: str) -> list[list[Job]]:
        """The jobs whose scores an output needs, by (dataset, variant, tag).

        Those of quirks only where an artefact says so.
        """
        about = self.artefacts.get(name, {"quirks": True})
        of_plan = groups(self.plan, about.get("datasets"))
        return [c for c in of_plan if c[0].variant.quirk is None or about.get("quirks")]

    def names(self) -> list[str]:
        """All outputs, in the order in which they are made."""
        return [COLLECTED, *self.artefacts, REPORT]

    def files(self, name: str) -> list[Path]:
        """The files of an output."""
        if name == COLLECTED:
            return [self.results / f for f in (*FILES, TRIALS_FILE)]
        if name == REPORT:
            return [self.results / "report.html"]
        return catalogue.outputs(name, self.results)

    def gate(self) -> Path:
        """The file that says that all of the plan is there."""
        return self.store.root / "gate" / f"{digest([self.plan.config, self.names()])}.ok"

    def stamp(self, name: str) -> None:
        """Record that an output was made just now."""
        wanted = self._wanted(name)
        facts = {str(path.relative_to(self.results)): file_facts(path) for path in self.files(name)}
        write_sealed(self._stamp(name), {"made_of": wanted, "files": facts})

    def wrong_with(self, name: str) -> str:
        """Say why an output is not what the plan asks for, "" where it is."""
        files = self.files(name)
        if missing := [path.name for path in files if not path.exists()]:
            return f"{missing[0]} is missing"
        about = read_sealed(self._stamp(name))
        if about is None or about["made_of"] != self._wanted(name):
            return f"{files[0].name} was made of something else"
        return Whole().check(self.results, about["files"])

    def remove_others(self) -> list[str]:
        """Remove what passes for an output of this plan and is none; return what it was."""
        removed = _remove(catalogue.failure(n, self.results) for n in catalogue.discover())
        for name in self.names():
            if self.wrong_with(name):
                removed += _remove(self.files(name))
        wanted = {path for name in self.names() for path in self.files(name)}
        for name in catalogue.discover():
            removed += _remove(p for p in catalogue.outputs(name, self.results) if p not in wanted)
        if removed or not self.gate().exists():
            _remove([self.gate()])
        return removed

    def _stamp(self, name: str) -> Path:
        return self.store.root / "outputs" / f"{name}.json"

    def _wanted(self, name: str) -> str:
        """The digest of what decides an output, as things stand."""
        module = HERE / ROOM[name] if name in ROOM else HERE / "artefacts" / f"{name}.py"
        code = [source_digest(module), source_digest(HERE / "collect.py")]
        made_from = [*self._in_common, *self._seals(self.cells(name)), *code]
        return digest([*made_from, *([_page(), sorted(self.artefacts)] if name == REPORT else [])])

    @cached_property
    def _in_common(self) -> list[Any]:
        """What every output of a plan depends on: configuration, labels, data."""
        plan = self.plan
        labels = {
            "datasets": {instance.name: instance.label for instance in plan.instances.values()},
            "methods": {v.name: [v.label, v.plugin.meta] for v in plan.variants.values()},
            "metrics": {name: plugin.meta for name, plugin in plan.metrics.items()},
        }
        return [plan.config, labels]

    def _seals(self, cells: list[list[Job]]) -> list[Any]:
        """The checksums of the data, jobs and scores of some cells, by file: no order counts."""
        store = self.store
        files = [store.data(job.instance.data_key) / META for cell in cells for job in cell]
        files += [store.job(job) for cell in cells for job in cell]
        files += [store.scores(self.plan, cell) for cell in cells]
        return [[str(f.relative_to(store.root)), checksum(f)] for f in sorted(set(files))]


def _page() -> str:
    """Digest of the files that the report is made of beside its code."""
    others = [p for p in HERE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    return digest([[path.name, file_sha256(path)] for path in sorted(others)])


def _remove(paths: Iterable[Path]) -> list[str]:
    there = [path for path in paths if path.exists()]
    for path in there:
        path.unlink()
    return [str(path) for path in there]


def missing(outputs: Outputs, skip: Sequence[str] = ()) -> list[str]:
    """One line for each output of a plan that is not there, or is of something else."""
    lines = []
    for name in outputs.names():
        if name not in skip and (reason := outputs.wrong_with(name)):
            lines.append(f"{name}: {reason}")
    return lines
