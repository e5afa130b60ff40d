"""What a SLURM partition has to give, against what the jobs of a study ask for.

A job that asks for more is not refused by SLURM but waits for ever, or is refused in words that do
not say what to change. So the question is put before anything is submitted.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anchorbench.study.config import ConfigError


@dataclass(frozen=True)
class Ask:
    """What one job asks for; `name` is for people."""

    name: str
    minutes: int
    memory_mb: int
    gpus: int


@dataclass(frozen=True)
class Offer:
    """The most that a partition gives a job on one node; None where there is no limit."""

    minutes: int | None
    memory_mb: int
    gpu: bool


def check(asks: Sequence[Ask], partition: str, together: Mapping[str, int] | None = None) -> None:
    """Raise ConfigError for jobs that could never begin in a partition.

    together: how many fits share a submission one after the other, by the name of their group.
    Nothing is said where `sinfo` cannot be asked or does not know the partition.
    """
    offer = offered(partition)
    if offer is None or not asks:
        return
    where = f"partition {partition}"
    if not offer.gpu and (without := [ask for ask in asks if ask.gpus]):
        raise ConfigError(
            f"{where} has no GPU, and {_these(without)} ask for one: give --config device=cpu, or "
            "name another slurm_partition in the profile"
        )
    longest, largest = max(a.minutes for a in asks), max(a.memory_mb for a in asks)
    if offer.minutes is not None and longest > offer.minutes:
        raise ConfigError(
            f"{where} gives a job {offer.minutes} minutes, and "
            f"{_these([a for a in asks if a.minutes > offer.minutes])} ask for up to {longest}: "
            "lower limits.seconds in the configuration, or name another slurm_partition"
        )
    _check_together(asks, offer, where, together or {})
    if largest > offer.memory_mb:
        raise ConfigError(
            f"no node of {where} has more than {offer.memory_mb} MB, and "
            f"{_these([a for a in asks if a.memory_mb > offer.memory_mb])} ask for up to "
            f"{largest}: lower limits.memory_mb in the configuration, or name another "
            "slurm_partition"
        )


def _check_together(
    asks: Sequence[Ask], offer: Offer, where: str, together: Mapping[str, int]
) -> None:
    """Raise ConfigError where the longest fits of a group, summed, are longer than allowed."""
    for group, count in together.items():
        of_group = [ask.minutes for ask in asks if group == group_of(ask.gpus)]
        longest = sum(sorted(of_group, reverse=True)[:count])
        if offer.minutes is not None and longest > offer.minutes:
            raise ConfigError(
                f"{where} gives a job {offer.minutes} minutes, and {group}={count} in "
                f"group-components may ask for up to {longest}: make it smaller in the profile"
            )


def group_of(uses_gpu: int) -> str:
    """The group of fits that may share a submission."""
    return "fits_gpu" if uses_gpu else "fits"


def _these(asks: Sequence[Ask]) -> str:
    """So many jobs, and the first one's name."""
    more = f" and {len(asks) - 1} more" if len(asks) > 1 else ""
    return f"{asks[0].name}{more}"


def offered(partition: str) -> Offer | None:
    """What `sinfo` says of a partition; None where it says nothing."""
    command = ["sinfo", "--noheader", "--partition", partition, "--format", "%l|%m|%G"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        rows = [line.split("|", 2) for line in done.stdout.splitlines() if line.strip()]
        minutes = [_minutes(time) for time, _, _ in rows]
        memory = [int(re.sub(r"\D", "", size)) for _, size, _ in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not rows:
        return None
    limited = [m for m in minutes if m is not None]
    gpu = any(re.search(r"\bgpu\b", gres) for _, _, gres in rows)
    return Offer(max(limited) if len(limited) == len(minutes) else None, max(memory), gpu)


def _minutes(text: str) -> int | None:
    """Minutes of SLURM's days-hours:minutes:seconds; None for "infinite". Raises ValueError."""
    if text.strip() in ("infinite", "n/a", "UNLIMITED"):
        return None
    days, _, clock = text.strip().rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    short = [0] * (3 - len(parts)) if not days else []  # 30:00 is half an hour, 1-12 a day and more
    hours, minutes, *_ = [*short, *parts, 0]
    return int(days or 0) * 1440 + hours * 60 + minutes
