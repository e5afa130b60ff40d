"""Table 4: cell types predicted from codes on Zeisel."""

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
    "label": "Table 4. Cell type from codes",
    "caption": "Accuracy of a multinomial regression of the cell type on the codes. No split, "
    "penalty or code of the paper's own regression is known.",
    "category": "Interpretation",
    "datasets": ["zeisel"],
    "extract": False,
}
CELLS = 3005  # in the data of Zeisel et al. (2015)


def make(results: Results) -> pd.DataFrame:
    """Return the numbers table of every accuracy that was measured."""
    instances, notes = chosen(results, "zeisel")
    measured = results.scores["metric"][results.scores["dataset"].isin(instances)]
    further = sorted({m for m in measured if m.startswith("cell_type_accuracy")})
    metrics = list(dict.fromkeys(["cell_type_accuracy", *further]))
    for name in instances:
        rows = results.datasets[name].get("n_rows")
        if rows and rows < CELLS:
            notes.append(f"{rows:,} of {CELLS:,} cells were available.")
    frame = summarise(results, instances or ["zeisel"], metrics)
    return with_notes(frame, CONVENTION, *notes, of=named(results, instances, "Zeisel not run"))


pretty = number_sheets
