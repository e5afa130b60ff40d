"""The benchmark's own code: its steps run, and the baseline computes what the suite computes."""

import json
import subprocess
import sys

import pytest
import torch

from anchorbench.study.plugins import SUITE

sys.path.insert(0, str(SUITE / "benchmarks"))
import bench
import gpu
import study
from loop_baseline import LoopSparseVAE


@pytest.mark.parametrize("likelihood", ["gaussian", "multinomial"])
def test_every_kind_of_step_trains(likelihood):
    for decoder in bench.DECODERS:
        bench.our_step(likelihood, 16, 6, 3, 8, decoder)()
    bench.loop_step(likelihood, 16, 6, 3, 8)()


def test_every_deep_rival_is_timed_beside_the_vae():
    paper = {"vae", "beta_vae", "sparse_vae", "oi_vae", "vsc"}
    methods = bench.discover("methods")
    deep = {name for name, method in methods.items() if "n_hidden" in method.meta["params"]}
    assert set(bench.RIVALS) == deep - paper
    for name in bench.RIVALS:
        bench.method_step(name, "multinomial", 16, 6, 3, 8)()


def test_the_loop_baseline_decodes_as_the_suite_does():
    torch.manual_seed(0)
    loop = LoopSparseVAE(6, 3, 8, "gaussian").double()
    z = torch.randn(5, 3, dtype=torch.float64)
    first, second = loop.trunk[0], loop.trunk[2]
    heads = torch.cat([head.weight for head in loop.heads])
    bias = torch.cat([head.bias for head in loop.heads])
    tensors = (z, loop.W, first.weight, second.weight, second.bias, heads, bias)
    for decoder in ("ours", "plain"):
        ours = bench.DECODERS[decoder](*(t[None] for t in tensors))[0]
        torch.testing.assert_close(ours, loop.decode(z), rtol=1e-10, atol=1e-12)


def test_rows_have_every_key_whatever_was_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = [*bench.gpu_rows(), bench.row("x", (1, 2, 3, 4))]
    assert all(set(bench.KEYS) <= set(row) for row in rows)
    assert all(row["work"] in bench.table(rows) for row in rows)


def test_the_limit_is_the_loop_over_bare_products():
    flops = bench.decoder_flops(10, 20, 3, 30)
    step = bench.row("step", (10, 20, 3, 30), threads=2, ours_seconds=0.5, loop_seconds=2.0)
    step |= {"ratio": 4.0, "gflops": 1e-9 * flops / 0.5}
    other = bench.row("no step", (1, 2, 3, 4), ratio=2.0)
    bench.set_limits([step, other], {"float32_gflops_2_threads": 1e-9 * flops / 0.125})
    assert step["limit"] == pytest.approx(2.0 / 0.125)
    assert other["limit"] is None


def test_a_study_that_fails_is_a_row(monkeypatch):
    def fail(protocol):
        raise subprocess.CalledProcessError(1, "snakemake")

    monkeypatch.setattr(study, "run", fail)
    assert [row["work"] for row in bench.study_rows()] == ["synthetic study: failed, exit code 1"]


def test_the_gpu_benchmark_goes_all_its_ways_on_a_cpu(tmp_path, one_thread):
    found = gpu.measure(torch.device("cpu"), quick=True, output=tmp_path / "gpu.json")
    assert not found["failures"]
    assert len(found["checks"]) == 24
    assert all(check["agrees"] for check in found["checks"])
    assert {row["work"] for row in found["rows"]} == {
        *(work.name for work in gpu.QUICK),
        *(name for name, *_ in gpu.FITS),
    }
    assert json.loads((tmp_path / "gpu.json").read_text()) == found


def test_a_part_of_the_gpu_benchmark_that_fails_is_a_line(tmp_path):
    report = gpu.Report(torch.device("cpu"), True, tmp_path / "gpu.json", 100.0)
    report.guarded("bad", lambda: 1 / 0)
    report.guarded("good", lambda: report.say("rows", {"work": "x"}))
    report.budget = 0.0
    report.guarded("late", lambda: report.say("rows", {"work": "y"}))
    assert report.failures == ["bad: ZeroDivisionError: division by zero", "late: no time left"]
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == [{"work": "x"}]


def test_the_gpu_benchmark_needs_no_more_than_a_gpu_machine_has():
    missing = ("safetensors", "yaml", "psutil", "snakemake", "jsonschema", "requests", "anndata")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}))"
        "; sys.path.insert(0, 'benchmarks'); import gpu"
        "; [gpu.build(m, 'corrected', 'gaussian', 2) for m in gpu.METHODS]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=SUITE, check=True)
