"""Whatever is damaged in the store or among the outputs, the next call ends as if nothing were."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from faults import study
from faults.outcomes import GOOD, of_command


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was run to its end."""
    folder = tmp_path_factory.mktemp("study") / "finished"
    study.write_config(folder)
    for _ in range(2):  # the second call remembers what it found whole
        done = study.call(folder)
        assert done.code == 0, done.text
    return folder


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes() or b"\0")
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncate": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "garbage": lambda file: file.write_bytes(b"\xff\xfe{[" * 50),
    "flip": flip,
    "delete": lambda file: file.unlink(),
}
# Patterns below results/, each for a kind of file; the first that matches is harmed.
FILES = {
    "record": "store/*/record.json",
    "arrays": "store/*/arrays.npz",
    "weights": "store/*/model/*.safetensors",
    "words of a model": "store/*/model/*.json",
    "a metric's score": "store/*/scores/*.json",
    "job": "store/jobs/**/*.json",
    "scores of a job": "store/scores/**/*.json",
    "X": "store/data/*/X.npz",
    "features": "store/data/*/features.json",
    "arrays of data": "store/data/*/arrays.npz",
    "labels": "store/data/*/labels.npz",
    "meta": "store/data/*/meta.json",
    "status of data": "store/data/*.json",
    "stamp": "store/outputs/leaderboard.json",
    "configuration": "store/configs/*.json",
    "memory of checksums": "store/whole.json",
    "gate": "store/gate/*.ok",
    "scores.csv": "scores.csv",
    "runs.csv": "runs.csv",
    "manifest": "manifest.json",
    "table": "tables/leaderboard.csv",
    "table to read": "tables/leaderboard.md",
    "figure": "figures/figure_3.png",
    "data of a figure": "figures/figure_3.csv",
    "report": "report.html",
}
EVERY = [(file, damage) for file in FILES for damage in DAMAGE]
SAMPLE = [
    ("record", "truncate"),
    ("arrays", "flip"),
    ("scores of a job", "empty"),
    ("X", "garbage"),
    ("table", "flip"),
]


def slow_but(cases: Sequence[Any], first: int) -> list[Any]:
    """Cases of a parametrised test of which all but the first are slow."""
    marks = [[] if number < first else [pytest.mark.slow] for number in range(len(cases))]
    return [pytest.param(case, marks=mark) for case, mark in zip(cases, marks, strict=True)]


@pytest.mark.parametrize(
    "case", slow_but([*SAMPLE, *(case for case in EVERY if case not in SAMPLE)], len(SAMPLE))
)
def test_a_damaged_file_is_made_again(finished, tmp_path, note, case):
    kind, damage = case
    folder = study.copy(finished, tmp_path / "study")
    file = sorted((folder / "results").glob(FILES[kind]))[0]
    DAMAGE[damage](file)
    before = {k: v for k, v in study.records(folder).items() if k not in str(file)}
    ended = study.call(folder)
    kept = lambda: before.items() <= study.records(folder).items()  # noqa: E731
    note(of_command(ended, lambda: study.same(finished, folder), kept), ended.text[-2000:])


def test_what_was_damaged_is_set_aside_with_a_line(finished, tmp_path):
    folder = study.copy(finished, tmp_path / "study")
    file = sorted((folder / "results").glob(FILES["arrays"]))[0]
    flip(file)
    ended = study.call(folder)
    assert "set aside" in ended.text and file.parent.name in ended.text
    assert (folder / "results/store/aside" / file.parent.name / "arrays.npz").exists()


@pytest.mark.parametrize("target", ["job", "scores of a job", "scores.csv", "table", "report"])
def test_a_mark_of_an_interrupted_job_prunes_nothing(finished, tmp_path, note, target):
    folder = study.copy(finished, tmp_path / "study")
    results = folder / "results"
    file = sorted(results.glob(FILES[target]))[0]
    marks = folder / ".snakemake" / "incomplete"
    marks.mkdir(parents=True)
    name = str(file.relative_to(folder))
    (marks / base64.b64encode(name.encode()).decode()).touch()
    for output in ("scores.csv", "report.html"):
        (results / output).unlink()
    ended = study.call(folder)
    note(of_command(ended, lambda: study.same(finished, folder)), ended.text[-2000:])


def kill_after(seconds: float) -> Callable[[object], None]:
    """Kill a call and all that it began that is in its group, after some seconds."""

    def interrupt(process) -> None:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)

    return interrupt


