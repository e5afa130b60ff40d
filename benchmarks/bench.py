"""Timings of a training step against the plain loop of the paper's algorithm, on this machine.

Prints a table and writes benchmarks/results.json, a list of rows with the keys work, B, G, K, H,
device, ours_seconds, loop_seconds, ratio, peak_mb, plain_peak_mb, reach (and more). `limit` is the
ratio of a step that were nothing but the decoder's products, each done once, at the machine's own
rate of square products. It reports and never judges: a slow machine gives slow rows. `--quick`
measures less often and leaves out the curves and the synthetic study, which takes minutes.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Threads that wait asleep leave the cores to the tiles' workers, as in the suite's own fits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import gpu
import numpy as np
import study
import torch
from loop_baseline import LoopSparseVAE
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from anchorbench.models import masked_decoder as decoders  # noqa: E402
from anchorbench.models.base import DeepGenerative  # noqa: E402
from anchorbench.models.schedule import Feed  # noqa: E402
from anchorbench.models.stack import Stack  # noqa: E402
from anchorbench.models.steps import EagerSteps  # noqa: E402
from anchorbench.models.steps import step as training_step  # noqa: E402
from anchorbench.study.plugins import discover, load  # noqa: E402

Row = dict[str, Any]
SECONDS = ["ours_seconds", "loop_seconds", "plain_seconds"]
KEYS = ["work", "B", "G", "K", "H", "device", "threads", *SECONDS]
KEYS += ["ratio", "limit", "peak_mb", "plain_peak_mb", "gflops", "reach"]

# (work, likelihood, B, G, K, H, ratio to reach)
STEPS = [
    ("PeerRead step", "multinomial", 128, 500, 20, 100, 5.0),
    ("semi-synthetic step", "multinomial", 128, 500, 20, 50, 8.0),
    ("MovieLens step", "multinomial", 100, 300, 30, 300, 3.0),
    ("Zeisel step", "gaussian", 512, 558, 15, 100, 5.0),
]
SYNTHETIC = (100, 7, 5, 50)
# A step's time over the VAE's at PeerRead's shape, and what it is to stay within.
RIVALS = {"additive_vae": 3.0, "jl1_vae": 21.0, "tc_vae": 2.0, "dip_vae": 1.5, "ldvae": 1.5}
RIVALS |= {"sparse_ldvae": 1.5, "mult_vae": 1.5, "mixture_vae": 1.5, "prodlda": 1.5}
DECODERS: dict[str, Callable[..., Tensor]] = {
    "ours": decoders.masked_decoder,
    "plain": decoders.batched_decoder,
    "bfloat16": lambda *tensors: decoders.masked_decoder(*tensors, precision=torch.bfloat16),
}


def data(likelihood: str, rows: int, G: int, seed: int = 0) -> np.ndarray:
    """Noise of the right kind: the time of a step does not depend on the values."""
    rng = np.random.default_rng(seed)
    if likelihood == "multinomial":
        return rng.poisson(0.3, (rows, G)).astype(np.float32) + np.eye(rows, G, dtype=np.float32)
    return rng.normal(size=(rows, G)).astype(np.float32)


def sparse_vae(
    likelihood: str, B: int, K: int, H: int, decoder: str = "ours", **params: Any
) -> DeepGenerative:
    """The suite's sparse VAE of protocol `published`, with the decoder named."""
    published = discover("methods")["sparse_vae"].meta["protocols"]["published"]
    settings = {**published, "batch_size": B, "n_hidden": H, **params}
    built = load(discover("methods")["sparse_vae"]).build(likelihood, K, 0, **settings)
    decode = DECODERS[decoder]

    class Model(type(built)):  # type: ignore[misc]
        def decode(self, s: Any, z: Tensor) -> Tensor:
            return decode(z, s.W, s.H1, s.H2, s.b2, s.heads, s.head_bias)

    return Model(**built.get_params())


def our_step(
    likelihood: str, B: int, G: int, K: int, H: int, decoder: str = "ours", R: int = 1
) -> Callable[[], None]:
    """A full training step of R stacked replicates, as `anchorbench.models.training` does it."""
    return stacked_step(sparse_vae(likelihood, B, K, H, decoder), likelihood, B, G, R)


def method_step(name: str, likelihood: str, B: int, G: int, K: int, H: int) -> Callable[[], None]:
    """A full training step of a deep method with its own parameters."""
    method = discover("methods")[name]
    params = method.meta["params"] | {"batch_size": B, "n_hidden": H}
    model = load(method).build(likelihood, K, 0, **params)
    return stacked_step(model, likelihood, B, G)


