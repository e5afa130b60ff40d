"""The step from the store to scores.csv, runs.csv and manifest.json."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from anchorbench.reporting.results import (
    DECLARED,
    RUNS,
    SCORES,
    TRIALS,
    TRIALS_FILE,
    Results,
)
from anchorbench.runs.fit import NO_DATA, describe
from anchorbench.runs.provenance import git_commit, versions
from anchorbench.runs.score import Run, runs_of, wanted
from anchorbench.runs.sealed import read_sealed, write_json
from anchorbench.runs.status import Status
from anchorbench.runs.store import Store
from anchorbench.study.instances import default_latent
from anchorbench.study.jobs import Job, run_digest
from anchorbench.study.plan import Plan
from anchorbench.study.protocols import SEARCHED

# In runs.csv; empty where nothing iterates, or training was too short to say.
CONVERGED = {True: "yes", False: "no", None: ""}
SEARCHED_FOR = "searched"
"""What stands for a parameter that each run of a search chose for itself (trials.csv)."""
PREPARED = ("n_rows", "n_features", "tokens_per_row", "content", "notes")
"""What the manifest says of prepared data."""
ORDER = ("dataset", "method", "protocol", "replicate", "metric")


def groups(plan: Plan, datasets: Iterable[str] | None = None) -> list[list[Job]]:
    """Return the jobs of each (dataset, variant, tag); of some dataset plugins only, if named."""
    chosen = None if datasets is None else set(datasets)
    jobs = [job for job in plan.jobs if chosen is None or job.instance.plugin in chosen]
    return [list(group) for _, group in groupby(jobs, key=lambda job: job.key)]


def gather(plan: Plan, store: Store, datasets: Iterable[str] | None = None) -> Results:
    """Return what the store knows of a plan: scores, runs and their origin.

    A run that several protocols share is listed under each of them. Runs that were never begun are
    left out, so that a run in progress can be looked at.
    """
    of_plan = groups(plan, datasets)
    runs: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    commits: dict[tuple[str, str, str], list[str]] = {}
    for jobs in of_plan:
        records = [
            record
            for job in jobs
            for replicate in job.replicates
            if (record := _record(job, replicate, store, plan)) is not None
        ]
        found = _scores(plan, jobs, records, store, failures)
        commits[jobs[0].key] = sorted({record["git_commit"] for record in records})
        for protocol in jobs[0].protocols:
            runs += [_row(record, protocol) for record in records]
            scores += [{**row, "protocol": protocol} for row in found]
    numbers = {"replicate": int, "value": float, "seconds": float, "peak_mb": float}
    frames = [pd.DataFrame(rows, columns=names) for rows, names in ((scores, SCORES), (runs, RUNS))]
    ordered = [
        frame.astype({key: kind for key, kind in numbers.items() if key in frame})
        .sort_values([key for key in ORDER if key in frame], kind="stable")
        .reset_index(drop=True)
        for frame in frames
    ]
    origin = json.loads(
        json.dumps(manifest(plan, store, of_plan, failures, commits), sort_keys=True)
    )
    return Results(ordered[0], ordered[1], origin, trials=trials(of_plan, store))


def trials(of_plan: Iterable[list[Job]], store: Store) -> pd.DataFrame:
    """Return the trials of all searches, with the protocols that chose them."""
    rows: dict[tuple[str, str, int, int], dict[str, Any]] = {}
    jobs = [job for group in of_plan for job in group if job.tuning is not None]
    for job in jobs:  # `tuned`, whose trials they are, before others of its variant
        for replicate in job.replicates:
            name = run_digest(job, replicate)
            at = (job.instance.name, job.variant.name, replicate)
            for trial in store.trials(name):
                row = rows.setdefault((*at, trial["trial"]), dict(zip(TRIALS, at, strict=False)))
                row["trial"] = trial["trial"]
                if job.tuning is not None and job.tuning.source:  # a second fit
                    row["stability"] = trial.get("stability")
                    continue
                row |= {key: value for key, value in trial.items() if key != "params"}
                row["params"] = json.dumps(trial["params"], sort_keys=True)
            about = (store.record(name) or {}).get("tuning") or {"chosen": -1}
            if (found := rows.get((*at, about["chosen"]))) is not None:
                found["chosen"] = f"{found.get('chosen', '')} {job.tag}".strip()
    frame = pd.DataFrame(list(rows.values()), columns=TRIALS)
    text = ["params", "status", "reason", "metric", "test_metric", "chosen"]
    return frame.astype({"value": float}).fillna(dict.fromkeys(text, ""))


def _record(job: Job, replicate: int, store: Store, plan: Plan) -> dict[str, Any] | None:
    """The record of a run; one that says "failed" where its job ended without any."""
    record = store.record(run_digest(job, replicate))
    if record is None and store.job(job).exists():
        record = {**describe(job, replicate, plan.config), "reason": "left no record"}
    return record


def _row(record: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """What runs.csv says of a record, and no more: there may be very many."""
    installed = {n: v for n, v in record.get("versions", {}).items() if v != "missing"}
    in_words = "; ".join(f"{name} {version}" for name, version in installed.items())
    return {
        **{key: record[key] for key in RUNS if key in record},
        "protocol": protocol,
        "converged": CONVERGED[record.get("converged")],
        "versions": sys.intern(in_words),
    }


def _scores(
    plan: Plan,
    jobs: list[Job],
    records: list[dict[str, Any]],
    store: Store,
    failures: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """The rows of scores.csv of one (dataset, variant, tag), without the protocol."""
    by_digest = {record["digest"]: record for record in records}
    written = read_sealed(store.scores(plan, jobs)) or {"scores": []}
    rows = []
    for score in written["scores"]:
        record = by_digest.get(score["digest"])
        if record is None:
            continue
        where = {key: record[key] for key in ("dataset", "method", "replicate")}
        if score["status"] != Status.DONE:
            others = [p for p in jobs[0].protocols if p in SEARCHED and p != record["protocol"]]
            for protocol in (record["protocol"], *others):
                about = {"metric": score["metric"], "protocol": protocol}
                failures.append({**where, **about, "reason": score["reason"]})
            continue
        rows += [
            {**where, "metric": name, "value": value} for name, value in score["values"].items()
        ]
    return rows


def _one_of(by_tag: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A dataset's description: that of its first tag, and how those of others differ from it."""
    first, *others = by_tag.items()
    differing = {
        tag: {key: value for key, value in about.items() if value != first[1][key]}
        for tag, about in others
    }
    return first[1] | ({"by_protocol": {first[0]: {}, **differing}} if differing else {})


