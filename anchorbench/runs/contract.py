"""What the suite asks of the object that a method's `build` returns, and reads off it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from anchorbench.data.dataset import Split
from anchorbench.runs.processes import output_kept
from anchorbench.runs.store import stored
from anchorbench.scores.prediction import probabilities
from anchorbench.study import metadata

OPTIONAL = ("posterior", "log_prob", "elbo", "reconstruct", "support_", "anchors_")
CHANGING = ("fit", "fit_transform", "fit_many", "partial_fit", "set_params")
NEEDED = {
    "fit": "fit(X)",
    "transform": "transform(X) -> codes (N, K)",
    "inverse_transform": "inverse_transform(Z) -> expected features (N, G)",
}


def needed(model: Any, name: str) -> Any:
    """Return a method that every object must have.

    Raises AttributeError, saying what to add, where it has none.
    """
    if not hasattr(model, name):
        raise AttributeError(
            f"{type(model).__name__} has no {name}: give the object that build returns "
            f"{NEEDED[name]}"
        )
    return getattr(model, name)


def loadings(model: Any, n_codes: int, n_features: int) -> np.ndarray | None:
    """Return what a fitted object says of features and factors, (G, K), or None.

    `loadings_`, or `components_` (K, G) as scikit-learn's decompositions have them.
    """
    if (own := getattr(model, "loadings_", None)) is not None:
        return np.asarray(own)
    if (components := getattr(model, "components_", None)) is not None:
        rows = np.asarray(components)
        if rows.shape == (n_codes, n_features):
            return rows.T
    return None


def fitted(estimator: Any, X: Any, **more: Any) -> Any:
    """An estimator after `fit`, which may return another, or nothing. Raises what it raises."""
    if estimator is None:
        raise TypeError("build returned None: return the object that is to be fitted")
    fit = needed(estimator, "fit")
    with output_kept():
        model = fit(X, **more)
    return estimator if model is None else model


def outputs(model: Any, split: Split, kind: str, coded: bool = True) -> dict[str, np.ndarray]:
    """Return what a fitted object says of a replicate, by name.

    Parameters
    ----------
    model : object
    split : Split
    kind : str
        Of the data; counts are reconstructed as probabilities, rows scaled to sum to 1.
    coded : bool
        Whether what `transform` gives is a representation; where it is not, it is not kept.

    Returns
    -------
    dict
        reconstruction (N_test, G), codes_train (N_train, K) and codes (N_test, K) if `coded`, and
        loadings and support (G, K) where there are any.

    Raises
    ------
    ValueError
        Shapes that do not fit the data.
    """
    transform = needed(model, "transform")
    codes_train, codes = (_real("codes", transform(x)) for x in (split.train, split.test))
    for made, rows in ((codes_train, split.train), (codes, split.test)):
        if made.ndim != 2 or len(made) != len(rows):
            raise ValueError(f"transform returned shape {made.shape} for {len(rows)} rows")
        made.setflags(write=False)
    if not np.isfinite(codes).all():
        expected = np.full_like(split.test, np.nan)  # `degenerate` says why
    elif hasattr(model, "reconstruct"):
        expected = model.reconstruct(split.test)
    else:
        expected = needed(model, "inverse_transform")(codes)
    expected = _real("reconstruction", expected).astype(np.float64)
    if expected.shape != split.test.shape:
        raise ValueError(f"reconstruction has shape {expected.shape}, the data {split.test.shape}")
    if kind == "counts":
        expected = probabilities(expected)
    arrays = {"codes_train": codes_train, "codes": codes} if coded else {}
    arrays["reconstruction"] = expected
    if (found := loadings(model, codes.shape[1], expected.shape[1])) is not None:
        arrays["loadings"] = _real("loadings", found)
    if getattr(model, "support_", None) is not None:
        arrays["support"] = _real("support", model.support_)
    shape = (expected.shape[1], codes.shape[1])
    for name in ("loadings", "support"):
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"{name} have shape {arrays[name].shape}, not (G, K) = {shape}")
    groups = getattr(model, "anchors_", None)
    if groups is not None and np.shape(groups) != shape[:1]:
        raise ValueError(f"anchors_ have shape {np.shape(groups)}, not (G,) = {shape[:1]}")
    return arrays


def _real(name: str, values: Any) -> np.ndarray:
    """Return values as an array of real numbers, of its own memory. Raises ValueError."""
    array = np.array(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} are {array.dtype} values: give real numbers")
    return array


def provides(model: Any, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return what metrics may ask of a run: optional methods, and loadings that were found."""
    found = [name for name in OPTIONAL if hasattr(model, name)]
    return [*found, *(["loadings_"] if "loadings" in arrays else [])]


def known(split: Split, labels: Mapping[str, Any] | None) -> list[str]:
    """Return what metrics may ask of a replicate: truth and labels that it has."""
    truth = [name for name in metadata.TRUTH if getattr(split, name) is not None]
    return [*truth, *(["labels"] if labels else [])]


def facts(model: Any) -> dict[str, Any]:
    """Return what a fitted object says of itself for its record: parameters, convergence."""
    count, settled = getattr(model, "n_parameters_", None), getattr(model, "converged_", None)
    return {
        "n_parameters": None if count is None else int(count),
        "converged": None if settled is None else bool(settled),
    }


def curves(model: Any) -> dict[str, np.ndarray]:
    """Return the curves of training, as they are stored."""
    history = getattr(model, "history_", None)
    if not isinstance(history, Mapping):
        return {}
    return {f"curve_{name}": _real("curves", values) for name, values in history.items()}


def degenerate(arrays: Mapping[str, np.ndarray], control: bool) -> str:
    """Return why a representation is of no use, or "" where it is sound.

    What is judged is what will be stored: in single precision, 1e200 is infinite.
    """
    for name, values in arrays.items():
        if not np.isfinite(stored(values)).all():
            return f"{name} has NaN or infinite values"
    if (
        not control
        and "codes_train" in arrays
        and np.ptp(arrays["codes_train"], axis=0).max(initial=0.0) == 0.0
    ):
        return "constant representation: every row has the same code"
    return ""


class Checked:
    """A fitted object whose methods return finite numbers, or raise ValueError.

    It stays as it was fitted, for whoever asks next; `copy` gives one that may be fitted again.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def copy(self) -> Any:
        """The object itself, copied: whatever is done to it, this one stays."""
        return copy.deepcopy(self._model)

    def __getattr__(self, name: str) -> Any:
        if name in CHANGING:
            raise ValueError(
                f"run.model.{name}: this model stays as it was fitted, for the other metrics; "
                f"run.model.copy().{name}(…) is a model of your own"
            )
        value = getattr(self._model, name)
        if name not in (*NEEDED, *OPTIONAL) or not callable(value):
            return value

        def checked(*arguments: Any, **keywords: Any) -> Any:
            result = value(*arguments, **keywords)
            for part in result if isinstance(result, tuple) else (result,):
                if not np.isfinite(_real(f"what {name} returned", part)).all():
                    raise ValueError(f"{name} returned NaN or infinite values")
            return result

        return checked
