"""One training loop for every deep method, many replicates at once.

The parameters of R replicates are stacked along a leading dimension and trained together. A
replicate's numbers depend on its own data, seed and settings alone: its schedule of minibatches,
its noise and its initial values come from its own generator on the CPU, its loss is added to (never
averaged with) its neighbours', ragged minibatches are padded to one width with weight zero, and a
replicate leaves the stack when its steps are done. Where a machine's linear algebra would still
round a stack unlike its members (checked once before training), the members are trained one after
the other. On a GPU, whose products round by their size, a stack equals its members within that
rounding.
"""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from anchorbench.models import members
from anchorbench.models.checkpoint import Checkpoints, signature
from anchorbench.models.schedule import Feed, Place, Segment
from anchorbench.models.stack import Batch, Stack
from anchorbench.models.state import State
from anchorbench.models.steps import EagerSteps, RecordedSteps, Sums, tensor_cores

__all__ = ["Batch", "Diverged", "Model", "Stack", "Trained", "resolve_device", "train"]

History = dict[str, list[float]]
"""Means over each epoch by name: the objective, and what a loss leaves in `Batch.parts`."""


class Diverged(Exception):
    """Training met a value that is not finite; the message says when."""


@dataclass(frozen=True)
class Trained:
    """A replicate at the end of its training: its named tensors on the CPU, and its history.

    seconds_before: how long its stack had been trained before an interruption.
    """

    state: dict[str, Tensor]
    history: History
    seconds_before: float = 0.0


def report(done_epochs: int, total_epochs: int, loss: float) -> None:
    """Called about once an epoch while a model trains; silent until a caller replaces it."""


def resolve_device(device: str = "auto") -> torch.device:
    """The device named; "auto" is $ANCHORBENCH_DEVICE if set, else a GPU, else the CPU.

    Raises ValueError for a GPU where there is none.
    """
    if device == "auto":
        device = os.environ.get("ANCHORBENCH_DEVICE", "auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: there is no GPU here: use auto or cpu")
    return torch.device(device)


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

    def loss(self, s: State, batch: Batch) -> Tensor:
        """The loss of every replicate, (R,), from the stacked state `s`."""

    def after_step(self, s: State, batch: Batch, step: Stack) -> None:
        """Changes the state in place after a gradient step."""

    def sgd_rates(self) -> dict[str, float]:
        """Parameters that take plain gradient steps in place of Adam's, with their rates."""


class _Reporter:
    """Counts epochs over all stacks of a call."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def epoch(self, loss: float) -> None:
        self.done = min(self.done + 1, self.total)
        report(self.done, self.total, loss)


@dataclass
class _Call:
    """What all stacks of one call of `train` share."""

    model: Model
    device: torch.device
    recorded: bool
    reporter: _Reporter
    checkpoints: Checkpoints | None
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def spent(self) -> float:
        """Seconds of training so far, those before an interruption among them."""
        return self.before + time.monotonic() - self.began


@dataclass
class _Curve:
    """A replicate's history, and the sums of the epoch that it is in."""

    history: History = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, sums: Mapping[str, float], epoch_steps: int | None) -> None:
        """Adds a segment's sums; with the epoch's number of steps, ends the epoch."""
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if epoch_steps is not None:
            for name, value in self.sums.items():
                self.history.setdefault(name, []).append(value / epoch_steps)
            self.sums = {}


