"""What a GPU gives: its ceilings, whether it computes what a CPU does, and steps as CUDA graphs.

Prints as it goes and writes the same as JSON after every section; a section that fails is a line,
and one for which no time is left is named. It needs torch, numpy, scipy, pandas and scikit-learn,
and takes under four minutes. `--device cpu --quick` goes the same ways on tiny shapes.
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Threads that wait asleep leave the cores to others, as in the suite's own fits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from anchorbench.models import masked_decoder as decoders  # noqa: E402
from anchorbench.models import members, training  # noqa: E402
from anchorbench.models.base import DeepGenerative  # noqa: E402
from anchorbench.models.checkpoint import Checkpoints  # noqa: E402
from anchorbench.models.schedule import Feed  # noqa: E402
from anchorbench.models.stack import Stack  # noqa: E402
from anchorbench.models.steps import EagerSteps, RecordedSteps, tensor_cores  # noqa: E402

Row = dict[str, Any]
METHODS = ("vae", "beta_vae", "sparse_vae", "oi_vae", "vsc")
BUDGET = 200.0
"""Seconds after which no further section or row is begun."""


@dataclass(frozen=True)
class Work:
    """A step to time: a method at a shape, R of it in a stack; reach in ms a model-step."""

    name: str
    method: str
    likelihood: str
    B: int
    G: int
    K: int
    H: int
    R: int
    reach: float | None = None


WORKS = [
    Work("MovieLens sparse VAE", "sparse_vae", "multinomial", 100, 300, 30, 300, 1, 1.5),
    Work("PeerRead sparse VAE", "sparse_vae", "multinomial", 128, 500, 20, 100, 1, 0.9),
    Work("25 stacked PeerRead VAEs", "vae", "multinomial", 128, 500, 20, 100, 25, 0.06),
    Work("125 stacked synthetic sparse VAEs", "sparse_vae", "gaussian", 100, 7, 5, 50, 125, 0.03),
    Work("40 settings of the PeerRead VAE", "vae", "multinomial", 128, 500, 20, 100, 40),
    Work("25 stacked PeerRead sparse VAEs", "sparse_vae", "multinomial", 128, 500, 20, 100, 25),
    Work("semi-synthetic sparse VAE", "sparse_vae", "multinomial", 128, 500, 20, 50, 1),
    Work("Zeisel sparse VAE", "sparse_vae", "gaussian", 512, 558, 15, 100, 1),
    Work("PeerRead VAE", "vae", "multinomial", 128, 500, 20, 100, 1),
    Work("PeerRead OI-VAE", "oi_vae", "multinomial", 128, 500, 20, 100, 1),
    Work("PeerRead VSC", "vsc", "multinomial", 128, 500, 20, 100, 1),
]
QUICK = [
    Work("tiny sparse VAE", "sparse_vae", "multinomial", 16, 12, 3, 8, 1, 1.5),
    Work("40 settings of a tiny VAE", "vae", "gaussian", 16, 7, 3, 8, 3),
]
# (name, rows, sets, epochs of the whole, shape, seconds to reach by precision)
FITS = [
    ("MovieLens split, 80,000 rows, 100 epochs", 80_000, 1, 100, WORKS[0], (120, 90)),
    ("five PeerRead folds together, 40 epochs", 8_800, 5, 40, WORKS[1], (15, 15)),
    ("25 PeerRead VAEs together, 40 epochs", 8_800, 25, 40, WORKS[2], (None, None)),
]


@dataclass
class Report:
    """Everything measured, kept on disk as it grows."""

    device: torch.device
    quick: bool
    output: Path | None
    budget: float
    facts: Row = field(default_factory=dict)
    checks: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget - (time.perf_counter() - self.began)

    def say(self, kind: str, row: Row) -> None:
        """Prints a row and keeps it."""
        getattr(self, kind).append(row)
        print("  ".join(f"{k} {_short(v)}" for k, v in row.items() if v is not None), flush=True)

    def guarded(self, name: str, part: Callable[[], None]) -> None:
        """Runs a part; what it raises is a line, and the next part goes on."""
        if self.left() < 0:
            self.failures.append(f"{name}: no time left")
            print(self.failures[-1], flush=True)
            return
        try:
            part()
        except Exception as error:
            traceback.print_exc()
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            print(self.failures[-1], flush=True)
        finally:
            self.write()
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def result(self) -> Row:
        """As it goes into the JSON file."""
        names = ("facts", "checks", "rows", "failures")
        return {name: getattr(self, name) for name in names}

    def write(self) -> None:
        """Writes the JSON file."""
        if self.output:
            self.facts["seconds"] = round(time.perf_counter() - self.began, 1)
            self.output.write_text(json.dumps(self.result(), indent=1) + "\n")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plugin(name: str) -> Any:
    """A method's file as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "methods" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def build(name: str, protocol: str, likelihood: str, K: int, **params: Any) -> DeepGenerative:
    """A method's estimator by protocol, with parameters of one's own."""
    module = plugin(name)
    given = {**module.METHOD["protocols"][protocol], **params}
    return module.build(likelihood, K, 0, **given)


