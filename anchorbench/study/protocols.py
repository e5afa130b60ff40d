"""Which parameters a method has under a protocol, on a dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

PROTOCOLS = ("published", "corrected")
LENGTHS = ("epochs", "steps")
"""Two ways to say how long a method is trained: the one that was said last counts."""


def parameters(
    meta: Mapping[str, Any],
    protocol: str,
    dataset: str | None = None,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a method's parameters.

    Later ones win: its defaults, the dataset's training settings (those that the method has), the
    protocol's, the method's settings for the dataset.

    Parameters
    ----------
    meta : mapping
        The METHOD of its file.
    protocol : str
    dataset : str, optional
        Name of a file in datasets/.
    training : mapping, optional
        Training settings of the dataset; `steps` takes the place of a method's epochs.
    """
    defaults = meta.get("params", {})
    settings = meta.get("settings", {}).get(dataset, {})
    known = {*defaults, *(LENGTHS if {"epochs", "batch_size"} <= set(defaults) else ())}
    return layered(
        defaults,
        {key: value for key, value in (training or {}).items() if key in known},
        meta.get("protocols", {}).get(protocol, {}),
        {key: value for key, value in settings.items() if key not in PROTOCOLS},
        settings.get(protocol, {}),
    )


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters, later layers winning; epochs and gradient steps replace each other."""
    merged: dict[str, Any] = {}
    for layer in layers:
        replaced = LENGTHS if set(LENGTHS) & set(layer) else ()
        merged = {key: value for key, value in merged.items() if key not in replaced} | {**layer}
    return merged


def in_epochs(params: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Return parameters with gradient steps, if they are named, as epochs over training rows.

    ceil(steps * batch / rows) epochs: at least as many steps, of batches that are all full.
    """
    if "steps" not in params:
        return dict(params)
    epochs = math.ceil(params["steps"] * params["batch_size"] / rows)
    return layered(params, {"epochs": epochs})
