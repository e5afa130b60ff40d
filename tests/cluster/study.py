"""A study of seconds for a cluster, with methods that wait to be told how to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import tiny
import yaml

from anchorbench.study.plugins import SUITE

PARTS = ("anchorbench", "methods", "metrics", "datasets", "workflow", "profiles", "config")
FILES = ("Snakefile", "environment.yml")
# What a method does the first time depends on a file that no digest knows, as on a machine's whims.
METHOD = """
import time
from pathlib import Path
from sklearn.decomposition import PCA
METHOD = {{"label": "{name}", "likelihoods": ["gaussian"], "params": {{}}}}
class Model(PCA):
    def fit(self, X):
        begun = Path("begun.{name}")
        if not begun.exists():
            begun.touch()
            {whim}
        return super().fit(X)
def build(likelihood, n_latent, seed):
    return Model(n_latent, random_state=seed)
"""
WAITS = "time.sleep(600)"
FAILS = "raise ValueError('no luck today')"
CONFIG: dict[str, Any] = {
    "datasets": {
        "synthetic": tiny.synthetic(training={"n_hidden": 4, "epochs": 2, "batch_size": 30}),
        "simulated_counts": False,
    },
    "methods": ["vae", "floor", "fails", "cancelled", "stranded"],
    "protocols": ["corrected"],
    "metrics": ["mse"],
    "artefacts": ["cost"],
    "limits": {"seconds": 600, "memory_mb": 1500},
}


def project(folder: Path, **changes: Any) -> Path:
    """A copy of the project, without data or results, with the study's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        shutil.copytree(SUITE / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(SUITE / file, folder / file)
    for name, whim in (("fails", FAILS), ("cancelled", WAITS), ("stranded", WAITS)):
        text = METHOD.format(name=name, whim=whim)
        (folder / "methods" / f"{name}.py").write_text(text, encoding="utf-8")
    text = yaml.safe_dump({**CONFIG, **changes})
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return folder


def command(*arguments: str) -> list[str]:
    """The line that runs the study."""
    return [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", *arguments]


def call(
    folder: Path, *arguments: str, seconds: float = 200, **environment: str
) -> subprocess.CompletedProcess:
    """Run the study to its end."""
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=seconds,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of stored runs, by method."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((folder / "results" / "store").glob("*/record.json")):
        record = json.loads(file.read_text())
        found.setdefault(record["method"], []).append(record)
    return found


def trained(folder: Path) -> dict[str, int]:
    """When each finished run was written, by digest."""
    files = (folder / "results" / "store").glob("*/record.json")
    done = [f for f in files if json.loads(f.read_text())["status"] == "done"]
    return {file.parent.name: file.stat().st_mtime_ns for file in done}
