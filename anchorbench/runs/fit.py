"""The step from a replicate to a stored run, in two processes.

`fit` guards and runs no plugin's code; a worker trains, and stores each replicate as it finishes.
Replicates share a worker only where their method trains them together (`fit_many`).
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchorbench.runs import environments, gpus
from anchorbench.runs.guard import Limits, Worker, announce, run_tasks
from anchorbench.runs.processes import output_kept
from anchorbench.runs.provenance import git_commit, machine, versions
from anchorbench.runs.sealed import read_sealed, write_json, write_sealed
from anchorbench.runs.status import Outcome, Status, is_plain, outcome
from anchorbench.runs.store import Store
from anchorbench.study.digest import digest
from anchorbench.study.instances import default_latent
from anchorbench.study.jobs import Job, run_digest, seeds
from anchorbench.study.plugins import kind_of
from anchorbench.study.protocols import built, in_epochs, in_steps, wrapped
from anchorbench.study.recipe import code_files

if TYPE_CHECKING:
    from anchorbench.runs.tune import Found

NO_DATA = "no data: "
"""How the reason of a run begins that failed for want of its data."""


def fit(job: Job, store: Store, config: Mapping[str, Any], config_args: Sequence[str]) -> bool:
    """Train what the store lacks of a job; return whether every run is done.

    config_args: the command line that leads a worker to the same configuration.
    """
    digests = {str(r): run_digest(job, r) for r in job.replicates}
    todo = {task: name for task, name in digests.items() if not store.is_done(name)}
    for name in todo.values():  # a failed run is tried again
        _make_room(store, name)
    reason = _train(job, todo, store, config, config_args) if todo else ""
    records = {name: store.record(name) for name in digests.values()}
    failed = [r for r in records.values() if r is None or r["status"] != Status.DONE]
    seals = {name: store.seal(name) for name in records}
    write_sealed(store.job(job), {"runs": seals, "failed": len(failed)})
    cell = f"{job.instance.name} {job.variant.name} {job.tag}"
    if reason:
        print(f"{cell}: {reason}", file=sys.stderr)
    for record in [] if reason else failed:
        about = record or {"replicate": "?", "status": Status.FAILED, "reason": "left no record"}
        what = f"replicate {about['replicate']}: {about['status']}: {about['reason']}"
        print(f"{cell} {what}", file=sys.stderr)
    return not failed


def _train(
    job: Job,
    todo: Mapping[str, str],
    store: Store,
    config: Mapping[str, Any],
    config_args: Sequence[str],
) -> str:
    """Have workers train replicates of a job; return what kept all from it, "" for nothing.

    todo : names of runs, by replicate.
    """
    python = None

    def inside(tasks: Sequence[str]) -> None:
        work(job, [int(task) for task in tasks], store, config)

    def argv(tasks: Sequence[str]) -> list[str]:
        where = ["--dataset", job.instance.name, "--method", job.variant.name]
        chosen = ["--protocol", job.tag, "--replicates", ",".join(tasks)]
        return [*_begins(python, store, config, config_args), *where, *chosen]

    def blame(task: str, outcome: Outcome, seconds: float = 0.0) -> None:
        record = describe(job, int(task), config)
        record.update(status=outcome.status, reason=outcome.reason, seconds=seconds)
        store.write_run(record, {})

    reason = no_data(job, store)
    if not reason and job.environment is not None:
        try:
            python = environments.python_of(job.environment, store)
        except environments.EnvironmentFailed as error:
            reason = str(error)
    if reason:
        for task in todo:
            blame(task, Outcome(Status.FAILED, reason))
        return reason
    limits = Limits(**(config["limits"] | {"seconds": config["limits"]["seconds"] * job.fits}))
    worker = Worker(None if python else inside, argv)
    with gpus.one(job, config):
        over = lambda task: store.record(todo[task]) is not None  # noqa: E731
        run_tasks(list(todo), worker, over, blame, limits, store.work())
    if len(todo) > 1:  # what broke together was trained one by one, and is over
        shutil.rmtree(_checkpoints(list(todo.values()), store), ignore_errors=True)
    return ""


def _begins(
    python: Path | None, store: Store, config: Mapping[str, Any], config_args: Sequence[str]
) -> list[str]:
    """How a worker's command line begins: by the Python of a method's own environment, if any.

    That one may lack what a configuration is checked with, and gets it merged and checked.
    """
    if python is None:
        return [sys.executable, "-m", "anchorbench", "_fit", *config_args]
    file = store.config(digest(config))
    write_json(file, dict(config))
    where = ["--checked", str(file), "--results", str(store.root.parent)]
    return [*environments.worker_command(python), "_fit", *where]


def no_data(job: Job, store: Store) -> str:
    """Say why the data of a job are not there, "" where they are."""
    key, name = job.instance.data_key, job.instance.name
    if store.meta(key) is not None:
        return ""
    status = read_sealed(store.data_status(key))
    if status is not None and status["status"] != Status.DONE:
        return f"{NO_DATA}{status['reason']}"
    return f"{NO_DATA}{name} was not prepared: anchorbench prepare --dataset {name}"


def _checkpoints(runs: Sequence[str], store: Store) -> Path:
    """Where the training of these runs, by their digests, keeps its state."""
    return store.checkpoints(hashlib.sha256(" ".join(runs).encode()).hexdigest()[:32])


def _make_room(store: Store, name: str) -> None:
    """Remove the record of a failure, and set aside what is neither that nor a finished run."""
    if store.is_damaged(name):
        store.set_aside(store.run(name), store.wrong_with(name))
    shutil.rmtree(store.run(name), ignore_errors=True)


def describe(job: Job, replicate: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run as far as it is known before the run."""
    data_seed, seed = seeds(job, replicate, config["seed"])
    inner = wrapped(job.variant.plugin.meta, job.params)
    plugins = [plugin for plugin in (job.variant.plugin, inner) if plugin is not None]
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
        "split": job.instance.split_of(replicate),
        "seed": seed,
        "data_seed": data_seed,
        "digest": run_digest(job, replicate),
        "ingredients": {
            "run": job.ingredients,
            "data": job.instance.ingredients,
            "files": code_files(*(plugin.path for plugin in plugins), job.instance.code),
        },
        "status": Status.FAILED,
        "reason": "",
        "seconds": None,
        "peak_mb": None,
        "device": None,
        "n_parameters": None,
        "converged": None,
        "provides": [],
        "known": [],
        "machine": machine(),
        "environment": None if job.environment is None else str(job.environment),
        "versions": versions(*(job.environment.packages if job.environment else ())),
        "git_commit": git_commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


