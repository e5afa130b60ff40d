"""One process a GPU: which of a machine's GPUs a fit may see.

Snakemake counts GPUs (`resources: gpu: 4` in a profile) and tells no job which. A fit takes the
first one whose lock is free, and keeps the lock as long as it lives. Locks are the machine's, so
that two studies do not meet on one GPU.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from anchorbench.study.jobs import Job

COUNT = "ANCHORBENCH_GPUS"
"""Environment variable: how many GPUs the workflow shares out; without it, fits choose alone."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_SECONDS = 1.0


def wanted(job: Job, config: Mapping[str, Any]) -> bool:
    """Whether a job can use a GPU and the configuration lets it."""
    return bool(job.variant.plugin.meta.get("gpu", False)) and config["device"] != "cpu"


@contextmanager
def one(job: Job, config: Mapping[str, Any]) -> Iterator[str | None]:
    """Let this process, and what it begins, see one GPU that no other fit sees; give its name.

    It waits where all are taken. Nothing happens, and None is given, where a job wants none, the
    configuration names one by its number, the workflow does not share them out, or a person hides
    them all.
    """
    count, before = int(os.environ.get(COUNT) or 0), os.environ.get(VISIBLE)
    if not count or not wanted(job, config) or ":" in config["device"] or before == "":
        yield None
        return
    names = [str(number) for number in range(count)] if before is None else before.split(",")
    device, lock = _take(names[:count])
    os.environ[VISIBLE] = device
    try:
        yield device
    finally:
        lock.close()
        if before is None:
            os.environ.pop(VISIBLE, None)
        else:
            os.environ[VISIBLE] = before


def _take(names: list[str]) -> tuple[str, TextIO]:
    """Wait for the first free one of some GPUs; return its name and what holds its lock."""
    folder = Path(tempfile.gettempdir()) / f"anchorbench-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for name in names:
            file = (folder / name.strip().replace("/", "_")).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return name.strip(), file
            except BlockingIOError:
                file.close()
        time.sleep(POLL_SECONDS)