def data(likelihood: str, rows: int, G: int, seed: int = 0) -> np.ndarray:
    """Two factors and noise, or counts: something to learn."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((rows, 2)) @ rng.standard_normal((2, G))
    if likelihood == "gaussian":
        return (scores + 0.5 * rng.standard_normal((rows, G))).astype(np.float32)
    counts = rng.poisson(np.exp(scores.clip(-3, 3) - 1.5)).astype(np.float32)
    counts[:, 0] += 1
    return counts


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(act: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds of `act` over repeats."""
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        act()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


# Ceilings -----------------------------------------------------------------------------------------


def ceilings(report: Report) -> None:
    """The rate of square matrix products, TFLOP/s."""
    size = 128 if report.quick else 8192
    for name, dtype in (
        ("float32", torch.float32),
        ("tf32", torch.float32),
        ("bfloat16", torch.bfloat16),
    ):
        a, b = (torch.randn(size, size, device=report.device).to(dtype) for _ in range(2))
        with tensor_cores(name == "tf32"):
            torch.mm(a, b)
            seconds = timed(lambda a=a, b=b: torch.mm(a, b), report.device, 5)
        rate = 2e-12 * size**3 / seconds
        report.facts[f"{name}_tflops"] = round(rate, 2)
        print(f"ceiling {name}: {rate:.1f} TFLOP/s", flush=True)


# Exactness ----------------------------------------------------------------------------------------


