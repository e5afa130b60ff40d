"""Looking after the store: what is damaged, missing, without an owner, or asked for by nobody."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from anchorbench.runs import environments
from anchorbench.runs.sealed import read_json, read_sealed
from anchorbench.runs.store import META, RECORD, Store
from anchorbench.study.digest import digest
from anchorbench.study.jobs import run_digest
from anchorbench.study.plan import Plan

SEALED = ("jobs", "scores", "outputs")
"""Folders of sealed files."""
ENVIRONMENTS = "environments"
PLAIN = ("data", "raw", "configs", "gate", "checkpoints", ENVIRONMENTS, "work", "aside")
FOLDERS = {*SEALED, *PLAIN}
"""What the store's root holds beside runs."""


class Problem(StrEnum):
    """What can be wrong with something in the store."""

    DAMAGED = "damaged"
    """It is not what was written."""
    MISSING = "missing"
    """The configuration asks for it."""
    ORPHANED = "orphaned"
    """What it belongs to is not there."""
    STALE = "stale"
    """The configuration does not ask for it."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something in the store that is not as it should be."""

    problem: Problem
    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.problem:9}{self.path}: {self.why}"


def inspect(store: Store, plan: Plan) -> list[Finding]:
    """Read the whole store; return what is not as it should be. Nothing is changed.

    Every checksum is computed anew, whatever was remembered of earlier calls.
    """
    fresh = Store(store.root)
    return sorted({*_runs(fresh, plan), *_data(fresh, plan), *_files(fresh), *_left(fresh)})


def repair(store: Store, findings: Iterable[Finding]) -> None:
    """Set aside what is damaged or has no owner: the next call makes it again."""
    for finding in findings:
        if finding.problem in (Problem.DAMAGED, Problem.ORPHANED) and finding.path.exists():
            store.set_aside(finding.path, f"{finding.problem}: {finding.why}")


def unwanted(store: Store, plans: Iterable[Plan]) -> list[Path]:
    """Return the folders of runs, data and environments that no plan asks for, and what was set
    aside."""
    runs, data, made = set(), set(), set()
    for plan in plans:
        runs |= _wanted_runs(plan)
        data |= {instance.data_key for instance in plan.instances.values()}
        asked = {job.environment for job in plan.jobs if job.environment is not None}
        made |= {environments.folder_of(environment, store).name for environment in asked}
    found = [folder for folder in _run_folders(store) if folder.name not in runs]
    found += [folder for folder in _folders(store.root / "data") if folder.name not in data]
    found += [folder for folder in _folders(store.root / ENVIRONMENTS) if folder.name not in made]
    aside = store.root / "aside"
    return [*found, *([aside] if aside.exists() else [])]


def size(path: Path) -> int:
    """Bytes of a folder's files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def delete(store: Store, folders: Iterable[Path]) -> None:
    """Delete folders of the store, and what says how they were made."""
    for folder in folders:
        shutil.rmtree(folder)
        if folder.parent == store.root / "data":
            store.data_status(folder.name).unlink(missing_ok=True)
        elif folder.parent == store.root / ENVIRONMENTS:  # its lock may be somebody's
            folder.with_suffix(environments.LOG).unlink(missing_ok=True)


def _wanted_runs(plan: Plan) -> set[str]:
    return {run_digest(job, replicate) for job in plan.jobs for replicate in job.replicates}


def _run_folders(store: Store) -> list[Path]:
    if not store.root.is_dir():
        return []
    own = [p for p in store.root.iterdir() if p.is_dir() and p.name not in FOLDERS]
    return sorted(p for p in own if not p.name.startswith("."))


def _folders(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in found if p.is_dir() and not p.name.startswith("."))


def _runs(store: Store, plan: Plan) -> Iterator[Finding]:
    wanted = _wanted_runs(plan)
    there = _run_folders(store)
    for folder in there:
        if not (folder / RECORD).exists() or store.is_damaged(folder.name):
            yield Finding(Problem.DAMAGED, folder, store.wrong_with(folder.name))
        elif folder.name not in wanted:
            yield Finding(Problem.STALE, folder, "no run of this configuration")
        for file in sorted(folder.glob("scores/*.json")):
            if read_sealed(file) is None:
                yield Finding(Problem.DAMAGED, file, "it is not what was written")
    for name in sorted(wanted - {folder.name for folder in there}):
        yield Finding(Problem.MISSING, store.run(name), "not trained yet")


def _data(store: Store, plan: Plan) -> Iterator[Finding]:
    wanted = {instance.data_key for instance in plan.instances.values()}
    there = {folder.name for folder in _folders(store.root / "data")}
    for name in sorted(there):
        if store.meta(name) is None:
            found = read_sealed(store.data(name) / META)
            why = store.whole.check(store.data(name), found["files"]) if found else META
            yield Finding(Problem.DAMAGED, store.data(name), why or "it is not what was written")
        elif name not in wanted:
            yield Finding(Problem.STALE, store.data(name), "no data of this configuration")
    for name in sorted(wanted - there):
        yield Finding(Problem.MISSING, store.data(name), "not prepared yet")


def _files(store: Store) -> Iterator[Finding]:
    """Files that say that something is over, and the checkpoints of what is not."""
    statuses = sorted((store.root / "data").glob("*.json"))
    others = [p for name in SEALED for p in sorted((store.root / name).rglob("*.json"))]
    for file in [*statuses, *others]:
        about = read_sealed(file)
        if about is None:
            yield Finding(Problem.DAMAGED, file, "it is not what was written")
        elif gone := [d for d in about.get("runs", ()) if not store.run(d).exists()]:
            yield Finding(Problem.ORPHANED, file, f"its run {gone[0]} is not there")
    for file in sorted((store.root / "configs").glob("*.json")):
        if digest(read_json(file)) != file.stem:
            yield Finding(Problem.DAMAGED, file, "it is not the configuration of that name")
    for file in sorted((store.root / "checkpoints").rglob("*.pt")):
        content = file.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            yield Finding(Problem.DAMAGED, file, "it has another checksum")


def _left(store: Store) -> Iterator[Finding]:
    """What killed processes left."""
    others = {store.raw(), store.root / ENVIRONMENTS}
    for half in sorted(store.root.rglob(".*.*")):
        if not others & set(half.parents):
            yield Finding(Problem.ORPHANED, half, "half-written")
    for folder in sorted(store.work().glob("*")):
        yield Finding(Problem.ORPHANED, folder, "its worker is gone")
