"""Which parameters a method has under a protocol, on a dataset."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from anchorbench.study import metadata
from anchorbench.study.hints import suggest
from anchorbench.study.plugins import Plugin, PluginError, discover, load

PROTOCOLS = metadata.PROTOCOLS
DEFAULT = "corrected"
"""The protocol whose parameters a search begins with."""
TUNED, TUNED_STABLE, ORACLE_TUNED = SEARCHED = metadata.SEARCHED
"""Protocols that choose parameters by a search, on datasets with `tuning`."""
LENGTHS = ("epochs", "steps")
"""Two ways to say how long a method is trained: the one that was said last counts."""


def parameters(
    meta: Mapping[str, Any],
    protocol: str,
    dataset: str | None = None,
    training: Mapping[str, Any] | None = None,
    own: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a method's parameters.

    Later ones win: its defaults, the dataset's training settings (those that the method has), the
    protocol's, the method's settings for the dataset, those given. A method that wraps another one
    has that one's parameters as `base_params`, found in the same way, with those given on top.

    Parameters
    ----------
    meta : mapping
        The METHOD of its file.
    protocol : str
    dataset : str, optional
        Name of a file in datasets/.
    training : mapping, optional
        Training settings of the dataset; `steps` takes the place of a method's epochs.
    own : mapping, optional
        What a variant or a person gives.

    Raises
    ------
    PluginError
        There is no such method to be wrapped.
    """
    defaults = meta.get("params", {})
    settings = meta.get("settings", {}).get(dataset, {})
    known = {*defaults, *(LENGTHS if {"epochs", "batch_size"} <= set(defaults) else ())}
    found = layered(
        defaults,
        {key: value for key, value in (training or {}).items() if key in known},
        meta.get("protocols", {}).get(protocol, {}),
        {key: value for key, value in settings.items() if key not in PROTOCOLS},
        settings.get(protocol, {}),
        own or {},
    )
    if (inner := wrapped(meta, found)) is not None:
        given = found["base_params"] or {}
        found["base_params"] = parameters(inner.meta, protocol, dataset, training, given)
    return found


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters, later layers winning; epochs and gradient steps replace each other."""
    merged: dict[str, Any] = {}
    for layer in layers:
        replaced = LENGTHS if set(LENGTHS) & set(layer) else ()
        merged = {key: value for key, value in merged.items() if key not in replaced} | {**layer}
    return merged


def in_steps(params: Mapping[str, Any]) -> bool:
    """Whether training is given in gradient steps, by the method or by what it wraps."""
    return "steps" in params or "steps" in (params.get("base_params") or {})


def in_epochs(params: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Return parameters with gradient steps, if they are named, as epochs over training rows.

    ceil(steps * batch / rows) epochs: at least as many steps, of batches that are all full.
    """
    if params.get("base_params"):
        params = {**params, "base_params": in_epochs(params["base_params"], rows)}
    if "steps" not in params:
        return dict(params)
    epochs = math.ceil(params["steps"] * params["batch_size"] / rows)
    return layered(params, {"epochs": epochs})


def wrapped(meta: Mapping[str, Any], params: Mapping[str, Any]) -> Plugin | None:
    """The method that another one wraps, by the parameter that its METHOD names; None for none.

    Raises PluginError where there is no such method.
    """
    if "wraps" not in meta:
        return None
    name, known = params[meta["wraps"]], discover("methods")
    if name not in known:
        raise PluginError(f"{meta['wraps']}: no method {name!r}; {suggest(str(name), known)}")
    return known[name]


def built(
    method: Plugin, likelihood: str, n_latent: int, seed: int, params: Mapping[str, Any]
) -> Any:
    """What a method's `build` makes; what it wraps is built first, with the same seed.

    `build` has values of its own: what it does to a list is not in the record, nor in the next fit.
    """
    given = copy.deepcopy(dict(params))
    if (inner := wrapped(method.meta, given)) is not None:
        own = given.pop("base_params")
        given[method.meta["wraps"]] = built(inner, likelihood, n_latent, seed, own)
    return load(method).build(likelihood, n_latent, seed, **given)
