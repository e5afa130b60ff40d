"""The search of a method's parameters on part of the training rows of each replicate.

Every trial is trained on four fifths of the training rows and selected by how it predicts the
others. Nothing that selects sees a test row, or a truth. What a trial scores on the test rows is
noted beside it, for curves of the budget and for the protocol that is an oracle.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from anchorbench.data.dataset import Split, check_varies
from anchorbench.runs import contract
from anchorbench.runs.prepare import Replicates, seed_all
from anchorbench.runs.processes import output_kept
from anchorbench.runs.score import Run, applies, as_it_was, evaluate
from anchorbench.runs.status import Status, outcome
from anchorbench.runs.store import Store
from anchorbench.scores.effects import active
from anchorbench.scores.stability import agreement
from anchorbench.study.jobs import Job, run_name, seeds
from anchorbench.study.plugins import Plugin, discover, kind_of
from anchorbench.study.protocols import ORACLE_TUNED, TUNED, TUNED_STABLE
from anchorbench.study.seeds import derive
from anchorbench.study.tuning import FLAGGED, metric_of

VALIDATION = 0.2
"""Share of the training rows by which trials are selected."""
BLOCKS = 10
"""Of validation rows, from whose scores comes the standard error of their mean."""
SAME_STABILITY = 1e-6
"""Trials whose agreement differs by less are equally stable: rounding, where nothing is drawn."""


class TuningError(Exception):
    """A search that gives no parameters; `trials` are those that were made."""

    def __init__(self, reason: str, trials: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(reason)
        self.trials = trials


@dataclass
class Found:
    """What a search found for a replicate.

    Attributes
    ----------
    chosen : int
        The trial whose parameters are taken.
    trials : list of dict
        The trials that were made, each with number, parameters, seconds, status and scores.
    about : dict
        For the run's record.
    codes : dict of str to ndarray
        Active codes (N, K) of the validation rows by trials that predict as well as the best.
    """

    chosen: int
    trials: list[dict[str, Any]]
    about: dict[str, Any]
    codes: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Held(Run):
    """A fitted model and rows that it has not seen, as metrics see a run."""

    split: Any = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    fitted: Any = None

    @property
    def _split(self) -> Split:  # type: ignore[override]
        found: Split = self.split
        return found

    @property
    def _arrays(self) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        return self.arrays

    @property
    def model(self) -> Any:
        return contract.Checked(self.fitted)


class _Fit(NamedTuple):
    """A fitted estimator, or the exception in its place, and the seconds it took."""

    model: Any
    seconds: float


def inner_rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of n, in order, that trials are trained on and those that select."""
    rows = np.random.default_rng(seed).permutation(n)
    held = max(1, round(VALIDATION * n))
    return np.sort(rows[held:]), np.sort(rows[:held])


def restricted(split: Split, rows: np.ndarray) -> Split:
    """Return a replicate with some of its training rows, test rows as they are."""
    both = ("factors", "expectation", "index")
    pairs = {name: getattr(split, name) for name in both}
    return Split(
        split.train[rows],
        split.test,
        support=split.support,
        keys=split.keys,
        features=split.features,
        **{k: None if pair is None else (pair[0][rows], pair[1]) for k, pair in pairs.items()},
    )


def fit_each(
    estimators: Sequence[Any], Xs: Sequence[np.ndarray], own_seeds: Sequence[int]
) -> list[_Fit]:
    """Train estimators of one class, each on its rows (N, G) and with its seed.

    In stacks where the class can (`fit_settings`), one by one else, and where that fails. A stack's
    seconds are shared out by epochs.
    """
    first = estimators[0]
    if len(estimators) > 1 and hasattr(first, "fit_settings"):
        params = [e.get_params() for e in estimators]
        settings = [
            {k: v for k, v in own.items() if k != "seed" and v != params[0][k]} for own in params
        ]
        start = time.monotonic()
        try:
            seed_all(own_seeds[0])
            models = first.fit_settings(Xs, own_seeds, settings)
        except Exception as error:
            traceback.print_exception(error)
        else:
            before = max(getattr(model, "seconds_before_", 0.0) for model in models)
            lengths = np.array([own.get("epochs", 1) for own in params], dtype=float)
            shares = (before + time.monotonic() - start) * lengths / lengths.sum()
            return [_Fit(*pair) for pair in zip(models, shares.tolist(), strict=True)]
    return [_alone(*each) for each in zip(estimators, Xs, own_seeds, strict=True)]


def _alone(estimator: Any, X: np.ndarray, seed: int) -> _Fit:
    start = time.monotonic()
    try:
        seed_all(seed)
        model = contract.fitted(estimator, X)
    except Exception as error:  # whatever a plugin raises is a result
        traceback.print_exception(error)
        model = error
    return _Fit(model, time.monotonic() - start + getattr(model, "seconds_before_", 0.0))


