"""The training loop on small models whose optimum or bits are known."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deep_cases import SMALL, untrained
from deep_cases import data as small_data
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from anchorbench.models import checkpoint, members, steps, training
from anchorbench.models.checkpoint import Checkpoints
from anchorbench.models.convergence import converged
from anchorbench.models.members import PerMember
from anchorbench.models.training import Batch, Diverged, Stack, resolve_device, train
from anchorbench.study.plugins import discover

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
    torch.testing.assert_close(outcome.state["m"], X.mean(0), atol=1e-3, rtol=0)
    assert outcome.state["steps"].item() == 200


def test_neighbours_sizes_and_stacks_change_no_bit():
    Xs, seeds = [data(n, n) for n in (33, 17, 50, 21, 48)], [5, 4, 3, 2, 1]
    together = train(Mean(), Xs, seeds, CPU, 5)
    pairs = train(Mean(), Xs, seeds, CPU, 2)
    for X, seed, whole, pair in zip(Xs, seeds, together, pairs, strict=True):
        (alone,) = train(Mean(), [X], [seed], CPU, 1)
        for name in alone.state:
            assert torch.equal(alone.state[name], whole.state[name])
            assert torch.equal(alone.state[name], pair.state[name])
        assert alone.history == whole.history == pair.history
        assert whole.state["steps"].item() == 3 * math.ceil(len(X) / 4)


def test_a_stack_that_would_round_differently_is_trained_one_by_one():
    class Entangled(Mean):
        def loss(self, s, batch):
            return super().loss(s, batch) * (1 + 1e-3 * len(s.m))

    Xs = [data(9, 1), data(9, 2)]
    together = train(Entangled(), Xs, [1, 2], CPU, 2)
    for X, seed, whole in zip(Xs, (1, 2), together, strict=True):
        assert torch.equal(whole.state["m"], train(Entangled(), [X], [seed], CPU, 1)[0].state["m"])


def test_a_diverged_replicate_is_an_outcome_and_its_neighbours_go_on():
    good, bad = data(20, 1), data(20, 2)
    bad[3, 0] = math.nan
    first, second, third = train(Mean(), [good, bad, good], [1, 2, 3], CPU, 3)
    assert isinstance(second, Diverged)
    assert "epoch 1 of 3" in str(second)
    assert torch.equal(first.state["m"], train(Mean(), [good], [1], CPU, 1)[0].state["m"])
    assert torch.equal(third.state["m"], train(Mean(), [good], [3], CPU, 1)[0].state["m"])


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


# Steps that a GPU records, taken here one operation at a time ---------------------------------


def test_a_recorded_step_sees_the_same_minibatches_and_learns_the_same():
    Xs, seeds = [data(n, n) for n in (33, 17, 50, 21, 48)], [5, 4, 3, 2, 1]
    on_host, on_device = Mean(), Mean()
    host = train(on_host, Xs, seeds, CPU, 5)
    device = train(on_device, Xs, seeds, CPU, 5, recorded=True)
    assert len(on_host.seen) == len(on_device.seen)
    for a, b in zip(on_host.seen, on_device.seen, strict=True):
        assert all(
            torch.equal(getattr(a, name), getattr(b, name))
            for name in ("x", "weight", "noise", "progress", "rows")
        )
    for a, b in zip(host, device, strict=True):
        torch.testing.assert_close(a.state, b.state, rtol=1e-5, atol=1e-6)
        assert a.state["steps"] == b.state["steps"]
        assert a.history["objective"] == pytest.approx(b.history["objective"], rel=1e-5)


def test_a_replicate_that_diverges_leaves_recorded_steps_too():
    good, bad = data(20, 1), data(20, 2)
    bad[3, 0] = math.nan
    first, second = train(Mean(), [bad, good], [1, 2], CPU, 2, recorded=True)
    assert isinstance(first, Diverged)
    alone = train(Mean(), [good], [2], CPU, 1, recorded=True)[0]
    assert torch.equal(second.state["m"], alone.state["m"])


@pytest.mark.parametrize("name", ["vae", "beta_vae", "sparse_vae", "oi_vae", "vsc"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_every_method_learns_the_same_by_recorded_steps(name, likelihood):
    model = untrained(name, likelihood, 3, 0, **SMALL)
    Xs = [torch.tensor(small_data(likelihood, n, n), dtype=torch.float32) for n in (70, 53)]
    scalars = [{"learning_rate": 0.01}, {"learning_rate": 0.003}]
    given = (model, Xs, [1, 2], CPU, 2)
    host = train(*given, scalars=scalars)
    for a, b in zip(host, train(*given, scalars=scalars, recorded=True), strict=True):
        torch.testing.assert_close(a.state, b.state, rtol=1e-2, atol=2e-3)


class Watched(TorchDispatchMode):
    """Collects the operations that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["vae", "sparse_vae", "oi_vae", "vsc"])
