"""The step from a replicate to a stored run, in two processes.

`fit` guards; the worker imports torch, trains, and stores each replicate as it finishes.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anchorbench.runs.guard import Limits, announce, run_tasks
from anchorbench.runs.provenance import git_commit, machine, versions
from anchorbench.runs.status import Outcome, Status, is_plain, outcome
from anchorbench.runs.store import Store, read_json, write_json
from anchorbench.study.plan import Job, default_latent, run_digest, seeds
from anchorbench.study.plugins import kind_of
from anchorbench.study.recipe import code_files


def fit(job: Job, store: Store, config: Mapping[str, Any], config_args: Sequence[str]) -> bool:
    """Train what the store lacks of a job; return whether every run is done.

    config_args: the command line that leads a worker to the same configuration.
    """
    digests = {str(r): run_digest(job, r) for r in job.replicates}
    start = time.time()
    todo = [task for task, digest in digests.items() if not store.is_done(digest)]
    for task in todo:  # a failed run is tried again
        _forget(store, digests[task])

    def argv(tasks: Sequence[str]) -> list[str]:
        where = ["--dataset", job.instance.name, "--method", job.variant.name]
        chosen = ["--protocol", job.tag, "--replicates", ",".join(tasks)]
        return [sys.executable, "-m", "anchorbench", "_fit", *config_args, *where, *chosen]

    def blame(task: str, outcome: Outcome) -> None:
        record = describe(job, int(task), config)
        record.update(status=outcome.status, reason=outcome.reason, seconds=time.time() - start)
        store.write_run(record, {})

    data = read_json(store.data_status(job.instance.data_key)) or {"status": Status.DONE}
    if data["status"] != Status.DONE:
        for task in todo:
            blame(task, Outcome(Status.FAILED, f"no data: {data['reason']}"))
    elif todo:
        limits = Limits(**config["limits"])
        run_tasks(todo, argv, lambda t: store.record(digests[t]) is not None, blame, limits)
        if len(todo) > 1:  # what broke together was trained one by one, and is over
            shutil.rmtree(_checkpoints(job, [int(t) for t in todo], store), ignore_errors=True)
    records = [store.record(digest) or {"status": Status.FAILED} for digest in digests.values()]
    failed = [r for r in records if r["status"] != Status.DONE]
    write_json(store.job(job), {"runs": list(digests.values()), "failed": len(failed)})
    for record in failed:
        print(
            f"{job.instance.name} {job.variant.name} {job.tag} replicate {record['replicate']}: "
            f"{record['status']}: {record['reason']}",
            file=sys.stderr,
        )
    return not failed


def _checkpoints(job: Job, replicates: Sequence[int], store: Store) -> Path:
    """Where the training of these runs keeps its state."""
    runs = " ".join(run_digest(job, r) for r in replicates)
    return store.checkpoints(hashlib.sha256(runs.encode()).hexdigest()[:32])


def _forget(store: Store, digest: str) -> None:
    (store.run(digest) / "record.json").unlink(missing_ok=True)


def describe(job: Job, replicate: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run as far as it is known before the run."""
    data_seed, seed = seeds(job, replicate, config["seed"])
    return {
        "dataset": job.instance.name,
        "dataset_plugin": job.instance.plugin,
        "setting": job.instance.setting,
        "method": job.variant.name,
        "method_plugin": job.variant.plugin.name,
        "protocol": job.tag,
        "likelihood": job.instance.likelihood,
        "n_latent": job.instance.n_latent,
        "params": job.params,
        "dataset_params": job.instance.params,
        "data": job.instance.data_key,
        "replicate": replicate,
        "seed": seed,
        "data_seed": data_seed,
        "digest": run_digest(job, replicate),
        "ingredients": {
            "run": job.ingredients,
            "data": job.instance.ingredients,
            "files": code_files(job.variant.plugin.path, job.instance.code),
        },
        "status": Status.FAILED,
        "reason": "",
        "seconds": None,
        "peak_mb": None,
        "device": None,
        "n_parameters": None,
        "converged": None,
        "provides": [],
        "machine": machine(),
        "versions": versions(),
        "git_commit": git_commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


# ---- the worker ---------------------------------------------------------------------------------


def work(
    job: Job,
    replicates: Sequence[int],
    store: Store,
    config: Mapping[str, Any],
    guarded: bool = True,
) -> None:
    """Train replicates of a job in this process and store each, whatever becomes of it.

    guarded: the process belongs to a guard, and ends with it.
    """
    if guarded:
        _die_with_parent()
    announce([str(r) for r in replicates])
    try:
        worker = _Worker(job, store, config)
    except Exception as error:
        _record_all(job, replicates, store, config, error)
        return
    worker.run(replicates)


def _record_all(
    job: Job,
    replicates: Sequence[int],
    store: Store,
    config: Mapping[str, Any],
    error: Exception,
) -> None:
    """One reason for all replicates: their data or their method could not be loaded."""
    traceback.print_exception(error)
    ended = outcome(error)
    for replicate in replicates:
        record = describe(job, replicate, config)
        record.update(status=ended.status, reason=ended.reason)
        store.write_run(record, {})


class _Worker:
    """Trains replicates of one job, together where the method can."""

    def __init__(self, job: Job, store: Store, config: Mapping[str, Any]) -> None:
        from anchorbench.runs.prepare import Replicates
        from anchorbench.study.plugins import load

        os.environ["ANCHORBENCH_DEVICE"] = config["device"]
        # OpenMP's threads wait asleep and leave the cores to the tiles' workers (kernels.py).
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        self.job, self.store, self.config = job, store, config
        self.module = load(job.variant.plugin)
        self.data = Replicates(job.instance, store)
        n_features = self.data.dataset.X.shape[1]
        self.n_latent = job.instance.n_latent or default_latent(n_features)
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(config["threads"])

    def build(self, seed: int) -> Any:
        """An estimator as the plugin builds it."""
        likelihood = self.job.instance.likelihood
        return self.module.build(likelihood, self.n_latent, seed, **self.job.params)

    def run(self, replicates: Sequence[int]) -> None:
        """Train all replicates; together first, one by one where that fails."""
        replicates = list(replicates)
        if len(replicates) > 1 and hasattr(self.build(0), "fit_many"):
            try:
                self._together(replicates)
                return
            except Exception as error:
                traceback.print_exception(error)
                print("training together failed; now one by one", file=sys.stderr)
        for done, replicate in enumerate(replicates):
            announce([str(replicate)])
            self._report(replicates, done)
            self._alone(replicate)
        self._report(replicates, len(replicates))

    def _together(self, replicates: list[int]) -> None:
        seed_of = {r: seeds(self.job, r, self.config["seed"]) for r in replicates}
        splits = [self.data.split(r, seed_of[r][0]) for r in replicates]
        _follow(f"{self._name()}: replicates {replicates[0]}-{replicates[-1]}")
        start = time.monotonic()
        self._keep_checkpoints(replicates)
        models = self.build(0).fit_many(
            [split.train for split in splits], [seed_of[r][1] for r in replicates]
        )
        before = max(getattr(model, "seconds_before_", 0.0) for model in models)
        seconds = (before + time.monotonic() - start) / len(replicates)
        for replicate, split, model in zip(replicates, splits, models, strict=True):
            announce([str(replicate)])
            self._store(replicate, split, model, seconds, together=len(replicates))
        self._report(replicates, len(replicates))

    def _alone(self, replicate: int) -> None:
        data_seed, seed = seeds(self.job, replicate, self.config["seed"])
        start = time.monotonic()
        _follow(f"{self._name()}: replicate {replicate}")
        split = model = None
        try:
            split = self.data.split(replicate, data_seed)
            estimator = self.build(seed)
            self._keep_checkpoints([replicate])
            needs_truth = "truth" in self.job.variant.plugin.meta.get("needs", ())
            extra = {"split": split} if needs_truth else {}
            model = estimator.fit(split.train, **extra)
            model = estimator if model is None else model
        except Exception as error:  # whatever a plugin raises is a result
            model = error
        seconds = time.monotonic() - start + getattr(model, "seconds_before_", 0.0)
        self._store(replicate, split, model, seconds, together=1)

    def _store(self, replicate: int, split: Any, model: Any, seconds: float, together: int) -> None:
        """Store one run: an estimator, or the exception that took its place."""
        from anchorbench.runs import contract

        record = describe(self.job, replicate, self.config)
        record.update(seconds=round(seconds, 4), together=together, device=_device(model))
        record["n_latent"] = self.n_latent
        arrays: dict[str, Any] = {}
        try:
            if isinstance(model, Exception):
                raise model
            meta = self.job.variant.plugin.meta
            kind = kind_of(record["likelihood"])
            arrays = contract.outputs(model, split, kind, meta.get("codes", True))
            reason = contract.degenerate(arrays, meta.get("control", False))
            status = Status.DIVERGED if reason else Status.DONE
            record["provides"] = contract.provides(model, arrays)
            record["n_parameters"] = getattr(model, "n_parameters_", None)
            record["converged"] = getattr(model, "converged_", None)
            curves = getattr(model, "history_", {})
            arrays |= {f"curve_{name}": values for name, values in curves.items()}
        except Exception as error:
            if not is_plain(error):
                traceback.print_exception(error)
            ended = outcome(error)
            status, reason = ended.status, ended.reason
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        record.update(status=status, reason=reason, peak_mb=round(peak, 1))
        self.store.write_run(record, arrays if status == Status.DONE else {}, model)

    def _keep_checkpoints(self, replicates: Sequence[int]) -> None:
        """Tells training where to keep its state: a place that these runs alone have."""
        folder = _checkpoints(self.job, replicates, self.store)
        os.environ["ANCHORBENCH_CHECKPOINTS"] = str(folder)
        os.environ["ANCHORBENCH_CHECKPOINT_MINUTES"] = str(self.config["checkpoint_minutes"])

    def _name(self) -> str:
        return f"{self.job.instance.name} {self.job.variant.name} {self.job.tag}"

    def _report(self, replicates: Sequence[int], done: int) -> None:
        print(
            f"{self._name()}: {done}/{len(replicates)} replicates done", file=sys.stderr, flush=True
        )


def _device(model: Any) -> str:
    """Return the name of the processor that a model was trained on."""
    device = str(getattr(model, "device_", "cpu"))
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return "cpu"


def _follow(name: str) -> None:
    """Print the progress of deep models now and then: epoch, loss, time left."""
    if "anchorbench.models.training" not in sys.modules:
        return
    start = last = time.monotonic()

    def report(done: int, total: int, loss: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 5 and done < total:
            return
        last = now
        left = (now - start) / max(done, 1) * (total - done)
        print(
            f"{name}: epoch {done}/{total}, loss {loss:.4g}, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    sys.modules["anchorbench.models.training"].report = report  # type: ignore[attr-defined]


def _die_with_parent() -> None:
    """End this process when the guard that started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
