"""Fixtures that tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from anchorbench.reporting.results import FILES, Results, load_results

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_sources() -> dict[str, Path]:
    """Name -> path of real raw files, from the sources.yaml that ANCHORBENCH_SOURCES names."""
    config = os.environ.get("ANCHORBENCH_SOURCES")
    if not config:
        pytest.skip("real data: set ANCHORBENCH_SOURCES to a sources.yaml with local paths")
    sources = yaml.safe_load((ROOT / config).read_text(encoding="utf-8"))["sources"]
    return {name: (ROOT / spec["url"]).resolve() for name, spec in sources.items()}


@pytest.fixture(scope="session")
def reference() -> Results:
    """The committed reference run: read once, for it is large."""
    folder = ROOT / "results" / "reference"
    return load_results(*(folder / name for name in FILES))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Products on one thread, on which their last bits do not vary."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
