"""One training loop for every deep method, many replicates at once.

The parameters of R replicates are stacked along a leading dimension and trained together. A
replicate's numbers depend on its own data and seed alone: its schedule of minibatches, its noise
and its initial values come from its own generator on the CPU, its loss is added to (never averaged
with) its neighbours', ragged minibatches are padded to one width with weight zero, and a replicate
leaves the stack when its steps are done. Where a machine's linear algebra would still round a stack
unlike its members (checked once before training), the members are trained one after the other.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Protocol

import torch
from torch import Tensor

from anchorbench.models.nets import round_up

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""


class Diverged(Exception):
    """Training met a value that is not finite; the message says when."""


def report(done_epochs: int, total_epochs: int, loss: float) -> None:
    """Called about once an epoch while a model trains; silent until a caller replaces it."""


def resolve_device(device: str = "auto") -> torch.device:
    """The device named; "auto" is $ANCHORBENCH_DEVICE if set, else a GPU, else the CPU."""
    if device == "auto":
        device = os.environ.get("ANCHORBENCH_DEVICE", "auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@dataclass(frozen=True)
class Batch:
    """One minibatch of every replicate in a stack.

    x (R, B, G); weight (R, B), a row's share in its replicate's mean: 1 / rows, or 0 for padding;
    noise (R, B, D) as drawn by the model; progress (R,), the share of training that is done;
    rows (R,), the size of each replicate's training set; size, the nominal minibatch size.
    """

    x: Tensor
    weight: Tensor
    noise: Tensor
    progress: Tensor
    rows: Tensor
    size: int

    def mean(self, values: Tensor) -> Tensor:
        """The mean over a replicate's real rows: (R, B) -> (R,)."""
        return (values * self.weight).sum(-1)


class Model(Protocol):
    """What the loop needs of a model."""

    epochs: int
    batch_size: int
    learning_rate: float

    def initialise(
        self, X: Tensor, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(trained parameters, other state) of one replicate with data X (N, G), not stacked."""

    def draw_noise(self, generator: torch.Generator, rows: int) -> Tensor:
        """An epoch's noise, (rows, D)."""

    def loss(self, s: SimpleNamespace, batch: Batch) -> Tensor:
        """The loss of every replicate, (R,), from the stacked state `s`."""

    def after_step(self, s: SimpleNamespace, batch: Batch, step: "Stack") -> None:
        """Changes the state in place after a gradient step."""

    def sgd_rates(self) -> dict[str, float]:
        """Parameters that take plain gradient steps in place of Adam's, with their rates."""


class Stack:
    """Stacked state of several replicates and the optimiser's memory.

    All parameters are views of one (R, P) tensor, each beginning on a 64-byte boundary, so that a
    step of Adam is a handful of operations. `state` holds them, and everything else that a model
    keeps, as attributes.
    """

    def __init__(
        self,
        states: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]],
        learning_rate: float,
        sgd_rates: dict[str, float],
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
        self.steps = 0
        self._bind()

    def _bind(self) -> None:
        """Makes `state`, its parameters being views of `flat`, and `grad` of the same layout."""
        self.grad = torch.zeros_like(self.flat)
        self.gradients = [self._view(self.grad, name) for name in self.names]
        self.parameters = [
            self._view(self.flat, name).detach().requires_grad_() for name in self.names
        ]
        parameters = dict(zip(self.names, self.parameters, strict=True))
        self.state = SimpleNamespace(**self.others, **parameters)

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
        other._bind()
        return other

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
        rate = self.learning_rate / (1 - BETA1**self.steps)
        self.flat[:, : self.adam_end].addcdiv_(self.first, self._root(self.second), value=-rate)
        for name, sgd_rate in self.sgd_rates.items():
            self._view(self.flat, name).sub_(sgd_rate * self._view(self.grad, name))

    def _root(self, second: Tensor) -> Tensor:
        return (second / (1 - BETA2**self.steps)).sqrt_().add_(EPSILON)

    def step_size(self, name: str) -> Tensor | float:
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


