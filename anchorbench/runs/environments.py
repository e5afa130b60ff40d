"""Environments of methods' own: made once, kept in the store, and used by the workers alone.

<store>/environments/<digest>/ is a virtual environment in which the suite's libraries lie beneath
what the method requires, or one of conda's with nothing but what its file says. Half of one is
never used: environment.json is written last. A lock keeps jobs from making the same one twice.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from anchorbench.runs import processes
from anchorbench.runs.provenance import versions
from anchorbench.runs.sealed import read_sealed, write_sealed
from anchorbench.runs.store import Store
from anchorbench.study.digest import digest
from anchorbench.study.environments import Environment

BOOT = Path(__file__).with_name("boot.py")
MARKER = "environment.json"
LOG = ".log"
"""Of the installers, beside the environment."""
SECONDS = 3600.0
"""The most that an installation may take."""
LINES = 4
"""How many of an installer's last lines say why it failed."""
NEEDED = (
    "import sys, numpy, scipy, pandas, sklearn; "
    "sys.version_info >= (3, 11) or sys.exit('Python ' + sys.version)"
)
"""What the suite's own code needs of a worker's Python."""


class EnvironmentFailed(Exception):
    """An environment that cannot be had; the message says why."""


def python_of(environment: Environment, store: Store) -> Path:
    """The Python of an environment, which is made if the store has none.

    Raises EnvironmentFailed, with the installer's last lines.
    """
    folder = folder_of(environment, store)
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if read_sealed(folder / MARKER) is not None and python.exists():
            return python
        shutil.rmtree(folder, ignore_errors=True)
        output = folder.with_suffix(LOG)
        output.unlink(missing_ok=True)
        print(f"making the environment {environment} in {folder}", file=sys.stderr, flush=True)
        make = _conda if environment.file else _venv
        make(environment, folder, output)
        _call([str(python), "-E", "-s", "-c", NEEDED], output, "it lacks what the suite needs")
        write_sealed(folder / MARKER, {"made_of": environment.ingredient})
    return python


def worker_command(python: Path) -> list[str]:
    """How an environment's Python begins a step of the suite."""
    return [str(python), "-E", "-s", str(BOOT)]


def folder_of(environment: Environment, store: Store) -> Path:
    """Where an environment is kept: by its specification and what lies beneath it."""
    beneath = [] if environment.file else [sys.version, sys.prefix, versions()]
    return store.root.resolve() / "environments" / digest([environment.ingredient, beneath])


def _venv(environment: Environment, folder: Path, output: Path) -> None:
    """A virtual environment: first what is required, then the suite's own libraries."""
    _call([sys.executable, "-m", "venv", "--without-pip", str(folder)], output, "no venv")
    places = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", vars=places))
    suite = [p for p in sys.path if {"site-packages", "dist-packages"} & set(Path(p).parts)]
    (own / "suite.pth").write_text("\n".join(suite), encoding="utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-input", "--quiet"]
    options = ["--disable-pip-version-check", "--no-warn-script-location"]
    _call([*pip, *options, *environment.requirements], output, "pip")


def _conda(environment: Environment, folder: Path, output: Path) -> None:
    """An environment of conda's, or mamba's."""
    program = shutil.which("conda") or shutil.which("mamba")
    if program is None:
        raise EnvironmentFailed(
            f"environment {environment}: there is no conda on this machine. Install miniforge, or "
            "let the method name requirements, which pip installs"
        )
    command = [program, "env", "create", "--quiet", "--prefix", str(folder)]
    _call([*command, "--file", str(environment.file)], output, Path(program).name)


def _call(command: Sequence[str], output: Path, what: str) -> None:
    """Run an installer. Raises EnvironmentFailed with its last lines."""
    start = output.stat().st_size if output.exists() else 0
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        child = processes.begin_program(command, output, kept, foreign=True)
    except OSError as error:
        raise EnvironmentFailed(f"{what}: {error}") from None
    try:
        code = child.wait(SECONDS)
    finally:
        child.end()
    if code == 0:
        return
    text = output.read_bytes()[start:].decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()][-LINES:]
    how = f"ended by signal {-code}" if code and code < 0 else f"ended with code {code}"
    said = " | ".join(lines) or how  # one that was killed says nothing
    ended = f"took more than {SECONDS:.0f} s" if code is None else said
    raise EnvironmentFailed(f"its environment could not be made: {what}: {ended}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until nobody else is in such a block."""
    with path.open("a") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
