"""Guarded work: tasks done by a process that may raise, hang, eat all memory, print, or die.

The worker announces which tasks it is at; whatever kills it is blamed on a task that was alone at
that time. Tasks that were done together are tried again one by one, so that only a culprit fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.runs import processes
from anchorbench.runs.status import Outcome, Status

POLL_SECONDS = 0.1
MARKER = "ANCHORBENCH_MARKER"
OOM_HINT = "raise limits.memory_mb in the config, or give the method less to do"
SHOWN_BYTES = 100_000
"""How much of a worker's output is passed on."""
WRITTEN_BYTES = 50_000_000
"""How much a worker may print."""


@dataclass(frozen=True)
class Limits:
    """What one task may use: wall-clock seconds, and resident memory of its process in MB."""

    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Worker:
    """How some tasks are begun: as a function in a forked child, or as a program.

    The function returns nothing. The program is used where this process may not fork.
    """

    inside: Callable[[Sequence[str]], None] | None
    argv: Callable[[Sequence[str]], list[str]]

    def begin(self, tasks: Sequence[str], scratch: Path) -> processes.Child:
        marker, output = scratch / "tasks", scratch / "output"
        if self.inside is None or not processes.may_fork:
            environment = {**os.environ, MARKER: str(marker)}
            return processes.begin_program(self.argv(tasks), output, environment)
        inside = self.inside

        def work() -> int:
            os.environ[MARKER] = str(marker)
            inside(tasks)
            return 0

        return processes.begin(work, output)


def announce(tasks: Sequence[str]) -> None:
    """Called by a worker: these tasks are being worked on, together, from now on."""
    if not (name := os.environ.get(MARKER)):
        return  # nobody guards this process
    marker = Path(name)
    scratch = marker.with_suffix(".new")
    scratch.write_text(json.dumps(list(tasks)), encoding="utf-8")
    os.replace(scratch, marker)


def run_tasks(
    tasks: Sequence[str],
    worker: Worker,
    is_over: Callable[[str], bool],
    blame: Callable[[str, Outcome, float], None],
    limits: Limits,
    scratch: Path,
) -> None:
    """Have workers do all tasks; record those that break a worker.

    A worker may do the first of its tasks only and end well: the others go to the next.

    Parameters
    ----------
    tasks : sequence of str
    worker : Worker
    is_over : callable
        Whether a task has left its result.
    blame : callable
        Records a task that broke its worker, how, and the seconds that the worker was at it.
    limits : Limits
        Of one task.
    scratch : Path
        A folder for what nobody needs after the workers.
    """
    queue = [list(tasks)]
    while queue:
        group = queue.pop()
        outcome, current, seconds = _run_worker(worker, group, limits, scratch)
        left = [task for task in group if not is_over(task)]
        if not left:
            continue
        suspects = [task for task in current if task in left] or left
        if outcome is None and len(left) < len(group):
            queue.append(left)
        elif len(suspects) == 1:
            ended = outcome or Outcome(Status.FAILED, "it ended and left no result")
            blame(suspects[0], ended, seconds)
            rest = [task for task in left if task != suspects[0]]
            queue += [rest] if rest else []
        else:
            queue += [[task] for task in reversed(left)]


def _run_worker(
    worker: Worker, tasks: Sequence[str], limits: Limits, scratch: Path
) -> tuple[Outcome | None, list[str], float]:
    """Run one worker to its end.

    Returns how it ended, None for well, what it was at, and for how many seconds.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=scratch.resolve()))  # a plugin may change its folder
    (folder / "output").touch()
    try:
        child = worker.begin(tasks, folder)
        relay = _Relay(folder / "output")
        try:
            outcome, since = _watch(child, folder / "tasks", limits, relay)
        finally:
            child.end()
            relay.pass_on()
        return outcome, _current(folder / "tasks"), time.monotonic() - since
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Relay:
    """Passes a worker's output on, as far as anybody will read it."""

    def __init__(self, file: Path) -> None:
        self.file, self.passed = file, 0

    def pass_on(self) -> None:
        """Pass on what is new."""
        if not self.file.exists():
            return
        size = self.file.stat().st_size
        if size <= self.passed or self.passed >= SHOWN_BYTES:
            return
        with self.file.open("rb") as file:
            file.seek(self.passed)
            new = file.read(SHOWN_BYTES - self.passed)
        self.passed += len(new)
        text = new.decode("utf-8", errors="replace")
        if self.passed >= SHOWN_BYTES:
            text += "\n… what else it prints is not shown\n"
        sys.stderr.write(text)
        sys.stderr.flush()

    def over(self) -> bool:
        """Whether a worker printed more than anybody may."""
        return self.file.exists() and self.file.stat().st_size > WRITTEN_BYTES


def _watch(
    child: processes.Child, marker: Path, limits: Limits, relay: _Relay
) -> tuple[Outcome | None, float]:
    """Wait for a worker; say what to do about it when a task is over its limits.

    Returns also since when, by the monotonic clock, it was at its last tasks.
    """
    current: list[str] = []
    since = time.monotonic()
    while True:
        if (code := child.wait(POLL_SECONDS)) is not None:
            return _ending(code), since
        relay.pass_on()
        if (now_at := _current(marker)) != current:
            current, since = now_at, time.monotonic()
        allowed = limits.seconds * max(1, len(current))
        if time.monotonic() - since > allowed:
            reason = f"over the time limit of {limits.seconds:g} s for one task"
            return Outcome(Status.TIMEOUT, reason), since
        used = _memory_mb(child.pid)
        if used > limits.memory_mb:
            reason = f"used {used:.0f} MB, the limit is {limits.memory_mb:g} MB: {OOM_HINT}"
            return Outcome(Status.OOM, reason), since
        if relay.over():
            reason = f"printed more than {WRITTEN_BYTES / 1e6:.0f} MB"
            return Outcome(Status.FAILED, reason), since


def _ending(code: int) -> Outcome | None:
    """Say what a worker's exit code means for the task that it was at; None for success."""
    if code == 0:
        return None
    if code == -signal.SIGKILL:
        return Outcome(
            Status.FAILED, "its process was killed (SIGKILL; the system does that when memory ends)"
        )
    if code < 0:
        return Outcome(Status.FAILED, f"its process died of {signal.Signals(-code).name}")
    return Outcome(Status.FAILED, f"its process ended with exit code {code} and left no result")


def _current(marker: Path) -> list[str]:
    try:
        tasks: Any = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a plugin may have written there
        return []
    return [str(task) for task in tasks] if isinstance(tasks, list) else []


def _memory_mb(pid: int) -> float:
    """Resident memory of a process and its children in MB; 0 when it is gone."""
    import psutil  # a machine that only trains does without

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family) / 2**20
    except psutil.Error:
        return 0.0
