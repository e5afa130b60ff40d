"""Steps of a stack, one after the other: on a GPU recorded once as a CUDA graph and repeated.

A step on a GPU is a hundred and more small launches, which cost the host more time than the device.
A CUDA graph launches them as one. For that a step must read and write the same memory each time: a
segment's order, weights and noise are copied to fixed places, and a counter on the device, which
the step advances, picks the minibatch. The graph stands for one set of members; when one of them
leaves, the next set records its own.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from anchorbench.models.schedule import Segment
from anchorbench.models.stack import Batch, Stack

WARM_UP = 3
"""Steps before a recording, in which libraries allocate what they keep."""

Sums = dict[str, Tensor]


def step(model: Any, stack: Stack, batch: Batch, sums: Sums) -> None:
    """One step of every member; adds its objective and the batch's parts to `sums`."""
    losses = model.loss(stack.state, batch)
    stack.backward(losses)
    stack.update()
    with torch.no_grad():
        model.after_step(stack.state, batch, stack)
        for name, value in {"objective": losses, **batch.parts}.items():
            if name not in sums:
                # In double precision, where it makes no difference how an epoch is cut up.
                sums[name] = torch.zeros_like(value, dtype=torch.float64)
            sums[name].add_(value.detach())


class EagerSteps:
    """Steps as the host calls them: on a CPU always."""

    def __init__(self, model: Any, stack: Stack, data: Tensor, rows: Tensor, size: int) -> None:
        self.model, self.stack, self.data, self.rows, self.size = model, stack, data, rows, size

    def batches(self, segment: Segment) -> Iterator[Batch]:
        """The minibatches of a segment."""
        tensors = (tensor.to(self.data.device) for tensor in segment.tensors())
        for o, w, e, p in zip(*tensors, strict=True):
            yield Batch(self.data[o], w, e, p, self.rows, self.size)

    def run(self, segment: Segment) -> Sums:
        """Takes all steps of a segment; returns their sums (R,) by name."""
        sums: Sums = {}
        for batch in self.batches(segment):
            step(self.model, self.stack, batch, sums)
        return sums


class RecordedSteps:
    """Steps that touch the same memory each time; on a GPU, one launch each.

    longest: the most steps that a segment may have. Elsewhere than on a GPU, or where a step cannot
    be recorded, the same steps are taken one operation at a time.
    """

    def __init__(
        self, model: Any, stack: Stack, data: Tensor, rows: Tensor, size: int, longest: int
    ) -> None:
        self.model, self.stack, self.data, self.rows, self.size = model, stack, data, rows, size
        self.longest = longest
        if not isinstance(stack.steps, Tensor):
            stack.count_on_device()
        self.counter = torch.zeros(1, dtype=torch.long, device=data.device)
        self.places: list[Tensor] = []
        self.sums: Sums = {}
        self.take: Callable[[], None] | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def run(self, segment: Segment) -> Sums:
        """Takes all steps of a segment; returns their sums (R,) by name, still being computed."""
        self._load(segment)
        if self.take is None:
            self.take = self._record() if self.data.is_cuda else self._step
        for total in self.sums.values():
            total.zero_()
        for _ in range(len(segment.order)):
            self.take()
        return {name: total.clone() for name, total in self.sums.items()}

    def _load(self, segment: Segment) -> None:
        if not self.places:
            self.places = [
                tensor.new_zeros(self.longest, *tensor.shape[1:], device=self.data.device)
                for tensor in segment.tensors()
            ]
        for place, tensor in zip(self.places, segment.tensors(), strict=True):
            source = tensor.pin_memory() if self.data.is_cuda else tensor
            place[: len(tensor)].copy_(source, non_blocking=True)
        self.counter.zero_()

    def _step(self) -> None:
        o, w, e, p = (place.index_select(0, self.counter)[0] for place in self.places)
        batch = Batch(self.data[o], w, e, p, self.rows, self.size)
        step(self.model, self.stack, batch, self.sums)
        self.counter.add_(1)

    def _record(self) -> Callable[[], None]:
        """A step as a graph, everything as it was before; or the step itself, with a line."""
        before = {name: tensor.clone() for name, tensor in self.stack.memory().items()}
        side = torch.cuda.Stream(self.data.device)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.counter.zero_()
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step()
            self.graph = graph
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"a step cannot be recorded, so it runs eagerly: {reason[0]}", file=sys.stderr)
        self.stack.restore(before)
        self.counter.zero_()
        return self.graph.replay if self.graph else self._step


@contextmanager
def tensor_cores(allowed: bool) -> Iterator[None]:
    """Products of float32 matrices on a GPU rounded to TF32, where `allowed`; as before after."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
