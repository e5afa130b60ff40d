"""The judge of faults tells the six ends apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from anchorbench.data.dataset import DataError
from faults.outcomes import End, of_call, of_command, run

SAYS = "import sys; print('mine.csv: no rows', file=sys.stderr); sys.exit(2)"
ENDS = {
    "pass": End.RECOVERED,
    SAYS: End.CLEAR_ERROR,
    "1 / 0": End.TRACEBACK,
    "raise SystemExit(1)": End.TRACEBACK,
    "import os; os.kill(os.getpid(), 9)": End.TRACEBACK,
    "import time; time.sleep(60)": End.HUNG,
}


@pytest.mark.parametrize("code", ENDS)
def test_ends_of_commands(tmp_path: Path, code: str) -> None:
    seconds = 2 if ENDS[code] == End.HUNG else 60
    assert of_command(run([sys.executable, "-c", code], tmp_path, seconds)) == ENDS[code]


def test_what_was_left_decides(tmp_path: Path) -> None:
    fine = run([sys.executable, "-c", "pass"], tmp_path)
    assert of_command(fine, is_right=lambda: False) == End.WRONG
    assert of_command(fine, is_kept=lambda: False) == End.LOST


def test_ends_of_calls() -> None:
    def refuse() -> None:
        raise DataError("d.csv: line 3: fill it")

    assert of_call(refuse) == (End.CLEAR_ERROR, "d.csv: line 3: fill it")
    assert of_call(lambda: 1 / 0)[0] == End.TRACEBACK
    assert of_call(lambda: 3, lambda value: value == 3) == (End.RECOVERED, "")
    assert of_call(lambda: 3, lambda value: value == 4)[0] == End.WRONG
