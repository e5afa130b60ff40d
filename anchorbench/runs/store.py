"""The store: one folder for each run, named by its digest, written whole or not at all.

<root>/data/<data key>/      prepared data and where it came from
<root>/data/<data key>.json  whether they could be prepared, and if not, why
<root>/<digest>/             record.json, arrays.npz, model/, scores/<metric>-<version>.json
<root>/jobs/, <root>/scores/ what the workflow waits for: digests and scores of whole jobs
<root>/configs/<digest>.json configurations, merged and checked
<root>/environments/         of methods that name libraries of their own
<root>/aside/                what was found damaged, kept for whoever wants to look

Nothing that exists is believed: every JSON file is sealed with a checksum of its content, and the
seal of a folder lists its other files with their sizes and checksums. What is missing, damaged or
not of the expected form counts as not there, and is made again.
"""

from __future__ import annotations

import glob
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anchorbench.runs.sealed import (
    Whole,
    checksum,
    files_below,
    read_sealed,
    whole_folder,
    write_sealed,
)
from anchorbench.runs.status import Status
from anchorbench.study.jobs import Job
from anchorbench.study.plan import Plan

RECORD, META = "record.json", "meta.json"
ARRAYS = "arrays.npz"
TRIALS, TRIAL_CODES = "trials.json", "trials.npz"
"""Of a run whose parameters were searched: what was tried, and codes of validation rows."""


class Store:
    """Paths and contents of the store below `root`."""

    def __init__(self, root: str | Path = "results/store") -> None:
        self.root = Path(root)
        self.whole = Whole()

    def reads_once(self) -> None:
        """Remember from call to call which files were found whole."""
        self.whole = Whole(self.root / "whole.json")

    def run(self, digest: str) -> Path:
        return self.root / digest

    def data(self, key: str) -> Path:
        return self.root / "data" / key

    def data_status(self, key: str) -> Path:
        """The file that says whether data could be prepared, and if not, why."""
        return self.root / "data" / f"{key}.json"

    def raw(self) -> Path:
        return self.root / "raw"

    def checkpoints(self, name: str) -> Path:
        """The folder in which the training of some runs keeps its state."""
        return self.root / "checkpoints" / name

    def job(self, job: Job) -> Path:
        """The file that says that a job is over and what became of its runs."""
        return self.root.joinpath("jobs", *job.key, job.recipe, f"{job.replicates_name}.json")

    def scores(self, plan: Plan, jobs: list[Job]) -> Path:
        """The file with all scores of one (dataset, variant, tag)."""
        return self.root.joinpath("scores", *jobs[0].key, f"{plan.score_digest(jobs)}.json")

    def config(self, name: str) -> Path:
        """The file of a configuration, merged and checked, by its digest."""
        return self.root / "configs" / f"{name}.json"

    def work(self) -> Path:
        """Where workers keep what nobody needs after them."""
        return self.root / "work"

    # What is there -----------------------------------------------------------------------------

    def record(self, digest: str) -> dict[str, Any] | None:
        """The record of a run, or None where there is none that was written so."""
        record = read_sealed(self.run(digest) / RECORD)
        return record if record is not None and record.get("digest") == digest else None

    def beginning_with(self, name: str) -> list[str]:
        """The digests of stored runs that begin so."""
        folders = self.root.glob(f"{glob.escape(name)}*")
        return sorted(folder.name for folder in folders if (folder / RECORD).exists())

    def wrong_with(self, digest: str) -> str:
        """Say why a run does not count as done, "" where it does."""
        folder = self.run(digest)
        if not (folder / RECORD).exists():
            return "not there" if not folder.exists() else f"{RECORD} is missing"
        if (record := self.record(digest)) is None:
            return f"{RECORD} is damaged"
        if record["status"] != Status.DONE:
            return f"{record['status']}: {record['reason']}"
        if ARRAYS not in record.get("files", {}):
            return f"{ARRAYS} is not listed"
        return self.whole.check(folder, record["files"])

    def wrong_with_trials(self, digest: str) -> str:
        """Say why the trials of a run cannot be used, "" where they can: its last fit may have
        failed."""
        record = self.record(digest)
        if record is None or record["status"] == Status.DONE or TRIALS not in record["files"]:
            return self.wrong_with(digest)
        return self.whole.check(self.run(digest), record["files"])

    def seal(self, digest: str) -> str | None:
        """The checksum of a run's record."""
        return checksum(self.run(digest) / RECORD)

    def is_done(self, digest: str) -> bool:
        return not self.wrong_with(digest)

    def is_damaged(self, digest: str) -> bool:
        """Whether there is something by that name that is neither done nor a failure's record."""
        if not self.run(digest).exists():
            return False
        record = self.record(digest)
        failed = record is not None and record["status"] != Status.DONE
        return not failed and not self.is_done(digest)

    def meta(self, key: str) -> dict[str, Any] | None:
        """What is known of prepared data; None where they are not there or were changed."""
        meta = read_sealed(self.data(key) / META)
        if meta is None or self.whole.check(self.data(key), meta.get("files")):
            return None
        return meta

    # Changing it -------------------------------------------------------------------------------

    def write_run(
        self,
        record: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        model: Any = None,
        trials: Sequence[Mapping[str, Any]] = (),
        trial_codes: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Store a run; a finished run that is there already stays as it is."""
        target = self.run(record["digest"])
        if self.is_done(record["digest"]):
            return
        with whole_folder(target) as folder:
            if arrays:
                compact = {name: stored(values) for name, values in arrays.items()}
                np.savez_compressed(folder / ARRAYS, allow_pickle=False, **compact)
            if trials:
                write_sealed(folder / TRIALS, {"trials": list(trials)})
            if trial_codes:
                compact = {name: stored(values) for name, values in trial_codes.items()}
                np.savez_compressed(folder / TRIAL_CODES, allow_pickle=False, **compact)
            if model is not None and hasattr(model, "save") and hasattr(model, "load"):
                (folder / "model").mkdir()
                model.save(folder / "model")
            write_sealed(folder / RECORD, {**record, "files": files_below(folder, RECORD)})

    def set_aside(self, path: Path, why: str) -> None:
        """Move what is damaged out of the way, with a line that says so."""
        target = self.root / "aside" / path.relative_to(self.root)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{path.name}.{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        print(f"{path}: {why}; set aside in {target}, and made again", file=sys.stderr)

    def arrays(self, digest: str) -> dict[str, np.ndarray]:
        """The stored arrays of a finished run, by name."""
        return _read(self.run(digest) / ARRAYS)

    def trials(self, digest: str) -> list[dict[str, Any]]:
        """The trials of a run whose parameters were searched; none of another."""
        found = read_sealed(self.run(digest) / TRIALS) or {"trials": []}
        trials: list[dict[str, Any]] = found["trials"]
        return trials

    def trial_codes(self, digest: str) -> dict[str, np.ndarray]:
        """Active codes (N, K) of validation rows, by the number of the trial."""
        path = self.run(digest) / TRIAL_CODES
        return _read(path) if path.exists() else {}


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def stored(values: np.ndarray) -> np.ndarray:
    """Return an array in the type in which it is stored: float32 in place of float64."""
    if values.dtype != np.float64:
        return values
    with np.errstate(over="ignore"):  # what becomes infinite is found by `contract.degenerate`
        return values.astype(np.float32)
