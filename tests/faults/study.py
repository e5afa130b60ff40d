"""A study of seconds, run once, whose copies are harmed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import tiny
import yaml

from faults.outcomes import Ended, run, snakemake

TINY: dict[str, Any] = {
    "datasets": {
        "synthetic": tiny.synthetic(),
        "simulated_counts": False,
        "theory": False,
    },
    "methods": ["vae", "floor"],
    "protocols": ["corrected"],
    "metrics": ["mse", "active_factors"],
    "artefacts": ["figure_3", "leaderboard"],
    "limits": {"seconds": 60, "memory_mb": 4000},
}
OUTPUTS = (
    "scores.csv",
    "runs.csv",
    "tables/leaderboard.csv",
    "figures/figure_3.png",
    "report.html",
)


def write_config(folder: Path, **changes: Any) -> Path:
    """Write the study's configuration, with changes at its top level."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {**TINY, **changes}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(known), encoding="utf-8")
    return file


def call(folder: Path, *arguments: str, seconds: float = 240, **keywords: Any) -> Ended:
    """Run the study as a user would."""
    line = snakemake("--cores", "1", "--configfile", "config.yaml", *arguments)
    return run(line, folder, seconds, **keywords)


def copy(study: Path, target: Path) -> Path:
    """A copy of a study, with the times of its files."""
    shutil.copytree(study, target, ignore=shutil.ignore_patterns(".snakemake"))
    return target


def numbers(folder: Path) -> pd.DataFrame:
    """The scores of a study, in their order."""
    frame = pd.read_csv(folder / "results" / "scores.csv")
    return frame.sort_values(list(frame.columns[:-1])).reset_index(drop=True)


def same(study: Path, other: Path) -> bool:
    """Whether a study has the scores and the tables of another, and a report."""
    if not all((other / "results" / name).exists() for name in OUTPUTS):
        return False
    tables = ("scores.csv", "tables/leaderboard.csv")
    return all(
        (study / "results" / name).read_bytes() == (other / "results" / name).read_bytes()
        for name in tables
    )


def records(folder: Path) -> dict[str, str]:
    """The records of a study's runs, by digest; one that was damaged may hold anything."""
    files = (folder / "results" / "store").glob("*/record.json")
    return {f.parent.name: f.read_text(encoding="utf-8", errors="replace") for f in files}
