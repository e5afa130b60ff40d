"""The command line: one sub-command for each arrow of the data flow.

Libraries that are slow to load are imported by the sub-command that needs them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anchorbench.runs.status import Status, is_plain
from anchorbench.study import config as configuration
from anchorbench.study import plan as planning
from anchorbench.study.config import ConfigError
from anchorbench.study.plan import Job, Plan
from anchorbench.study.plugins import suggest

REFERENCE = Path("results/reference")
LONG_AGO = 315_532_800  # 1980, the oldest date that zip files know


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; return the exit code. Errors a user can mend come without traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    own, others = arguments, []
    if arguments[:1] == ["run"] and not {"-h", "--help"} & set(arguments[1:2]):
        own, others = arguments[:1], arguments[1:]  # they are Snakemake's
    options = _parser().parse_args(own)
    options.others = others
    try:
        return int(options.run(options) or 0)
    except Exception as error:
        if not is_plain(error):
            raise
        print(f"anchorbench: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anchorbench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="STEP")

    def add(
        name: str, run: Callable[[Any], Any], text: str, *options: str
    ) -> argparse.ArgumentParser:
        step = commands.add_parser(name, help=text, description=text)
        step.add_argument("--configfile", nargs="+", default=None, metavar="FILE")
        step.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE")
        step.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER")
        for option in options:
            step.add_argument(f"--{option}", required=True)
        step.set_defaults(run=run)
        return step

    start = commands.add_parser("init", help="write a study of your own into a new folder")
    start.add_argument("folder", type=Path, metavar="FOLDER")
    start.set_defaults(run=_init)
    text = "run a study: Snakemake with the working folder's configuration"
    run = commands.add_parser("run", help=text, description=f"{text}. Arguments are Snakemake's.")
    run.set_defaults(run=_run)
    cell = ("dataset", "method", "protocol")
    add("plan", _plan, "list the jobs that a configuration asks for")
    prepare = add("prepare", _prepare, "download, check and prepare one dataset", "dataset")
    prepare.add_argument("--protocol", default=None)
    prepare.add_argument("--status", type=Path, help="record here how it went, and exit with 0")
    fit = add("fit", _fit, "train one block of replicates", *cell)
    fit.add_argument("--block", metavar="0-24", help="default: all blocks")
    score = add("score", _score, "compute the metrics of one method on one dataset", *cell)
    for step in (fit, score):
        step.add_argument("--recipe", help="refuse to work if code or settings led elsewhere")
    why = add("why", _why, "say why two runs have different digests")
    about = "a digest or its beginning, or dataset/method/protocol/replicate"
    why.add_argument("runs", nargs=2, metavar="RUN", help=about)
    add("collect", _collect, "write scores.csv, runs.csv, manifest.json and factors/")
    for kind in ("table", "figure"):
        add(kind, _artefact, f"make one {kind} from the store").add_argument("name")
    page = add("report", _report, "write report.html from what is in the results folder")
    page.add_argument("--title", default="", help="default: the names of the configuration's files")
    add("gate", _gate, "fail if any run or metric failed")
    rebuild = add("rebuild", _rebuild, "make every table and figure from collected scores")
    rebuild.add_argument("--source", type=Path, default=REFERENCE, metavar="FOLDER")
    publish = add("publish", _publish, "add the runs of the store to a committed reference")
    publish.add_argument("--target", type=Path, default=REFERENCE, metavar="FOLDER")
    text = "pack configuration and prepared data for fits on another machine"
    add("pack", _pack, text).add_argument("folder", type=Path, metavar="FOLDER")
    every = add("fit-all", _fit_all, "train all that the store lacks, in one process")
    every.add_argument("--pack", type=Path, metavar="FOLDER", help="what pack wrote; its store")
    every.add_argument("--device", help="auto, cpu, cuda, cuda:1; default: the configuration's")
    every.add_argument(
        "--only", nargs="+", default=[], metavar="DATASET/METHOD/PROTOCOL", help="* for any"
    )
    text = "take over the runs of another store, such as a pack's"
    add("merge", _merge, text).add_argument("folder", type=Path, metavar="FOLDER")
    add("_fit", _work_fit, "worker of fit", *cell, "replicates")
    add("_score", _work_score, "worker of score", *cell, "tasks")
    return parser


def _load(options: argparse.Namespace) -> Plan:
    for item in options.config:
        if "=" not in item:
            raise ConfigError(f"--config {item}: give key=value, e.g. --config seed=1")
    overrides = dict(item.split("=", 1) for item in options.config)
    return planning.make(configuration.load(_config_files(options), overrides))


def _config_files(options: argparse.Namespace) -> list[str]:
    return options.configfile or configuration.default_files()


def _config_args(options: argparse.Namespace) -> list[str]:
    """The command line by which a worker finds the same configuration and results."""
    config = ["--config", *options.config] if options.config else []
    return ["--configfile", *_config_files(options), *config, "--results", str(options.results)]


def _store(options: argparse.Namespace) -> Any:
    from anchorbench.runs.store import Store

    return Store(options.results / "store")


def _jobs(plan: Plan, options: argparse.Namespace) -> list[Job]:
    return plan.find(options.dataset, options.method, options.protocol)


def _init(options: argparse.Namespace) -> None:
    import shlex

    from anchorbench.study import folder

    for path in folder.init(options.folder):
        print(path)
    print(f"Drop a method into {options.folder / 'methods'}, then:")
    print(f"  cd {shlex.quote(str(options.folder))}; anchorbench run")


def _run(options: argparse.Namespace) -> int:
    import signal
    import subprocess

    from anchorbench.study import folder

    arguments = folder.snakemake_arguments(options.others)
    with subprocess.Popen([sys.executable, "-m", "snakemake", *arguments]) as child:
        # An interrupt reaches the child as well, which ends its jobs first.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return child.wait()


def _plan(options: argparse.Namespace) -> None:
    for job in _load(options).jobs:
        print(*job.key, f"replicates {job.replicates_name}", job.recipe)


def _why(options: argparse.Namespace) -> None:
    from anchorbench.runs import why

    plan, store = _load(options), _store(options)
    for line in why.differences(*(why.find(name, store, plan) for name in options.runs)):
        print(line)


def _prepare(options: argparse.Namespace) -> None:
    import traceback

    from anchorbench.runs.prepare import prepare
    from anchorbench.runs.store import write_json

    plan = _load(options)
    instances = [
        instance
        for (name, tag), instance in plan.instances.items()
        if name == options.dataset and options.protocol in (None, tag)
    ]
    if not instances:
        names = dict.fromkeys(name for name, _ in plan.instances)
        hint = suggest(options.dataset, names)
        raise ConfigError(f"no dataset {options.dataset!r} in the configuration; {hint}")
    for instance in instances:
        try:
            print(prepare(instance, _store(options)))
        except Exception as error:
            if options.status is None:
                raise
            print(
                f"anchorbench: {error}" if is_plain(error) else traceback.format_exc(),
                file=sys.stderr,
            )
            write_json(options.status, {"status": Status.FAILED, "reason": str(error)})
        else:
            if options.status is not None:
                write_json(options.status, {"status": Status.DONE, "reason": ""})


def _fit(options: argparse.Namespace) -> None:
    from anchorbench.runs.fit import fit

    plan = _load(options)
    blocks = {job.replicates_name: job for job in _jobs(plan, options)}
    if options.block not in {None, *blocks}:
        raise ConfigError(
            f"--block {options.block}: {options.method} on {options.dataset} has the blocks "
            f"{', '.join(blocks)}"
        )
    for name, job in blocks.items():
        if options.block in (None, name):
            _check_recipe(options, job.recipe)
            fit(job, _store(options), plan.config, _config_args(options))


def _score(options: argparse.Namespace) -> None:
    from anchorbench.runs.score import score

    plan = _load(options)
    jobs = _jobs(plan, options)
    _check_recipe(options, plan.score_digest(jobs))
    score(plan, jobs, _store(options), _config_args(options))


def _check_recipe(options: argparse.Namespace, recipe: str) -> None:
    if options.recipe not in (None, recipe):
        raise ConfigError(
            f"{options.method} on {options.dataset}: code, data or settings changed since this "
            "workflow began; what is finished stays finished: call it again"
        )


def _collect(options: argparse.Namespace) -> None:
    from anchorbench.reporting import collect, factors

    plan, store = _load(options), _store(options)
    collect.write(collect.gather(plan, store), options.results)
    factors.write(plan, store, options.results)


def _artefact(options: argparse.Namespace) -> None:
    from anchorbench.reporting import catalogue, collect
    from anchorbench.reporting.results import read_extract

    plan, store, name = _load(options), _store(options), options.name
    known = catalogue.discover()
    if name not in known:
        raise ConfigError(f"no artefact {name!r}; {suggest(name, known)}")
    datasets = known[name].get("datasets")
    results = collect.gather(plan, store, datasets)
    if known[name].get("extract"):
        frame = catalogue.extract(name, collect.extract(plan, store, datasets))
        path = options.results / "extracts" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path, index=False)
        results.extract = read_extract(path, results.protocols)
    catalogue.build(name, results, options.results)


def _report(options: argparse.Namespace) -> None:
    from anchorbench.reporting import report

    print(report.write(options.results, options.title, options.configfile or _named_files()))


def _named_files() -> list[str]:
    """The configuration of the working folder; none where it has none, which a report can do."""
    try:
        return configuration.default_files()
    except ConfigError:
        return []


def _gate(options: argparse.Namespace) -> int:
    from anchorbench.reporting.collect import problems

    lines = problems(options.results)
    for line in lines:
        print(line, file=sys.stderr)
    if lines:
        print(
            f"{len(lines)} failures, listed above and in {options.results}/report.html; "
            "everything else is done. Failed runs are tried again at the next call.",
            file=sys.stderr,
        )
    return 1 if lines else 0


def _rebuild(options: argparse.Namespace) -> None:
    """Make every artefact and the report from collected files; nothing is trained or downloaded.

    In another folder than the source, all get an old date, so that a run there makes its own.
    """
    import os

    from anchorbench.reporting import catalogue, report
    from anchorbench.reporting.results import load_results, read_extract

    source, out = options.source, options.results
    out.mkdir(parents=True, exist_ok=True)
    scores, runs, manifest = (source / n for n in ("scores.csv", "runs.csv", "manifest.json"))
    results = load_results(scores, runs, manifest)
    made = []
    for name in catalogue.discover():
        results.extract = read_extract(source / "extracts" / f"{name}.csv", results.protocols)
        made += catalogue.build(name, results, out)
    if source != out:
        made += [_copy(path, out) for path in (scores, runs, manifest)]
    named = ("Reference run", [configuration.PAPER]) if source == REFERENCE else (str(source), [])
    made.append(report.write(out, *named, source))
    for path in made:
        print(path)
        if source != out:
            os.utime(path, (LONG_AGO, LONG_AGO))


def _copy(path: Path, folder: Path) -> Path:
    """Copy a file into a folder, uncompressed."""
    import gzip

    from anchorbench.reporting.results import stored

    source, target = stored(path), folder / path.name
    content = source.read_bytes()
    target.write_bytes(gzip.decompress(content) if source.suffix == ".gz" else content)
    return target


def _publish(options: argparse.Namespace) -> None:
    from anchorbench.reporting import catalogue, collect
    from anchorbench.reporting.publish import publish

    plan, store = _load(options), _store(options)
    extracts = {
        name: catalogue.extract(name, collect.extract(plan, store, about.get("datasets")))
        for name, about in catalogue.discover().items()
        if about.get("extract")
    }
    for path in publish(collect.gather(plan, store), extracts, options.target):
        print(path)


def _pack(options: argparse.Namespace) -> None:
    from anchorbench.runs import elsewhere

    print(elsewhere.pack(_load(options), _store(options), options.folder))


def _fit_all(options: argparse.Namespace) -> int:
    from anchorbench.runs import elsewhere
    from anchorbench.runs.store import Store

    if options.pack is None:
        plan, store = _load(options), _store(options)
    else:
        plan = planning.make(elsewhere.unpack(options.pack))
        store = Store(options.pack / "store")
    if options.device:
        plan.config["device"] = options.device
    made, failed = elsewhere.fit_all(plan, store, options.only)
    print(f"{made} runs trained, {failed} of them failed", file=sys.stderr)
    return 1 if failed else 0


def _merge(options: argparse.Namespace) -> int:
    from anchorbench.runs import elsewhere

    found = elsewhere.merge(options.folder, _store(options))
    print(elsewhere.summary(found))
    return 1 if found["refused"] else 0


def _work_fit(options: argparse.Namespace) -> None:
    from anchorbench.runs.fit import work

    plan = _load(options)
    replicates = [int(r) for r in options.replicates.split(",")]
    for job in _jobs(plan, options):
        chosen = [r for r in replicates if r in job.replicates]
        if chosen:
            work(job, chosen, _store(options), plan.config)


def _work_score(options: argparse.Namespace) -> None:
    from anchorbench.runs.score import work

    plan = _load(options)
    work(plan, _jobs(plan, options), _store(options), options.tasks.split(","))
