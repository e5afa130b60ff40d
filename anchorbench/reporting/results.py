"""The results of a benchmark run as artefacts see them: scores, runs and manifest, no store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anchorbench.reporting.text import clean_all, clean_columns, distinct
from anchorbench.runs.status import Status
from anchorbench.study.plugins import discover
from anchorbench.study.protocols import ORACLE_TUNED, SEARCHED

FILES = ("scores.csv", "runs.csv", "manifest.json")
"""Of a run or a reference: what is collected."""
TRIALS_FILE = "trials.csv"
"""Beside them, where parameters were searched; references of earlier versions lack it."""
SCORES = ["dataset", "method", "protocol", "replicate", "metric", "value"]
RUNS = [
    "dataset",
    "method",
    "protocol",
    "replicate",
    "seed",
    "status",
    "reason",
    "seconds",
    "peak_mb",
    "device",
    "n_parameters",
    "converged",
    "versions",
    "digest",
]
TRIALS = [
    *("dataset", "method", "replicate", "trial", "params", "seconds", "status", "reason"),
    *("metric", "value", "test_metric", "test", "stability", "chosen"),
]
"""Of trials.csv: parameters in which a trial differs from the default as JSON; the validation score
by `metric`, that on test rows, which selects in `oracle_tuned` alone, and the agreement of two
seeds; the protocols that chose it."""
TRIAL_NUMBERS = ("replicate", "trial", "seconds", "value", "test", "stability")
ADDED = {"converged": "unknown", "versions": ""}
"""Columns that files of earlier versions lack, and what they then hold."""
TEXT = ("dataset", "method", "protocol", "feature", "scale", "type", "part")
"""Columns of extracts that hold names."""
MEASURED = ["seconds", "peak_mb", "n_parameters"]
PUBLISHED_CSV = Path(__file__).parent / "artefacts" / "published.csv"
PAPER_DATASETS = ("synthetic", "peerread", "peerread_shift", "movielens", "zeisel")
PAPER_METHODS = ("sparse_vae", "vae", "beta_vae", "oi_vae", "vsc", "nmf")  # its tables' order
PROTOCOLS = ("published", "corrected")
IN_ORDER = (*PROTOCOLS, *SEARCHED)
"""In which protocols are shown."""
SHARED = "shared"  # the tag of a run that all protocols have in common
CELL = ["dataset", "method", "protocol"]
DECLARED = ("resampling", "headline", "class_name", "provides")
"""What a DATASET says of itself that manifests of earlier versions lack."""


class ResultsError(Exception):
    """Result files that cannot be used; the message names the file and what is wrong in it."""


@dataclass
class Results:
    """Scores and runs of a benchmark, with what is known about their datasets and methods.

    `scores` and `runs` are the frames of scores.csv and runs.csv with one row for each protocol
    (a run that two protocols share is listed under both); `trials` is that of trials.csv, empty
    where nothing was searched. `extract` is the artefact's own extract
    or None. Anything that the manifest does not describe goes by its name. `remembered` holds what
    was worked out of them once.
    """

    scores: pd.DataFrame
    runs: pd.DataFrame
    manifest: dict[str, Any] = field(default_factory=dict)
    published: pd.DataFrame = field(default_factory=lambda: read_published())
    extract: pd.DataFrame | None = None
    trials: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=TRIALS))
    remembered: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Clean text; give numbers their types, which an empty or freshly read frame lacks."""
        self.scores, self.runs = clean_columns(self.scores), clean_columns(self.runs)
        self.manifest = clean_all(self.manifest)
        self.trials = clean_columns(self.trials)
        self.trials = self.trials.assign(
            **{c: pd.to_numeric(self.trials[c], errors="coerce") for c in TRIAL_NUMBERS}
        )
        self.scores = self.scores.assign(
            value=pd.to_numeric(self.scores["value"], errors="coerce").astype(float),
            replicate=pd.to_numeric(self.scores["replicate"]).astype(int),
        )
        self.runs = self.runs.assign(
            replicate=pd.to_numeric(self.runs["replicate"]).astype(int),
            **{c: pd.to_numeric(self.runs[c], errors="coerce").astype(float) for c in MEASURED},
        )

    @cached_property
    def datasets(self) -> dict[str, dict[str, Any]]:
        """Instance name -> {"plugin", "setting", "label", "likelihood", ...}."""
        known = self.manifest.get("datasets", {})
        names = dict.fromkeys([*known, *self.runs["dataset"], *self.scores["dataset"]])
        return {name: _describe(name, known.get(name, {})) for name in names}

    @cached_property
    def methods(self) -> dict[str, dict[str, Any]]:
        """Variant name -> {"label", "control", "plugin", ...}: the paper's first, controls last."""
        known = self.manifest.get("methods", {})
        names = dict.fromkeys([*known, *self.runs["method"], *self.scores["method"]])
        described = {
            name: {"label": name, "control": False, "plugin": name, **known.get(name, {})}
            for name in names
        }

        def order(item: tuple[str, dict[str, Any]]) -> tuple[bool, int]:
            name, about = item
            place = PAPER_METHODS.index(name) if name in PAPER_METHODS else len(PAPER_METHODS)
            return bool(about["control"]), place

        return dict(sorted(described.items(), key=order))

    @cached_property
    def labels(self) -> dict[str, str]:
        """Variant name -> label for people."""
        return distinct({name: method["label"] for name, method in self.methods.items()})

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Name of a value -> metadata of its metric, its own label, and the metric's `plugin`."""
        described = {}
        for plugin, about in self.manifest.get("metrics", {}).items():
            for name, label in about.get("values", {plugin: about.get("label", plugin)}).items():
                described[name] = {"direction": None, **about, "plugin": plugin}
                described[name] |= {"template": label, "label": _filled(label, CLASSES)}
        for name in self.scores["metric"].unique():
            described.setdefault(name, {"label": name, "direction": None, "plugin": name})
        return described

    @cached_property
    def protocols(self) -> list[str]:
        """Protocols present, `published` and `corrected` first."""
        present = {*self.runs["protocol"], *self.scores["protocol"]}
        return [p for p in IN_ORDER if p in present] + sorted(present - {*IN_ORDER})

    @cached_property
    def shown(self) -> list[str]:
        """Protocols present as a page shows them: `corrected` first, `published`, then searches."""
        fixed = fixed_protocols(self.protocols)
        return [*reversed(fixed), *(p for p in self.protocols if p not in fixed)]

    @cached_property
    def counts(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """(dataset, method, protocol) -> number of runs, number of those that failed."""
        failed = (self.runs["status"] != Status.DONE).astype(int)
        return {
            key: (len(part), int(part["failed"].sum()))
            for key, part in groups(self.runs.assign(failed=failed), CELL)
        }

    @cached_property
    def converged(self) -> dict[tuple[str, str, str], list[str]]:
        """(dataset, method, protocol) -> the column `converged` of the finished runs."""
        done = self.runs[self.runs["status"] == Status.DONE]
        return {key: list(part["converged"].astype(str)) for key, part in groups(done, CELL)}

    @cached_property
    def values(self) -> dict[tuple[str, str, str, str], pd.Series]:
        """(dataset, method, protocol, metric) -> finite values, indexed by replicate."""
        finite = self.scores[np.isfinite(self.scores["value"])]
        value, replicate = (finite[column].to_numpy() for column in ("value", "replicate"))
        rows = finite.groupby([*CELL, "metric"], sort=False).indices
        return {key: pd.Series(value[at], index=replicate[at]) for key, at in rows.items()}

    @cached_property
    def present(self) -> dict[str, set[tuple[str, str]]]:
        """Dataset instance -> (method, protocol) pairs that have runs or scores."""
        both = pd.concat([frame[CELL].drop_duplicates() for frame in (self.runs, self.scores)])
        found: dict[str, set[tuple[str, str]]] = {}
        for dataset, method, protocol in both.itertuples(index=False, name=None):
            found.setdefault(dataset, set()).add((method, protocol))
        return found

    @cached_property
    def metric_failures(self) -> dict[tuple[str, str, str, str], int]:
        """(dataset, method, protocol, metric plugin) -> finished runs on which it failed."""
        failures: dict[tuple[str, str, str, str], int] = {}
        for row in self.manifest.get("metric_failures", []):
            shared = row["protocol"] == SHARED
            for protocol in PROTOCOLS if shared else [row["protocol"]]:
                key = (row["dataset"], row["method"], protocol, row["metric"])
                failures[key] = failures.get(key, 0) + 1
        return failures

    @cached_property
    def _paper(self) -> dict[tuple[str, ...], tuple[float, float]]:
        keys = ["dataset", "setting", "method", "metric"]
        return {
            tuple(row[k] for k in keys): (row["mean"], row["sd"])
            for row in self.published.to_dict("records")
        }

    def instances(self, plugin: str) -> list[str]:
        """Names of the dataset instances of a plugin that have runs or scores."""
        return [n for n, d in self.datasets.items() if d["plugin"] == plugin and n in self.present]

    def namesakes(self, plugin: str) -> list[str]:
        """Names of the instances of the dataset that bears a plugin's name: the paper's.

        A configuration may have others of the plugin, with settings of their own; all where none
        bears its name.
        """
        every = self.instances(plugin)
        settings = {name: self.about(name)["setting"] for name in every}
        own = [n for n in every if n == (f"{plugin}_{settings[n]}" if settings[n] else plugin)]
        return own or every

    def about(self, dataset: str) -> dict[str, Any]:
        """What is known of an instance, run or not; the rest is guessed from its name."""
        return self.datasets.get(dataset) or _describe(dataset, {})

    def title(self, dataset: str) -> str:
        """Label of an instance for people, with its setting."""
        about = self.about(dataset)
        return ", ".join(text for text in (about["label"], about["setting"]) if text)

    def is_control(self, method: str, protocol: str) -> bool:
        """Whether runs bound what a competitor could reach, and are in no ranking.

        Those of methods that are controls, and all whose parameters the test rows chose.
        """
        return protocol == ORACLE_TUNED or bool(self.methods.get(method, {}).get("control", False))

    def is_quirk(self, method: str) -> bool:
        """Whether a variant differs from its base in one quirk, to measure that quirk."""
        return bool(self.methods[method].get("quirk"))

    def direction(self, metric: str) -> str | None:
        """Return "min", "max" or None."""
        return self.metrics.get(metric, {}).get("direction")

    def measured(self, dataset: str, method: str, protocol: str, metric: str) -> np.ndarray:
        """The finite values over replicates (n,), with n = 0 where there are none."""
        values = self.values.get((dataset, method, protocol, metric))
        return np.empty(0) if values is None else values.to_numpy()

    def label(self, metric: str, dataset: str) -> str:
        """Label of a metric on a dataset, whose classes go by their own name."""
        about = self.metrics.get(metric, {})
        text = about.get("template", about.get("label", metric))
        return _filled(text, self.about(dataset).get("class_name") or CLASSES)

    def series(self, dataset: str, method: str, protocol: str, metric: str) -> pd.Series:
        """The finite values by replicate; an empty series where there are none."""
        values = self.values.get((dataset, method, protocol, metric))
        return pd.Series(dtype=float) if values is None else values

    def distinct_runs(self, datasets: set[str], methods: set[str]) -> int:
        """Number of runs of some datasets and methods; one that protocols share counts once."""
        chosen = self.runs["dataset"].isin(datasets) & self.runs["method"].isin(methods)
        keys = ["dataset", "method", "replicate", "digest"]
        return len(self.runs[chosen].drop_duplicates(keys))

    def failed(self, dataset: str, method: str, protocol: str, metric: str) -> int:
        """Runs that did not finish, and finished ones on which the metric failed."""
        key = (dataset, method, protocol)
        plugin = self.metrics.get(metric, {}).get("plugin", metric)
        lost = self.counts.get(key, (0, 0))[1]
        return lost + self.metric_failures.get((*key, plugin), 0)

    def paper(self, dataset: str, method: str, metric: str) -> tuple[float, float]:
        """The paper's mean and sd for an instance, or (nan, nan)."""
        about = self.about(dataset)
        return self._paper.get((about["plugin"], about["setting"], method, metric), NOTHING)


NOTHING = (float("nan"), float("nan"))
CLASSES = "Label"
"""What classes are called where a dataset does not say."""


def _filled(template: str, classes: str) -> str:
    """A metric's label with the name of the classes that it is about."""
    return template.replace("{classes}", classes[:1].upper() + classes[1:])


def groups(frame: pd.DataFrame, by: Any) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield (key, rows) of a frame grouped by columns, in order of appearance."""
    yield from frame.groupby(by, sort=False)


def each(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows of a frame as named tuples."""
    yield from frame.itertuples()


def load_results(
    scores_csv: str | Path,
    runs_csv: str | Path,
    manifest_json: str | Path,
    extract_csv: str | Path | None = None,
) -> Results:
    """Read the results of a run. An extract that is named but not there counts as none.

    A table that is not there may be there compressed, as scores.csv.gz.

    Raises ResultsError for a missing file or column.
    """
    scores = _read(scores_csv, SCORES)
    runs = _read(runs_csv, [name for name in RUNS if name not in ADDED])
    for name, unknown in ADDED.items():
        if name not in runs:
            runs.insert(RUNS.index(name), name, unknown)
    named = [p for p in dict.fromkeys(runs["protocol"]) if p not in (SHARED, *SEARCHED)]
    protocols = named or list(PROTOCOLS)
    return Results(
        scores=spread(scores, protocols),
        runs=spread(runs, protocols),
        manifest=_read_json(Path(manifest_json)),
        extract=None if extract_csv is None else read_extract(extract_csv, protocols),
        trials=_read_trials(stored(Path(scores_csv).with_name(TRIALS_FILE))),
    )


def _read_trials(path: Path) -> pd.DataFrame:
    """The trials beside the scores of a run; none where there is no such file."""
    return _read(path, TRIALS) if path.is_file() else pd.DataFrame(columns=TRIALS)


def read_extract(path: str | Path, protocols: list[str]) -> pd.DataFrame | None:
    """Read an artefact's extract, or return None where there is none."""
    if not Path(path).is_file():
        return None
    frame = pd.read_csv(
        path,
        keep_default_na=False,
        na_values={column: [] if column in TEXT else [""] for column in _header(path)},
        dtype=dict.fromkeys(TEXT, str),  # a feature may be called 007 or NA
        float_precision="round_trip",
    )
    return spread(clean_columns(frame), protocols)


def _header(path: str | Path) -> list[str]:
    """Names of the columns of a CSV file."""
    return [str(name) for name in pd.read_csv(path, nrows=0).columns]


def read_published(path: Path = PUBLISHED_CSV) -> pd.DataFrame:
    """The paper's numbers: artefact, dataset, setting, method, metric, mean, sd."""
    frame = pd.read_csv(path, keep_default_na=False)
    for column in ("mean", "sd"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame


def fixed_protocols(protocols: Iterable[str]) -> list[str]:
    """Those of some protocols whose parameters are given: they may share runs, searches do not."""
    return [protocol for protocol in protocols if protocol not in SEARCHED]


def spread(frame: pd.DataFrame, protocols: list[str]) -> pd.DataFrame:
    """Return a frame in which rows that all protocols share stand under each of them.

    A search is a protocol of the datasets that have one: nothing is shared with it unsaid.
    """
    if "protocol" not in frame or not (frame["protocol"] == SHARED).any():
        return frame
    shared = frame["protocol"] == SHARED
    copies = [frame[shared].assign(protocol=p) for p in fixed_protocols(protocols)]
    return pd.concat([frame[~shared], *copies], ignore_index=True)


def with_perplexity(results: Results) -> Results:
    """Return results with perplexity = exp(recon_nll / tokens per row) where a run has none.

    It is the measure to compare where documents differ in length. The metric recon_nll gives it by
    the tokens of the very test rows; for scores without it, the mean row total in the manifest
    stands in.
    """
    known = results.scores[results.scores["metric"] == "perplexity"]
    cells = pd.MultiIndex.from_frame(results.scores[[*CELL, "replicate"]])
    has_it = cells.isin(pd.MultiIndex.from_frame(known[[*CELL, "replicate"]]))
    tokens = results.scores["dataset"].map(
        {name: about.get("tokens_per_row") for name, about in results.datasets.items()}
    )
    tokens = pd.to_numeric(tokens, errors="coerce")
    chosen = (results.scores["metric"] == "recon_nll") & (tokens > 0) & ~has_it
    rows = results.scores[chosen].assign(
        metric="perplexity", value=lambda f: np.exp(f["value"] / tokens[chosen])
    )
    if rows.empty and results.direction("perplexity"):
        return results
    metric = {"label": "Perplexity", "direction": "min", "range": [1, None]}
    manifest = dict(results.manifest)
    manifest["metrics"] = {**manifest.get("metrics", {}), "perplexity": metric}
    scores = results.scores if rows.empty else pd.concat([results.scores, rows], ignore_index=True)
    kept = (results.published, results.extract, results.trials)
    return Results(scores, results.runs, manifest, *kept)


def _describe(name: str, known: dict[str, Any]) -> dict[str, Any]:
    """What is known of an instance; the rest is guessed from its name."""
    plugins = sorted(PAPER_DATASETS, key=len, reverse=True)
    plugin = next((p for p in plugins if name == p or name.startswith(f"{p}_")), name)
    setting = name[len(plugin) + 1 :]
    guess = {"plugin": plugin, "setting": setting, "label": name, "likelihood": None} | known
    own = discover("datasets").get(str(guess["plugin"]))
    declared = own.meta if own is not None else {}
    return {key: declared[key] for key in DECLARED if key in declared} | guess


def stored(path: Path) -> Path:
    """Return the path of a table: as named, or compressed where only that is there."""
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.is_file() and not path.is_file() else path


def _read(path: str | Path, columns: list[str]) -> pd.DataFrame:
    path = stored(Path(path))
    try:
        frame = pd.read_csv(path, keep_default_na=False, dtype=str)
        for column in {"value", "test", "stability", *MEASURED} & set(frame):
            frame[column] = [_number(text) for text in frame[column]]
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file; the step `collect` writes it") from None
    except pd.errors.EmptyDataError:
        raise ResultsError(f"{path}: empty; its first line must be {','.join(columns)}") from None
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ResultsError(f"{path}: no column {', '.join(missing)}")
    return frame


def _number(text: str) -> float:
    """The number that was written; pandas' own parser may miss the last digit."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: no such file; the step `collect` writes it") from None
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path}: not valid JSON: {error}") from None
