"""The guard: whatever breaks a worker is blamed on its culprit alone."""

import sys

import pytest

from anchorbench.runs import guard
from anchorbench.runs.guard import Limits, Worker, run_tasks
from anchorbench.runs.status import Outcome, Status

WORKER = """
import json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from anchorbench.runs.guard import announce
folder, together, *tasks = sys.argv[1:]
def do(task):
    if "hang" in task: time.sleep(60)
    if "kill" in task: os.kill(os.getpid(), signal.SIGKILL)
    if "segv" in task: os.kill(os.getpid(), signal.SIGSEGV)
    if "exit" in task: os._exit(3)
    if "eat" in task:
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * 20_000_000)); time.sleep(0.01)
    (Path(folder) / task).write_text("done")
if together == "yes":
    announce(tasks)
    for task in tasks: do(task)
else:
    for task in tasks:
        announce([task]); do(task)
"""


def run(folder, tasks, together="no", seconds=30.0, memory_mb=10_000.0):
    """Return what was finished, what was blamed and for what, and how many workers it took."""
    from anchorbench.study.plugins import SUITE

    script = folder / "worker.py"
    script.write_text(WORKER.format(root=str(SUITE)))
    out = folder / "out"
    out.mkdir()
    blamed, started = {}, []

    def argv(chosen):
        started.append(list(chosen))
        return [sys.executable, str(script), str(out), together, *chosen]

    def blame(task, outcome, seconds):
        blamed[task] = outcome

    over = lambda task: (out / task).exists() or task in blamed  # noqa: E731
    run_tasks(tasks, Worker(None, argv), over, blame, Limits(seconds, memory_mb), folder / "work")
    return {path.name for path in out.iterdir()}, blamed, started


def test_good_tasks_need_one_worker(tmp_path):
    done, blamed, started = run(tmp_path, ["a", "b", "c"])
    assert done == {"a", "b", "c"} and not blamed and len(started) == 1


@pytest.mark.parametrize(
    ("culprit", "status", "reason"),
    [
        ("kill", "failed", "SIGKILL"),
        ("segv", "failed", "SIGSEGV"),
        ("exit", "failed", "exit code 3"),
    ],
)
@pytest.mark.parametrize("together", ["no", "yes"])
def test_only_the_culprit_fails(tmp_path, culprit, status, reason, together):
    done, blamed, _ = run(tmp_path, ["a", culprit, "c", "d"], together)
    assert done == {"a", "c", "d"} and set(blamed) == {culprit}
    assert blamed[culprit].status == status and reason in blamed[culprit].reason


def test_hanging_task_is_stopped(tmp_path):
    done, blamed, _ = run(tmp_path, ["a", "hang", "c"], seconds=1.5)
    assert done == {"a", "c"}
    assert blamed["hang"].status == "timeout" and "1.5 s" in blamed["hang"].reason


def test_task_that_eats_memory_is_stopped(tmp_path):
    done, blamed, _ = run(tmp_path, ["a", "eat", "c"], memory_mb=400)
    assert done == {"a", "c"}
    assert blamed["eat"].status == "oom" and "400 MB" in blamed["eat"].reason


def test_two_culprits_in_one_block(tmp_path):
    done, blamed, _ = run(tmp_path, ["kill", "a", "exit"], "yes")
    assert done == {"a"} and set(blamed) == {"kill", "exit"}


def test_a_task_is_blamed_for_its_own_seconds(tmp_path, monkeypatch):
    ends = iter([(["a"], 3.0), (["b"], 5.0)])
    broken, blamed = Outcome(Status.TIMEOUT, "over the time limit"), {}

    def one_breaks(*_):
        current, seconds = next(ends)
        return broken, current, seconds

    monkeypatch.setattr(guard, "_run_worker", one_breaks)
    blame = lambda task, _, seconds: blamed.update({task: seconds})  # noqa: E731
    run_tasks(["a", "b"], None, blamed.__contains__, blame, Limits(9.0, 9.0), tmp_path)
    assert blamed == {"a": 3.0, "b": 5.0}
