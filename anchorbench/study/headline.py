"""Which metric speaks for a dataset."""

from __future__ import annotations

from collections.abc import Mapping

from anchorbench.study.plugins import kind_of

PREDICTION = {"real": "mse", "counts": "completion_perplexity"}
"""By kind of data, the metric of prediction; `recon_nll` for others."""


def prediction(likelihood: str) -> str:
    """The metric of prediction of data of a likelihood."""
    return PREDICTION.get(kind_of(likelihood), "recon_nll")


def headline(named: str | Mapping[str, str] | None, likelihood: str, protocol: str) -> str:
    """The metric that a configuration or a DATASET names, or that of prediction.

    A protocol that `named` leaves out has that of `corrected`.
    """
    if isinstance(named, Mapping):
        named = named.get(protocol, named.get("corrected"))
    return str(named or prediction(likelihood))
