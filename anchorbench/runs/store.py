"""The store: one folder for each run, named by its digest, written whole or not at all.

<root>/data/<data key>/      prepared data and where it came from
<root>/data/<data key>.json  whether they could be prepared, and if not, why
<root>/<digest>/             record.json, arrays.npz, model/, scores/<metric>-<version>.json
<root>/jobs/, <root>/scores/ what the workflow waits for: digests and scores of whole jobs
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from anchorbench.runs.status import Status
from anchorbench.study.plan import Job, Plan


def write_json(path: Path, value: Any) -> None:
    """Write JSON by way of a temporary file, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")
    os.chmod(name, 0o644)
    os.replace(name, path)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None where it is missing or was cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield scratch
        os.chmod(scratch, 0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Store:
    """Paths and contents of the store below `root`."""

    def __init__(self, root: str | Path = "results/store") -> None:
        self.root = Path(root)

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

    def record(self, digest: str) -> dict[str, Any] | None:
        """The record of a run, or None where there is none."""
        return read_json(self.run(digest) / "record.json")

    def beginning_with(self, name: str) -> list[str]:
        """The digests of stored runs that begin so."""
        folders = self.root.glob(f"{glob.escape(name)}*")
        return sorted(folder.name for folder in folders if (folder / "record.json").exists())

    def is_done(self, digest: str) -> bool:
        record = self.record(digest)
        return record is not None and record["status"] == Status.DONE

    def write_run(
        self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], model: Any = None
    ) -> None:
        """Store a run; a finished run that is there already stays as it is."""
        target = self.run(record["digest"])
        if self.is_done(record["digest"]):
            return
        with whole_folder(target) as folder:
            if arrays:
                compact = {name: _compact(values) for name, values in arrays.items()}
                np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **compact)
            if model is not None and hasattr(model, "save") and hasattr(model, "load"):
                (folder / "model").mkdir()
                model.save(folder / "model")
            write_json(folder / "record.json", record)

    def arrays(self, digest: str) -> dict[str, np.ndarray]:
        """The stored arrays of a finished run, by name."""
        with np.load(self.run(digest) / "arrays.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _compact(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float64 else values