def manifest(
    plan: Plan,
    store: Store,
    of_plan: list[list[Job]],
    failures: list[dict[str, Any]],
    commits: Mapping[tuple[str, str, str], list[str]],
) -> dict[str, Any]:
    """Return where the numbers come from: sources, settings, versions, code, configuration.

    commits : by the key of a job, those of the code that its runs were made with."""
    datasets: dict[str, dict[str, dict[str, Any]]] = {}
    sources: dict[str, Any] = {}
    settings: list[Any] = []
    for jobs in of_plan:
        instance, variant = jobs[0].instance, jobs[0].variant
        meta = store.meta(instance.data_key) or {}
        sources.update({n: _anywhere(source) for n, source in meta.get("sources", {}).items()})
        by_tag = datasets.setdefault(instance.name, {})
        by_tag[instance.tag] = {
            "plugin": instance.plugin,
            "setting": instance.setting,
            "label": instance.label,
            "likelihood": instance.likelihood,
            "n_latent": instance.n_latent or (meta and default_latent(meta["n_features"])) or None,
            "params": instance.params,
            "splits": instance.splits,
            **{key: getattr(instance, key) for key in DECLARED},
            "data": instance.data_key,
            **{key: meta.get(key) for key in PREPARED},
        }
        for protocol in jobs[0].protocols:
            cell = {"dataset": instance.name, "method": variant.name, "protocol": protocol}
            settings.append({**cell, "params": _settings(jobs[0]), "commits": commits[jobs[0].key]})
    return {
        "datasets": {name: _one_of(by_tag) for name, by_tag in datasets.items()},
        "methods": {
            name: {
                "label": variant.label,
                "plugin": variant.plugin.name,
                "control": bool(variant.plugin.meta.get("control", False)),
                "cite": variant.plugin.meta.get("cite", ""),
                "quirk": variant.quirk,
            }
            for name, variant in plan.variants.items()
        },
        "metrics": {name: plugin.meta for name, plugin in plan.metrics.items()},
        "settings": settings,
        "sources": sources,
        "metric_failures": failures,
        "versions": versions(),
        "git_commit": git_commit(),
        "config": {
            **plan.config,
            "sources": {n: _anywhere(source) for n, source in plan.config["sources"].items()},
        },
    }