@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_a_step_asks_nothing_of_the_host(name, protocol, likelihood, monkeypatch):
    """A recorded step may not wait for a value, nor read numbers that change from step to step."""
    settings = discover("methods")[name].meta["protocols"][protocol]
    model = untrained(name, likelihood, 3, 0, **{**settings, **SMALL})
    X = torch.tensor(small_data(likelihood, 70), dtype=torch.float32)
    generators = [torch.Generator().manual_seed(r) for r in (1, 2)]
    states = [model.initialise(X, generator) for generator in generators]
    own = [{"learning_rate": rate, "kl_weight": weight} for rate, weight in ((0.01, 1), (0.02, 2))]
    view = members.view(model, own, [0, 1])
    stack = Stack(states, view.learning_rate, view.sgd_rates(), CPU)
    feed = training.Feed(model, [X, X], generators, CPU)
    taken = steps.RecordedSteps(view, stack, feed.data, feed.rows, 20, feed.longest())
    taken._load(feed.segment([0, 1]))
    read = []
    like = PerMember.like
    monkeypatch.setattr(
        PerMember, "like", lambda self, t: (read.append(self.values), like(self, t))[1]
    )
    taken._step()
    first = set(read)
    with Watched() as watched:
        taken._step()
    assert set(read) == first
    waiting = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique"}
    assert "bmm" in watched.names
    assert not watched.names & waiting


def test_a_recording_leaves_everything_as_it_was(monkeypatch):
    """On a stand-in for a GPU whose graph calls the step again."""

    class Graph:
        def replay(self):
            self.step()

    class Recording:
        def __init__(self, graph):
            self.graph = graph

        def __enter__(self):
            self.graph.step = lambda: None

        def __exit__(self, *_):
            pass

    stream = SimpleNamespace(wait_stream=lambda other: None)
    fake = SimpleNamespace(
        Stream=lambda device: stream,
        current_stream=lambda: stream,
        stream=lambda s: Recording(SimpleNamespace()),
        synchronize=lambda: None,
        CUDAGraph=Graph,
        graph=Recording,
    )
    monkeypatch.setattr(steps.torch, "cuda", fake)
    X = data(20, 1)
    generator = torch.Generator().manual_seed(0)
    stack = Stack([Mean().initialise(X, generator)], 0.1, {}, CPU)
    feed = training.Feed(Mean(), [X], [generator], CPU)
    taken = steps.RecordedSteps(Mean(), stack, feed.data, feed.rows, 4, feed.longest())
    taken._load(feed.segment([0]))
    before = {name: tensor.clone() for name, tensor in stack.memory().items()}
    taken._record()
    assert {"flat", "first", "second", "steps", "other steps"} == set(before)
    for name, tensor in stack.memory().items():
        assert torch.equal(tensor, before[name]), name
    assert taken.counter.item() == 0


def test_a_step_that_cannot_be_recorded_runs_eagerly_and_says_so(monkeypatch, capsys):
    class Refused:
        def __init__(self, *_):
            raise RuntimeError("operation not permitted when stream is capturing")

    stream = SimpleNamespace(wait_stream=lambda other: None, __enter__=None)
    fake = SimpleNamespace(
        Stream=lambda device: stream,
        current_stream=lambda: stream,
        stream=lambda s: steps.tensor_cores(False),
        synchronize=lambda: None,
        CUDAGraph=Refused,
        backends=None,
    )
    monkeypatch.setattr(steps.torch, "cuda", fake)
    X = data(20, 1)
    generator = torch.Generator().manual_seed(0)
    stack = Stack([Mean().initialise(X, generator)], 0.1, {}, CPU)
    feed = training.Feed(Mean(), [X], [generator], CPU)
    taken = steps.RecordedSteps(Mean(), stack, feed.data, feed.rows, 4, feed.longest())
    taken._load(feed.segment([0]))
    assert taken._record() == taken._step
    assert "cannot be recorded" in capsys.readouterr().err


