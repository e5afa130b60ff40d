"""Every method as a scikit-learn estimator for a person's own data: `method("sparse_vae")`.

The suite itself calls a method's `build`; here the same object is behind one constructor, the same
for all methods, with checks of what comes in.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from anchorbench.runs import contract
from anchorbench.scores.prediction import token_nll
from anchorbench.study import protocols
from anchorbench.study.hints import suggest
from anchorbench.study.plugins import (
    Plugin,
    PluginError,
    discover,
    is_for,
    kind_of,
    likelihoods,
    load,
)

TRAINING = "anchorbench.models.training"
COMMON = """likelihood : str
        What the data are, by the name of a file in models/likelihoods/.
    n_latent : int
        Number K of factors.
    seed : int
        Of all that is drawn.
    protocol : {"corrected", "published"}
        Which set of values the other parameters have where they are None: what the mathematics
        asks for, or those of the released code.
    dataset : str, optional
        Name of a file in datasets/ whose settings of the method are taken, too.
    verbose : bool, optional
        Show a progress bar while a deep method trains; by default on a terminal and in notebooks.
    """


class Method(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the estimators of all methods have in common; `method` makes them."""

    plugin: ClassVar[Plugin]

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:  # noqa: ARG002
        """Fit the method.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (N, G)
        y : ignored
        **fit_params
            Passed on to the method's own `fit`.

        Raises
        ------
        ValueError
            X has a value that the likelihood cannot model, or a parameter is not what it may be.
        """
        before = dict(self.__dict__)
        try:
            self._fit(X, fit_params)
        except BaseException:
            self.__dict__ = before  # what was fitted before is whole
            raise
        return self

    def _fit(self, X: Any, more: dict[str, Any]) -> None:
        self.params_ = self._resolved()
        if "truth" in self.plugin.meta.get("needs", ()) and "split" not in more:
            raise ValueError(
                f"{type(self).__name__} is fitted with the truth: fit(X, split=…), an "
                "anchorbench.Split with factors of the rows"
            )
        rows = self._rows(X, reset=True)
        about = self.likelihood, int(self.n_latent), int(self.seed)
        model = protocols.built(self.plugin, *about, self.params_)
        with _progress(self.verbose, type(self).__name__):
            fitted = model.fit(rows, **more)
        self.model_ = model if fitted is None else fitted
        own = getattr(self.model_, "loadings_", None)
        codes = self._ask("transform", rows) if own is None else own
        self.n_codes_ = int(np.shape(codes)[1])

    def transform(self, X: Any) -> np.ndarray:
        """Codes (N, K) of rows X (N, G)."""
        return np.asarray(self._ask("transform", self._rows(X)))

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Expected features (N, G) of codes Z (N, K); of counts, up to the scale of a row."""
        codes = check_array(Z)
        check_is_fitted(self, "model_")
        if codes.shape[1] != self.n_codes_:
            raise ValueError(
                f"Z has {codes.shape[1]} columns, {type(self).__name__} has {self.n_codes_} codes"
            )
        return np.asarray(self._ask("inverse_transform", codes))

    def reconstruct(self, X: Any) -> np.ndarray:
        """Expected features (N, G) of rows X (N, G)."""
        return self._reconstruction(self._rows(X))

    def _reconstruction(self, rows: np.ndarray) -> np.ndarray:
        """`reconstruct` of rows that were checked."""
        if hasattr(self.model_, "reconstruct"):
            return np.asarray(self.model_.reconstruct(rows))
        return np.asarray(self._ask("inverse_transform", self._ask("transform", rows)))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """How well rows X (N, G) are modelled; larger is better, and comparable within a method.

        The mean evidence lower bound of a row where the method has one, else the mean log
        density at the codes, else of counts the mean log likelihood of a row's tokens at the
        reconstructed probabilities, of other data minus the mean squared error.
        """
        rows = self._rows(X)
        if hasattr(self.model_, "elbo"):
            return float(np.mean(self.model_.elbo(rows)))
        if hasattr(self.model_, "log_prob"):
            return float(np.mean(self.model_.log_prob(rows, self.model_.transform(rows))))
        if kind_of(self.likelihood) == "counts":
            return -token_nll(rows, self._reconstruction(rows))[0]
        return -float(np.mean((rows - self._reconstruction(rows)) ** 2))

    @property
    def _n_features_out(self) -> int:
        """Number of codes, which scikit-learn names."""
        return self.n_codes_

    def _resolved(self) -> dict[str, Any]:
        """The method's parameters: those given, the rest by protocol and dataset."""
        given, meta = self.get_params(deep=False), self.plugin.meta
        name = type(self).__name__
        for key in ("n_latent", "seed"):
            least = int(key == "n_latent")
            whole = isinstance(given[key], int | np.integer) and not isinstance(given[key], bool)
            if not whole or given[key] < least:
                raise ValueError(f"{name}: {key} {given[key]!r}: give a whole number >= {least}")
        for key, known in (
            ("protocol", protocols.PROTOCOLS),
            ("likelihood", likelihoods()),
            ("dataset", [*discover("datasets"), None]),
        ):
            if given[key] not in known:
                hint = suggest(str(given[key]), map(str, known))
                raise ValueError(f"{name}: there is no {key} {given[key]!r}; {hint}")
        if not is_for(meta, given["likelihood"]):
            fitting = ", ".join(meta["likelihoods"])
            raise ValueError(f"{name} cannot model {given['likelihood']!r} data; it can: {fitting}")
        own = {k: given[k] for k in meta.get("params", {}) if given[k] is not None}
        return protocols.parameters(meta, given["protocol"], given["dataset"], own=own)

    def _rows(self, X: Any, reset: bool = False) -> np.ndarray:
        """X as a dense array that the likelihood can model."""
        if not reset:
            check_is_fitted(self, "model_")
        checked = validate_data(self, X, reset=reset, accept_sparse="csr", dtype=np.float64)
        rows: np.ndarray = checked.toarray() if sp.issparse(checked) else checked
        kind = kind_of(self.likelihood)
        wrong = rows < 0 if kind != "real" else np.zeros(rows.shape, dtype=bool)
        if kind == "binary":
            wrong = (rows != 0) & (rows != 1)
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            what = "neither 0 nor 1" if kind == "binary" else "negative"
            # scikit-learn asks for its first words.
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}, or others that it "
                f"cannot model: row {i + 1}, column {j + 1}: {rows[i, j]:g} is {what}: recode it, "
                "or use likelihood gaussian"
            )
        return rows

    def _ask(self, name: str, values: np.ndarray) -> Any:
        """Call what every method must have; the error says what to add where it lacks it."""
        check_is_fitted(self, "model_")
        return contract.needed(self.model_, name)(values)

    @property
    def loadings_(self) -> np.ndarray:
        """Which features a factor moves, (G, K)."""
        check_is_fitted(self, "model_")
        found = contract.loadings(self.model_, self.n_codes_, self.n_features_in_)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no 'loadings_'")
        return found

    def __getattr__(self, name: str) -> Any:
        """What else the fitted method has: loadings_, support_, posterior, log_prob, elbo, …"""
        model = self.__dict__.get("model_")
        if name.startswith("__") or model is None:
            raise AttributeError(
                f"{type(self).__name__} has no {name!r}"
                + (": call fit first" if not name.startswith("__") else "")
            )
        if not hasattr(model, name):
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return getattr(model, name)

    def __sklearn_tags__(self) -> Tags:
        """Whether X may be sparse, or negative."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = kind_of(self.likelihood) != "real"
        return tags

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by the method's name: the class is made again where it is read."""
        return _blank, (self.plugin.name,), self.__getstate__()


