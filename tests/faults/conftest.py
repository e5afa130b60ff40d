"""Outcomes of faults are written down by the tests and counted at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from faults.outcomes import GOOD, End


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Write down how a fault ended: `note(end, message)`; a bad end fails the test."""

    def noted(end: End, message: str = "") -> None:
        record_property("outcome", str(end))
        assert end in GOOD, f"{end}: {message}"

    return noted


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many faults ended how."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    counts = Counter(
        value for r in reports if r.when == "call" for name, value in r.user_properties
        if name == "outcome"
    )  # fmt: skip
    if counts:
        terminalreporter.section(f"{sum(counts.values())} faults")
        for end in End:
            terminalreporter.write_line(f"{end:<12} {counts[end]:>5}")
