"""The steps from raw files to a replicate: prepare once, split as often as needed."""

from __future__ import annotations

import inspect
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from anchorbench.data.dataset import (
    FOLDS,
    DataError,
    Dataset,
    Split,
    check_varies,
    content_digest,
    kfold,
    load_dataset,
    save_dataset,
    validate,
    varying,
)
from anchorbench.data.downloads import fetch
from anchorbench.runs.guard import Limits, Worker, announce, run_tasks
from anchorbench.runs.sealed import files_below, read_sealed, whole_folder, write_sealed
from anchorbench.runs.status import Outcome, Status, is_plain, outcome
from anchorbench.runs.store import META, Store
from anchorbench.study.instances import Instance
from anchorbench.study.plugins import FILE_PLUGIN, discover, kind_of, load


def prepare(
    instance: Instance, store: Store, config: Mapping[str, Any], config_args: Sequence[str]
) -> Outcome:
    """Prepare a dataset in a guarded process, unless the store has it; record how it went.

    config_args: the command line that leads a worker to the same configuration.
    """
    status, key = store.data_status(instance.data_key), instance.data_key
    if store.meta(key) is None:
        status.unlink(missing_ok=True)
        if store.data(key).exists():
            store.set_aside(store.data(key), "it is not what was prepared")

        def argv(_: Sequence[str]) -> list[str]:
            where = ["--dataset", instance.name, "--protocol", instance.tag]
            return [sys.executable, "-m", "anchorbench", "_prepare", *config_args, *where]

        def blame(_: str, ended: Outcome, __: float) -> None:
            write_sealed(status, {"status": ended.status, "reason": ended.reason})

        worker = Worker(lambda _: work(instance, store), argv)
        over = lambda _: read_sealed(status) is not None  # noqa: E731
        run_tasks([instance.name], worker, over, blame, Limits(**config["limits"]), store.work())
    elif (read_sealed(status) or {}).get("status") != Status.DONE:
        write_sealed(status, {"status": Status.DONE, "reason": ""})
    ended = read_sealed(status) or {"status": Status.FAILED, "reason": "left no result"}
    return Outcome(Status(ended["status"]), ended["reason"])


def work(instance: Instance, store: Store) -> None:
    """Prepare a dataset in this process and record how it went."""
    announce([instance.name])
    store = Store(store.root.resolve())
    try:
        make(instance, store)
        ended = Outcome(Status.DONE, "")
    except Exception as error:  # whatever a plugin raises is a result
        if not is_plain(error):
            traceback.print_exception(error)
        ended = outcome(error)
    status = store.data_status(instance.data_key)
    write_sealed(status, {"status": ended.status, "reason": ended.reason})


def make(instance: Instance, store: Store) -> Path:
    """Prepare a dataset; return its folder.

    Raises DataError, SourceError or PluginError; nothing half-made is left behind.
    """
    folder = store.data(instance.data_key)
    start, kind = time.monotonic(), kind_of(instance.likelihood)
    sources = {
        name: fetch(spec["name"], {k: v for k, v in spec.items() if k != "name"}, store.raw())
        for name, spec in instance.sources.items()
    }
    raw = {name: source.path for name, source in sources.items()}
    module = None
    if instance.plugin == FILE_PLUGIN:
        from anchorbench.data import own_tables

        assert instance.file is not None
        dataset = own_tables.read_table(instance.file, kind, **instance.params)
    else:
        module = load(discover("datasets")[instance.plugin])
        seed_all(0)
        dataset = module.prepare(raw, **instance.prepare_params)
        if not isinstance(dataset, Dataset):
            raise DataError(
                f"datasets/{instance.plugin}.py: prepare must return anchorbench.Dataset, "
                f"not {type(dataset).__name__}"
            )
    if kind == "real" and dataset.X.ndim == 2 and not hasattr(module, "split"):
        dataset = varying(dataset, instance.params.get("folds", FOLDS))
    validate(dataset, kind, instance.file or instance.name)
    for note in dataset.notes:
        print(f"{instance.name}: {note}")
    meta = {
        "plugin": instance.plugin,
        "params": instance.prepare_params,
        "sources": {
            name: {"url": source.url, "sha256": source.sha256, "bytes": source.bytes}
            for name, source in sources.items()
        },
        "notes": dataset.notes,
        "content": content_digest(dataset),
        "n_rows": int(dataset.X.shape[0]),
        "n_features": int(dataset.X.shape[1]),
        "tokens_per_row": float(dataset.X.sum() / dataset.X.shape[0]) if kind == "counts" else None,
        "seconds": round(time.monotonic() - start, 2),
    }
    with whole_folder(folder) as scratch:
        save_dataset(scratch, dataset)
        write_sealed(scratch / META, {**meta, "files": files_below(scratch, META)})
    return folder


