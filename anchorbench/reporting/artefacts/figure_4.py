"""Figure 4: the sparse VAE under a weaker penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from anchorbench.reporting.artefacts import _boxes, _style
from anchorbench.reporting.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTEFACT = {
    "kind": "figure",
    "label": "Figure 4. The sparse VAE with more and with less regularisation",
    "caption": "Synthetic data: MSE, DCI and F-score of the support of W for variants of the "
    "sparse VAE that differ in λ₀ and λ₁ alone. Boxes as in Figure 3.",
    "category": "Recovery",
    "datasets": ["synthetic"],
    "extract": False,
}
METRICS = ["mse", "dci", "support_f1"]
BASE, PENALTY = "sparse_vae", {"lambda0", "lambda1", "lambda0_ladder"}


def make(results: Results) -> tuple[Figure, pd.DataFrame]:
    """Return the box plots of the three metrics, and the values in them."""
    variants = ladder(results)
    frame = _boxes.collect(results, "synthetic", variants, METRICS)
    if frame["value"].notna().sum() == 0:
        return _style.message("Figure 4 is empty: no finished run of the sparse VAE."), frame
    return _boxes.draw(frame, results, METRICS), frame


def ladder(results: Results) -> list[str]:
    """Return the sparse VAE and its variants that differ from it in the penalty alone."""
    params: dict[str, list[dict]] = {}
    for cell in results.manifest.get("settings", []):
        if cell["dataset"] in results.namesakes("synthetic"):
            params.setdefault(cell["method"], []).append(cell)
    base = {(c["dataset"], c["protocol"]): c["params"] for c in params.get(BASE, [])}
    chosen = []
    for name, about in results.methods.items():
        if name == BASE:
            chosen.append(name)
            continue
        if about["plugin"] != BASE or results.is_quirk(name) or name not in params:
            continue
        changed = (
            _changed(c["params"], base.get((c["dataset"], c["protocol"]), {})) for c in params[name]
        )
        if all(keys <= PENALTY for keys in changed):
            chosen.append(name)
    return chosen


def _changed(params: dict, base: dict) -> set[str]:
    return {key for key in params.keys() | base.keys() if params.get(key) != base.get(key)}
