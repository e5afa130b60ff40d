"""Fits on another machine: what it needs is packed, fits there are made in one process, and merged.

The other machine has the suite's code, torch, numpy, scipy, pandas and scikit-learn, and no more: a
pack holds the checked configuration as JSON and the prepared data.
"""

from __future__ import annotations

import fnmatch
import multiprocessing
import os
import shutil
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from anchorbench.runs.fit import describe, work, work_cells
from anchorbench.runs.provenance import COMMIT, git_commit
from anchorbench.runs.sealed import read_sealed, whole_folder, write_sealed
from anchorbench.runs.status import Status
from anchorbench.runs.store import RECORD, Store
from anchorbench.study import recipe
from anchorbench.study.config import ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.jobs import Job, run_digest, run_name
from anchorbench.study.plan import Plan

PACK = "pack.json"


def pack(plan: Plan, store: Store, folder: Path) -> Path:
    """Write what `fit_all` needs into a folder: pack.json and the prepared data; return the former.

    Raises ConfigError where data were not prepared.
    """
    keys = {instance.data_key: instance.name for instance in plan.instances.values()}
    for key, name in keys.items():
        if store.meta(key) is None:
            raise ConfigError(
                f"{name} was not prepared: anchorbench prepare --dataset {name}, with the same "
                "--configfile"
            )
        shutil.copytree(store.data(key), Store(folder / "store").data(key), dirs_exist_ok=True)
    about = {"config": plan.config, "contents": recipe.contents, "commit": git_commit()}
    write_sealed(folder / PACK, about)
    return folder / PACK


def unpack(folder: Path) -> dict[str, Any]:
    """Return the configuration of a pack; contents of files that are not here are taken from it.

    Raises ConfigError for a folder that is none.
    """
    about = read_sealed(folder / PACK)
    if about is None or {"config", "contents", "commit"} - set(about):
        raise ConfigError(f"{folder / PACK} is not there or damaged: make it with anchorbench pack")
    recipe.contents.update(about["contents"])
    os.environ.setdefault(COMMIT, about["commit"])
    config: dict[str, Any] = about["config"]
    return config


def fit_all(plan: Plan, store: Store, only: Collection[str] = ()) -> tuple[int, int]:
    """Train in this process every run that the store lacks; return how many, and how many failed.

    Replicates of a variant are trained together where its method can; an exception is a run's
    record and ends nothing else. A run during which the process dies is recorded as failed by the
    next call.

    Parameters
    ----------
    only : iterable of str
        Patterns "dataset/method/protocol" ("*" for any); by default everything.
    """
    jobs = _chosen(plan, only)
    marker = store.root / f"fit-all-{digest(sorted(only))}.json"  # several may be at work
    suspects = _blame_last(jobs, marker, store, plan.config)
    blamed = [name for name in suspects if store.record(name) is not None]
    made: list[str] = []
    for group in _groups(jobs):
        cells = [(job, todo) for job in group if (todo := _lacking(job, store, blamed))]
        if cells:
            _work(cells, suspects, store, plan.config, marker)
            made += [run_digest(job, r) for job, todo in cells for r in todo]
    marker.unlink(missing_ok=True)
    records = [store.record(name) for name in made]
    return len(made), sum(r is None or r["status"] != Status.DONE for r in records)


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs by what they have in common: those of a group may be trained in one stack."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        alike = [job.variant.name, job.tag, job.instance.plugin, job.instance.n_latent, job.params]
        groups.setdefault(digest(alike), []).append(job)
    return list(groups.values())


def _lacking(job: Job, store: Store, blamed: Collection[str]) -> list[int]:
    """Replicates of a job that the store lacks, but for those that this call recorded as failed.

    None where their data are not there.
    """
    names = {r: run_digest(job, r) for r in job.replicates}
    todo = [r for r, name in names.items() if name not in blamed and not store.is_done(name)]
    if todo and job.environment is not None:
        print(f"{job.variant.name} has libraries of its own: left to the workflow", file=sys.stderr)
        return []
    if todo and store.meta(job.instance.data_key) is None:
        print(f"{job.instance.name}: its data are not here; passed over", file=sys.stderr)
        return []
    return todo


def score_all(
    plan: Plan, store: Store, only: Collection[str] = (), processes: int = 1
) -> tuple[int, int]:
    """Score what the store holds, a cell in each of some processes, none of them guarded.

    For a machine from which scores are to come home and runs are not. Parameters as of `fit_all`.

    Returns
    -------
    tuple of int
        How many cells were scored, and in how many of them a metric failed.
    """
    cells = [list(group) for _, group in groupby(_chosen(plan, only), key=lambda job: job.key)]
    done = lambda job, r: store.is_done(run_digest(job, r))  # noqa: E731
    cells = [c for c in cells if any(done(job, r) for job in c for r in job.replicates)]
    tasks = [(plan, cell, store) for cell in cells]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        scored = pool.map(_score_cell, tasks, chunksize=1)
    return len(scored), scored.count(False)


