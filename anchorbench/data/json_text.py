"""The one way in which JSON is written: what every reader of JSON reads, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def json_text(value: Any, indent: int | None = 1) -> str:
    """Return a value as JSON with sorted keys and a final newline.

    Numbers that are not finite, which JSON has not, become null; numpy's numbers and arrays become
    numbers and lists, paths text.
    """
    return json.dumps(_plain(value), indent=indent, sort_keys=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy's, without importing it
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
