"""The kind of data that a likelihood is of, for methods that treat counts in their own way."""

from importlib import import_module

from anchorbench.models.likelihoods.base import find


def kind(likelihood: str) -> str:
    """ "real", "counts" or "binary"; raises ValueError for an unknown name."""
    about = import_module(find(likelihood).__module__).LIKELIHOOD
    return str(about["kind"])
