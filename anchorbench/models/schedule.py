"""Which rows, weights and noise a step of training gets: the same on every device.

Everything is drawn from a replicate's own generator on the CPU, an epoch at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anchorbench.models.nets import round_up


class Place(NamedTuple):
    """Where a replicate stands: steps left, epochs begun, and whether the last of them is over."""

    left: int
    epoch: int
    between_epochs: bool


class Schedule:
    """A replicate's minibatches: shuffled epochs, the last batch of an epoch ragged and kept."""

    def __init__(self, model: Any, rows: int, generator: torch.Generator) -> None:
        self.model, self.rows, self.generator = model, rows, generator
        self.width = round_up(model.batch_size)
        self.per_epoch = math.ceil(rows / model.batch_size)
        self.left = self.total = model.epochs * self.per_epoch
        self.at = self.per_epoch

    def place(self) -> Place:
        """Where it stands now."""
        epoch = math.ceil((self.total - self.left) / self.per_epoch)
        return Place(self.left, epoch, self.at == self.per_epoch)

    def ready(self) -> int:
        """Steps left in this epoch; draws the next epoch when there are none."""
        if self.at == self.per_epoch:
            self.drawn_from = self.generator.get_state()
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

    def save(self) -> dict[str, Any]:
        """What `load` needs to go on from here: the generator as it was before this epoch."""
        between = self.at == self.per_epoch
        state = self.generator.get_state() if between else self.drawn_from
        return {"generator": state, "at": self.at, "left": self.left}

    def load(self, saved: dict[str, Any]) -> None:
        """Goes to where `save` was called."""
        self.generator.set_state(saved["generator"])
        self.at = self.per_epoch
        if saved["at"] < self.per_epoch:
            self.ready()
            self.at = saved["at"]
        self.left = saved["left"]


@dataclass(frozen=True)
class Segment:
    """Some steps of a stack: S minibatches of each of R replicates, on the CPU.

    order (S, R, B), row numbers in the feed's data; weight (S, R, B); noise (S, R, B, D);
    progress (S, R).
    """

    order: Tensor
    weight: Tensor
    noise: Tensor
    progress: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All four."""
        return self.order, self.weight, self.noise, self.progress

    def pinned(self) -> "Segment":
        """The same in memory that a GPU copies from by itself."""
        return Segment(*(tensor.pin_memory() for tensor in self.tensors()))

    def select(self, kept: Sequence[int]) -> "Segment":
        """The same steps of these replicates."""
        return Segment(*(tensor[:, list(kept)] for tensor in self.tensors()))


class Feed:
    """Minibatches of a stack of replicates; the training sets live in one tensor, `data`."""

    def __init__(
        self,
        model: Any,
        Xs: Sequence[Tensor],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ) -> None:
        self.size = model.batch_size
        offsets: dict[int, int] = {}
        end, distinct = 0, []
        for X in Xs:  # members that share a training set share its rows here
            if id(X) not in offsets:
                offsets[id(X)] = end
                end += len(X)
                distinct.append(X)
        self.offsets = [offsets[id(X)] for X in Xs]
        self.data = torch.cat([*distinct, Xs[0].new_zeros(1, Xs[0].shape[1])]).to(device)
        self.rows = torch.tensor([float(len(X)) for X in Xs], device=device)
        self.schedules = [Schedule(model, len(X), g) for X, g in zip(Xs, generators, strict=True)]

    def longest(self) -> int:
        """Steps of the longest epoch."""
        return max(schedule.per_epoch for schedule in self.schedules)

    def segment(self, alive: Sequence[int]) -> Segment:
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
        return Segment(*(torch.stack(p, 1) for p in (order, weight, noise, share)))
