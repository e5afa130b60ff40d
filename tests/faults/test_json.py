"""JSON as every reader of JSON reads it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.data.json_text import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def finite(value: object) -> object:
    """The value with None in place of what is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(deadline=None, derandomize=True, database=None)
@given(value=VALUES)
def test_what_is_written_is_json_and_comes_back(value: object) -> None:
    assert json.loads(json_text(value), parse_constant=refuse) == finite(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("inf"), None),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, np.nan]), [1.0, None]),
        ((1, {"a": -math.inf}), [1, {"a": None}]),
        (Path("a/b"), "a/b"),
    ],
)
def test_values_of_numpy_and_paths(value: object, expected: object) -> None:
    assert json.loads(json_text({"v": value}), parse_constant=refuse) == {"v": expected}
