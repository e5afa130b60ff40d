"""What became of a piece of work: one word for its end, and the reason in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a run, the preparation of data, or a score ended."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    """Out of memory."""
    DIVERGED = "diverged"
    """Values that are not finite, or a representation that is of no use."""
    SKIPPED = "skipped"


READ_ONLY = "the data are shared: work on a copy, X = X - mean in place of X -= mean"

# Errors whose message says it all; a traceback would only hide it.
PLAIN_ERRORS = (
    "ConfigError",
    "DataError",
    "Diverged",
    "PluginError",
    "ResultsError",
    "SourceError",
    "TuningError",
)


@dataclass(frozen=True)
class Outcome:
    """How work ended, and why."""

    status: Status
    reason: str


def is_plain(error: BaseException) -> bool:
    """Whether the message of an error says it all."""
    return type(error).__name__ in PLAIN_ERRORS


def one_line(text: str) -> str:
    """Return text as one line that every format can hold: no control character, no surrogate."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def outcome(error: BaseException) -> Outcome:
    """Return what an exception means for the work that it ended."""
    text = one_line(str(error))
    reason = text if is_plain(error) else f"{type(error).__name__}: {text}"[:500]
    if "read-only" in text and isinstance(error, ValueError):
        reason += f" ({READ_ONLY})"
    return Outcome(_status(error), reason)


def _status(error: BaseException) -> Status:
    text = f"{type(error).__name__} {error}".lower()
    if type(error).__name__ == "Diverged":
        return Status.DIVERGED
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return Status.OOM
    return Status.FAILED
