"""The command line: one sub-command for each arrow of the data flow.

Libraries that are slow to load are imported by the sub-command that needs them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anchorbench.runs.processes import die_with
from anchorbench.runs.status import Status, is_plain
from anchorbench.study import config as configuration
from anchorbench.study import plan as planning
from anchorbench.study.config import ConfigError
from anchorbench.study.digest import digest
from anchorbench.study.hints import suggest
from anchorbench.study.jobs import Job
from anchorbench.study.plan import Plan

REFERENCE = Path("results/reference")
Add = Callable[..., argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; return the exit code. Errors a user can mend come without traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    own, others = arguments, []
    if arguments[:1] == ["run"] and not {"-h", "--help"} & set(arguments[1:2]):
        own, others = arguments[:1], arguments[1:]  # they are Snakemake's
    options = _parser().parse_args(own)
    options.others = others
    try:
        code = int(options.run(options) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `anchorbench plan | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("anchorbench: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
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
        text = "take configuration and store from what pack wrote"
        step.add_argument("--pack", type=Path, metavar="FOLDER", help=text)
        for option in options:
            step.add_argument(f"--{option}", required=True)
        step.set_defaults(run=run)
        return step

    _study_commands(commands)
    _step_commands(add)
    _store_commands(add)
    return parser


def _study_commands(commands: Any) -> None:
    """Commands of a study: one to begin it, one to run it."""
    start = commands.add_parser("init", help="write a study of your own into a new folder")
    start.add_argument("folder", type=Path, metavar="FOLDER")
    start.set_defaults(run=_init)
    text = "run a study: Snakemake with the working folder's configuration"
    run = commands.add_parser("run", help=text, description=f"{text}. Arguments are Snakemake's.")
    run.set_defaults(run=_run)


def _step_commands(add: Add) -> None:
    """Commands that the workflow's rules call, and their workers."""
    cell = ("dataset", "method", "protocol")
    add("plan", _plan, "list the jobs that a configuration asks for")
    prepare = add("prepare", _prepare, "download, check and prepare one dataset", "dataset")
    prepare.add_argument("--protocol", default=None)
    text = "make the environments that methods name, where the network is"
    add("environments", _environments, text)
    fit = add("fit", _fit, "train one block of replicates", *cell)
    fit.add_argument("--block", metavar="0-24", help="default: all blocks")
    score = add("score", _score, "compute the metrics of one method on one dataset", *cell)
    for step in (prepare, fit, score):
        text = "exit with 0 whatever failed: it is recorded, and the gate counts it"
        step.add_argument("--go-on", action="store_true", help=text)
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
    text = "publish what collect wrote there, on another machine perhaps, not the store's runs"
    publish.add_argument("--collected", type=Path, metavar="FOLDER", help=text)
    add("_prepare", _work_prepare, "worker of prepare", "dataset", "protocol")
    worker = add("_fit", _work_fit, "worker of fit", *cell, "replicates")
    worker.add_argument("--checked", type=Path, help="a configuration, merged and checked")
    add("_score", _work_score, "worker of score", *cell, "tasks")


def _store_commands(add: Add) -> None:
    """Commands that look after the store, and take it to other machines and back."""
    fsck = add("fsck", _fsck, "say what in the store is damaged, missing, orphaned or stale")
    text = "set aside what is damaged or orphaned: the next call makes it again"
    fsck.add_argument("--repair", action="store_true", help=text)
    gc = add("gc", _gc, "delete runs and data that no given configuration asks for")
    text = "another configuration whose runs are kept"
    gc.add_argument("--keep", action="append", default=[], metavar="FILE", help=text)
    gc.add_argument("--yes", action="store_true", help="delete; without it, say only what")
    text = "pack configuration and prepared data for fits on another machine"
    add("pack", _pack, text).add_argument("folder", type=Path, metavar="FOLDER")
    every = add("fit-all", _fit_all, "train all that the store lacks, in one process")
    every.add_argument("--device", help="auto, cpu, cuda, cuda:1; default: the configuration's")
    scores = add("score-all", _score_all, "score all that the store holds, without a guard")
    scores.add_argument("--processes", type=int, default=1, metavar="N")
    for step in (every, scores):
        text = "* for any; default: everything"
        step.add_argument("--only", nargs="+", default=[], metavar="A/B/C", help=text)
    text = "take over the runs of another store, such as a pack's"
    add("merge", _merge, text).add_argument("folder", type=Path, metavar="FOLDER")


