"""What every likelihood offers, and how one is found.

A likelihood says what a decoder's output u (R, B, G) means for data x (R, B, G), so that a model
never asks which one it has. Its file has a literal LIKELIHOOD with a label and a kind, read without
importing it: "real" values, "counts" (whole numbers, every row with at least one), "binary" (0 or
1). Nothing else in the suite names one.

Throughout, s is a model's state: attributes are tensors with a leading replicate dimension R.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from anchorbench.models.state import State

LARGEST = 30.0
"""Logarithms of means and odds are cut off here, so that they stay finite in float32."""


@dataclass(frozen=True)
class Likelihood(ABC):
    """The contract. The fields of a subclass are its options, by the name that estimators give.

    Attributes
    ----------
    choices : mapping of str to tuple of str
        Options that are one of a few words.
    own_density : bool
        Whether reconstructions are scored by the model's own density (`log_prob`), which knows its
        noise, and not by `plug_in` of the expected features alone.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    own_density: ClassVar[bool] = True

    def units(self, X: np.ndarray) -> dict[str, np.ndarray]:  # noqa: ARG002
        """feature_mean and feature_sd (G,) of training rows (N, G) if features are standardised.

        Rows then come standardised, and a fitted model's state has the two.
        """
        return {}

    def initialise(self, X: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:  # noqa: ARG002
        """(parameters, constants) of one replicate from its training data X (N, G)."""
        return {}, {}

    def encoder_input(self, s: State, x: Tensor) -> Tensor:  # noqa: ARG002
        """What the encoder sees of rows, (R, B, G)."""
        return x

    def as_rows(self, free: Tensor) -> Tensor:
        """Free numbers (R, U, G) as rows that could be data: for pseudo-inputs."""
        return free

    def loss(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """The training loss of every row, (R, B)."""
        return -self.log_prob(s, x, u)

    def prior(self, s: State) -> Tensor | float:  # noqa: ARG002
        """-log prior of the likelihood's own parameters, (R,)."""
        return 0.0

    @abstractmethod
    def log_prob(self, s: State, x: Tensor, u: Tensor) -> Tensor:
        """log p(x | u) of every row, (R, B)."""

    @abstractmethod
    def mean(self, s: State, u: Tensor) -> Tensor:
        """The expected features of a row of the training rows' mean size, (R, B, G)."""

    @abstractmethod
    def effect_scale(self, s: State, u: Tensor) -> Tensor:
        """The scale on which a factor's effect on a feature is measured, (R, B, G)."""

    def effect_unit(self, X: Tensor) -> Tensor:
        """What effects are divided by, (G,): 1 where `effect_scale` has no units."""
        return torch.ones_like(X[0])

    @staticmethod
    @abstractmethod
    def plug_in(
        X: np.ndarray, expected: np.ndarray, residuals: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """log p(x) (N,) around expected features alone, for methods without a density.

        Parameters
        ----------
        X, expected : ndarray of shape (N, G)
            Rows and their expected features; for counts, in shares of the row.
        residuals : callable
            Training residuals (N_train, G), computed when they are needed.
        """


@cache
def names() -> list[str]:
    """Names of all likelihoods: files of this folder but this one."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(file.stem for file in files if file.stem != "base")


@cache
def find(name: str) -> type[Likelihood]:
    """Return the class of the likelihood called `name`; raises ValueError for an unknown one."""
    if name not in names():
        raise ValueError(f"likelihood {name!r}: use one of {', '.join(names())}")
    module = import_module(f"anchorbench.models.likelihoods.{name}")
    found: type[Likelihood] = next(
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Likelihood)
        and value.__module__ == module.__name__
    )
    return found


def make(name: str, options: Mapping[str, Any]) -> Likelihood:
    """Return the likelihood called `name` with those of the options that it has.

    Raises ValueError for an unknown name or a word that an option does not take.
    """
    kind = find(name)
    own = {f.name: options[f.name] for f in fields(kind) if f.name in options}
    for option, words in kind.choices.items():
        if own.get(option, words[0]) not in words:
            raise ValueError(f"{option} {own[option]!r}: use one of {', '.join(words)}")
    return kind(**own)
