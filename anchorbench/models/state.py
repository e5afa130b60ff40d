"""What a model's hooks read and change: named tensors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from torch import Tensor


class State(SimpleNamespace):
    """Named tensors with a leading replicate dimension R, as attributes.

    A model's state has its trained parameters (`encoder1_weight`, `H1`, `log_sigma`, …) and all
    else that it keeps (`p_star`, `eta`, `xi`); a posterior has one tensor (R, B, width) for each
    head of the encoder.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...
