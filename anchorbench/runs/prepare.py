"""The steps from raw files to a replicate: prepare once, split as often as needed."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from anchorbench.data.dataset import (
    FOLDS,
    DataError,
    Dataset,
    Split,
    content_digest,
    kfold,
    load_dataset,
    save_dataset,
    validate,
)
from anchorbench.data.downloads import fetch
from anchorbench.runs.store import Store, read_json, whole_folder, write_json
from anchorbench.study.plan import Instance
from anchorbench.study.plugins import FILE_PLUGIN, discover, kind_of, load


def prepare(instance: Instance, store: Store) -> Path:
    """Prepare a dataset, unless the store has it; return its folder.

    Raises DataError, SourceError or PluginError; nothing half-made is left behind.
    """
    folder = store.data(instance.data_key)
    if read_json(folder / "meta.json") is not None:
        return folder
    start, kind = time.monotonic(), kind_of(instance.likelihood)
    sources = {
        name: fetch(spec["name"], {k: v for k, v in spec.items() if k != "name"}, store.raw())
        for name, spec in instance.sources.items()
    }
    raw = {name: source.path for name, source in sources.items()}
    if instance.plugin == FILE_PLUGIN:
        from anchorbench.data import own_tables

        assert instance.file is not None
        dataset = own_tables.read_table(instance.file, kind, **instance.params)
    else:
        plugin = load(discover("datasets")[instance.plugin])
        dataset = plugin.prepare(raw, **instance.prepare_params)
        if not isinstance(dataset, Dataset):
            raise DataError(
                f"datasets/{instance.plugin}.py: prepare must return anchorbench.Dataset, "
                f"not {type(dataset).__name__}"
            )
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
        write_json(scratch / "meta.json", meta)
    return folder


SPLITS_KEPT = 5  # metrics that compare replicates come back to each; a split may take seconds


class Replicates:
    """The replicates of one dataset instance, split on demand from its prepared data."""

    def __init__(self, instance: Instance, store: Store) -> None:
        self.instance = instance
        self.dataset = load_dataset(store.data(instance.data_key))
        plugin = discover("datasets").get(instance.plugin)
        module = load(plugin) if plugin else None
        self._split: Callable[..., Split] = getattr(module, "split", _default_split)
        self._kept = lru_cache(SPLITS_KEPT)(self._make)

    def split(self, replicate: int, seed: int) -> Split:
        """Return one replicate. Raises DataError when it cannot be modelled."""
        return self._kept(replicate, seed)

    def _make(self, replicate: int, seed: int) -> Split:
        params = _accepted(self._split, self.instance.params)
        split = self._split(self.dataset, replicate, seed, **params)
        for side, values in (("train", split.train), ("test", split.test)):
            if not np.isfinite(values).all():
                raise DataError(f"{self.instance.name}: replicate {replicate}: NaN in {side}")
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
