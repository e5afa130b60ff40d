"""Guarded work: tasks done by a process that may raise, hang, eat all memory or die.

The worker announces which tasks it is at; whatever kills it is blamed on a task that was alone at
that time. Tasks that were done together are tried again one by one, so that only a culprit fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.runs.status import Outcome, Status

POLL_SECONDS = 0.1
MARKER = "ANCHORBENCH_MARKER"
OOM_HINT = "raise limits.memory_mb in the config, or give the method less to do"


@dataclass(frozen=True)
class Limits:
    """What one task may use: wall-clock seconds, and resident memory of its process in MB."""

    seconds: float
    memory_mb: float


def announce(tasks: Sequence[str]) -> None:
    """Called by a worker: these tasks are being worked on, together, from now on."""
    marker = Path(os.environ[MARKER])
    scratch = marker.with_suffix(".new")
    scratch.write_text(json.dumps(list(tasks)), encoding="utf-8")
    os.replace(scratch, marker)


def run_tasks(
    tasks: Sequence[str],
    argv: Callable[[Sequence[str]], list[str]],
    is_over: Callable[[str], bool],
    blame: Callable[[str, Outcome], None],
    limits: Limits,
) -> None:
    """Have workers do all tasks; record those that break a worker.

    argv: the worker's command line for some of the tasks. is_over: whether a task has left its
    result. blame: records a task that broke its worker.
    """
    queue = [list(tasks)]
    while queue:
        group = queue.pop()
        outcome, current = _run_worker(argv(group), limits)
        left = [task for task in group if not is_over(task)]
        if not left:
            continue
        suspects = [task for task in current if task in left] or left
        if len(suspects) == 1:
            blame(suspects[0], outcome)
            rest = [task for task in left if task != suspects[0]]
            queue += [rest] if rest else []
        else:
            queue += [[task] for task in reversed(left)]


def _run_worker(argv: list[str], limits: Limits) -> tuple[Outcome, list[str]]:
    """Run one worker to its end; return how it ended and what it was at."""
    with tempfile.TemporaryDirectory(prefix="anchorbench-") as folder:
        marker = Path(folder) / "tasks"
        process = subprocess.Popen(
            argv, env={**os.environ, MARKER: str(marker)}, start_new_session=True
        )
        try:
            outcome = _watch(process, marker, limits)
        except BaseException:
            _kill(process)
            raise
        return outcome, _current(marker)


def _watch(process: subprocess.Popen[bytes], marker: Path, limits: Limits) -> Outcome:
    """Wait for a worker; end it when a task is over its limits."""
    current: list[str] = []
    since = time.monotonic()
    while True:
        try:
            return _ending(process.wait(POLL_SECONDS))
        except subprocess.TimeoutExpired:
            pass
        if (now_at := _current(marker)) != current:
            current, since = now_at, time.monotonic()
        allowed = limits.seconds * max(1, len(current))
        if time.monotonic() - since > allowed:
            _kill(process)
            return Outcome(
                Status.TIMEOUT, f"over the time limit of {limits.seconds:g} s for one task"
            )
        used = _memory_mb(process.pid)
        if used > limits.memory_mb:
            _kill(process)
            return Outcome(
                Status.OOM, f"used {used:.0f} MB, the limit is {limits.memory_mb:g} MB: {OOM_HINT}"
            )


def _ending(code: int) -> Outcome:
    """Say what a worker's exit code means for the task that it was at."""
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
    except FileNotFoundError:
        return []
    return list(tasks)


def _memory_mb(pid: int) -> float:
    """Resident memory of a process and its children in MB; 0 when it is gone."""
    import psutil  # a machine that only trains does without

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family) / 2**20
    except psutil.Error:
        return 0.0


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
