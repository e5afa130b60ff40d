"""Processes for code that nobody vouches for: begun, watched, and ended with all that they began.

A child has a session of its own, dies with its parent, and writes into a file: what it starts can
neither hold a pipe open nor outlive it. On Linux a step forks its children, after importing what
they need; elsewhere, and for a method with an environment of its own, they are programs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

LINUX = sys.platform.startswith("linux")
_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36  # of prctl, linux/prctl.h

may_fork = False
"""Whether this process is a step's own: it has started no threads, and all its children are ours.

A library's process, or a test's, may have both.
"""


class Child:
    """A process that was begun here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, seconds: float) -> int | None:
        """Wait for its end, at most some seconds; return as `poll` does."""
        end, pause = time.monotonic() + seconds, 0.001
        while (code := self.poll()) is None and time.monotonic() < end:
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return code

    def end(self) -> None:
        """Kill it and whatever it began."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.001)
        if may_fork:
            end_orphans()


def begin(work: Callable[[], int], output: Path) -> Child:
    """Fork a child that does some work; its output goes to a file. Its exit code is the result."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    adopt_orphans()
    if pid := os.fork():
        return Child(pid)

    def child() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        die_with(parent)
        _write_to(output)
        return work()

    end_after(child)


def end_after(work: Callable[[], int]) -> NoReturn:
    """Do some work in a forked child and end it, with the exit code that the work returns."""
    code = 1
    try:
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def begin_program(
    argv: Sequence[str], output: Path, environment: dict[str, str], foreign: bool = False
) -> Child:
    """Begin a program; its output goes to a file.

    One of the suite's calls `die_with` itself; for a `foreign` one that is done before it begins.
    """
    parent = os.getpid()
    with output.open("ab") as file:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
            preexec_fn=(lambda: die_with(parent)) if foreign and LINUX else None,
        )
    process.returncode = 0  # it is waited for by its Child, not by subprocess
    return Child(process.pid)


def die_with(parent: int, by: int = signal.SIGKILL) -> None:
    """End this process, by a signal where the system can, when its parent ends."""
    if LINUX:
        _prctl(_PARENT_DEATH_SIGNAL, by)
        if os.getppid() != parent:
            os._exit(1)
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def leave_in_order() -> None:
    """Let SIGTERM end this process as an exception does: with what is to be done at the end."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is to be done is done once, and whole
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


def adopt_orphans() -> None:
    """Become the parent of whatever this process's children leave behind."""
    if LINUX:
        _prctl(_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_orphans(but: Collection[int] = ()) -> None:
    """Kill and bury all children of this process, but some, and what these leave.

    That is what a child began and left, in sessions of its own too.
    """
    for _ in range(100):  # each generation's children come to us when it dies
        family = [pid for pid in _children(os.getpid()) if pid not in but]
        if not family:
            return
        for pid in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in family:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children(pid: int) -> Iterator[int]:
    """The children of a process, on Linux.

    From every process's own word for its parent: the list /proc/<pid>/task/*/children misses some
    while others end.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[1]) == pid:
                yield int(entry.name)


@contextmanager
def output_kept() -> Iterator[None]:
    """Give this process its output back at the end, whatever was done to the descriptors.

    A closed one would be the next file's that is opened, and what is printed would go into it.
    """
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        yield
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            if getattr(sys, name).closed:
                setattr(sys, name, _text(descriptor))


def _write_to(output: Path) -> None:
    """Let output and errors of this process go to the end of a file; it reads nothing."""
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    sys.stdout = _text(1)
    sys.stderr = _text(2)


def _text(descriptor: int) -> Any:
    return open(descriptor, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)