def _load(options: argparse.Namespace) -> Plan:
    if getattr(options, "checked", None):  # read with the standard library alone
        return planning.make(json.loads(options.checked.read_text(encoding="utf-8")))
    if options.pack is not None:
        from anchorbench.runs import elsewhere

        return planning.make(elsewhere.unpack(options.pack))
    for item in options.config:
        if "=" not in item:
            raise ConfigError(f"--config {item}: give key=value, e.g. --config seed=1")
    overrides = dict(item.split("=", 1) for item in options.config)
    config = configuration.load(_config_files(options), overrides)
    for file in map(Path, _config_files(options)):
        if file.parent == options.results / "store" / "configs" and file.stem != digest(config):
            raise ConfigError(f"{file} is not what the workflow wrote there: call it again")
    return planning.make(config)


def _config_files(options: argparse.Namespace) -> list[str]:
    return options.configfile or configuration.default_files()


def _config_args(options: argparse.Namespace) -> list[str]:
    """The command line by which a worker finds the same configuration and results."""
    config = ["--config", *options.config] if options.config else []
    return ["--configfile", *_config_files(options), *config, "--results", str(options.results)]


def _store(options: argparse.Namespace) -> Any:
    from anchorbench.runs.store import Store

    return Store((options.pack or options.results) / "store")


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
    import subprocess

    from anchorbench.study import folder

    for file in folder.config_files(options.others):  # of these Snakemake has tracebacks only
        configuration.read(Path(file))
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


def _prepare(options: argparse.Namespace) -> int:
    from anchorbench.runs.prepare import prepare

    plan, store, failed = _load(options), _store(options), 0
    for instance in plan.data(options.dataset, options.protocol):
        ended = prepare(instance, store, plan.config, _config_args(options))
        if ended.status == Status.DONE:
            print(store.data(instance.data_key))
        else:
            failed = 2
            print(f"anchorbench: {ended.reason}", file=sys.stderr)
    return 0 if options.go_on else failed


def _environments(options: argparse.Namespace) -> int:
    from anchorbench.runs import environments

    failed = 0
    named = (job.environment for job in _load(options).jobs)
    for found in dict.fromkeys(environment for environment in named if environment is not None):
        try:
            print(environments.python_of(found, _store(options)))
        except environments.EnvironmentFailed as error:
            failed = 1
            print(f"anchorbench: {found}: {error}", file=sys.stderr)
    return failed


def _fit(options: argparse.Namespace) -> int:
    from anchorbench.runs.fit import fit

    plan, done = _load(options), True
    blocks = {job.replicates_name: job for job in _jobs(plan, options)}
    if options.block not in {None, *blocks}:
        raise ConfigError(
            f"--block {options.block}: {options.method} on {options.dataset} has the blocks "
            f"{', '.join(blocks)}"
        )
    for name, job in blocks.items():
        if options.block in (None, name):
            _check_recipe(options, job.recipe)
            _check_data(job, options)
            done &= fit(job, _store(options), plan.config, _config_args(options))
    return 0 if done or options.go_on else 1


def _check_data(job: Job, options: argparse.Namespace) -> None:
    """Raise ConfigError where nobody prepared the data of a job yet."""
    key = job.instance.data_key
    if not _store(options).data_status(key).exists():
        files = " ".join(_config_files(options))
        raise ConfigError(
            f"{job.instance.name} was not prepared: "
            f"anchorbench prepare --dataset {job.instance.name} --configfile {files}"
        )


def _score(options: argparse.Namespace) -> int:
    from anchorbench.runs.score import score

    plan = _load(options)
    jobs = _jobs(plan, options)
    _check_recipe(options, plan.score_digest(jobs))
    done = score(plan, jobs, _store(options), _config_args(options))
    return 0 if done or options.go_on else 1


