"""Anchorbench: a benchmark suite for sparse and identifiable deep generative models.

The names below are loaded on first use, so that importing the package costs nothing:
``Dataset``, ``Split``, ``kfold`` (data containers) and ``method(name)`` (an estimator builder).
"""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Dataset": "anchorbench.data.dataset",
    "Split": "anchorbench.data.dataset",
    "kfold": "anchorbench.data.dataset",
    "method": "anchorbench.estimators",
}
__all__ = ["Dataset", "Split", "kfold", "method"]

# In a checkout methods, metrics and datasets lie beside the package; installed, inside it.
if (Path(__file__).parent.parent / "workflow" / "Snakefile").is_file():
    __path__.append(str(Path(__file__).resolve().parent.parent))


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'anchorbench' has no attribute {name!r}")