def test_tf32_is_allowed_for_training_alone():
    before = torch.backends.cuda.matmul.allow_tf32
    with steps.tensor_cores(True):
        assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32 == before


# Going on after an interruption ---------------------------------------------------------------


def interrupted(monkeypatch, call, epoch):
    """Runs `call`, which is cut off when its report says `epoch`."""

    def report(done, total, loss):
        if done == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "report", report)
    with pytest.raises(KeyboardInterrupt):
        call()
    monkeypatch.undo()


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("epoch", [1, 4, 7, 11])
def test_a_fit_cut_off_ends_with_the_same_bits(tmp_path, monkeypatch, epoch, recorded):
    Xs, seeds = [data(n, n) for n in (33, 17, 50, 21, 48)], [5, 4, 3, 2, 1]
    Xs[1][2] = math.nan  # diverges in its first epoch
    model = Mean(epochs=4)

    def call(checkpoints=None):
        return train(model, Xs, seeds, CPU, 2, checkpoints=checkpoints, recorded=recorded)

    interrupted(monkeypatch, lambda: call(Checkpoints(tmp_path / "kept", 0.0)), epoch)
    left = list((tmp_path / "kept").glob("*.pt"))
    assert left
    steps_before = len(model.seen)
    resumed = call(Checkpoints(tmp_path / "kept", 0.0))
    taken = len(model.seen) - steps_before
    model.seen.clear()
    whole = call()
    assert taken < len(model.seen)
    for a, b in zip(whole, resumed, strict=True):
        if isinstance(a, Diverged):
            assert str(a) == str(b)
        else:
            assert all(torch.equal(a.state[name], b.state[name]) for name in a.state)
            assert a.history == b.history
            assert a.seconds_before == 0 < b.seconds_before
    assert not (tmp_path / "kept").exists()


def test_a_checkpoint_of_other_training_or_a_damaged_one_is_left_alone(
    tmp_path, monkeypatch, capsys
):
    X = [data(20, 1)]
    kept = tmp_path / "kept"
    interrupted(
        monkeypatch,
        lambda: train(Mean(), X, [1], CPU, 1, checkpoints=Checkpoints(kept, 0.0)),
        3,
    )
    (file,) = kept.iterdir()
    for other in (
        lambda c: train(Mean(learning_rate=0.2), X, [1], CPU, 1, checkpoints=c),
        lambda c: train(Mean(), [data(20, 2)], [1], CPU, 1, checkpoints=c),
        lambda c: train(Mean(), X, [2], CPU, 1, checkpoints=c),
    ):
        model_seen = other(Checkpoints(kept, 60.0))
        assert len(model_seen[0].history["objective"]) == 3
        assert list(kept.iterdir()) == [file]
    whole = file.read_bytes()
    flipped = whole[:900] + bytes([whole[900] ^ 1]) + whole[901:]
    for damage in (whole[:100], b"", b"not a checkpoint", flipped):
        kept.mkdir(exist_ok=True)
        file.write_bytes(damage)
        (outcome,) = train(Mean(), X, [1], CPU, 1, checkpoints=Checkpoints(kept, 60.0))
        assert "damaged" in capsys.readouterr().err
        assert torch.equal(outcome.state["m"], train(Mean(), X, [1], CPU, 1)[0].state["m"])


TO_BE_KILLED = """
import os, signal, sys
import numpy as np, torch
from anchorbench.models import training
from anchorbench.study.plugins import discover, load
torch.set_num_threads(1)
def report(done, total, loss):
    if done == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
training.report = report
rng = np.random.default_rng(0)
Xs = [rng.normal(size=(n, 6)) for n in (60, 45)]
build = load(discover("methods")["sparse_vae"]).build
model = build("gaussian", 3, 0, n_hidden=9, epochs=6, batch_size=20, device="cpu")
fitted = model.fit_many(Xs, [1, 2])
np.savez(sys.argv[2], *[f.state_[k].numpy() for f in fitted for k in sorted(f.state_)])
"""


