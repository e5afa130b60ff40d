"""Protocols that choose a method's parameters by a search of equal budget for all.

`tuned` tries parameters on part of the training rows and takes those that predict the others best;
`tuned_stable` takes, of those that predict as well, the ones whose codes two seeds agree on;
`oracle_tuned` takes those that score best on the test rows, which nobody could: an upper line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anchorbench.study import metadata, search
from anchorbench.study.digest import digest
from anchorbench.study.hints import suggest
from anchorbench.study.plugins import PACKAGE, Plugin, PluginError, kind_of
from anchorbench.study.protocols import ORACLE_TUNED, TUNED, TUNED_STABLE, layered
from anchorbench.study.source import source_digest

SELECTION = {
    "real": ("iwae_nll", "mse"),
    "counts": ("completion_nll", "recon_nll"),
    "binary": ("iwae_nll", "recon_nll"),
}
"""By kind of data, what a trial is selected by: the first that a method has."""
SELECTION_OF = {"movielens": ("ndcg@100", "completion_nll")}
"""The same by dataset plugin."""
HIDDEN = (*metadata.KNOWN, "peers")
"""What a metric that selects must not need: truth, and other runs."""
FLAGGED = 0.5
"""Share of trials; where more failed, the record and the tables say so."""
STABILITY = PACKAGE / "scores" / "stability.py"


@dataclass(frozen=True)
class Tuning:
    """How the runs of a job come to their parameters.

    Attributes
    ----------
    protocol : str
    trials : tuple of dict
        The parameters in which each trial differs from the job's; none in the first.
    selection : tuple of str
        Values of metrics by which trials are selected: the first that applies.
    judged : str
        The value of a metric that is noted of each trial on the test rows; selects in
        `oracle_tuned` alone.
    source : str
        Recipe of the job whose trials are used; "" where the job makes its own.
    """

    protocol: str
    trials: tuple[dict[str, Any], ...]
    selection: tuple[str, ...]
    judged: str
    source: str = ""

    @property
    def fits(self) -> int:
        """The most fits of a replicate."""
        searched = {TUNED: len(self.trials), TUNED_STABLE: len(self.trials), ORACLE_TUNED: 0}
        return searched[self.protocol] + 1

    def params(self, default: Mapping[str, Any], trial: int) -> dict[str, Any]:
        """All parameters of a trial."""
        return layered(default, self.trials[trial])


def by_value(metrics: Mapping[str, Plugin]) -> dict[str, Plugin]:
    """The metric that gives each value, the first where several do."""
    found: dict[str, Plugin] = {}
    for plugin in metrics.values():
        for value in plugin.values:
            found.setdefault(value, plugin)
    return found


def metric_of(value: str, metrics: Mapping[str, Plugin]) -> Plugin:
    """Return the metric that gives a value. Raises PluginError where none does."""
    known = by_value(metrics)
    if value not in known:
        raise PluginError(f"no metric gives {value!r}; {suggest(value, known)}")
    return known[value]


def selection(asked: str | None, plugin: str, likelihood: str) -> tuple[str, ...]:
    """Values of metrics that select on a dataset, in their order."""
    usual = SELECTION_OF.get(plugin, SELECTION[kind_of(likelihood)])
    return tuple(dict.fromkeys((asked, *usual))) if asked else usual


def check_selection(value: str, metrics: Mapping[str, Plugin]) -> None:
    """Raise PluginError for a metric that must not select, or whose better side nobody knows."""
    metric = metric_of(value, metrics)
    hidden = [need for need in metric.meta.get("needs", ()) if need in HIDDEN]
    if hidden:
        raise PluginError(f"{value!r} needs {hidden[0]}: select by a metric of prediction")
    if metric.meta.get("direction") not in ("min", "max"):
        raise PluginError(f"{value!r} has no direction: select by a metric of prediction")


def make(
    method: Plugin,
    params: Mapping[str, Any],
    fixed: Mapping[str, Any],
    count: int,
    names: tuple[int, str, str],
    dataset: str,
    chosen: tuple[tuple[str, ...], str],
) -> Tuning:
    """Return the search of a variant on a dataset.

    Parameters
    ----------
    method : Plugin
    params, fixed
        Parameters of `corrected`; those that the variant gives and that are not searched.
    count : int
        Trials, the default included.
    names
        The configuration's seed, and the names of dataset and variant.
    dataset : str
        The dataset's plugin.
    chosen
        Values that select, and the one on test rows.
    """
    space = search.space(method.meta, dataset, fixed)
    return Tuning(TUNED, tuple(search.trials(space, params, count, *names)), *chosen)


def ingredients(tuning: Tuning, metrics: Mapping[str, Plugin]) -> dict[str, Any]:
    """What a search adds to the ingredients of a run."""
    code = lambda value: source_digest(metric_of(value, metrics).path)  # noqa: E731
    return {
        "trials": {str(number): params for number, params in enumerate(tuning.trials)},
        "selected by": {value: code(value) for value in tuning.selection},
        "judged by": {tuning.judged: code(tuning.judged)},
    }


def others(method: Plugin, tuning: Tuning, of_run: Mapping[str, Any]) -> list[tuple[Tuning, Any]]:
    """Return the protocols that use the trials of a search, each with its runs' ingredients.

    of_run : the ingredients of the runs that search.
    """
    names = [TUNED_STABLE] if method.meta.get("codes", True) else []
    found = []
    for name in (*names, ORACLE_TUNED):
        own = {"chosen by": name}
        if name == TUNED_STABLE:
            own["rule of stability"] = source_digest(STABILITY)
        given = (tuning.trials, tuning.selection, tuning.judged)
        found.append((Tuning(name, *given, source=digest(of_run)), {**of_run, **own}))
    return found