SPLITS_KEPT = 5  # metrics that compare replicates come back to each; a split may take seconds


class Replicates:
    """The replicates of one dataset instance, split on demand from its prepared data.

    All that use a replicate see the same read-only arrays.
    """

    def __init__(self, instance: Instance, store: Store) -> None:
        self.instance, self.store = instance, store
        self._kept = lru_cache(SPLITS_KEPT)(self._make)

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared data."""
        dataset = load_dataset(self.store.data(self.instance.data_key))
        arrays = [*(dataset.labels or {}).values(), *(dataset.arrays or {}).values()]
        parts = vars(dataset.X).values() if sp.issparse(dataset.X) else [dataset.X]
        _freeze(*arrays, *parts)
        return dataset

    @cached_property
    def _split(self) -> Callable[..., Split]:
        plugin = discover("datasets").get(self.instance.plugin)
        module = load(plugin) if plugin else None
        return getattr(module, "split", _default_split)

    def split(self, replicate: int, seed: int) -> Split:
        """Return one replicate. Raises DataError when it cannot be modelled."""
        return self._kept(self.instance.split_of(replicate), seed)

    def _make(self, replicate: int, seed: int) -> Split:
        seed_all(seed)
        params = _accepted(self._split, self.instance.params)
        split = self._split(self.dataset, replicate, seed, **params)
        name = f"{self.instance.name}: replicate {replicate}"
        if not isinstance(split, Split):
            raise DataError(f"{name}: split returned {type(split).__name__}, not anchorbench.Split")
        _check(split, name)
        if kind_of(self.instance.likelihood) == "real":
            check_varies(split, self.dataset.features, name)
        pairs = [*(split.factors or ()), *(split.expectation or ()), *(split.index or ())]
        _freeze(split.train, split.test, split.support, split.keys, *pairs)
        return split

    def labels(self, split: Split) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
        """Return the labels of training and test rows by name, where there are any."""
        if self.dataset.labels is None or split.index is None:
            return None
        train, test = split.index
        return {name: (values[train], values[test]) for name, values in self.dataset.labels.items()}


def _default_split(
    dataset: Dataset,
    replicate: int,
    seed: int,  # noqa: ARG001
    folds: int = FOLDS,
) -> Split:
    """Folds by the released code's rule, which has a seed of its own."""
    return kfold(dataset, replicate, folds)


def _accepted(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a function takes."""
    known = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
    return {key: value for key, value in params.items() if takes_all or key in known}


def _check(split: Split, name: str) -> None:
    """Raise DataError where a replicate cannot be modelled."""
    for side, values in (("train", split.train), ("test", split.test)):
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
            raise DataError(f"{name}: {side} must be a matrix of numbers")
        if not len(values):
            raise DataError(f"{name}: no rows in {side}: give more rows, or fewer replicates")
        if not np.isfinite(values).all():
            raise DataError(f"{name}: NaN in {side}")
    if split.train.shape[1] != split.test.shape[1]:
        raise DataError(
            f"{name}: {split.train.shape[1]} features in train, {split.test.shape[1]} in test"
        )


def _freeze(*arrays: Any) -> None:
    """Make arrays read-only; what is none stays as it is."""
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)


def seed_all(seed: int) -> None:
    """Seed the generators that a plugin may use without saying so."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)