class _StackTraining:
    """The training of one stack: what is alive, where it stands, what has come of the others."""

    def __init__(
        self,
        call: _Call,
        Xs: Sequence[Tensor],
        seeds: Sequence[int],
        scalars: Sequence[Mapping[str, Any]],
    ) -> None:
        self.call, self.Xs, self.seeds, self.scalars = call, Xs, seeds, scalars
        self.alive = list(range(len(Xs)))
        self.outcomes: dict[int, Trained | Diverged] = {}
        self.curves = [_Curve() for _ in Xs]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        states = [call.model.initialise(X, g) for X, g in zip(Xs, generators, strict=True)]
        everyone = members.view(call.model, scalars, self.alive)
        self.stack = Stack(states, everyone.learning_rate, everyone.sgd_rates(), call.device)
        self.feed = Feed(call.model, Xs, generators, call.device)
        self.name = ""
        if call.checkpoints:
            kind = f"{call.device.type} {call.recorded}"
            self.name = signature(call.model, Xs, seeds, scalars, kind)

    def run(self) -> list[Trained | Diverged] | None:
        """Every replicate's outcome; None where a stack would round unlike its members."""
        resumed = self._resume()
        self._prepare()
        segment = self._next(self.alive)
        first = self.call.device.type == "cpu" and len(self.Xs) > 1 and not resumed
        if first and segment and not self._rounds_as_its_members(segment):
            return None
        while segment:
            sums = self.steps.run(segment)  # on a GPU still at work while the next is drawn
            places = [self.feed.schedules[r].place() for r in self.alive]
            due = self.call.checkpoints is not None and self.call.checkpoints.due()
            saved = [self.feed.schedules[r].save() for r in self.alive] if due else []
            going_on = [r for r in self.alive if self.feed.schedules[r].left]
            following = self._next(going_on)
            before = self.alive
            self._settle(sums, len(segment.order), places)
            if due:
                self._save([saved[before.index(r)] for r in self.alive])
            segment = following
            if segment and self.alive != going_on:  # some diverged
                kept = [i for i, r in enumerate(going_on) if r in self.alive]
                segment = segment.select(kept) if kept else None
        return [self.outcomes[r] for r in range(len(self.Xs))]

    def _next(self, alive: Sequence[int]) -> Segment | None:
        """The next steps of these replicates; None for none."""
        if not alive:
            return None
        segment = self.feed.segment(alive)
        return segment.pinned() if self.call.device.type == "cuda" else segment

    def _prepare(self) -> None:
        """Steps for those that are alive."""
        if not self.alive:
            return
        rows = self.feed.rows[self.alive]
        model = members.view(self.call.model, self.scalars, self.alive)
        given = (model, self.stack, self.feed.data, rows, self.feed.size)
        self.steps: EagerSteps | RecordedSteps = (
            RecordedSteps(*given, self.feed.longest()) if self.call.recorded else EagerSteps(*given)
        )

    def _settle(self, sums: Sums, steps: int, places: Sequence[Place]) -> None:
        """Looks at a segment's sums; replicates that have ended or diverged leave the stack."""
        finite = torch.isfinite(self.stack.flat).all(1).tolist()
        columns = {name: values.tolist() for name, values in sums.items()}
        means = (sums["objective"] / steps).tolist()
        schedules = [self.feed.schedules[r] for r in self.alive]
        for i, (r, place) in enumerate(zip(self.alive, places, strict=True)):
            own = {name: values[i] for name, values in columns.items()}
            self.curves[r].add(own, schedules[i].per_epoch if place.between_epochs else None)
            if not (finite[i] and math.isfinite(means[i])):
                self.outcomes[r] = Diverged(
                    f"loss or parameters not finite in epoch {place.epoch} "
                    f"of {self.call.model.epochs}"
                )
            elif place.left == 0:
                self.outcomes[r] = Trained(self.stack.result(i), self.curves[r].history)
        longest = max(range(len(schedules)), key=lambda i: schedules[i].total)
        if places[longest].between_epochs:
            self.call.reporter.epoch(means[longest])
        kept = [i for i, r in enumerate(self.alive) if r not in self.outcomes]
        if len(kept) < len(self.alive):
            self.alive = [self.alive[i] for i in kept]
            if kept:
                self.stack = self.stack.select(kept)
                self._prepare()

    def _rounds_as_its_members(self, segment: Segment) -> bool:
        """Whether each replicate's loss and gradient are the same bits alone as in the stack."""
        steps = EagerSteps(
            members.view(self.call.model, self.scalars, self.alive),
            *(self.stack, self.feed.data, self.feed.rows, self.feed.size),
        )
        batch = next(steps.batches(segment))
        losses = steps.model.loss(self.stack.state, batch)
        self.stack.backward(losses)
        for r in range(len(losses)):
            alone = self.stack.select([r])
            tensors = (batch.x, batch.weight, batch.noise, batch.progress, batch.rows)
            x, weight, noise, share, rows = (t[r : r + 1].clone() for t in tensors)
            own = Batch(x, weight, noise, share, rows, batch.size)
            loss = members.view(self.call.model, self.scalars, [r]).loss(alone.state, own)
            alone.backward(loss)
            same = torch.equal(alone.grad[0], self.stack.grad[r])
            same = same and torch.equal(loss[0], losses[r])
            if not same and bool(torch.isfinite(loss).all()):
                return False
        return True

    # Going on after an interruption ---------------------------------------------------------------

    def keep(self) -> None:
        """Writes the outcomes, so that a call that is cut off later does not train them again."""
        self._save([])

    def _save(self, schedules: Sequence[dict[str, Any]]) -> None:
        assert self.call.checkpoints is not None
        kept = self.stack.memory() if self.alive else {}
        memory = {name: tensor.detach().cpu() for name, tensor in kept.items()}
        outcomes = {
            r: {"diverged": str(o)} if isinstance(o, Diverged) else vars(o)
            for r, o in self.outcomes.items()
        }
        state = {"alive": self.alive, "schedules": list(schedules), "outcomes": outcomes}
        state |= {"curves": [vars(curve) for curve in self.curves], "memory": memory}
        state |= {"steps": int(self.stack.steps), "epochs": self.call.reporter.done}
        state |= {"seconds": self.call.spent()}
        self.call.checkpoints.write(self.name, state)

    def _resume(self) -> bool:
        """Goes to where the last checkpoint of this training was written, if there is one."""
        saved = self.call.checkpoints.read(self.name) if self.call.checkpoints else None
        if saved is None:
            return False
        self.alive = saved["alive"]
        self.outcomes = {
            r: Diverged(o["diverged"]) if "diverged" in o else Trained(**o)
            for r, o in saved["outcomes"].items()
        }
        self.curves = [_Curve(**curve) for curve in saved["curves"]]
        self.call.reporter.done = saved["epochs"]
        self.call.before = max(self.call.before, saved["seconds"])
        if self.alive:
            self.stack = self.stack.select(self.alive)
            self.stack.steps = saved["steps"]
            if self.call.recorded:
                self.stack.count_on_device()
            self.stack.restore(saved["memory"])
            for r, place in zip(self.alive, saved["schedules"], strict=True):
                self.feed.schedules[r].load(place)
        return True


