"""What a method's parameters are searched over, and the trials that are drawn from it.

METHOD may have `search`, by parameter:

    [0.1, 1.0]                                a choice
    {"low": 1.0, "high": 9.0, "log": True}    a range; without `log` uniform
    {..., "times": "slab"}                    the same as a multiple of another parameter
    "other"                                   the value of another parameter
    None                                      not searched, whatever `like` has

and two words that are no parameters: `length`, a choice of multiples of the epochs or steps, and
`like`, the name of a shared space, of which the parameters count that the method has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from anchorbench.study import seeds
from anchorbench.study.metadata import is_number

LENGTH, LIKE = "length", "like"
TRAINED = ("epochs", "steps")
RANGE = ("low", "high", "log", "times")
SHARED: dict[str, dict[str, Any]] = {
    "deep": {
        "learning_rate": {"low": 1e-3, "high": 2e-2, "log": True},
        "length": [1, 3, 5],
        "kl_weight": ["1/K", 0.25, 0.5, 1.0],
        "prior_covariance": ["identity", "correlation"],
    }
}
"""Spaces that methods have in common."""
OF_DATASET: dict[str, dict[str, Any]] = {
    "movielens": {"learning_rate": {"low": 3e-5, "high": 3e-3, "log": True}}
}
"""By dataset plugin, ranges that take the place of any method's own."""
DIGITS = 4
"""Significant digits of a number that is drawn."""


def wrong_with(meta: Mapping[str, Any]) -> str:
    """Say what is wrong with the search space of a METHOD, "" where nothing is."""
    own = meta.get("search", {})
    if not isinstance(own, Mapping):
        return f"search must be a dict of parameters, not {own!r}"
    if LIKE in own and own[LIKE] not in SHARED:
        return f"search: like {own[LIKE]!r}: there is {', '.join(map(repr, SHARED))}"
    known = meta.get("params", {})
    for name, asked in own.items():
        if name == LENGTH and not set(TRAINED) & set(known):
            return "search: length: the method has neither epochs nor steps"
        if name not in (LENGTH, LIKE, *known):
            return f"search: no parameter {name!r}; it has: {', '.join(known) or 'none'}"
        if name != LIKE and (reason := _wrong(name, asked, known)):
            return f"search: {name}: {reason}"
    followed = {name: other for name, asked in own.items() if (other := _followed(name, asked))}
    for name, other in followed.items():
        if other in followed:
            return f"search: {name}: {other!r} follows {followed[other]!r}: name that one"
    return ""


def _followed(name: str, asked: Any) -> str | None:
    """The parameter that another one's value comes from, None for none."""
    if isinstance(asked, str):
        return None if name == LIKE else asked
    return asked.get("times") if isinstance(asked, Mapping) else None


def _wrong(name: str, asked: Any, known: Iterable[str]) -> str:
    """What is wrong with the space of one parameter."""
    if asked is None:
        return ""
    if name == LENGTH and not (_is_choice(asked) and all(is_number(x) and x > 0 for x in asked)):
        return f"give a list of multiples above 0, not {asked!r}"
    if isinstance(asked, str):
        return "" if asked in known and asked != name else f"no other parameter {asked!r}"
    if isinstance(asked, list):
        return "" if asked else "an empty list leaves nothing to choose"
    if not isinstance(asked, Mapping):
        return f"give a list of choices or {{'low': …, 'high': …}}, not {asked!r}"
    if unknown := [key for key in asked if key not in RANGE]:
        return f"unknown key {unknown[0]!r}; a range has {', '.join(RANGE)}"
    if not all(is_number(asked.get(end)) for end in ("low", "high")):
        return "a range needs the numbers low and high"
    low, high = asked["low"], asked["high"]
    if low >= high:
        return f"low {low} is not below high {high}"
    if not isinstance(asked.get("log", False), bool):
        return "log is True or False"
    if asked.get("log") and low <= 0:
        return f"a logarithmic range begins above 0, not at {low}"
    other = asked.get("times", None)
    if other is not None and (other not in known or other == name):
        return f"times {other!r}: no other parameter of that name"
    return ""


def _is_choice(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def space(
    meta: Mapping[str, Any], dataset: str | None = None, fixed: Iterable[str] = ()
) -> dict[str, Any]:
    """Return what is searched of a method, by parameter; empty where it is not searched.

    Parameters
    ----------
    meta : mapping
        Its METHOD.
    dataset : str, optional
        Name of a file in datasets/.
    fixed : iterable of str
        Parameters that are not searched: those that a variant gives.
    """
    own = dict(meta.get("search", {}))
    shared = SHARED.get(own.pop(LIKE, ""), {})
    known = set(meta.get("params", {}))
    able = {*known, *([LENGTH] if known & set(TRAINED) else [])}
    found = {key: value for key, value in shared.items() if key in able} | own
    found |= {k: v for k, v in OF_DATASET.get(dataset or "", {}).items() if found.get(k)}
    kept = {k: v for k, v in found.items() if v is not None and k not in set(fixed)}
    return {k: v for k, v in kept.items() if not (k == LENGTH and set(TRAINED) & set(fixed))}


def trials(
    of: Mapping[str, Any], params: Mapping[str, Any], count: int, base: int, *names: object
) -> list[dict[str, Any]]:
    """Return the parameters in which each trial differs from the default, which is trial 0.

    A value depends on the configuration's seed, the names, the trial's number and the parameter
    alone: a longer search begins with a shorter one, and a parameter more moves no other's draws.

    Parameters
    ----------
    of : mapping
        From `space`.
    params : mapping
        The default's parameters.
    count : int
        Trials, the default included.
    base : int
        The configuration's seed.
    names
        Of dataset and method.
    """
    drawn = [
        {
            key: _draw(asked, seeds.derive(base, *names, "trial", t, key))
            for key, asked in of.items()
        }
        for t in range(1, count)
    ]
    return [{}, *(_settled(values, of, params) for values in drawn)]


def _draw(asked: Any, seed: int) -> Any:
    """One value of a choice or a range; None of a parameter that takes another's."""
    share = seed / 2**31
    if isinstance(asked, list):
        return asked[int(share * len(asked))]
    if isinstance(asked, str):
        return None
    low, high = asked["low"], asked["high"]
    if asked.get("log"):
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)


def _settled(
    drawn: Mapping[str, Any], of: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """Drawn values as parameters: multiples of others taken, lengths as epochs or steps."""
    values = {key: _rounded(value) for key, value in drawn.items()}
    length = values.pop(LENGTH, None)
    for name in values:
        asked = of[name]
        if isinstance(asked, str):
            values[name] = values.get(asked, params[asked])
        elif isinstance(asked, Mapping) and (other := asked.get("times")):
            values[name] = _rounded(drawn[name] * values.get(other, params[other]))
    if length is not None:
        unit = "steps" if "steps" in params else "epochs"
        values[unit] = max(1, round(length * params[unit]))
    return values


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
