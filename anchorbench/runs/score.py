"""The step from stored runs to numbers: every metric that fits, each with a status of its own."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from anchorbench.data.dataset import Split
from anchorbench.runs import contract
from anchorbench.runs.guard import Limits, Worker, announce, run_tasks
from anchorbench.runs.prepare import Replicates, seed_all
from anchorbench.runs.processes import output_kept
from anchorbench.runs.sealed import read_sealed, write_sealed
from anchorbench.runs.status import Outcome, Status, outcome
from anchorbench.runs.store import Store
from anchorbench.study import metadata
from anchorbench.study.digest import digest
from anchorbench.study.jobs import Job, run_digest
from anchorbench.study.plan import Plan
from anchorbench.study.plugins import Plugin, is_for, kind_of, load
from anchorbench.study.protocols import built
from anchorbench.study.seeds import derive
from anchorbench.study.source import source_digest

SEPARATOR = ":"
SAME = 0.05
"""Most by which codes of the same model, fitted again, may differ, as a share of their size."""


class Inapplicable(Exception):
    """A metric has no meaning for a run, which is known only when it is computed."""


@dataclass
class Run:
    """A finished run as metrics and artefacts see it; heavy parts are read on first use.

    codes (N_test, K), codes_train (N_train, K), reconstruction (N_test, G), loadings (G, K) and
    support (G, K) are as stored; `model` is the fitted estimator, reloaded, or fitted again with
    the same seed where the method cannot be stored.
    """

    record: dict[str, Any]
    store: Store
    data: Replicates
    plugin: Plugin
    siblings: tuple[str, ...] = ()  # digests of the finished runs of the variant, this one included

    @property
    def likelihood(self) -> str:
        return self.record["likelihood"]

    @property
    def kind(self) -> str:
        """The kind of the data: "real", "counts" or "binary"."""
        return kind_of(self.likelihood)

    @cached_property
    def _split(self) -> Split:
        return self.data.split(self.record["replicate"], self.record["data_seed"])

    @property
    def truth(self) -> Split:
        """The replicate: train, test and what is known of their origin; each time a new object."""
        return replace(self._split)

    @property
    def train(self) -> np.ndarray:
        return self._split.train

    @property
    def test(self) -> np.ndarray:
        return self._split.test

    @property
    def features(self) -> list[str]:
        return list(self._split.features or self.data.dataset.features)

    @property
    def labels(self) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
        """Labels by name, each for training and for test rows."""
        return self.data.labels(self._split)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return self.store.arrays(self.record["digest"])

    def _stored(self, name: str) -> np.ndarray:
        """An array in double precision; a copy, so that nobody can change what others see."""
        return self._arrays[name].astype(float)

    @property
    def codes(self) -> np.ndarray:
        return self._stored("codes")

    @property
    def codes_train(self) -> np.ndarray:
        return self._stored("codes_train")

    @property
    def reconstruction(self) -> np.ndarray:
        return self._stored("reconstruction")

    @property
    def loadings(self) -> np.ndarray | None:
        return self._stored("loadings") if "loadings" in self._arrays else None

    @property
    def support(self) -> np.ndarray | None:
        return self._arrays["support"].copy() if "support" in self._arrays else None

    @cached_property
    def model(self) -> Any:
        """The fitted estimator; what its methods return is checked."""
        record = self.record
        folder = self.store.run(record["digest"]) / "model"
        if record.get("environment") and not folder.is_dir():
            raise Inapplicable("fitted again with other libraries it would be another model")
        load(self.plugin)  # and torch with it, if the method needs it
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(1)
        about = (record["likelihood"], record["n_latent"], record["seed"])
        model = built(self.plugin, *about, record["params"])
        if folder.is_dir():
            loaded = model.load(folder)
            return contract.Checked(model if loaded is None else loaded)
        truth = {"split": self.truth} if "truth" in self.plugin.meta.get("needs", ()) else {}
        train = self.train
        seed_all(record["seed"])
        fitted = contract.Checked(model.fit(train, **truth) or model)
        self._check_same(fitted)
        return fitted

    def _check_same(self, model: Any) -> None:
        """Raise ValueError where a model that was fitted again has other codes than the run."""
        if "codes" not in self._arrays:
            return
        stored, again = self.codes, np.asarray(model.transform(self.test), dtype=float)
        off = np.linalg.norm(again - stored) if again.shape == stored.shape else np.inf
        if not off <= SAME * np.linalg.norm(stored):
            raise ValueError(
                "fitted again with the seed of its run it has other codes: what is random in it "
                "must come from the `seed` that build gets; or give it save and load"
            )

    def rng(self, name: str) -> np.random.Generator:
        """A random generator that depends on the run's seed and a name alone."""
        return np.random.default_rng(derive(self.record["seed"], name))

    def peers(self) -> list[Run]:
        """The finished runs of the same variant on the other replicates of the dataset."""
        others = [self.store.record(d) for d in self.siblings if d != self.record["digest"]]
        return [
            Run(record, self.store, self.data, self.plugin, self.siblings)
            for record in others
            if record is not None
        ]