class _Schedule:
    """A replicate's minibatches: shuffled epochs, the last batch of an epoch ragged and kept."""

    def __init__(self, model: Model, rows: int, generator: torch.Generator) -> None:
        self.model, self.rows, self.generator = model, rows, generator
        self.width = round_up(model.batch_size)
        self.per_epoch = math.ceil(rows / model.batch_size)
        self.left = self.total = model.epochs * self.per_epoch
        self.at = self.per_epoch

    def ready(self) -> int:
        """Steps left in this epoch; draws the next epoch when there are none."""
        if self.at == self.per_epoch:
            size, slots = self.model.batch_size, self.per_epoch * self.width
            i = torch.arange(self.rows)
            slot = i // size * self.width + i % size
            batch_rows = torch.full((self.per_epoch,), float(size))
            batch_rows[-1] = self.rows - (self.per_epoch - 1) * size
            noise = self.model.draw_noise(self.generator, self.rows)
            order = torch.randperm(self.rows, generator=self.generator)
            shape = (self.per_epoch, self.width)
            self.order = torch.full((slots,), -1).index_put_((slot,), order).view(shape)
            self.weight = torch.zeros(slots).index_put_((slot,), 1 / batch_rows[i // size])
            self.weight = self.weight.view(shape)
            self.noise = torch.zeros(slots, noise.shape[1]).index_put_((slot,), noise)
            self.noise = self.noise.view(*shape, -1)
            self.at = 0
        return self.per_epoch - self.at

    def take(self, steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(row numbers, -1 for padding; weights; noise; progress) of the next steps."""
        part = slice(self.at, self.at + steps)
        done = self.total - self.left
        share = torch.arange(done, done + steps) / self.total
        self.at += steps
        self.left -= steps
        return self.order[part], self.weight[part], self.noise[part], share


class _Feed:
    """Minibatches of a stack of replicates; the training sets live in one tensor."""

    def __init__(
        self,
        model: Model,
        Xs: Sequence[Tensor],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        self.size = model.batch_size
        sizes = [len(X) for X in Xs]
        self.offsets = [sum(sizes[:r]) for r in range(len(sizes))]
        self.data = torch.cat([*Xs, Xs[0].new_zeros(1, Xs[0].shape[1])]).to(device)
        self.schedules = [_Schedule(model, n, g) for n, g in zip(sizes, generators, strict=True)]

    def segment(self, alive: Sequence[int]) -> list[Batch]:
        """The next minibatches, up to where the first of these replicates ends its epoch."""
        steps = min(self.schedules[r].ready() for r in alive)
        order, weight, noise, share = [], [], [], []
        for r in alive:
            own_order, own_weight, own_noise, own_share = self.schedules[r].take(steps)
            own_order = own_order + self.offsets[r]
            order.append(own_order.masked_fill(own_weight == 0, len(self.data) - 1))
            weight.append(own_weight)
            noise.append(own_noise)
            share.append(own_share)
        device = self.data.device
        rows = torch.tensor([float(self.schedules[r].rows) for r in alive], device=device)
        parts = (torch.stack(p, 1).to(device) for p in (order, weight, noise, share))
        return [
            Batch(self.data[o], w, e, p, rows, self.size) for o, w, e, p in zip(*parts, strict=True)
        ]


def _stacks_exactly(stack: Stack, model: Model, batch: Batch) -> bool:
    """Whether each replicate's loss and gradient are the same bits alone as in the stack."""
    losses = model.loss(stack.state, batch)
    stack.backward(losses)
    for r in range(len(losses)):
        alone = stack.select([r])
        tensors = (batch.x, batch.weight, batch.noise, batch.progress, batch.rows)
        x, weight, noise, share, rows = (t[r : r + 1].clone() for t in tensors)
        own = Batch(x, weight, noise, share, rows, batch.size)
        loss = model.loss(alone.state, own)
        alone.backward(loss)
        same = torch.equal(alone.grad[0], stack.grad[r]) and torch.equal(loss[0], losses[r])
        if not same and bool(torch.isfinite(loss).all()):
            return False
    return True


class _Reporter:
    """Counts epochs over all stacks of a call."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def epoch(self, loss: float) -> None:
        self.done = min(self.done + 1, self.total)
        report(self.done, self.total, loss)


def _train_stack(
    model: Model,
    Xs: Sequence[Tensor],
    seeds: Sequence[int],
    device: torch.device,
    reporter: _Reporter,
) -> list[dict[str, Tensor] | Diverged]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    states = [model.initialise(X, g) for X, g in zip(Xs, generators, strict=True)]
    stack = Stack(states, model.learning_rate, model.sgd_rates(), device)
    feed = _Feed(model, Xs, generators, device)
    alive = list(range(len(Xs)))
    outcomes: dict[int, dict[str, Tensor] | Diverged] = {}
    checked = len(Xs) == 1
    while alive:
        batches = feed.segment(alive)
        if not checked and not _stacks_exactly(stack, model, batches[0]):
            reporter.total += model.epochs * (len(Xs) - 1)
            return [
                _train_stack(model, [X], [seed], device, reporter)[0]
                for X, seed in zip(Xs, seeds, strict=True)
            ]
        checked = True
        total = torch.zeros(len(alive), device=device)
        for batch in batches:
            losses = model.loss(stack.state, batch)
            stack.backward(losses)
            stack.update()
            with torch.no_grad():
                model.after_step(stack.state, batch, stack)
            total += losses.detach()
        means = (total / len(batches)).tolist()
        finite = torch.isfinite(stack.flat).all(1).tolist()
        longest = max(alive, key=lambda r: feed.schedules[r].total)
        for i, r in enumerate(alive):
            plan = feed.schedules[r]
            if not (finite[i] and math.isfinite(means[i])):
                epoch = math.ceil((plan.total - plan.left) / plan.per_epoch)
                outcomes[r] = Diverged(
                    f"loss or parameters not finite in epoch {epoch} of {model.epochs}"
                )
            elif plan.left == 0:
                outcomes[r] = stack.result(i)
        if feed.schedules[longest].at == feed.schedules[longest].per_epoch:
            reporter.epoch(means[alive.index(longest)])
        kept = [i for i, r in enumerate(alive) if r not in outcomes]
        if kept and len(kept) < len(alive):
            stack = stack.select(kept)
        alive = [alive[i] for i in kept]
    return [outcomes[r] for r in range(len(Xs))]


def train(
    model: Model, Xs: Sequence[Tensor], seeds: Sequence[int], device: torch.device, stack_size: int
) -> list[dict[str, Tensor] | Diverged]:
    """Trains one replicate per training set Xs[r] (N_r, G) and seed.

    Returns, replicate by replicate, its state on the CPU or the `Diverged` that ended it. At most
    `stack_size` replicates share a stack; the numbers do not depend on it.
    """
    starts = range(0, len(Xs), stack_size)
    reporter = _Reporter(model.epochs * len(starts))
    outcomes: list[dict[str, Tensor] | Diverged] = []
    for start in starts:
        part = slice(start, start + stack_size)
        outcomes += _train_stack(model, Xs[part], seeds[part], device, reporter)
    return outcomes