class Tuner:
    """Chooses the parameters of replicates of one job.

    Parameters
    ----------
    job : Job
        One with a search.
    data : Replicates
    store : Store
    config : mapping
    n_latent : int
    build : callable
        (seed, training rows, parameters) -> an unfitted estimator.
    """

    def __init__(
        self,
        job: Job,
        data: Replicates,
        store: Store,
        config: Mapping[str, Any],
        n_latent: int,
        build: Callable[[int, int, Mapping[str, Any]], Any],
    ) -> None:
        assert job.tuning is not None
        self.job, self.data, self.store, self.tuning = job, data, store, job.tuning
        self.base, self.n_latent, self.build = config["seed"], n_latent, build
        metrics = discover("metrics")
        self.selection = [(v, metric_of(v, metrics)) for v in job.tuning.selection]
        self.judge = (job.tuning.judged, metric_of(job.tuning.judged, metrics))

    def choose(self, replicates: Sequence[int]) -> dict[int, Found | Exception]:
        """Return for each replicate what was found, or why nothing was.

        Trials of all replicates are trained together, where the method can.
        """
        if self.tuning.protocol == TUNED:
            return self._search(replicates)
        chosen = {TUNED_STABLE: self._stable, ORACLE_TUNED: self._oracle}[self.tuning.protocol]
        return {r: _attempt(partial(chosen, r)) for r in replicates}

    def params(self, trial: int) -> dict[str, Any]:
        """All parameters of a trial."""
        return self.tuning.params(self.job.params, trial)

    def fit(
        self,
        tasks: Sequence[tuple[int, int]],
        Xs: Mapping[int, np.ndarray],
        seed: Callable[[int], int] | None = None,
    ) -> list[_Fit]:
        """Train trials (replicate, number) on the rows (N, G) of their replicates.

        seed : of a replicate, by default its own.
        """
        if not tasks:
            return []
        seed = seed or self._seed
        try:
            built = [self.build(seed(r), len(Xs[r]), self.params(t)) for r, t in tasks]
        except Exception:  # one of them cannot be built: which, the fits one by one say
            return [self._fit_one(t, Xs[r], seed(r)) for r, t in tasks]
        return fit_each(built, [Xs[r] for r, _ in tasks], [seed(r) for r, _ in tasks])

    def _fit_one(self, trial: int, X: np.ndarray, seed: int) -> _Fit:
        built = _attempt(partial(self.build, seed, len(X), self.params(trial)))
        return _Fit(built, 0.0) if isinstance(built, Exception) else _alone(built, X, seed)

    # Splits ----------------------------------------------------------------------------------

    def _inner(self, replicate: int) -> tuple[Split, Split]:
        """What selects, which knows no test row and no truth; and what notes test scores."""
        instance = self.job.instance
        split = self.data.split(replicate, seeds(self.job, replicate, self.base)[0])
        of = instance.split_of(replicate)
        seed = derive(self.base, instance.name, "inner", of)
        train, held = inner_rows(len(split.train), seed)
        inner = Split(split.train[train], split.train[held], features=split.features)
        if kind_of(instance.likelihood) == "real":
            features = self.data.dataset.features
            check_varies(inner, features, f"{instance.name}: replicate {of}, its training rows")
        judged = restricted(split, train)
        for shared in (inner.train, inner.test, judged.train):  # by all trials
            shared.setflags(write=False)
        return inner, judged

    def _seed(self, replicate: int) -> int:
        return seeds(self.job, replicate, self.base)[1]

    # The search ------------------------------------------------------------------------------

    def _search(self, replicates: Sequence[int]) -> dict[int, Found | Exception]:
        splits = {r: _attempt(partial(self._inner, r)) for r in replicates}
        usable = {r: split for r, split in splits.items() if not isinstance(split, Exception)}
        found: dict[int, Found | Exception] = {
            r: split for r, split in splits.items() if isinstance(split, Exception)
        }
        tasks = [(r, t) for r in usable for t in range(len(self.tuning.trials))]
        Xs = {r: inner.train for r, (inner, _) in usable.items()}
        fits = dict(zip(tasks, self.fit(tasks, Xs), strict=True))
        for r, (inner, judged) in usable.items():
            of_replicate = {t: fit for (other, t), fit in fits.items() if other == r}
            found[r] = _attempt(partial(self._best, r, of_replicate, inner, judged))
        return found

    def _best(self, replicate: int, fits: Mapping[int, _Fit], inner: Split, judged: Split) -> Found:
        """Score the trials of a replicate and take the best."""
        rows: list[dict[str, Any]] = []
        views: dict[int, Held] = {}
        for number, (model, seconds) in fits.items():
            row = {"trial": number, "params": self.tuning.trials[number], "seconds": seconds}
            seen = _attempt(partial(self._view, replicate, model, inner))
            if isinstance(seen, Exception):
                ended = outcome(seen)
                rows.append(row | {"status": ended.status, "reason": ended.reason})
                continue
            row |= self._value(seen)
            if row["status"] == Status.DONE:
                views[number] = seen
                row |= self._judged(replicate, model, judged)
            rows.append(row)
        best = self._first(rows, "value")
        error = self._standard_error(views[best], rows[best]["metric"])
        near = self._near(rows, best, error)
        codes = {str(t): _attempt(partial(_active_codes, views[t])) for t in near if self._coded()}
        about = self._about(rows, best) | {"standard_error": error}
        known = {name: found for name, found in codes.items() if not isinstance(found, Exception)}
        return Found(best, rows, about, known)

    def _coded(self) -> bool:
        return bool(self.job.variant.plugin.meta.get("codes", True))

    def _view(self, replicate: int, model: Any, split: Split) -> Held:
        """A fitted model as a run whose test rows are those of `split`. Raises what it raises."""
        if isinstance(model, Exception):
            raise model
        meta, kind = self.job.variant.plugin.meta, kind_of(self.job.instance.likelihood)
        with output_kept():
            arrays = contract.outputs(model, split, kind, meta.get("codes", True))
        if reason := contract.degenerate(arrays, meta.get("control", False)):
            raise TuningError(reason)
        record = {
            "dataset_plugin": self.job.instance.plugin,
            "likelihood": self.job.instance.likelihood,
            "n_latent": self.n_latent,
            "replicate": replicate,
            "seed": self._seed(replicate),
            "digest": "",
            "provides": contract.provides(model, arrays),
            "known": contract.known(split, self.data.labels(split)),
        }
        about = (record, self.store, self.data, self.job.variant.plugin)
        return Held(*about, split=split, arrays=arrays, fitted=model)

    def _value(self, view: Held) -> dict[str, Any]:
        """Status and validation score of a trial, by the first metric that applies."""
        for value, metric in self.selection:
            if applies(metric, view):
                return {"metric": value} | _score(view, value, metric)
        names = ", ".join(value for value, _ in self.selection)
        return {"status": Status.FAILED, "reason": f"none of {names} applies to the method"}

    def _judged(self, replicate: int, model: Any, split: Split) -> dict[str, Any]:
        """What a trial scores on the test rows; nothing where that cannot be said."""
        value, metric = self.judge
        view = _attempt(partial(self._view, replicate, model, split))
        if isinstance(view, Exception) or not applies(metric, view):
            return {}
        scored = _score(view, value, metric)
        done = scored["status"] == Status.DONE
        return {"test_metric": value, "test": scored["value"]} if done else {}

    def _standard_error(self, view: Held, value: str) -> float:
        """Standard error of a mean over validation rows, from those of blocks of them."""
        metric = dict(self.selection)[value]
        count = max(1, min(BLOCKS, len(view.test) // 2))
        blocks = np.array_split(np.arange(len(view.test)), count)
        scored = [_score(_part(view, rows), value, metric) for rows in blocks]
        values = [one["value"] for one in scored if one["status"] == Status.DONE]
        return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0

    def _near(self, rows: Sequence[Mapping[str, Any]], best: int, error: float) -> list[int]:
        """Trials within a standard error of the best."""
        at = rows[best]["value"]
        done = [row for row in rows if row["status"] == Status.DONE]
        return [row["trial"] for row in done if abs(row["value"] - at) <= error]

    def _gain(self, row: Mapping[str, Any], key: str) -> float:
        """A trial's validation or test score, turned so that more is better."""
        metric = self.judge[1] if key == "test" else dict(self.selection)[row["metric"]]
        return float(row[key] if metric.meta["direction"] == "max" else -row[key])

    def _first(self, rows: Sequence[Mapping[str, Any]], key: str) -> int:
        """The trial that is best by a score; of equal ones the first. Raises TuningError."""
        scored = [row for row in rows if row["status"] == Status.DONE and key in row]
        if not scored:
            reason = next((r["reason"] for r in rows if r.get("reason")), f"none has a {key} score")
            raise TuningError(f"none of {len(rows)} trials can be chosen: {reason}", rows)
        return int(max(scored, key=lambda row: (self._gain(row, key), -row["trial"]))["trial"])

    def _about(self, rows: Sequence[Mapping[str, Any]], chosen: int) -> dict[str, Any]:
        """What the record says of a search."""
        failed = sum(row["status"] != Status.DONE for row in rows)
        row = rows[chosen]
        return {
            "chosen": chosen,
            "trials": len(rows),
            "failed": failed,
            "flagged": failed > FLAGGED * len(rows),
            "metric": row["metric"],
            "value": row["value"],
            "seconds": sum(row["seconds"] for row in rows),
            "fits": len(rows) + 1,
        }

    # Choices among the trials of another run -------------------------------------------------

    def _source(self, replicate: int) -> str:
        """The digest of the run that made the trials. Raises TuningError where it is not there."""
        name = run_name(self.tuning.source, replicate, self.job.instance.split_of(replicate))
        if reason := self.store.wrong_with_trials(name):
            instance, variant = self.job.instance.name, self.job.variant.name
            raise TuningError(
                f"its trials are not there ({reason}): anchorbench fit "
                f"--dataset {instance} --method {variant} --protocol {TUNED}"
            )
        return name

    def _oracle(self, replicate: int) -> Found:
        """The trial that scores best on the test rows."""
        rows = self._made(self._source(replicate))
        best = self._first(rows, "test")
        return Found(best, [], self._about(rows, best) | {"test": rows[best]["test"]})

    def _made(self, name: str) -> list[dict[str, Any]]:
        """The trials of a run. Raises TuningError, without them, where all failed."""
        rows = self.store.trials(name)
        try:
            self._first(rows, "value")
        except TuningError as error:
            raise TuningError(str(error)) from None
        return rows

    def _stable(self, replicate: int) -> Found:
        """Of trials that predict as well as the best, the one on which two seeds agree most."""
        name = self._source(replicate)
        rows, codes = self._made(name), self.store.trial_codes(name)
        near = sorted(map(int, codes))
        if not near:
            raise TuningError("no trial has codes of which is known whether they are active")
        inner, _ = self._inner(replicate)
        seed = derive(self.base, self.job.instance.name, self.job.variant.name, "second", replicate)
        fits = self.fit([(replicate, t) for t in near], {replicate: inner.train}, lambda _: seed)
        second = []
        for number, (model, seconds) in zip(near, fits, strict=True):
            row: dict[str, Any] = {"trial": number, "seconds": seconds}
            row |= {"status": Status.DONE, "reason": ""}
            rng = np.random.default_rng(seed)
            see = lambda model=model: _active_codes(self._view(replicate, model, inner))  # noqa: E731
            if isinstance(other := _attempt(see), Exception):
                ended = outcome(other)
                row |= {"status": ended.status, "reason": ended.reason}
            else:
                row["stability"] = agreement(codes[str(number)], other, rng).value
            second.append(row)
        scored = [row for row in second if "stability" in row]
        if not scored:
            raise TuningError(f"none of {len(near)} second fits finished")
        gains = {row["trial"]: self._gain(rows[row["trial"]], "value") for row in scored}
        best = most_stable({row["trial"]: row["stability"] for row in scored}, gains)
        about = self._about(rows, best)
        about["seconds"] += sum(row["seconds"] for row in second)
        about["fits"] += len(second)
        return Found(best, second, about)


def most_stable(stability: Mapping[int, float], gain: Mapping[int, float]) -> int:
    """The trial on which two seeds agree most; of those as stable the one that predicts best.

    stability, gain : by trial, larger is better.
    """
    most = max(stability.values())
    equal = [trial for trial, value in stability.items() if value >= most - SAME_STABILITY]
    return max(equal, key=lambda trial: gain[trial])


def _attempt(make: Callable[[], Any]) -> Any:
    """What a call gives, or the exception that it raises."""
    try:
        return make()
    except Exception as error:
        return error


def _active_codes(view: Held) -> np.ndarray:
    """Codes (N, active) of the held rows."""
    return np.asarray(view.codes[:, active(view)])


def _score(view: Held, value: str, metric: Plugin) -> dict[str, Any]:
    """Status, reason and number of one of a metric's values."""
    with as_it_was():
        seed_all(derive(view.record["seed"], metric.name))
        result = evaluate(metric, view)
    if result["status"] != Status.DONE:
        return {"status": Status(result["status"]), "reason": f"{value}: {result['reason']}"}
    if value not in result["values"]:
        return {"status": Status.FAILED, "reason": f"{metric.name} gave no {value}"}
    return {"status": Status.DONE, "reason": "", "value": result["values"][value]}


def _part(view: Held, rows: np.ndarray) -> Held:
    """The view of some of the held rows."""
    split = Split(view.split.train, view.split.test[rows], features=view.split.features)
    cut = {k: v[rows] if k in ("codes", "reconstruction") else v for k, v in view.arrays.items()}
    about = (view.record, view.store, view.data, view.plugin)
    return Held(*about, split=split, arrays=cut, fitted=view.fitted)
