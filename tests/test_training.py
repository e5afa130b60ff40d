"""The training loop on small models whose optimum or bits are known."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from anchorbench.models import training
from anchorbench.models.training import Batch, Diverged, Stack, resolve_device, train

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Mean:
    """Learns the mean of the rows; remembers the minibatches that it saw."""

    epochs: int = 3
    batch_size: int = 4
    learning_rate: float = 0.1
    sgd: tuple = ()

    def __post_init__(self):
        self.seen = []

    def initialise(self, X, generator):
        return {"m": torch.randn(X.shape[1], generator=generator)}, {"steps": torch.zeros(1)}

    def draw_noise(self, generator, rows):
        return torch.randn(rows, 2, generator=generator)

    def loss(self, s: SimpleNamespace, batch: Batch) -> Tensor:
        return batch.mean((batch.x - s.m[:, None]).square().sum(-1))

    def after_step(self, s, batch, step):
        s.steps.add_(1)
        self.seen.append(batch)

    def sgd_rates(self):
        return dict(self.sgd)


def data(n, seed=0, width=3):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_an_epoch_shows_every_row_once_and_its_ragged_end_has_its_own_mean():
    model, X = Mean(epochs=2), torch.arange(1.0, 11.0)[:, None]
    train(model, [X], [0], CPU, 1)
    assert len(model.seen) == 6
    for epoch in (model.seen[:3], model.seen[3:]):
        real = [b.x[b.weight > 0].flatten().tolist() for b in epoch]
        assert [len(rows) for rows in real] == [4, 4, 2]
        assert sorted(i for rows in real for i in rows) == X.flatten().tolist()
    for b in model.seen:
        assert b.weight.sum().item() == pytest.approx(1.0)
        assert torch.equal(b.mean(torch.ones_like(b.weight)), torch.ones(1))
        assert (b.x[b.weight == 0] == 0).all()
        assert (b.noise[b.weight == 0] == 0).all()
        assert b.x.shape[1] % 16 == 0
        assert b.rows.item() == 10
    assert [b.progress.item() for b in model.seen] == pytest.approx([i / 6 for i in range(6)])
    first, second = (
        torch.cat([b.x[b.weight > 0] for b in e]) for e in (model.seen[:3], model.seen[3:])
    )
    assert not torch.equal(first, second)


def test_adam_equals_torchs():
    g = torch.Generator().manual_seed(0)
    start, targets = torch.randn(5, 3, generator=g), torch.randn(20, 5, 3, generator=g)
    stack = Stack([({"m": start}, {})], 0.03, {}, CPU)
    reference = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([reference], lr=0.03)
    for target in targets:
        stack.backward((stack.state.m - target).square().flatten(1).sum(-1))
        stack.update()
        optimiser.zero_grad()
        (reference - target).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(stack.state.m[0], reference)


def test_plain_gradient_steps_for_the_parameters_that_ask_for_them():
    stack = Stack([({"a": torch.ones(2), "b": torch.ones(2)}, {})], 0.03, {"a": 0.5}, CPU)
    stack.backward((3 * stack.state.a + 3 * stack.state.b).sum(-1))
    stack.update()
    assert torch.equal(stack.state.a[0], torch.full((2,), 1 - 0.5 * 3))
    torch.testing.assert_close(stack.state.b[0], torch.full((2,), 1 - 0.03))
    assert stack.step_size("a") == 0.5
    torch.testing.assert_close(stack.step_size("b")[0], torch.full((2,), 0.03 / 3))


def test_mean_is_found():
    X = data(64) + 5
    (outcome,) = train(Mean(epochs=200, batch_size=64), [X], [1], CPU, 1)
    torch.testing.assert_close(outcome["m"], X.mean(0), atol=1e-3, rtol=0)
    assert outcome["steps"].item() == 200


def test_neighbours_sizes_and_stacks_change_no_bit():
    Xs, seeds = [data(n, n) for n in (33, 17, 50, 21, 48)], [5, 4, 3, 2, 1]
    together = train(Mean(), Xs, seeds, CPU, 5)
    pairs = train(Mean(), Xs, seeds, CPU, 2)
    for X, seed, whole, pair in zip(Xs, seeds, together, pairs, strict=True):
        (alone,) = train(Mean(), [X], [seed], CPU, 1)
        for name in alone:
            assert torch.equal(alone[name], whole[name])
            assert torch.equal(alone[name], pair[name])
        assert whole["steps"].item() == 3 * math.ceil(len(X) / 4)


def test_a_stack_that_would_round_differently_is_trained_one_by_one():
    class Entangled(Mean):
        def loss(self, s, batch):
            return super().loss(s, batch) * (1 + 1e-3 * len(s.m))

    Xs = [data(9, 1), data(9, 2)]
    together = train(Entangled(), Xs, [1, 2], CPU, 2)
    for X, seed, whole in zip(Xs, (1, 2), together, strict=True):
        assert torch.equal(whole["m"], train(Entangled(), [X], [seed], CPU, 1)[0]["m"])


def test_a_diverged_replicate_is_an_outcome_and_its_neighbours_go_on():
    good, bad = data(20, 1), data(20, 2)
    bad[3, 0] = math.nan
    first, second, third = train(Mean(), [good, bad, good], [1, 2, 3], CPU, 3)
    assert isinstance(second, Diverged)
    assert "epoch 1 of 3" in str(second)
    assert torch.equal(first["m"], train(Mean(), [good], [1], CPU, 1)[0]["m"])
    assert torch.equal(third["m"], train(Mean(), [good], [3], CPU, 1)[0]["m"])


def test_progress_counts_every_epoch_once(monkeypatch):
    calls = []
    monkeypatch.setattr(training, "report", lambda *facts: calls.append(facts))
    train(Mean(), [data(9, i) for i in range(5)], range(5), CPU, 2)
    assert [done for done, _, _ in calls] == list(range(1, 10))
    assert {total for _, total, _ in calls} == {9}
    assert all(math.isfinite(loss) for _, _, loss in calls)


def test_device_comes_from_the_argument_then_the_environment(monkeypatch):
    monkeypatch.setenv("ANCHORBENCH_DEVICE", "cpu")
    assert resolve_device("auto").type == "cpu"
    assert resolve_device("meta").type == "meta"
    monkeypatch.setenv("ANCHORBENCH_DEVICE", "auto")
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