def test_kill_9_in_the_middle_of_a_fit_then_the_same_bits(tmp_path):
    folder = tmp_path / "checkpoints"

    def fit(kill_at, out, folder):
        environment = os.environ | {checkpoint.FOLDER: str(folder), checkpoint.MINUTES: "0"}
        command = [sys.executable, "-c", TO_BE_KILLED, str(kill_at), str(out)]
        return subprocess.run(command, env=environment).returncode

    assert fit(4, tmp_path / "no.npz", folder) == -signal.SIGKILL
    assert len(list(folder.glob("*.pt"))) == 1
    assert fit(1, tmp_path / "resumed.npz", folder) == 0  # epoch 1 is past
    assert not folder.exists()
    rng = np.random.default_rng(0)
    own = {"n_hidden": 9, "epochs": 6, "batch_size": 20, "device": "cpu"}
    model = untrained("sparse_vae", "gaussian", 3, 0, **own)
    whole = model.fit_many([rng.normal(size=(n, 6)) for n in (60, 45)], [1, 2])
    resumed = np.load(tmp_path / "resumed.npz")
    states = [fitted.state_[name].numpy() for fitted in whole for name in sorted(fitted.state_)]
    assert len(states) == len(resumed.files) > 10
    assert all(np.array_equal(resumed[f"arr_{i}"], values) for i, values in enumerate(states))


# Curves ---------------------------------------------------------------------------------------


def noise(epochs, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).standard_normal(epochs)


@pytest.mark.parametrize(
    ("curve", "settled", "expected"),
    [
        (-100 + noise(200), 0.3, True),
        (-100 + noise(200, 1e-9), 0.3, True),
        (-100 + np.linspace(0, 5, 200) + noise(200, 0.1), 0.3, False),
        (-100 + np.linspace(0, 0.05, 200), 0.3, True),  # .005 in a tenth: below .1 % of 100
        (-0.01 + np.linspace(0, 0.05, 200), 0.3, False),
        # Still falling after a ladder that has ended at 80 %.
        (-100 - 10 * (1 - np.exp(-np.maximum(0, np.arange(200) - 160) / 20)), 0.8, False),
        (-100 - np.where(np.arange(200) < 160, 0.0, 10.0) + noise(200, 0.1), 0.8, True),
        (-100 + noise(14), 0.3, None),
        (-100 + noise(40), 0.3, True),
        (-100 + noise(200), 0.9, None),
        (np.full(200, math.nan), 0.0, False),
        ([], 0.0, None),
    ],
)
def test_converged(curve, settled, expected):
    assert converged(curve, settled) is expected


def test_numbers_too_small_to_matter_cost_nothing_while_training_and_only_then(monkeypatch):
    tiny, seen = torch.tensor(1e-39), []
    assert (tiny * 0.5).item() > 0
    monkeypatch.setattr(training, "report", lambda *_: seen.append((tiny * 0.5).item()))
    untrained("vae", "gaussian", 2, 0, **SMALL, device="cpu").fit(small_data("gaussian", 40))
    assert seen and set(seen) == {0.0}
    assert (tiny * 0.5).item() > 0


@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_the_history_holds_the_bound_of_every_epoch(likelihood, protocol):
    published = discover("methods")["vae"].meta["protocols"][protocol]
    X = small_data(likelihood, 60)
    # A rate so small that an epoch's mean is the model's own bound, within the noise of its draws.
    own = {**published, **SMALL, "learning_rate": 1e-9, "epochs": 40}
    model = untrained("vae", likelihood, 3, 0, **own).fit(X)
    assert {name: len(curve) for name, curve in model.history_.items()} == dict.fromkeys(
        ("objective", "reconstruction", "kl"), 40
    )
    bound = -(model.history_["reconstruction"] + model.history_["kl"])
    assert bound.mean() == pytest.approx(model.elbo(X).mean(), rel=2e-3)
    assert model.converged_ is True