def _train_stack(
    call: _Call,
    Xs: Sequence[Tensor],
    seeds: Sequence[int],
    scalars: Sequence[Mapping[str, Any]],
) -> list[Trained | Diverged]:
    training = _StackTraining(call, Xs, seeds, scalars)
    outcomes = training.run()
    if outcomes is not None:
        if call.checkpoints:
            training.keep()
        return outcomes
    call.reporter.total += call.model.epochs * (len(Xs) - 1)
    return [
        _train_stack(call, [X], [seed], scalars[r : r + 1])[0]
        for r, (X, seed) in enumerate(zip(Xs, seeds, strict=True))
    ]


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Takes numbers below 1e-38 for zero in this thread.

    Moments of Adam decay into them where a gradient is exactly zero, as a pruned weight's is, and a
    processor is many times slower on them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def train(
    model: Model,
    Xs: Sequence[Tensor],
    seeds: Sequence[int],
    device: torch.device,
    stack_size: int,
    *,
    scalars: Sequence[Mapping[str, Any]] = (),
    checkpoints: Checkpoints | None = None,
    recorded: bool | None = None,
) -> list[Trained | Diverged]:
    """Trains one replicate per training set Xs[r] (N_r, G) and seed.

    Parameters
    ----------
    model : the hooks, and the settings that all replicates share.
    Xs, seeds : a training set and a seed per replicate.
    device : where the steps are computed.
    stack_size : at most so many replicates share a stack; the numbers do not depend on it.
    scalars : replicate by replicate, attributes of `model` to replace by numbers of its own, of the
        same names for all; none for a model that all share.
    checkpoints : where the state is kept now and then; a call that finds its own goes on from it,
        and ends with the same bits. Removed at the end.
    recorded : whether steps touch the same memory each time, which a CUDA graph needs; by default
        everywhere but on a CPU.

    Returns
    -------
    Replicate by replicate, what was trained or the `Diverged` that ended it.
    """
    starts = range(0, len(Xs), stack_size)
    reporter = _Reporter(model.epochs * len(starts))
    recorded = device.type != "cpu" if recorded is None else recorded
    call = _Call(model, device, recorded, reporter, checkpoints)
    outcomes: list[Trained | Diverged] = []
    tf32 = getattr(model, "precision", "") == "tf32"
    on_gpu = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    with tensor_cores(tf32), on_gpu, _without_denormals():
        for start in starts:
            part = slice(start, start + stack_size)
            outcomes += _train_stack(call, Xs[part], seeds[part], scalars[part])
    if checkpoints:
        checkpoints.clear()
    return [
        outcome if isinstance(outcome, Diverged) else replace(outcome, seconds_before=call.before)
        for outcome in outcomes
    ]
