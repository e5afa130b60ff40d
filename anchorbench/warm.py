"""A process that keeps its imports: it forks a child for each step of a study.

Starting Python and importing torch, scikit-learn and pandas takes longer than most steps. The
parent imports them once, runs no numbers and no plugin, and forks; the child has the caller's
arguments, folder, environment and output, and its exit code is the caller's. Where there is no
parent, or it dies, a step does its work itself. Linux only: elsewhere forking after imports is not
safe.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anchorbench.runs import processes

ADDRESS = "ANCHORBENCH_WARM"
"""Environment variable: the parent's address among the abstract sockets of this machine."""
LIBRARIES = (
    *("torch", "pandas", "scipy.stats", "scipy.optimize", "scipy.sparse.csgraph", "yaml"),
    *("sklearn.decomposition", "sklearn.ensemble", "sklearn.linear_model", "sklearn.pipeline"),
    *("sklearn.model_selection", "sklearn.preprocessing", "sklearn.neighbors", "jsonschema"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "seaborn", "psutil", "safetensors"),
)
ROOMS = ("data", "models", "scores", "study", "runs", "reporting")
STEPS = ("prepare", "fit", "score", "collect", "table", "figure", "report", "gate")
PATIENCE = 30.0
"""Seconds in which a caller must have said what it wants."""


def begin(folder: Path) -> None:
    """Begin a parent that ends with this process, and tell steps of it by the environment."""
    if not processes.LINUX:
        return
    address = f"anchorbench-{os.getpid()}-{time.monotonic_ns()}"
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    with socket.socket(socket.AF_UNIX) as door:  # steps can knock at once; it closes with its owner
        door.bind("\0" + address)
        door.listen(64)
        subprocess.Popen(
            [sys.executable, "-m", "anchorbench", "_warm", str(door.fileno()), address],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[door.fileno()],
            start_new_session=True,
        )
    os.environ[ADDRESS] = address


def ask(arguments: Sequence[str]) -> int | None:
    """Have the parent do a step; return its exit code, or None where there is no parent."""
    address = os.environ.get(ADDRESS)
    if not address or not arguments or arguments[0] not in STEPS:
        return None
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect("\0" + address)
        request = {"argv": list(arguments), "cwd": str(Path.cwd()), "env": dict(os.environ)}
        content = json.dumps(request).encode()
        socket.send_fds(line, [struct.pack("!I", len(content))], [0, 1, 2])
        line.sendall(content)
        answer = line.recv(4)
        if len(answer) == 4:
            return int(struct.unpack("!i", answer)[0])
        print("anchorbench: the parent of the steps died; this one goes on alone", file=sys.stderr)
    return None


def serve(door: int) -> None:
    """Be the parent: import, fork for whoever knocks, until the process that began it ends."""
    processes.leave_in_order()
    processes.die_with(os.getppid(), by=signal.SIGTERM)
    processes.adopt_orphans()
    with socket.socket(fileno=door) as listening:
        try:
            warm_up()
            _Parent(listening).run()
        finally:
            processes.end_orphans()


def warm_up() -> None:
    """Import what steps need. No plugin is imported, nothing computed, no thread begun."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import anchorbench

    for room in ROOMS:
        place = f"anchorbench.{room}"
        package = importlib.import_module(place)
        for module in pkgutil.walk_packages(package.__path__, f"{place}."):
            importlib.import_module(module.name)
    importlib.import_module(f"{anchorbench.__name__}.cli")


class _Parent:
    """Forks a child for each caller and says how it ended; ends it when its caller is gone."""

    def __init__(self, door: socket.socket) -> None:
        self.door = door
        self.callers: dict[int, socket.socket] = {}  # by the process of the child
        self.wake, self.alarm = os.pipe()
        for end in (self.wake, self.alarm):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.alarm)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Serve for ever."""
        while True:
            lines = {line.fileno(): pid for pid, line in self.callers.items()}
            ready, _, _ = select.select([self.door.fileno(), self.wake, *lines], [], [])
            if self.wake in ready:
                os.read(self.wake, 4096)
                self._bury()
            for line in set(ready) & set(lines):  # a caller says no more, unless it is gone
                self._end(lines[line])
            if self.door.fileno() in ready:
                self._take()

    def _take(self) -> None:
        line, _ = self.door.accept()
        try:
            self._check(line)
            line.settimeout(PATIENCE)
            head, descriptors, _, _ = socket.recv_fds(line, 4, 3)
            size = struct.unpack("!I", head)[0]
            content = b""
            while len(content) < size:
                part = line.recv(size - len(content))
                if not part:
                    raise ConnectionError("the caller is gone")
                content += part
            request = json.loads(content)
        except (OSError, ValueError, struct.error):
            line.close()
            return
        pid = os.fork()
        if pid == 0:
            processes.end_after(partial(self._become, request, list(descriptors)))
        for descriptor in descriptors:
            os.close(descriptor)
        line.settimeout(None)
        self.callers[pid] = line

    @staticmethod
    def _check(line: socket.socket) -> None:
        """Raise OSError for a caller of another user: anyone can see the address."""
        peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", peer)[1] != os.getuid():
            raise PermissionError("another user")

    def _become(self, request: dict, descriptors: list[int]) -> int:
        """In the child: do the step; return its exit code."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for line in self.callers.values():
            line.close()
        self.door.close()
        os.setsid()
        processes.leave_in_order()
        processes.die_with(os.getppid(), by=signal.SIGTERM)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        from anchorbench.cli import main

        processes.may_fork = True
        return main(request["argv"])

    def _bury(self) -> None:
        """Tell callers how their children ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if (line := self.callers.pop(pid, None)) is not None:
                    with contextlib.suppress(OSError):
                        line.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
                    line.close()
        processes.end_orphans(but=self.callers)

    def _end(self, pid: int) -> None:
        """End a child whose caller is gone."""
        self.callers.pop(pid).close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        processes.end_orphans(but=self.callers)