def runs_of(jobs: Sequence[Job], store: Store) -> list[Run]:
    """Return the finished runs of the jobs of one (dataset, variant, tag)."""
    digests = [run_digest(job, r) for job in jobs for r in job.replicates]
    records = [record for digest in digests if (record := store.record(digest)) is not None]
    done = [record for record in records if record["status"] == Status.DONE]
    if not done:
        return []
    data = Replicates(jobs[0].instance, store)
    siblings = tuple(record["digest"] for record in done)
    return [Run(record, store, data, jobs[0].variant.plugin, siblings) for record in done]


def applies(metric: Plugin, run: Run) -> bool:
    """Whether a metric means something for a run: its likelihood, dataset and needs are met."""
    meta = metric.meta
    if metric.broken:
        return True
    if not is_for(meta, run.likelihood):
        return False
    datasets = meta.get("datasets")
    if datasets is not None and run.record["dataset_plugin"] not in datasets:
        return False
    return all(_has(run, need) for need in meta.get("needs", ()))


def _has(run: Run, need: str) -> bool:
    if need == "codes":
        return bool(run.plugin.meta.get("codes", True))
    if need == "peers":
        return len(run.siblings) > 1
    if need in metadata.KNOWN:
        return need in run.record["known"]
    return need in run.record["provides"] or f"{need}_" in run.record["provides"]


def wanted(plan: Plan, jobs: list[Job], store: Store) -> list[tuple[Run, Plugin]]:
    """Return the finished runs of one (dataset, variant, tag), each with every metric for it."""
    metrics = plan.metrics_of(jobs[0].instance).values()
    return [(run, m) for run in runs_of(jobs, store) for m in metrics if applies(m, run)]


def score(plan: Plan, jobs: list[Job], store: Store, config_args: Sequence[str]) -> bool:
    """Score the finished runs of one (dataset, variant, tag) and write them to one file.

    Returns whether every metric gave its numbers.

    Numbers that the store has already are not computed again. A metric that fails on a run leaves
    the reason in place of a value.
    """
    pairs = wanted(plan, jobs, store)
    tasks = {_task(run, metric): _file(run, metric) for run, metric in pairs}
    todo = [task for task, file in tasks.items() if not _is_over(file)]

    def inside(chosen: Sequence[str]) -> None:
        work(plan, jobs, store, chosen)

    def argv(chosen: Sequence[str]) -> list[str]:
        job = jobs[0]
        where = ["--dataset", job.instance.name, "--method", job.variant.name]
        return [
            *(sys.executable, "-m", "anchorbench", "_score", *config_args, *where),
            *("--protocol", job.tag, "--tasks", ",".join(chosen)),
        ]

    def blame(task: str, ended: Outcome, _: float) -> None:
        write_sealed(tasks[task], {"status": ended.status, "reason": ended.reason})

    if todo:
        for task in todo:
            tasks[task].unlink(missing_ok=True)
        limits, worker = Limits(**plan.config["limits"]), Worker(inside, argv)
        over = lambda task: read_sealed(tasks[task]) is not None  # noqa: E731
        run_tasks(todo, worker, over, blame, limits, store.work())
    return _together(plan, jobs, store, pairs)


def score_here(plan: Plan, jobs: list[Job], store: Store) -> bool:
    """Do what `score` does in this process, without a guard: whatever ends it ends all."""
    pairs = wanted(plan, jobs, store)
    todo = [_task(run, metric) for run, metric in pairs if not _is_over(_file(run, metric))]
    work(plan, jobs, store, todo)
    return _together(plan, jobs, store, pairs)