def stacked_step(
    model: DeepGenerative, likelihood: str, B: int, G: int, R: int = 1
) -> Callable[[], None]:
    """A full training step of R replicates of a model."""
    X = torch.from_numpy(data(likelihood, B, G))
    generators = [torch.Generator().manual_seed(r) for r in range(R)]
    states = [model.initialise(X, generator) for generator in generators]
    stack = Stack(states, 0.01, model.sgd_rates(), torch.device("cpu"))
    feed = Feed(model, [X] * R, generators, torch.device("cpu"))
    steps = EagerSteps(model, stack, feed.data, feed.rows, B)
    batch = next(steps.batches(feed.segment(range(R))))
    return lambda: training_step(model, stack, batch, {})


def rival_rows(rounds: int) -> list[Row]:
    """A training step of each rival against the VAE's at PeerRead's shape, one thread.

    loop_seconds is the VAE's; ratio is to it, the smaller the better.
    """
    torch.set_num_threads(1)
    _, likelihood, B, G, K, H, _ = STEPS[0]
    shape = (B, G, K, H)
    steps = {name: method_step(name, likelihood, *shape) for name in ("vae", *RIVALS)}
    best = interleaved(steps, 4 * rounds)
    return [
        row(
            f"PeerRead step of {name} against the VAE's",
            shape,
            ours_seconds=best[name],
            loop_seconds=best["vae"],
            ratio=best[name] / best["vae"],
            reach=f"<= {reach:g}x",
        )
        for name, reach in RIVALS.items()
    ]


def loop_step(likelihood: str, B: int, G: int, K: int, H: int) -> Callable[[], None]:
    """A full training step of the baseline."""
    model = LoopSparseVAE(G, K, H, likelihood)
    x = torch.from_numpy(data(likelihood, B, G))
    return lambda: model.step(x)


