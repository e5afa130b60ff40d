"""How the page sets numbers and names: no leading zero, a true minus, thousands set apart."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
HUGE = 1e5


def number(value: float | None, places: int, sign: bool = False) -> str:
    """Return a number with fixed decimals; none from 10,000 on; a dash where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}\N{INFINITY}"
    size = abs(value)
    text = f"{size:,.{0 if size >= 1e4 else places}f}" if size < 1e9 else f"{size:.1e}"
    is_zero = not re.search("[1-9]", text)
    before = "" if is_zero else MINUS if value < 0 else "+" if sign else ""
    return before + re.sub(r"^0\.", ".", text)


def short(value: float, bounded: bool) -> str:
    """Return a number for a glance: two decimals in [0, 1], else three digits."""
    if not math.isfinite(value):
        return NOTHING
    if abs(value) >= HUGE:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    places = 2 if bounded else max(0, min(3, 2 - _magnitude(value)))
    return number(value, places)


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def decimals(values: Iterable[float], bounded: bool) -> int:
    """Return the decimals of a metric on a dataset: three in [0, 1], else about four digits."""
    if bounded:
        return 3
    sizes = [abs(v) for v in values if math.isfinite(v) and v != 0]
    return min(3, max(0, 3 - _magnitude(float(np.median(sizes))))) if sizes else 1


def interval(estimate: float, low: float, high: float, places: int) -> str:
    """Return a difference with its interval."""
    ends = ", ".join(number(end, places, sign=True) for end in (low, high))
    return f"{number(estimate, places, sign=True)} [{ends}]"


def digits(value: float, significant: int = 6) -> float | None:
    """Return a number with so many significant digits; None where it is not finite."""
    return float(f"{value:.{significant}g}") if math.isfinite(value) else None


def setting(text: str) -> str:
    """Return the name of a setting as a reader writes it: rho0.6 as ρ .6, n_100 as n 100."""
    named = re.fullmatch(r"([A-Za-z]+)_?(\d+(?:\.\d+)?)", text)
    if named is None:
        return text.replace("_", " ")
    name = {"rho": "ρ", "sigma": "σ"}.get(named[1], named[1])
    return f"{name} {re.sub('^0[.]', '.', f'{float(named[2]):g}')}"


def ranges(places: Iterable[int]) -> str:
    """Return whole numbers with those in a row together: 0–4, 7."""
    runs: list[list[int]] = []
    for place in sorted(places):
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ", ".join(f"{r[0]}–{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
