"""Text of users and plugins, made fit for files and pictures where it comes in.

Labels, reasons, feature and class names are anybody's: they may hold halves of characters, line
ends, signs that turn the direction of writing. `clean` is applied once, where results are read
(`Results`, `catalogue.extract`); each format then escapes what means something in it.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import pandas as pd

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # marks that reorder what is shown


def clean(text: str) -> str:
    """Return text on one line that every encoding holds.

    Half a surrogate pair becomes the replacement character, control characters and line ends a
    space, marks that reorder text go; runs of spaces become one.
    """
    if text.isascii() and text.isprintable():
        return (
            " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text
        )
    kept = [_character(c) for c in text if ord(c) not in _TURNS]
    return " ".join("".join(kept).split())


def _character(c: str) -> str:
    category = unicodedata.category(c)
    if category == "Cs":
        return REPLACEMENT
    return " " if category in ("Cc", "Zl", "Zp") else c


def clean_all(value: Any) -> Any:
    """Return what JSON holds with every text in it cleaned, names of keys too."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(k) if isinstance(k, str) else k: clean_all(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean_all(v) for v in value]
    return value


def clean_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns of text are cleaned."""
    texts = [c for c in frame if frame[c].dtype == object]
    return frame.assign(**{str(c): _cleaned(frame[c]) for c in texts})


def _cleaned(column: pd.Series) -> pd.Series:
    """A column with its texts cleaned; of many rows few texts are different."""
    texts = {v: clean(v) for v in column.unique() if isinstance(v, str)}
    changed = {old: new for old, new in texts.items() if old != new}
    return column.map(lambda v: changed.get(v, v)) if changed else column


def distinct(labels: dict[str, str]) -> dict[str, str]:
    """Return labels by name: the name itself where there is none, and beside one that recurs."""
    named = {name: label or name for name, label in labels.items()}
    seen = list(named.values())
    return {
        name: f"{label} ({name})" if seen.count(label) > 1 else label
        for name, label in named.items()
    }