def decoder_is_exact(report: Report) -> None:
    """The masked decoder and its gradients against the paper's loop, in float64."""
    R, B, G, K, H = 2, 9, 13, 5, 17
    g = torch.Generator().manual_seed(0)
    shapes = [(R, B, K), (R, G, K), (R, H, K), (R, H, H), (R, H), (R, G, H), (R, G)]
    tensors = [torch.randn(*s, generator=g, dtype=torch.float64) for s in shapes]
    weight = torch.randn(R, B, G, generator=g, dtype=torch.float64).to(report.device)

    def values(decoder: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        given = [t.to(report.device).requires_grad_() for t in tensors]
        out = decoder(*given)
        return [out.detach(), *torch.autograd.grad((out * weight).sum(), given)]

    pairs = zip(values(decoders.masked_decoder), values(decoders.naive_decoder), strict=True)
    apart = max((a - b).abs().max().item() for a, b in pairs)
    report.say("checks", {"check": "masked decoder, loop", "apart": apart, "agrees": apart < 1e-10})


def _fits(model: DeepGenerative, Xs: list[np.ndarray], device: str, own: list[Row]) -> list[Any]:
    model.set_params(device=device)
    return model.fit_settings(Xs, list(range(1, len(Xs) + 1)), own)


def method_agrees(report: Report, name: str, protocol: str, likelihood: str) -> None:
    """A few epochs of two members, of unequal size and settings, on the device and on the CPU."""
    small = {"n_hidden": 16, "epochs": 3, "batch_size": 64}
    model = build(name, protocol, likelihood, 4, **small)
    Xs = [data(likelihood, n, 20, n) for n in ((90, 70) if report.quick else (400, 330))]
    own: list[Row] = [{}, {"learning_rate": 0.004, "kl_weight": 0.6}]
    there = _fits(model, Xs, report.device.type, own)
    here = _fits(model, Xs, "cpu", own)
    curve = outputs = 0.0
    for a, b, X in zip(there, here, Xs, strict=True):
        first, second = (m.history_["objective"] for m in (a, b))
        curve = max(curve, float(np.max(np.abs(first - second) / np.abs(second).max())))
        first, second = (m.inverse_transform(m.transform(X)) for m in (a, b))
        outputs = max(outputs, float(np.abs(first - second).max() / second.std()))
    row = {"check": f"{name} {protocol} {likelihood}", "curve": curve, "apart": outputs}
    report.say("checks", row | {"agrees": curve < 1e-3 and outputs < 0.05})


def members_are_alone(report: Report) -> None:
    """Members of a stack that differ in settings, against the same fits alone, on the device."""
    for name, setting in (("vae", {"kl_weight": 0.4}), ("sparse_vae", {"lambda0": 7.0})):
        model = build(name, "corrected", "gaussian", 4, n_hidden=16, epochs=3, batch_size=64)
        Xs = [data("gaussian", 200, 20, 1)] * 2
        own: list[Row] = [{}, {"learning_rate": 0.004, **setting}]
        together = _fits(model, Xs, report.device.type, own)
        apart = 0.0
        for i, member in enumerate(together):
            alone = type(member)(**member.get_params()).fit(Xs[i])
            apart = max(
                apart,
                *((alone.state_[k] - v).abs().max().item() for k, v in member.state_.items()),
            )
        row = {"check": f"{name}: member, alone", "apart": apart, "agrees": apart < 1e-3}
        report.say("checks", row)


def resumes(report: Report) -> None:
    """A fit cut off after its second epoch and taken up again, against one left alone."""
    model = build("sparse_vae", "corrected", "gaussian", 4, n_hidden=16, epochs=4, batch_size=64)
    X = torch.from_numpy(data("gaussian", 200, 20, 1))
    given = (model, [X], [1], report.device, 1)
    whole = training.train(*given)[0]
    silent = training.report

    def cut_off(done: int, *_: float) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "kept", 0.0)
        training.report = cut_off
        try:
            training.train(*given, checkpoints=checkpoints)
        except KeyboardInterrupt:
            pass
        finally:
            training.report = silent
        found = len(list((Path(folder) / "kept").glob("*.pt")))
        again = training.train(*given, checkpoints=Checkpoints(Path(folder) / "kept", 60.0))[0]
    apart = max((whole.state[k] - again.state[k]).abs().max().item() for k in whole.state)
    row = {"check": "resumed, undisturbed", "apart": apart, "checkpoints": found}
    report.say("checks", row | {"agrees": apart < 1e-3 and found == 1})


# Steps --------------------------------------------------------------------------------------------


def prepared(work: Work, device: torch.device, recorded: bool, precision: str, steps: int) -> Any:
    """(steps of a stack, a segment for them) as a fit would make them."""
    params: Row = {"n_hidden": work.H, "batch_size": work.B}
    if precision == "bfloat16":
        params["precision"] = precision
    model = build(work.method, "corrected", work.likelihood, work.K, **params)
    X = torch.from_numpy(data(work.likelihood, steps * work.B, work.G))
    generators = [torch.Generator().manual_seed(r) for r in range(work.R)]
    states = [model.initialise(X, g) for g in generators]
    scalars = []
    if "settings" in work.name:
        rates = np.random.default_rng(0).uniform(1e-3, 1e-2, (work.R, 2))
        scalars = [{"learning_rate": float(a), "kl_weight": float(100 * b)} for a, b in rates]
    view = members.view(model, scalars, range(work.R))
    stack = Stack(states, view.learning_rate, view.sgd_rates(), device)
    feed = Feed(model, [X] * work.R, generators, device)
    segment = feed.segment(range(work.R))
    segment = segment.pinned() if device.type == "cuda" else segment
    given = (view, stack, feed.data, feed.rows, work.B)
    return (RecordedSteps(*given, steps) if recorded else EagerSteps(*given)), segment