@cache
def method(name: str) -> type[Method]:
    """Return the estimator class of the method called `name`.

    >>> from anchorbench import method
    >>> SparseVAE = method("sparse_vae")
    >>> model = SparseVAE(n_latent=2, protocol="published", dataset="peerread")
    >>> model.dataset
    'peerread'

    Raises
    ------
    PluginError
        There is no such method, or its file is broken.
    """
    known = discover("methods")
    if name not in known:
        raise PluginError(f"no method {name!r}; {suggest(name, known)}")
    plugin = known[name]
    module = load(plugin)
    label = "".join(word.capitalize() for word in re.split(r"\W+|_", name))
    own = getattr(module, "ESTIMATOR", None)
    called = own.__name__ if own is not None else label
    return type(
        called,
        (Method,),
        {
            "__init__": _constructor(plugin),
            "__doc__": _doc(plugin, module),
            "__module__": __name__,
            "plugin": plugin,
        },
    )


def _blank(name: str) -> Method:
    """An instance of a method's class without any state, for pickle."""
    kind = method(name)
    return kind.__new__(kind)


def _constructor(plugin: Plugin) -> Callable[..., None]:
    """An __init__ that stores its arguments: three that all methods have, then the method's own."""
    first = next((n for n in ("gaussian", *likelihoods()) if is_for(plugin.meta, n)), "gaussian")
    defaults: dict[str, Any] = {"likelihood": first, "n_latent": 5, "seed": 0}
    defaults |= {"protocol": "corrected", "dataset": None, "verbose": None}
    defaults |= dict.fromkeys(plugin.meta.get("params", {}))
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [inspect.Parameter("self", either)]
    names += [inspect.Parameter(n, either, default=value) for n, value in defaults.items()]
    signature = inspect.Signature(names)

    def __init__(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        own = values.pop("self")
        for key, value in values.items():
            setattr(own, key, value)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def _doc(plugin: Plugin, module: ModuleType) -> str:
    """The docstring of an estimator: its file's first words, and every parameter."""
    about = inspect.cleandoc(module.__doc__ or plugin.meta["label"])
    described = _descriptions(module)
    lines = [about, "", "Parameters", "----------", *inspect.cleandoc(COMMON).splitlines()]
    published = protocols.parameters(plugin.meta, "published")
    for name, value in protocols.parameters(plugin.meta, "corrected").items():
        kind, text = described.get(name, ("", []))
        other = f" (published: {published[name]!r})" if published[name] != value else ""
        lines.append(f"{name} : {kind or type(value).__name__}, default {value!r}{other}")
        lines += text
    if "truth" not in plugin.meta.get("needs", ()):
        lines += ["", "Examples", "--------", *_example(plugin)]
    if cite := plugin.meta.get("cite"):
        lines += ["", "References", "----------", cite]
    return "\n".join(lines)


def _example(plugin: Plugin) -> list[str]:
    """A fit of a moment on small data, as a doctest."""
    draw = "normal(size=(40, 5))" if is_for(plugin.meta, "gaussian") else "poisson(3, (40, 5))"
    short = [f", {key}=2" for key in ("epochs", "max_iter") if key in plugin.meta.get("params", {})]
    return [
        ">>> import numpy as np",
        ">>> from anchorbench import method",
        f">>> X = np.random.default_rng(0).{draw}",
        f">>> model = method({plugin.name!r})(n_latent=2{''.join(short)}).fit(X)",
        ">>> len(model.transform(X))",
        "40",
    ]


def _descriptions(module: ModuleType) -> dict[str, tuple[str, list[str]]]:
    """Kind and text of every parameter that the estimators of a file describe, by its name."""
    found: dict[str, tuple[str, list[str]]] = {}
    kinds = [
        v for v in vars(module).values() if isinstance(v, type) and issubclass(v, BaseEstimator)
    ]
    for kind in (parent for own in kinds for parent in own.__mro__):
        if not kind.__module__.startswith("anchorbench") or not kind.__doc__:
            continue
        text = inspect.cleandoc(kind.__doc__)
        section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", text, re.S | re.M)
        for entry in re.split(r"^(?=\S)", section[1] if section else "", flags=re.M):
            head, *rest = entry.rstrip().split("\n")
            names, _, about = head.partition(" : ")
            for name in names.split(", "):
                found.setdefault(name, (about, [line for line in rest if line.strip()]))
    return found


@contextmanager
def _progress(verbose: bool | None, label: str) -> Iterator[None]:
    """Show a bar of the epochs that a deep method has done."""
    notebook = "ipykernel" in sys.modules
    shown = (notebook or sys.stderr.isatty()) if verbose is None else verbose
    training: Any = sys.modules.get(TRAINING)
    if not shown or training is None:
        yield
        return
    bars = importlib.import_module("tqdm.auto")
    before = training.report
    with bars.tqdm(desc=label, unit="epoch", leave=False) as bar:

        def report(done: int, total: int, loss: float) -> None:
            bar.total, bar.n = total, done
            bar.set_postfix(loss=f"{loss:.4g}")

        training.report = report
        try:
            yield
        finally:
            training.report = before
