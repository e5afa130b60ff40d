"""Table 2: prediction where test factors are correlated otherwise than training factors."""

from __future__ import annotations

import pandas as pd

from anchorbench.reporting.artefacts._tables import (
    CONVENTION,
    chosen,
    named,
    number_sheets,
    summarise,
    with_notes,
)
from anchorbench.reporting.results import Results

ARTEFACT = {
    "kind": "table",
    "label": "Table 2. Prediction under a shift of the factors",
    "caption": "Negative log-likelihood of heldout documents whose topic weights are correlated "
    "otherwise than in training; the difference falls from high to low.",
    "category": "Prediction",
    "datasets": ["peerread_shift"],
    "extract": False,
}
SETTINGS = ("high", "medium", "low")


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of the settings, from high to low difference."""
    instances, notes = chosen(results, "peerread_shift")
    found = {results.datasets[name]["setting"]: name for name in instances}
    order = [found.pop(s, f"peerread_shift_{s}") for s in SETTINGS] + list(found.values())
    ones = {
        cell["protocol"]
        for cell in results.manifest.get("settings", [])
        if cell["dataset"] in instances and cell["params"].get("beta_passed") is False
    }
    notes += [f"β-VAE, {protocol}: its β is 1, which makes it a VAE." for protocol in sorted(ones)]
    of = named(results, instances, "not run")
    return with_notes(summarise(results, order, ["recon_nll"]), CONVENTION, *notes, of=of)


pretty = number_sheets
