"""Figure 3: reconstruction and disentanglement as the true factors get more correlated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from anchorbench.reporting.artefacts import _boxes, _style
from anchorbench.reporting.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Figure 3. Reconstruction and recovery against the correlation of the factors",
    "caption": "Synthetic data, all replicates. Boxes: quartiles, median, whiskers to 1.5 "
    "interquartile ranges. Letters name the methods as in the legend; a red number under a letter "
    "counts its failed runs, a number with an arrow its values beyond the axis. Grey lines: "
    "medians of the controls. Of several variants of a method the one with its name is shown.",
    "category": "Recovery",
    "datasets": ["synthetic"],
    "extract": False,
}
METRICS = ["mse", "dci"]


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return the box plots of MSE and DCI, and the values in them."""
    frame = _boxes.collect(results, "synthetic", representatives(results), METRICS)
    if frame["value"].notna().sum() == 0:
        failed = results.distinct_runs(set(frame["dataset"]), set(frame["method"]))
        why = f"all {failed} runs failed" if failed else "the synthetic data were not run"
        return _style.message(f"Figure 3 is empty: {why}."), frame
    return _boxes.draw(frame, results, METRICS), frame


def representatives(results: Results) -> list[str]:
    """Return one variant of each method run on synthetic data: the one that bears its name."""
    instances = results.namesakes("synthetic")
    run = {method for name in instances for method, _ in results.present[name]}
    chosen: dict[str, str] = {}
    for name, about in results.methods.items():
        if name in run and not results.is_quirk(name):
            plugin = about["plugin"]
            chosen[plugin] = name if name == plugin else chosen.get(plugin, name)
    return list(chosen.values())