def _check_recipe(options: argparse.Namespace, recipe: str) -> None:
    if options.recipe not in (None, recipe):
        raise ConfigError(
            f"{options.method} on {options.dataset}: code, data or settings changed since this "
            "workflow began; what is finished stays finished: call it again"
        )


def _collect(options: argparse.Namespace) -> None:
    from anchorbench.reporting import collect, factors
    from anchorbench.reporting.outputs import COLLECTED, Outputs

    plan, store = _load(options), _store(options)
    collect.write(collect.gather(plan, store), options.results)
    factors.write(plan, store, options.results)
    Outputs(plan, store, options.results).stamp(COLLECTED)


def _artefact(options: argparse.Namespace) -> None:
    from anchorbench.reporting import catalogue, collect
    from anchorbench.reporting.outputs import Outputs
    from anchorbench.reporting.results import read_extract

    plan, store, name = _load(options), _store(options), options.name
    known = catalogue.discover()
    if name not in known:
        raise ConfigError(f"no artefact {name!r}; {suggest(name, known)}")
    datasets = known[name].get("datasets")

    def make() -> None:
        results = collect.gather(plan, store, datasets)
        if known[name].get("extract"):
            frame = catalogue.extract(name, collect.extract(plan, store, datasets))
            path = options.results / "extracts" / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.to_csv(path, index=False)
            results.extract = read_extract(path, results.protocols)
        catalogue.build(name, results, options.results)

    if not catalogue.attempt(name, make, options.results):
        Outputs(plan, store, options.results).stamp(name)


def _report(options: argparse.Namespace) -> None:
    from anchorbench.reporting import report
    from anchorbench.reporting.outputs import REPORT, Outputs

    print(report.write(options.results, options.title, _config_files(options)))
    Outputs(_load(options), _store(options), options.results).stamp(REPORT)


def _gate(options: argparse.Namespace) -> int:
    """Count what the plan asks for against what is there."""
    from anchorbench.reporting import catalogue, collect, outputs
    from anchorbench.reporting.results import FILES, load_results

    plan, store = _load(options), _store(options)
    files = outputs.Outputs(plan, store, options.results)
    failed = catalogue.failures(options.results)
    lines = [f"artefact {name}: {reason}" for name, reason in failed.items()]
    lines += outputs.missing(files, skip=list(failed))
    if all(path.exists() for path in files.files(outputs.COLLECTED)):
        results = load_results(*(options.results / name for name in FILES))
        lines += collect.problems(plan, store, results)
    for line in lines:
        print(line, file=sys.stderr)
    if lines:
        print(
            f"{len(lines)} failures, listed above and in {options.results}/report.html; "
            "everything else is done. Failed runs are tried again at the next call.",
            file=sys.stderr,
        )
    return 1 if lines else 0


def _rebuild(options: argparse.Namespace) -> int:
    """Make every artefact and the report from collected files; nothing is trained or downloaded.

    They get no stamp (`outputs`), so that a run in the folder makes its own. Figures are drawn in a
    process of their own meanwhile. Returns 1 where an artefact could not be made.
    """
    from functools import partial
    from multiprocessing import get_context

    from anchorbench.reporting import catalogue, report
    from anchorbench.reporting.results import (
        FILES,
        TRIALS_FILE,
        load_results,
        read_extract,
        stored,
    )

    source, out = options.source, options.results
    out.mkdir(parents=True, exist_ok=True)
    collected = [source / name for name in FILES]
    results = load_results(*collected)

    def make(name: str) -> None:
        results.extract = read_extract(source / "extracts" / f"{name}.csv", results.protocols)
        catalogue.build(name, results, out)

    def make_all(names: Sequence[str]) -> int:
        return sum(bool(catalogue.attempt(name, partial(make, name), out)) for name in names)

    every = catalogue.discover()
    drawn = [name for name, about in every.items() if "figure" in about["kind"]]
    _ = results.values  # which both processes read
    artist = get_context("fork").Process(target=lambda: sys.exit(make_all(drawn)))
    artist.start()
    failed = make_all([name for name in every if name not in drawn])
    artist.join()
    failed += artist.exitcode != 0
    made = [path for name in catalogue.discover() for path in catalogue.outputs(name, out)]
    if source != out:
        made += [_copy(path, out) for path in collected]
        if stored(source / TRIALS_FILE).is_file():
            made.append(_copy(source / TRIALS_FILE, out))
    named = ("Reference run", [configuration.PAPER]) if source == REFERENCE else (str(source), [])
    made.append(report.write(out, *named, source, results))
    for path in made:
        print(path)
    return 1 if failed else 0


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
    from anchorbench.reporting.results import FILES, load_results

    if options.collected is not None:
        results, extracts = load_results(*(options.collected / n for n in FILES)), {}
    else:
        plan, store = _load(options), _store(options)
        results = collect.gather(plan, store)
        extracts = {
            name: catalogue.extract(name, collect.extract(plan, store, about.get("datasets")))
            for name, about in catalogue.discover().items()
            if about.get("extract")
        }
    for path in publish(results, extracts, options.target):
        print(path)


