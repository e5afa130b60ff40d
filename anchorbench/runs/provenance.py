"""Where numbers come from: processor, library versions and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anchorbench
from anchorbench.study.plugins import CHECKOUT, PACKAGE, SUITE

COMMIT = "ANCHORBENCH_COMMIT"
"""Environment variable: the commit of code that lies here without its history."""
PACKAGES = (
    *("torch", "numpy", "scipy", "pandas", "scikit-learn", "snakemake", "nltk"),
    *("matplotlib", "seaborn", "anndata", "requests"),
)


@cache
def machine() -> str:
    """Return the processor's name and the number of usable cores."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


@cache
def versions(*more: str) -> dict[str, str]:
    """Return the installed versions of the libraries that numbers depend on, and of some more."""
    found = {}
    for name in (*PACKAGES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


@cache
def git_commit() -> str:
    """Return the commit of this code, with "+" where tracked files differ from it.

    The version where the suite was installed; what a pack says where the code came with one.
    """
    if SUITE == PACKAGE:
        return f"anchorbench {anchorbench.__version__}"
    if known := os.environ.get(COMMIT):
        return known
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+" if _git("status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()