def _settings(job: Job) -> dict[str, Any]:
    """The parameters of a job's runs; each run of a search has its own."""
    trials = [] if job.tuning is None else job.tuning.trials
    return job.params | {name: SEARCHED_FOR for trial in trials for name in trial}


def _anywhere(source: dict[str, Any]) -> dict[str, Any]:
    """A source without the folder of a local file, which means nothing on another machine."""
    url = source["url"]
    return source if "://" in url else {**source, "url": Path(url).name}


def write(results: Results, folder: Path) -> None:
    """Write scores.csv, runs.csv and manifest.json."""
    folder.mkdir(parents=True, exist_ok=True)
    results.scores.to_csv(folder / "scores.csv", index=False)
    results.runs.to_csv(folder / "runs.csv", index=False)
    results.trials.to_csv(folder / TRIALS_FILE, index=False)
    write_json(folder / "manifest.json", results.manifest)


def extract(plan: Plan, store: Store, datasets: Sequence[str] | None) -> Iterable[Run]:
    """Yield the finished runs of some dataset plugins, one (dataset, variant, tag) at a time."""
    for jobs in groups(plan, datasets):
        if store.meta(jobs[0].instance.data_key) is not None:
            yield from runs_of(jobs, store)


def problems(plan: Plan, store: Store, results: Results) -> list[str]:
    """Return one line for each run or number of a plan that failed or is not there.

    Runs that failed for want of their data share one line a dataset.
    """
    lines: list[str] = []
    without: Counter[tuple[str, str]] = Counter()
    for jobs in groups(plan):
        for job in jobs:
            for replicate in job.replicates:
                name = run_digest(job, replicate)
                reason = store.wrong_with(name)
                if NO_DATA in reason:
                    without[job.instance.name, reason] += 1
                elif reason:
                    about = f"failed: {reason}" if store.record(name) is None else reason
                    lines.append(f"{' '.join(job.key)} replicate {replicate}: {about}")
        written = read_sealed(store.scores(plan, jobs)) or {"scores": []}
        scored = {(row["digest"], row["metric"]): row for row in written["scores"]}
        for run, metric in wanted(plan, jobs, store):
            row = scored.get((run.record["digest"], metric.name))
            if row is None or row["status"] != Status.DONE:
                reason = "not there" if row is None else row["reason"]
                replicate = run.record["replicate"]
                lines.append(
                    f"metric {metric.name} on {' '.join(jobs[0].key)} replicate {replicate}: "
                    f"{reason}"
                )
    lines += [f"{name}: {reason} ({n} runs)" for (name, reason), n in without.items()]
    found = gather(plan, store)
    for name, mine, theirs in (
        ("scores.csv", found.scores, results.scores),
        ("runs.csv", found.runs, results.runs),
    ):
        if len(mine) != len(theirs):
            lines.append(f"{name} has {len(theirs)} rows, the store {len(mine)}")
    return lines