def step_rows(report: Report, work: Work, modes: list[tuple[str, bool, str]]) -> None:
    """A step's milliseconds by mode, as the host calls it and recorded."""
    steps = 3 if report.quick else 20
    for mode, recorded, precision in modes:
        if report.left() < 0:
            return
        if report.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with tensor_cores(precision == "tf32"):
            taken, segment = prepared(work, report.device, recorded, precision, steps)
            taken.run(segment)
            repeats = 2 if report.quick else 5
            seconds = timed(lambda t=taken, s=segment: t.run(s), report.device, repeats) / steps
        row: Row = {"work": work.name, "mode": mode, "R": work.R}
        row |= {"shape": [work.B, work.G, work.K, work.H]}
        row |= {"ms_step": 1e3 * seconds, "ms_model_step": 1e3 * seconds / work.R}
        row |= {"captured": getattr(taken, "graph", None) is not None, "reach": work.reach}
        if report.device.type == "cuda":
            row["peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        report.say("rows", row)
        del taken, segment
        gc.collect()


def fit_rows(report: Report, fit: tuple[Any, ...], precision: str, reach: float | None) -> None:
    """A whole fit, host and all: what it would take, from two short ones."""
    name, rows, sets, epochs, work, _ = fit
    few, more = (1, 2) if report.quick else (1, 4)
    rows = 200 if report.quick else rows
    shape = (16, 12, 3, 8) if report.quick else (work.B, work.G, work.K, work.H)
    B, G, K, H = shape
    distinct = [data(work.likelihood, rows, G, seed) for seed in range(min(sets, 5))]
    Xs = [distinct[i % len(distinct)] for i in range(sets)]
    seconds = {}
    for n in (few, more):
        model = build(work.method, "corrected", work.likelihood, K, n_hidden=H, batch_size=B)
        model.set_params(device=report.device.type, epochs=n, precision=precision)
        seconds[n] = timed(lambda m=model: m.fit_many(Xs, range(sets)), report.device, 1)
    epoch = (seconds[more] - seconds[few]) / (more - few)
    whole = seconds[few] + (epochs - few) * epoch
    row: Row = {"work": name, "mode": precision, "seconds": whole, "projected_from_epochs": more}
    row |= {"epoch_seconds": epoch, "first_seconds": seconds[few], "reach": reach}
    report.say("rows", row | {"shape": list(shape)})


def measure(
    device: torch.device, quick: bool = False, output: Path | None = None, budget: float = BUDGET
) -> Row:
    """Runs every section; returns facts, checks, rows and failures."""
    report = Report(device, quick, output, budget)
    cuda = device.type == "cuda"
    report.facts |= {"torch": torch.__version__, "device": str(device)}
    if cuda:
        free, total = torch.cuda.mem_get_info()
        report.facts |= {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
        report.facts |= {"free_mb": free >> 20, "total_mb": total >> 20}
    print(report.facts, flush=True)
    report.guarded("ceilings", lambda: ceilings(report))
    report.guarded("decoder", lambda: decoder_is_exact(report))
    modes = [("eager", False, "float32"), ("recorded float32", True, "float32")]
    modes += [("recorded tf32", True, "tf32")]
    for work in (QUICK if quick else WORKS)[:4]:
        report.guarded(work.name, lambda w=work: step_rows(report, w, modes))
    for fit in FITS:
        for precision, reach in zip(("float32", "tf32"), fit[-1], strict=True):
            name = f"{fit[0]} {precision}"
            report.guarded(name, lambda f=fit, p=precision, r=reach: fit_rows(report, f, p, r))
    for name in METHODS:
        for case in (
            (p, k) for p in ("published", "corrected") for k in ("gaussian", "multinomial")
        ):
            report.guarded(f"{name} {case}", lambda n=name, c=case: method_agrees(report, n, *c))
    report.guarded("members", lambda: members_are_alone(report))
    report.guarded("resumes", lambda: resumes(report))
    if not quick:
        for work in WORKS[4:]:
            report.guarded(work.name, lambda w=work: step_rows(report, w, modes))
        bfloat16 = [("recorded bfloat16", True, "bfloat16")]
        for work in WORKS[:2]:
            report.guarded(f"{work.name} bf16", lambda w=work: step_rows(report, w, bfloat16))
    report.write()
    return report.result()


def main() -> None:
    """Measures, prints, writes; exit status 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, few repeats")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "gpu.json")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    result = measure(torch.device(options.device), options.quick, options.output, options.budget)
    wrong = [check["check"] for check in result["checks"] if not check["agrees"]]
    print(f"{len(result['checks'])} checks, wrong: {wrong}; failures: {result['failures']}")
    print(f"{result['facts']['seconds']} s; written: {options.output}")
    sys.exit(1 if wrong or result["failures"] else 0)


if __name__ == "__main__":
    main()