def _together(
    plan: Plan, jobs: list[Job], store: Store, pairs: Sequence[tuple[Run, Plugin]]
) -> bool:
    """Write the scores of one (dataset, variant, tag) to one file; return whether all are done."""
    rows = []
    for run, metric in pairs:
        result = read_sealed(_file(run, metric))
        if result is None:
            result = {"status": Status.FAILED, "reason": "left no result"}
        rows.append({"digest": run.record["digest"], "metric": metric.name, **result})
    write_sealed(store.scores(plan, jobs), {"scores": rows})
    return all(row["status"] == Status.DONE for row in rows)


def _is_over(file: Any) -> bool:
    result = read_sealed(file)
    return result is not None and result["status"] == Status.DONE


def _task(run: Run, metric: Plugin) -> str:
    return f"{run.record['replicate']}{SEPARATOR}{metric.name}"


def _file(run: Run, metric: Plugin) -> Any:
    """Where a run's score by a metric is kept: its name holds the metric's code, and the peers."""
    peers = list(run.siblings) if "peers" in metric.meta.get("needs", ()) else []
    version = digest([source_digest(metric.path), peers])
    return run.store.run(run.record["digest"]) / "scores" / f"{metric.name}-{version}.json"


def work(plan: Plan, jobs: list[Job], store: Store, tasks: Sequence[str]) -> None:
    """Compute scores in this process; tasks are "replicate:metric"."""
    os.environ["ANCHORBENCH_DEVICE"] = "cpu"
    store = Store(store.root.resolve())
    runs = {str(run.record["replicate"]): run for run in runs_of(jobs, store)}
    for task in tasks:
        announce([task])
        replicate, name = task.split(SEPARATOR)
        run, metric = runs[replicate], plan.metrics[name]
        start = time.perf_counter()
        with as_it_was():
            seed_all(derive(run.record["seed"], name))
            result = evaluate(metric, run)
        write_sealed(_file(run, metric), {**result, "seconds": time.perf_counter() - start})


@contextmanager
def as_it_was() -> Iterator[None]:
    """Put back what a plugin may change for the next one: environment, folder, output, warnings."""
    environment, folder = dict(os.environ), Path.cwd()
    numbers = np.geterr()
    try:
        with output_kept(), warnings.catch_warnings():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        np.seterr(**numbers)


def evaluate(metric: Plugin, run: Run) -> dict[str, Any]:
    """Return a metric's values on a run by name, or the reason why there are none."""
    try:
        module = load(metric)
        sys.modules.pop(module.__name__, None)  # the next run meets a module that nothing changed
        value = module.compute(run)
        if value is None:
            raise Inapplicable("the metric says so")
        values = value if isinstance(value, Mapping) else {metric.name: value}
        numbers = {str(name): _number(str(name), number) for name, number in values.items()}
    except Inapplicable:
        return {"status": Status.DONE, "values": {}}
    except Exception as error:  # whatever a plugin raises is a result
        traceback.print_exception(error)
        return {"status": Status.FAILED, "reason": outcome(error).reason}
    if not numbers:
        return {"status": Status.FAILED, "reason": "compute returned no number"}
    if reason := _wrong(metric, numbers):
        return {"status": Status.FAILED, "reason": reason}
    return {"status": Status.DONE, "values": numbers}


def _number(name: str, value: Any) -> float:
    """A value as a number. Raises TypeError for a text, which `float` would read."""
    if isinstance(value, str | bytes):
        raise TypeError(f"{name} is the text {value!r}: return a number")
    return float(value)


def _wrong(metric: Plugin, numbers: Mapping[str, float]) -> str:
    """Why what a metric returned are not the values that its METRIC announces, or ""."""
    declared = metric.values
    if unknown := [name for name in numbers if name not in declared]:
        return (
            f"compute returned {unknown[0]!r}, which is not in METRIC: list under `values` what it "
            f"returns; there: {', '.join(declared)}"
        )
    if wrong := [name for name, number in numbers.items() if not math.isfinite(number)]:
        return f"not a finite number: {', '.join(wrong)}"
    low, high = metric.meta.get("range", [None, None])
    value, slack = numbers.get(metric.name), 1e-6
    if value is not None and (
        (low is not None and value < low - slack) or (high is not None and value > high + slack)
    ):
        return f"{value:g} is outside of the range [{low}, {high}] of METRIC"
    return ""