MOMENTS = [1.5, 4.0, *[0.5 * step for step in range(1, 30)]]


@pytest.mark.parametrize("seconds", slow_but(MOMENTS, 2))
def test_a_call_that_is_killed_goes_on_at_the_next(finished, tmp_path, note, seconds):
    folder = tmp_path / "study"
    study.write_config(folder)
    study.call(folder, interrupt=kill_after(seconds))
    before = {k: v for k, v in study.records(folder).items() if '"done"' in v}
    ended = study.call(folder)
    kept = lambda: before.items() <= study.records(folder).items()  # noqa: E731
    right = lambda: study.numbers(folder).equals(study.numbers(finished))  # noqa: E731
    note(of_command(ended, right, kept), ended.text[-2000:])
    assert not list((folder / "results/store/work").glob("*"))


def kill_one(generation: int, number: int) -> Callable[[object], None]:
    """Kill the n-th process that is seen: the parent of the steps (0), a step (1), a worker (2)."""
    import psutil

    def interrupt(process) -> None:
        seen: set[int] = set()
        while process.poll() is None:
            family = [psutil.Process(process.pid)]
            try:
                for level in range(generation + 1):
                    name = f"anchorbench-{process.pid}-" if level == 0 else ""
                    children = [child for member in family for child in member.children()]
                    family = [c for c in children if name in " ".join(c.cmdline())]
                seen |= {child.pid for child in family}
            except psutil.Error:
                continue
            if family and len(seen) >= number:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(family[-1].pid, signal.SIGKILL)
                return
            time.sleep(0.002)

    return interrupt


VICTIMS = [(0, 1), (1, 1), (2, 1), *[(g, n) for g in (1, 2) for n in (2, 3, 4, 5, 6, 8)]]


@pytest.mark.parametrize("victim", slow_but(VICTIMS, 3))
def test_one_process_is_killed_and_the_next_call_does_the_rest(finished, tmp_path, note, victim):
    folder = tmp_path / "study"
    study.write_config(folder)
    first = study.call(folder, interrupt=kill_one(*victim))
    assert of_command(first, lambda: study.same(finished, folder)) in GOOD, first.text
    before = {k: v for k, v in study.records(folder).items() if '"done"' in v}
    ended = study.call(folder)
    kept = lambda: before.items() <= study.records(folder).items()  # noqa: E731
    right = lambda: study.numbers(folder).equals(study.numbers(finished))  # noqa: E731
    note(of_command(ended, right, kept), ended.text[-2000:])


def test_nothing_outlives_a_call_that_is_killed(tmp_path):
    """Not a step, not a worker, not what a plugin began in a session of its own."""
    import psutil

    folder = tmp_path / "study"
    study.write_config(folder, methods=["spawns"])
    (folder / "methods").mkdir()
    (folder / "methods" / "spawns.py").write_text(SPAWNS.format(mark=str(tmp_path)))

    def interrupt(process) -> None:
        while not (tmp_path / "begun").exists() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)

    study.call(folder, interrupt=interrupt)
    end = time.monotonic() + 10
    left = [0]
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = [p.pid for p in psutil.process_iter() if _belongs(p, str(tmp_path))]
    assert not left


SPAWNS = """
import subprocess, time
from pathlib import Path
METHOD = {{"label": "Spawns", "likelihoods": ["gaussian"], "params": {{}}}}
class Model:
    def fit(self, X):
        subprocess.Popen(["sleep", "300"], cwd={mark!r})
        Path({mark!r}, "begun").touch()
        time.sleep(300)
def build(likelihood, n_latent, seed):
    return Model()
"""


def _belongs(process, folder: str) -> bool:
    import psutil

    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith(folder)
    except psutil.Error:
        return False