def _score_cell(task: tuple[Plan, list[Job], Store]) -> bool:
    from anchorbench.runs.score import score_here

    return score_here(*task)


def _chosen(plan: Plan, only: Collection[str]) -> list[Job]:
    """The jobs of a plan that one of some patterns names; all of them without any."""
    return [job for job in plan.jobs if not only or any(_named(job, p) for p in only)]


def _named(job: Job, pattern: str) -> bool:
    """Whether a pattern is of a job: its dataset, method and protocol, or the first of these."""
    wanted = [*pattern.split("/"), "*", "*"][:3]
    names = (job.instance.name, job.variant.name)
    if not all(map(fnmatch.fnmatch, names, wanted)):
        return False
    return any(fnmatch.fnmatch(tag, wanted[2]) for tag in (job.tag, *job.protocols))


def _work(
    cells: list[tuple[Job, list[int]]],
    suspects: Collection[str],
    store: Store,
    config: Mapping[str, Any],
    marker: Path,
) -> None:
    """Train replicates of cells, together if they can be; the marker says meanwhile which.

    One by one where the last process died over them, or where they fail together.
    """
    runs = {run_digest(job, r): (job, r) for job, todo in cells for r in todo}
    for name in runs:  # a failed run is tried again
        shutil.rmtree(store.run(name), ignore_errors=True)
    if not set(suspects) & set(runs):
        write_sealed(marker, {"runs": list(runs)})
        try:
            work_cells(cells, store, config)
        except Exception as error:
            traceback.print_exception(error)
            print("training together failed; now one by one", file=sys.stderr)
    for name, (job, replicate) in runs.items():
        if store.record(name) is None:
            write_sealed(marker, {"runs": [name]})
            work(job, [replicate], store, config)


def _blame_last(
    jobs: Sequence[Job], marker: Path, store: Store, config: Mapping[str, Any]
) -> list[str]:
    """The runs over which the last call's process died; one that was alone is recorded as failed.

    Several are to be tried one by one.
    """
    last = (read_sealed(marker) or {"runs": []})["runs"]
    left = [name for name in last if store.record(name) is None]
    if len(last) == 1 and left:
        for job in jobs:
            for replicate in job.replicates:
                if run_digest(job, replicate) == left[0]:
                    reason = "the process of fit-all died while it was trained"
                    record = describe(job, replicate, config) | {"reason": reason}
                    store.write_run(record | {"status": Status.FAILED}, {})
    return left


# Merging ------------------------------------------------------------------------------------------


def merge(source: Path, store: Store) -> dict[str, list[str]]:
    """Copy the finished runs of another store that this one lacks.

    Parameters
    ----------
    source : Path
        A folder with runs, or with a folder store/.

    Returns
    -------
    dict
        "merged", "known" and "refused": digests; of refused ones with the reason.

    Raises
    ------
    ConfigError
        The folder holds no runs.
    """
    root = source / "store" if (source / "store").is_dir() else source
    folders = sorted(path.parent for path in root.glob(f"*/{RECORD}"))
    if not folders:
        raise ConfigError(f"{root} holds no runs: name the folder of a store, or of a pack")
    found: dict[str, list[str]] = {"merged": [], "known": [], "refused": []}
    for folder in folders:
        if reason := _wrong(Store(root), folder.name):
            found["refused"].append(f"{folder.name}: {reason}")
        elif store.is_done(folder.name):
            found["known"].append(folder.name)
        else:
            with whole_folder(store.run(folder.name)) as target:
                shutil.copytree(folder, target, dirs_exist_ok=True)
            found["merged"].append(folder.name)
    return found


def _wrong(store: Store, name: str) -> str:
    """Why a run cannot be taken over, or "" where it is whole and what its name says."""
    if reason := store.wrong_with(name):
        return reason
    record = store.record(name) or {}
    try:
        replicate = record["replicate"]
        split = record.get("split", replicate)
        own = run_name(digest(record["ingredients"]["run"]), replicate, split)
    except (KeyError, TypeError):
        return "its record does not list its ingredients"
    return "" if own == name else "its ingredients have another digest"


def summary(found: Mapping[str, list[str]]) -> str:
    """Say what became of a merge."""
    lines = [f"{len(found['merged'])} runs merged, {len(found['known'])} were there already"]
    lines += [f"refused: {line}" for line in found["refused"]]
    return "\n".join(lines)
