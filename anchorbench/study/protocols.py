"""Which parameters a method has under a protocol, on a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROTOCOLS = ("published", "corrected")


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
        Training settings of the dataset.
    """
    defaults = meta.get("params", {})
    settings = meta.get("settings", {}).get(dataset, {})
    return {
        **defaults,
        **{key: value for key, value in (training or {}).items() if key in defaults},
        **meta.get("protocols", {}).get(protocol, {}),
        **{key: value for key, value in settings.items() if key not in PROTOCOLS},
        **settings.get(protocol, {}),
    }
