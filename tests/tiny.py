"""A simulated dataset whose fits take no time, as an entry of a configuration."""

from __future__ import annotations

from typing import Any


def synthetic(**changes: Any) -> dict[str, Any]:
    """Sixty rows, two factors, two replicates, two epochs; with changes at its top level."""
    return {
        "replicates": 2,
        "n_latent": 2,
        "params": {"n": 60},
        "training": {"epochs": 2, "n_hidden": 4},
    } | changes