def _fsck(options: argparse.Namespace) -> int:
    from anchorbench.runs import check

    store = _store(options)
    findings = check.inspect(store, _load(options))
    for finding in findings:
        print(finding)
    counts = {p: sum(f.problem is p for f in findings) for p in check.Problem}
    print(", ".join(f"{count} {problem}" for problem, count in counts.items()))
    if options.repair:
        check.repair(store, findings)
        return 0
    return 1 if counts[check.Problem.DAMAGED] else 0


def _gc(options: argparse.Namespace) -> None:
    from anchorbench.runs import check

    store = _store(options)
    others = [planning.make(configuration.load([file])) for file in options.keep]
    folders = check.unwanted(store, [_load(options), *others])
    for folder in folders:
        print(folder)
    about = f"{len(folders)} folders, {sum(map(check.size, folders)) / 1e6:.1f} MB"
    if options.yes:
        check.delete(store, folders)
        print(f"{about} deleted")
    else:
        print(f"{about} that no given configuration asks for; --yes deletes them")


def _pack(options: argparse.Namespace) -> None:
    from anchorbench.runs import elsewhere

    print(elsewhere.pack(_load(options), _store(options), options.folder))


def _fit_all(options: argparse.Namespace) -> int:
    from anchorbench.runs import elsewhere

    plan, store = _load(options), _store(options)
    if options.device:
        plan.config["device"] = options.device
    made, failed = elsewhere.fit_all(plan, store, options.only)
    print(f"{made} runs trained, {failed} of them failed", file=sys.stderr)
    return 1 if failed else 0


def _score_all(options: argparse.Namespace) -> int:
    from anchorbench.runs import elsewhere

    cells, failed = elsewhere.score_all(
        _load(options), _store(options), options.only, options.processes
    )
    print(f"{cells} cells scored, a metric failed in {failed} of them", file=sys.stderr)
    return 1 if failed else 0


def _merge(options: argparse.Namespace) -> int:
    from anchorbench.runs import elsewhere

    found = elsewhere.merge(options.folder, _store(options))
    print(elsewhere.summary(found))
    return 1 if found["refused"] else 0


def _work_prepare(options: argparse.Namespace) -> None:
    from anchorbench.runs.prepare import work

    die_with(os.getppid())
    plan = _load(options)
    for instance in plan.data(options.dataset, options.protocol):
        work(instance, _store(options))


def _work_fit(options: argparse.Namespace) -> None:
    from anchorbench.runs.fit import work

    die_with(os.getppid())
    plan = _load(options)
    replicates = [int(r) for r in options.replicates.split(",")]
    for job in _jobs(plan, options):
        chosen = [r for r in replicates if r in job.replicates]
        if chosen:
            work(job, chosen, _store(options), plan.config)


def _work_score(options: argparse.Namespace) -> None:
    from anchorbench.runs.score import work

    die_with(os.getppid())
    plan = _load(options)
    work(plan, _jobs(plan, options), _store(options), options.tasks.split(","))
