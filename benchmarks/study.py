"""The whole synthetic study through Snakemake: how long it takes, and how much of it is the suite.

Five correlations x 25 replicates x six methods at the paper's settings, one protocol, every metric,
in a folder of its own so that nothing is there before. What neither fits nor scores (starting
Python, importing torch, drawing data, Snakemake, files) is overhead, as a share of all cores' time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
METHODS = ["sparse_vae", "vae", "beta_vae", "vsc", "oi_vae", "nmf"]


def run(protocol: str, cores: int = 2) -> dict[str, float]:
    """Wall seconds of the study, core seconds of fitting and of scoring, and the overhead's share.

    Raises subprocess.CalledProcessError, with Snakemake's output, if the study does not finish.
    """
    paper = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    config = {key: paper[key] for key in ("seed", "threads", "block", "limits")} | {
        "device": "cpu",
        "methods": METHODS,
        "protocols": [protocol],
        "datasets": {"synthetic": paper["datasets"]["synthetic"], "simulated_counts": False},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", name, "--configfile", str(folder / "study.yaml")]
        command += ["--cores", str(cores), "--quiet", "all", "--", "results/scores.csv"]
        start = time.perf_counter()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=name, env=environment, check=True)
        wall = time.perf_counter() - start
        fitting = pd.read_csv(folder / "results" / "runs.csv")["seconds"].sum()
        files = (folder / "results" / "store").glob("*/scores/*.json")
        scoring = sum(json.loads(file.read_text())["seconds"] for file in files)
    return {
        "wall": wall,
        "fitting": float(fitting),
        "scoring": scoring,
        "overhead": 1 - (fitting + scoring) / (cores * wall),
    }
