"""A stack of replicates: their parameters side by side, a minibatch of each, and Adam.

On a CPU the corrections of Adam's bias are Python's numbers. For a step that a GPU records once and
repeats they come from a count of steps that lives on the device (`count_on_device`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from anchorbench.models.members import PerMember, select
from anchorbench.models.nets import round_up
from anchorbench.models.state import State

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""


@dataclass(frozen=True)
class Batch:
    """One minibatch of every replicate in a stack.

    x (R, B, G); weight (R, B), a row's share in its replicate's mean: 1 / rows, or 0 for padding;
    noise (R, B, D) as drawn by the model; progress (R,), the share of training that is done;
    rows (R,), the size of each replicate's training set; size, the nominal minibatch size; parts,
    where a loss leaves the terms (R,) whose means over an epoch are to be kept.
    """

    x: Tensor
    weight: Tensor
    noise: Tensor
    progress: Tensor
    rows: Tensor
    size: int
    parts: dict[str, Tensor] = field(default_factory=dict)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over a replicate's real rows: (R, B) -> (R,)."""
        return (values * self.weight).sum(-1)


class Stack:
    """Stacked state of several replicates and the optimiser's memory.

    All parameters are views of one (R, P) tensor, each beginning on a 64-byte boundary, so that a
    step of Adam is a handful of operations. `state` holds them, and everything else that a model
    keeps, as attributes. Learning rates are numbers, or a `PerMember`.
    """

    def __init__(
        self,
        states: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]],
        learning_rate: Any,
        sgd_rates: dict[str, Any],
        device: torch.device,
    ) -> None:
        parameters = states[0][0]
        self.learning_rate, self.sgd_rates = learning_rate, sgd_rates
        self.names = sorted(parameters, key=lambda name: name in sgd_rates)
        self.shapes = {name: parameters[name].shape for name in self.names}
        self.starts, end = {}, 0
        for name in self.names:
            self.starts[name] = end
            end += round_up(parameters[name].numel())
        self.adam_end = min([self.starts[name] for name in sgd_rates], default=end)
        flat = torch.zeros(len(states), end)
        for row, (values, _) in zip(flat, states, strict=True):
            for name, start in self.starts.items():
                row[start : start + values[name].numel()] = values[name].flatten()
        self.flat = flat.to(device)
        self.first = torch.zeros_like(self.flat[:, : self.adam_end])
        self.second = torch.zeros_like(self.first)
        self.others = {
            name: torch.stack([other[name] for _, other in states]).to(device)
            for name in states[0][1]
        }
        self.steps: Any = 0
        self._bind()

    def _bind(self) -> None:
        """Makes `state`, its parameters being views of `flat`, and `grad` of the same layout."""
        self.grad = torch.zeros_like(self.flat)
        self.gradients = [self._view(self.grad, name) for name in self.names]
        self.parameters = [
            self._view(self.flat, name).detach().requires_grad_() for name in self.names
        ]
        parameters = dict(zip(self.names, self.parameters, strict=True))
        self.state = State(**self.others, **parameters)

    def _view(self, flat: Tensor, name: str) -> Tensor:
        start, shape = self.starts[name], self.shapes[name]
        return flat[:, start : start + shape.numel()].view(flat.shape[0], *shape)

    def select(self, indices: Sequence[int]) -> "Stack":
        """A new stack of these replicates, memory included."""
        other = object.__new__(Stack)
        other.__dict__.update(self.__dict__)
        keep = torch.tensor(indices, device=self.flat.device)
        other.flat = self.flat[keep]
        other.first, other.second = self.first[keep], self.second[keep]
        other.others = {name: value[keep] for name, value in self.others.items()}
        other.learning_rate = select(self.learning_rate, indices)
        other.sgd_rates = {name: select(rate, indices) for name, rate in self.sgd_rates.items()}
        if isinstance(self.steps, Tensor):
            other.steps = self.steps.clone()
        other._bind()
        return other

    def count_on_device(self) -> None:
        """Steps are counted by a tensor from here on, which a recorded step advances itself."""
        self.steps = torch.full((), float(self.steps), dtype=torch.float64, device=self.flat.device)

    def memory(self) -> dict[str, Tensor]:
        """All that a step changes, by name; the tensors themselves."""
        tensors = {"flat": self.flat, "first": self.first, "second": self.second}
        if isinstance(self.steps, Tensor):
            tensors["steps"] = self.steps
        return tensors | {f"other {name}": value for name, value in self.others.items()}

    @torch.no_grad()
    def restore(self, memory: dict[str, Tensor]) -> None:
        """Puts back what `memory` gave, copied."""
        for name, tensor in self.memory().items():
            tensor.copy_(memory[name])

    def backward(self, losses: Tensor) -> None:
        """Fills `grad` with every replicate's own gradient."""
        found = torch.autograd.grad(losses.sum(), self.parameters)
        for gradient, value in zip(self.gradients, found, strict=True):
            gradient.copy_(value)

    @torch.no_grad()
    def update(self) -> None:
        """One step of Adam, or of plain gradient descent where `sgd_rates` says so."""
        self.steps += 1
        grad = self.grad[:, : self.adam_end]
        self.first.lerp_(grad, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
        adam, root = self.flat[:, : self.adam_end], self._root(self.second)
        correction = 1 - BETA1**self.steps
        if isinstance(correction, Tensor):
            adam.sub_((self.first / correction * self.learning_rate).div_(root))
        elif isinstance(self.learning_rate, PerMember):
            adam.sub_((self.first * (self.learning_rate / correction)).div_(root))
        else:
            adam.addcdiv_(self.first, root, value=-self.learning_rate / correction)
        for name, sgd_rate in self.sgd_rates.items():
            self._view(self.flat, name).sub_(sgd_rate * self._view(self.grad, name))

    def _root(self, second: Tensor) -> Tensor:
        return (second / (1 - BETA2**self.steps)).sqrt_().add_(EPSILON)

    def step_size(self, name: str) -> Any:
        """The step that a gradient of 1 makes in each entry: Adam's adaptive rate, or SGD's.

        A proximal map in the metric of the step uses it as its step size.
        """
        if name in self.sgd_rates:
            return self.sgd_rates[name]
        return self.learning_rate / self._root(self._view(self.second, name))

    def result(self, r: int) -> dict[str, Tensor]:
        """Replicate r's state on the CPU, without the replicate dimension."""
        values = {name: self._view(self.flat, name)[r] for name in self.names}
        values |= {name: value[r] for name, value in self.others.items()}
        return {name: value.detach().cpu().clone() for name, value in values.items()}
