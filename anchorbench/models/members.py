"""Scalars of a model that differ between the members of a stack.

The hooks of a method read a learning rate or a penalty's rate as an attribute. Where the members of
a stack agree it is a number; where they do not it is a `PerMember`, which behaves like the number
in every member's own arithmetic: member r of any result is the same bits as with that number alone.
"""

import copy
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

M = TypeVar("M")


class PerMember:
    """One number per member of a stack, in place of a number.

    With another number it gives numbers, in double precision as in Python; with a tensor
    (R, ...), whose leading dimension is the members, it is rounded to the tensor's type and spread
    over the other dimensions. It is never zero (settings with a zero, which switches a term off,
    are in another stack), so it counts as true.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)

    def __repr__(self) -> str:
        return f"PerMember({list(self.values)})"

    def __bool__(self) -> bool:
        return True

    def like(self, tensor: Tensor) -> Tensor:
        """The numbers as a tensor (R, 1, ...) of the type, device and dimensions of `tensor`."""
        make = torch.tensor if tensor.device.type == "cpu" else _kept
        column = make(self.values, dtype=tensor.dtype, device=tensor.device)
        return column.view(-1, *[1] * (tensor.ndim - 1))

    def map(self, function: Callable[..., float], *others: Any) -> "PerMember":
        """`function` of every member's number, and of those of `others`."""
        columns = [o.values if isinstance(o, PerMember) else [o] * len(self.values) for o in others]
        return PerMember([function(*each) for each in zip(self.values, *columns, strict=True)])

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Any function of torch: every `PerMember` beside a tensor becomes a tensor."""
        tensors = [a for a in args if isinstance(a, Tensor)]
        like = max(tensors, key=lambda tensor: tensor.ndim)
        given = [a.like(like) if isinstance(a, PerMember) else a for a in args]
        named = {
            k: a.like(like) if isinstance(a, PerMember) else a for k, a in (kwargs or {}).items()
        }
        return func(*given, **named)

    def _with(self, function: Callable[[Any, Any], Any], other: Any, swapped: bool = False) -> Any:
        if isinstance(other, Tensor):
            own = self.like(other)
            return function(other, own) if swapped else function(own, other)
        if not isinstance(other, int | float | PerMember):
            return NotImplemented
        return self.map((lambda a, b: function(b, a)) if swapped else function, other)

    def __add__(self, other: Any) -> Any:
        return self._with(operator.add, other)

    def __radd__(self, other: Any) -> Any:
        return self._with(operator.add, other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._with(operator.sub, other)

    def __rsub__(self, other: Any) -> Any:
        return self._with(operator.sub, other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(operator.mul, other)

    def __rmul__(self, other: Any) -> Any:
        return self._with(operator.mul, other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Tensor):  # as torch divides a number by a tensor
            return other.reciprocal() * self.like(other)
        return self._with(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(operator.truediv, other, swapped=True)

    def __neg__(self) -> "PerMember":
        return self.map(operator.neg)


@cache
def _kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The numbers on a GPU, kept for good: a recorded step copies nothing, and reads them there."""
    return torch.tensor(values, dtype=dtype, device=device)


def logarithm(value: Any) -> Any:
    """The natural logarithm of a number or a `PerMember`."""
    return value.map(math.log) if isinstance(value, PerMember) else math.log(value)


def select(value: Any, indices: Sequence[int]) -> Any:
    """The numbers of these members: a `PerMember`, or one number where they agree."""
    if not isinstance(value, PerMember):
        return value
    kept = [value.values[i] for i in indices]
    return kept[0] if len(set(kept)) == 1 else PerMember(kept)


def view(model: M, scalars: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> M:
    """`model` with the scalars `scalars[i]` of these members i; itself where there are none."""
    if not scalars:
        return model
    seen = copy.copy(model)
    for name in scalars[0]:
        setattr(seen, name, select(PerMember([s[name] for s in scalars]), indices))
    return seen