def interleaved(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """The least seconds of each step over rounds in which every step runs in turn.

    On a shared machine the least is what a step costs when nothing else interrupts it. With one
    thread the clock is the process's CPU time, which other programs cannot stretch by taking turns.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            for _ in range(1 if name == "loop" else 3):
                start = clock()
                step()
                best[name] = min(best[name], clock() - start)
    return best


def ceiling(dtype: torch.dtype, size: int = 1024) -> float:
    """The machine's rate of square matrix products, GFLOP/s."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2e-9 * size**3 / interleaved({"product": lambda: torch.mm(a, b)}, 4)["product"]


def decoder_flops(B: int, G: int, K: int, H: int) -> float:
    """Multiply-adds of the decoder, forward and backward, counted twice each."""
    return 6.0 * B * G * (K * H + H * H + H)


def memory_mb(field: str) -> float:
    """A field of /proc/self/status in MB; nan where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(v.split()[1]) / 1024 for v in lines if v.startswith(field)), float("nan"))


def print_peak(work: str, decoder: str) -> None:
    """Run in its own process: what three steps add to the process's memory at their peak."""
    torch.set_num_threads(1)
    _, likelihood, B, G, K, H, _ = next(s for s in STEPS if s[0] == work)
    our_step(likelihood, 16, 16, 4, 16, decoder)()
    step = our_step(likelihood, B, G, K, H, decoder)
    before = memory_mb("VmRSS")
    for _ in range(3):
        step()
    print(memory_mb("VmHWM") - before)


def peak_mb(work: str, decoder: str) -> float | None:
    """`print_peak` in a fresh process, or None if it failed."""
    command = [sys.executable, str(Path(__file__).resolve()), "--peak", work, decoder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return round(float(done.stdout), 1) if done.returncode == 0 else None


def row(work: str, shape: tuple[int, ...], **values: Any) -> Row:
    """A row with every key of KEYS; None where nothing was measured."""
    known = dict(zip("BGKH", shape, strict=True)) | {"device": "cpu"}
    known["threads"] = torch.get_num_threads()
    return dict.fromkeys(KEYS) | {"work": work} | known | values


def step_rows(threads: int, rounds: int, peaks: bool, facts: Row) -> list[Row]:
    """Full training steps of the four real shapes against the loop.

    bfloat16 is left out where its products are slower than those of float32: there the processor
    has no units for it, and a step takes a minute.
    """
    torch.set_num_threads(threads)
    emulated = facts["bfloat16_gflops_1_threads"] < facts["float32_gflops_1_threads"]
    decoders = [name for name in DECODERS if not (emulated and name == "bfloat16")]
    rows = []
    for work, likelihood, *shape, reach in STEPS:
        B, G, K, H = shape
        steps = {name: our_step(likelihood, B, G, K, H, name) for name in decoders}
        best = interleaved(steps | {"loop": loop_step(likelihood, B, G, K, H)}, rounds)
        memory = {name: peak_mb(work, name) if peaks else None for name in decoders}
        for name in [name for name in decoders if name != "plain"]:
            rows.append(
                row(
                    work + (", bfloat16 products (opt-in)" if name == "bfloat16" else ""),
                    (B, G, K, H),
                    ours_seconds=best[name],
                    loop_seconds=best["loop"],
                    plain_seconds=best["plain"],
                    ratio=best["loop"] / best[name],
                    peak_mb=memory[name],
                    plain_peak_mb=memory["plain"],
                    gflops=1e-9 * decoder_flops(B, G, K, H) / best[name],
                    reach=f">= {reach:g}x",
                )
            )
    return rows


def replicate_rows(rounds: int) -> list[Row]:
    """`fit_many` against single fits on the synthetic shape, one thread: 25 replicates."""
    torch.set_num_threads(1)
    B, G, K, H = SYNTHETIC
    Xs = [data("gaussian", 1000, G, seed) for seed in range(25)]
    model = sparse_vae("gaussian", B, K, H, epochs=10)
    alone = LoopSparseVAE(G, K, H, "gaussian")
    batches = torch.from_numpy(Xs[0]).split(B)

    def loop_fit() -> None:
        for _ in range(10):
            for x in batches:
                alone.step(x)

    best = interleaved(
        {
            "many": lambda: model.fit_many(Xs, range(25)),
            "single": lambda: model.fit(Xs[0]),
            "loop": loop_fit,
        },
        rounds,
    )
    many = best["many"] / 25
    return [
        row(
            "fit_many of 25 replicates, per replicate, against single fits",
            SYNTHETIC,
            ours_seconds=many,
            loop_seconds=best["single"],
            ratio=best["single"] / many,
            reach=">= 6x",
        ),
        row(
            "fit_many of 25 replicates, per replicate, against the loop",
            SYNTHETIC,
            ours_seconds=many,
            loop_seconds=best["loop"],
            ratio=best["loop"] / many,
        ),
    ]


def growth_rows(rounds: int) -> list[Row]:
    """How a fit grows with features, rows, factors and replicates; ratio is to the first of each.

    A growth in rows is a growth in steps: one epoch is timed.
    """
    torch.set_num_threads(1)
    rows = []

    def add(axis: str, steps: dict[int, tuple[tuple[int, ...], Callable[[], None]]]) -> None:
        best = interleaved({str(n): step for n, (_, step) in steps.items()}, rounds)
        first = best[str(min(steps))]
        for n, (shape, _) in steps.items():
            seconds = best[str(n)]
            rows.append(
                row(f"growth: {axis} {n}", shape, ours_seconds=seconds, ratio=seconds / first)
            )

    def shape_step(B: int, G: int, K: int, H: int, R: int = 1) -> Any:
        return (B, G, K, H), our_step("gaussian", B, G, K, H, R=R)

    def epoch(N: int) -> Any:
        model = sparse_vae("gaussian", 128, 20, 50, epochs=1)
        X = data("gaussian", N, 500)
        return (128, 500, 20, 50), lambda: model.fit(X)

    add("G", {G: shape_step(128, G, 20, 100) for G in (125, 250, 500, 1000)})
    add("K", {K: shape_step(128, 500, K, 100) for K in (5, 10, 20, 40)})
    add("N", {N: epoch(N) for N in (1024, 2048, 4096)})
    add("replicates", {R: shape_step(*SYNTHETIC, R=R) for R in (1, 2, 6, 25)})
    return rows


def study_rows() -> list[Row]:
    """The synthetic study through Snakemake on two cores, and the suite's share of its time."""
    try:
        spent = study.run("published")
    except subprocess.CalledProcessError as error:
        return [row(f"synthetic study: failed, exit code {error.returncode}", SYNTHETIC)]
    for part in ("fitting", "scoring"):
        print(f"synthetic study: {part} {spent[part]:.0f} core seconds")
    overhead = 100 * spent["overhead"]
    return [
        row(
            "synthetic study, seconds",
            SYNTHETIC,
            threads=2,
            ours_seconds=spent["wall"],
            reach="<= 600 s",
        ),
        row(
            "suite overhead in the study, % of time",
            SYNTHETIC,
            threads=2,
            ratio=overhead,
            reach="<= 10",
        ),
    ]


def settings_rows(rounds: int) -> list[Row]:
    """40 settings of the synthetic sparse VAE in one stack against one by one, one thread."""
    torch.set_num_threads(1)
    B, G, K, H = SYNTHETIC
    X = data("gaussian", 1000, G)
    model = sparse_vae("gaussian", B, K, H, epochs=5)
    rng = np.random.default_rng(0)
    settings = [
        {"learning_rate": 10 ** rng.uniform(-3, -2), "lambda0": 10 ** rng.uniform(0.5, 2)}
        for _ in range(40)
    ]

    def one_by_one() -> None:
        for setting in settings[:4]:  # a tenth of them
            model.fit_settings([X], [0], [setting])

    best = interleaved(
        {"stack": lambda: model.fit_settings([X] * 40, [0] * 40, settings), "single": one_by_one},
        rounds,
    )
    stack, single = best["stack"] / 40, best["single"] / 4
    return [
        row(
            "40 settings in one stack, per setting, against one by one",
            SYNTHETIC,
            ours_seconds=stack,
            loop_seconds=single,
            ratio=single / stack,
            reach=">= 5x",
        )
    ]


def gpu_rows() -> list[Row]:
    """What `gpu.py` measures, or rows that say it was not measured."""
    if not torch.cuda.is_available():
        fits = [(name, work, f"<= {reach[0]} s") for name, *_, work, reach in gpu.FITS if reach[0]]
        steps = [(work.name, work, f"<= {work.reach} ms") for work in gpu.WORKS if work.reach]
        return [
            row(name, (w.B, w.G, w.K, w.H), device="gpu: not measured", reach=reach)
            for name, w, reach in steps + fits
        ]
    found = gpu.measure(torch.device("cuda"), output=ROOT / "benchmarks" / "gpu.json")
    return [
        row(
            f"{r['work']}, {r['mode']}",
            tuple(r["shape"]),
            device=found["facts"]["device"],
            ours_seconds=r["seconds"] if "seconds" in r else 1e-3 * r["ms_model_step"],
            reach=f"<= {r['reach']} {'s' if 'seconds' in r else 'ms'}" if r["reach"] else None,
        )
        for r in found["rows"]
    ]


def machine() -> Row:
    """Facts about this machine, its matrix-product rates among them."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [v.split(":")[1].strip() for v in info.read_text().splitlines() if "model n" in v]
        cpu = names[0] if names else cpu
    facts = dict.fromkeys(KEYS) | {"work": "machine", "cpu": cpu, "cores": os.cpu_count()}
    facts["torch"] = torch.__version__
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for dtype in (torch.float32, torch.bfloat16):
            key = f"{str(dtype).removeprefix('torch.')}_gflops_{threads}_threads"
            facts[key] = round(ceiling(dtype), 1)
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 1)
    return facts


def set_limits(rows: list[Row], facts: Row) -> None:
    """Give every step its `limit`: the loop's time over that of the bare products."""
    for r in rows:
        if r["gflops"] and r["loop_seconds"]:
            dtype = "bfloat16" if "bfloat16" in r["work"] else "float32"
            r["limit"] = r["ratio"] * facts[f"{dtype}_gflops_{r['threads']}_threads"] / r["gflops"]


def table(rows: list[Row]) -> str:
    """The rows as text, one line each."""

    def cell(value: Any, form: str = "{}") -> str:
        return "-" if value is None else form.format(value)

    lines = [
        f"{'work':62} {'B,G,K,H':16} {'device':18} thr  ours ms  loop ms  plain ms  ratio"
        "  limit  reach   peak MB (plain)  GFLOP/s"
    ]
    for r in rows:
        shape = ",".join(str(r[key]) for key in "BGKH")
        ms = [None if r[k] is None else 1e3 * r[k] for k in SECONDS]
        peaks = f"{cell(r['peak_mb'])} ({cell(r['plain_peak_mb'])})"
        lines.append(
            f"{r['work']:62} {shape:16} {r['device']:18} {r['threads']:3d} "
            f"{cell(ms[0], '{:8.2f}'):>8} {cell(ms[1], '{:8.1f}'):>8} {cell(ms[2], '{:9.1f}'):>9} "
            f"{cell(r['ratio'], '{:.2f}'):>6} {cell(r['limit'], '{:.2f}'):>6} "
            f"{cell(r['reach']):>7} {peaks:>17} "
            f"{cell(r['gflops'], '{:.0f}'):>8}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures everything, prints the table, writes results.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no growth curves")
    parser.add_argument("--peak", nargs=2, metavar=("WORK", "DECODER"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results.json")
    options = parser.parse_args()
    if options.peak:
        print_peak(*options.peak)
        return
    rounds = 2 if options.quick else 4
    facts = machine()
    rows = step_rows(2, rounds, True, facts) + step_rows(1, rounds, False, facts)
    set_limits(rows, facts)
    rows += rival_rows(rounds) + replicate_rows(rounds) + settings_rows(rounds) + gpu_rows()
    if not options.quick:
        rows += growth_rows(rounds) + study_rows()
    print("\n".join(f"{name}: {value}" for name, value in facts.items() if name not in KEYS))
    print(table(rows))
    rounded = [
        {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in r.items()} for r in rows
    ]
    options.output.write_text(json.dumps([*rounded, facts], indent=1) + "\n")


if __name__ == "__main__":
    main()