# ---- the worker ---------------------------------------------------------------------------------


def work(job: Job, replicates: Sequence[int], store: Store, config: Mapping[str, Any]) -> None:
    """Train replicates of a job in this process and store each, whatever becomes of it.

    All of them where the method trains them together, otherwise the first.
    """
    announce([str(r) for r in replicates])
    worker = _worker(job, replicates, store, config)
    if worker is not None:
        worker.run(replicates)


def work_cells(
    cells: Sequence[tuple[Job, Sequence[int]]], store: Store, config: Mapping[str, Any]
) -> None:
    """Train replicates of several cells of one method in this process and store each.

    Those of the same parameters and number of features are trained together, whichever cell they
    are of, where the method can. An exception in such a training leaves its members unrecorded.
    """
    stacks: dict[str, list[_Member]] = {}
    for job, replicates in cells:
        worker = _worker(job, replicates, store, config)
        for replicate in replicates if worker is not None else ():
            assert worker is not None
            company = worker.company(replicate)
            stacks.setdefault(company, []).append((worker, replicate))
    for members in stacks.values():
        if len(members) > 1:
            _together(members)
        else:
            worker, replicate = members[0]
            worker.alone(replicate)


def _worker(
    job: Job, replicates: Sequence[int], store: Store, config: Mapping[str, Any]
) -> _Worker | None:
    """What trains replicates of a job; None, all of them recorded, where it cannot be loaded."""
    try:
        return _Worker(job, Store(store.root.resolve()), config)
    except Exception as error:
        _record_all(job, replicates, store, config, error)
        return None


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
        from anchorbench.runs.prepare import Replicates, seed_all
        from anchorbench.study.plugins import load

        os.environ["ANCHORBENCH_DEVICE"] = config["device"]
        self.job, self.store, self.config = job, store, config
        load(job.variant.plugin)  # and torch with it, if the method needs it
        self.data, self.seed_all = Replicates(job.instance, store), seed_all
        n_features = self.data.dataset.X.shape[1]
        self.n_latent = job.instance.n_latent or default_latent(n_features)
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(config["threads"])

    def build(self, seed: int, rows: int, params: Mapping[str, Any] | None = None) -> Any:
        """An estimator as the plugin builds it, for so many training rows; the job's parameters,
        unless others are given."""
        likelihood = self.job.instance.likelihood
        own = in_epochs(self.job.params if params is None else params, rows)
        return built(self.job.variant.plugin, likelihood, self.n_latent, seed, own)

    @cached_property
    def trains_many(self) -> bool:
        """Whether the method trains several replicates by one call."""
        return hasattr(self.build(0, 1), "fit_many")

    def split(self, replicate: int) -> Any:
        """A replicate. Raises DataError where it cannot be modelled."""
        return self.data.split(replicate, seeds(self.job, replicate, self.config["seed"])[0])

    def company(self, replicate: int) -> str:
        """Replicates of which this is equal can be trained together; unlike any other's if none."""
        if self.job.tuning is not None:
            return self.job.recipe
        if not self.trains_many:
            return f"{run_digest(self.job, replicate)} alone"
        train = self.split(replicate).train
        params = in_epochs(self.job.params, len(train))
        return digest([params, self.job.instance.likelihood, self.n_latent, train.shape[1]])

    def run(self, replicates: Sequence[int]) -> None:
        """Train all replicates together, or the first alone."""
        if len(replicates) > 1 and self._alike(replicates):
            _together([(self, r) for r in replicates])
            return
        announce([str(replicates[0])])
        self.alone(replicates[0])

    def _alike(self, replicates: Sequence[int]) -> bool:
        """Whether replicates are trained together: those of a search are, whatever the method."""
        if self.job.tuning is not None:
            return True
        if not self.trains_many:
            return False
        # So many steps are the same number of epochs only where rows are as many.
        rows = (len(self.split(r).train) for r in replicates)
        return not in_steps(self.job.params) or len(set(rows)) == 1

    def searched(self, replicates: Sequence[int]) -> None:
        """Choose the parameters of replicates, train each with its own, and store them."""
        from anchorbench.runs import tune

        count = len(replicates)
        _follow(f"{self.name()}: {count} replicates")
        _keep_checkpoints([(self, r) for r in replicates])
        about = (self.job, self.data, self.store, self.config, self.n_latent, self.build)
        tuner = tune.Tuner(*about)
        chosen = tuner.choose(replicates)
        good = {r: f for r, f in chosen.items() if isinstance(f, tune.Found)}
        splits = {r: self.split(r) for r in good}
        last = [(r, found.chosen) for r, found in good.items()]
        Xs = {r: split.train for r, split in splits.items()}
        fits = dict(zip(good, tuner.fit(last, Xs), strict=True))
        for r, found in chosen.items():
            announce([str(r)])
            if isinstance(found, Exception):
                failed = found.trials if isinstance(found, tune.TuningError) else ()
                seconds = sum(trial["seconds"] for trial in failed)
                self.store_run(r, None, found, seconds, together=count, failed=failed)
                continue
            model, seconds = fits[r]
            params = tuner.params(found.chosen)
            self.store_run(r, splits[r], model, seconds, together=count, found=(found, params))
        self.say(f"{count} replicates done")

    def alone(self, replicate: int) -> None:
        """Train one replicate and store it."""
        from anchorbench.runs import contract

        if self.job.tuning is not None:
            self.searched([replicate])
            return
        data_seed, seed = seeds(self.job, replicate, self.config["seed"])
        start = time.monotonic()
        _follow(f"{self.name()}: replicate {replicate}")
        split = model = None
        try:
            split = self.data.split(replicate, data_seed)
            self.seed_all(seed)
            estimator = self.build(seed, len(split.train))
            _keep_checkpoints([(self, replicate)])
            needs_truth = "truth" in self.job.variant.plugin.meta.get("needs", ())
            model = contract.fitted(
                estimator, split.train, **({"split": split} if needs_truth else {})
            )
        except Exception as error:  # whatever a plugin raises is a result
            model = error
        seconds = time.monotonic() - start + getattr(model, "seconds_before_", 0.0)
        self.store_run(replicate, split, model, seconds, together=1)
        self.say(f"replicate {replicate} done")

    def store_run(
        self,
        replicate: int,
        split: Any,
        model: Any,
        seconds: float,
        together: int,
        found: tuple[Found, Mapping[str, Any]] | None = None,
        failed: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Store one run: an estimator, or the exception that took its place.

        found : of a run whose parameters were searched, what was found, and these.
        failed : the trials of a search that found nothing.
        """
        from anchorbench.runs import contract

        record = describe(self.job, replicate, self.config)
        params: Mapping[str, Any] = self.job.params
        if found is not None:
            params, record["tuning"] = found[1], found[0].about
            seconds += found[0].about["seconds"]
        record.update(seconds=round(seconds, 4), together=together, n_latent=self.n_latent)
        if split is not None:
            record["params"] = in_epochs(params, len(split.train))
        tried = (failed, None) if found is None else (found[0].trials, found[0].codes)
        arrays: dict[str, Any] = {}
        try:
            if isinstance(model, Exception):
                raise model
            meta = self.job.variant.plugin.meta
            kind = kind_of(record["likelihood"])
            with output_kept():
                arrays = contract.outputs(model, split, kind, meta.get("codes", True))
            reason = contract.degenerate(arrays, meta.get("control", False))
            record["provides"] = contract.provides(model, arrays)
            record["known"] = contract.known(split, self.data.labels(split))
            record.update(contract.facts(model), device=_device(model))
            arrays |= contract.curves(model)
            ended = Outcome(Status.DIVERGED if reason else Status.DONE, reason)
            self._write(record, ended, arrays, model, tried)
        except Exception as error:
            if not is_plain(error):
                traceback.print_exception(error)
            self._write(record, outcome(error), {}, None, tried)

    def _write(
        self,
        record: dict[str, Any],
        ended: Outcome,
        arrays: dict[str, Any],
        model: Any,
        tried: tuple[Sequence[Mapping[str, Any]], Mapping[str, Any] | None],
    ) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        record.update(status=ended.status, reason=ended.reason, peak_mb=round(peak, 1))
        done = ended.status == Status.DONE
        self.store.write_run(record, arrays if done else {}, model if done else None, *tried)

    def name(self) -> str:
        """Dataset, method and protocol, for people."""
        return f"{self.job.instance.name} {self.job.variant.name} {self.job.tag}"

    def say(self, what: str) -> None:
        """Print a line about the cell."""
        print(f"{self.name()}: {what}", file=sys.stderr, flush=True)


_Member = tuple[_Worker, int]
"""A replicate of a cell, which is trained with others."""


def _together(members: Sequence[_Member]) -> None:
    """Train replicates of the same parameters and sizes, by one call of `fit_many`; store each."""
    first, seed = members[0][0], lambda w, r: seeds(w.job, r, w.config["seed"])[1]
    if first.job.tuning is not None:
        first.searched([r for _, r in members])
        return
    splits, fit_seeds = [w.split(r) for w, r in members], [seed(w, r) for w, r in members]
    cells = list(dict.fromkeys(worker.name() for worker, _ in members))
    about = cells[0] if len(cells) == 1 else f"{cells[0]} and {len(cells) - 1} more cells"
    first.seed_all(fit_seeds[0])
    _follow(f"{about}: {len(members)} replicates")
    start = time.monotonic()
    _keep_checkpoints(members)
    models = first.build(0, len(splits[0].train)).fit_many([s.train for s in splits], fit_seeds)
    before = max(getattr(model, "seconds_before_", 0.0) for model in models)
    seconds = (before + time.monotonic() - start) / len(members)
    for (worker, replicate), split, model in zip(members, splits, models, strict=True):
        announce([str(replicate)])
        worker.store_run(replicate, split, model, seconds, together=len(members))
    print(f"{about}: {len(members)} replicates done", file=sys.stderr, flush=True)


def _keep_checkpoints(members: Sequence[_Member]) -> None:
    """Tells training where to keep its state: a place that these runs alone have."""
    first = members[0][0]
    folder = _checkpoints([run_digest(worker.job, r) for worker, r in members], first.store)
    os.environ["ANCHORBENCH_CHECKPOINTS"] = str(folder)
    os.environ["ANCHORBENCH_CHECKPOINT_MINUTES"] = str(first.config["checkpoint_minutes"])


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
            f"{name}: {done}/{total} epochs of all its stacks, loss {loss:.4g}, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    sys.modules["anchorbench.models.training"].report = report  # type: ignore[attr-defined]
