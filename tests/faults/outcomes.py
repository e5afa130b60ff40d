"""How a fault ended: the six classes, and who decides between them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from anchorbench.runs.status import is_plain

ROOT = Path(__file__).resolve().parents[2]
TRACEBACK = "Traceback (most recent call last)"


class End(StrEnum):
    """How it ended; the last four must not happen."""

    RECOVERED = "recovered"
    CLEAR_ERROR = "clear error"
    TRACEBACK = "traceback"
    WRONG = "wrong"
    """Success was reported, and what came out is not what an undisturbed call gives."""
    LOST = "lost"
    """What had been computed before is gone."""
    HUNG = "hung"


GOOD = (End.RECOVERED, End.CLEAR_ERROR)


@dataclass(frozen=True)
class Ended:
    """A command that came to its end, or was put to it.

    code : exit code, negative for a signal. seconds : wall-clock time. hung : it was over its time
    and its process group was killed.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    hung: bool

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.stdout + self.stderr


def command(*arguments: str) -> list[str]:
    """The command line of one of the suite's own commands: `command("plan", "--config", …)`."""
    return [sys.executable, "-m", "anchorbench", *arguments]


def snakemake(*arguments: str) -> list[str]:
    """The command line of a run by Snakemake with the suite's workflow."""
    workflow = str(ROOT / "workflow" / "Snakefile")
    return [sys.executable, "-m", "snakemake", "--snakefile", workflow, *arguments]


def run(
    argv: Sequence[str],
    folder: Path,
    seconds: float = 60,
    environment: Mapping[str, str] | None = None,
    interrupt: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Ended:
    """Run a command in a folder, with this checkout's code, to its end or for `seconds`.

    interrupt : called with the process once it was started, to do it some harm.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    variables |= {"OMP_NUM_THREADS": "1", **(environment or {})}
    start = time.monotonic()
    # Files, not pipes: whoever inherits a pipe and goes on keeps its reader waiting.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            argv, cwd=folder, env=variables, stdout=out, stderr=err, start_new_session=True
        )
        try:
            if interrupt is not None:
                interrupt(process)
            process.wait(seconds)
            hung = False
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            end_group(process)
        return Ended(process.returncode, _text(out), _text(err), time.monotonic() - start, hung)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(file: Any) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def of_command(
    ended: Ended,
    is_right: Callable[[], bool] = lambda: True,
    is_kept: Callable[[], bool] = lambda: True,
) -> End:
    """Classify the end of a command.

    is_right : whether what it left is what an undisturbed call leaves; asked after exit code 0.
    is_kept : whether all that was there before and was sound still is; asked always.
    """
    if ended.hung:
        return End.HUNG
    if TRACEBACK in ended.text:
        return End.TRACEBACK
    if not is_kept():
        return End.LOST
    if ended.code == 0:
        return End.RECOVERED if is_right() else End.WRONG
    # Silence with an exit code, or a death by signal, tells nobody what to do.
    return End.CLEAR_ERROR if ended.code > 0 and ended.stderr.strip() else End.TRACEBACK


def of_call(
    function: Callable[[], Any], is_right: Callable[[Any], bool] = lambda _: True
) -> tuple[End, str]:
    """Classify a call in this process; return the end, and the message of the error if any.

    is_right : whether what was returned is right.
    """
    try:
        value = function()
    except Exception as error:
        end = End.CLEAR_ERROR if is_plain(error) and str(error).strip() else End.TRACEBACK
        return end, f"{type(error).__name__}: {error}" if end == End.TRACEBACK else str(error)
    return (End.RECOVERED if is_right(value) else End.WRONG), ""
