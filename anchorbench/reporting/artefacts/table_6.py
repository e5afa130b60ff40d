"""Table 6: the settings as they were run, beside the paper's."""

from __future__ import annotations

from typing import Any

import pandas as pd

from anchorbench.reporting.artefacts._tables import with_notes
from anchorbench.reporting.render import Sheet
from anchorbench.reporting.results import Results, groups
from anchorbench.runs.status import Status
from anchorbench.study.protocols import SEARCHED

ARTEFACT = {
    "kind": "table",
    "label": "Table 6. Settings as run, beside the paper's",
    "caption": "Settings of each dataset and the median time to fit one replicate. Values of the "
    "paper marked with * were not at hand in print: they are taken from the "
    "released code and its file names.",
    "category": "Reproducibility",
    "datasets": ["synthetic", "peerread", "peerread_shift", "movielens", "zeisel"],
    "extract": False,
}
COLUMNS = ["dataset", "method", "protocol", "parameter", "value", "paper", "origin"]
COMMON = {
    "n_hidden": "Layer width",
    "n_latent": "Latent dimension",
    "learning_rate": "Learning rate",
    "epochs": "Epochs",
    "batch_size": "Batch size",
    "likelihood": "Likelihood",
}
RUNTIME = "seconds"
# (dataset, parameter) -> value and whether it is printed in the text or taken from released code
PRINTED, CODE = "paper", "released code"
PAPER: dict[tuple[str, str], tuple[str, str]] = {}
for _dataset, _values in {
    "synthetic": ("50", "5", "0.01*", "200", "100", "gaussian", "2 min, CPU"),
    "movielens": ("300", "30", "0.0001*", "100", "100", "multinomial", "1 h, GPU"),
    "peerread": ("100", "20", "0.01*", "40", "128", "multinomial", "20 min, GPU"),
    "peerread_shift": ("50", "20", "0.01", "50", "128", "multinomial", "30 min, GPU"),
    "zeisel": ("100", "15", "0.01*", "100", "512", "gaussian", "15 min, CPU"),
}.items():
    for _key, _value in zip([*COMMON, RUNTIME], _values, strict=True):
        _origin = CODE if _value.endswith("*") else PRINTED
        PAPER[_dataset, _key] = (_value.rstrip("*"), _origin)
# (dataset, method, parameter) -> value: the settings of one method
OWN = {
    ("synthetic", "sparse_vae", "lambda1"): "1",
    ("synthetic", "sparse_vae", "lambda0"): "10",
    ("movielens", "sparse_vae", "lambda1"): "1",
    ("movielens", "sparse_vae", "lambda0"): "10",
    ("peerread", "sparse_vae", "lambda1"): "0.001",
    ("peerread", "sparse_vae", "lambda0"): "5",
    ("peerread_shift", "sparse_vae", "lambda1"): "0.01",
    ("peerread_shift", "sparse_vae", "lambda0"): "5",
    ("zeisel", "sparse_vae", "lambda1"): "1",
    ("zeisel", "sparse_vae", "lambda0"): "10",
    **{(d, "vsc", "alpha"): "0.01" for d in ("synthetic", "movielens", "peerread", "zeisel")},
    ("peerread_shift", "vsc", "alpha"): "0.01",
}


def make(results: Results) -> pd.DataFrame:
    """Return a row for each parameter of each method, dataset and protocol, and the time it took.

    Settings of one dataset share what they do not vary: the first instance of a dataset speaks.
    """
    rows = []
    seen = set()
    for cell in results.manifest.get("settings", []):
        about = results.datasets.get(cell["dataset"], {})
        plugin, method, protocol = about.get("plugin"), cell["method"], cell["protocol"]
        described = results.methods.get(method, {})
        if (plugin, method, protocol) in seen or described.get("control") or protocol in SEARCHED:
            continue
        if described.get("quirk") or cell["dataset"] not in results.namesakes(str(plugin)):
            continue
        seen.add((plugin, method, protocol))
        fixed = {k: about.get(k) for k in ("n_latent", "likelihood")}
        time = {RUNTIME: _median_seconds(results, plugin, method, protocol)}
        for name, value in {**cell["params"], **fixed, **time}.items():
            paper, origin = _paper(str(plugin), method, name)
            rows.append([plugin, method, protocol, name, _text(value), paper, origin])
    notes = [] if rows else ["The manifest holds no settings: nothing was run."]
    return with_notes(pd.DataFrame(rows, columns=COLUMNS), *notes)


def _paper(dataset: str, method: str, parameter: str) -> tuple[str, str]:
    common = PAPER.get((dataset, parameter))
    if common:
        return common
    own = OWN.get((dataset, method, parameter))
    return (own, CODE) if own else ("", "")


def _median_seconds(results: Results, plugin: Any, method: str, protocol: str) -> float:
    runs = results.runs
    here = runs["dataset"].isin(results.namesakes(str(plugin)))
    same = here & (runs["method"] == method) & (runs["protocol"] == protocol)
    return float(runs["seconds"][same & (runs["status"] == Status.DONE)].median())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return "" if value is None else str(value)


def pretty(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    """Return the settings common to most methods by dataset, then each method's own."""
    return [_common(frame), *_own(frame, results)] if len(frame) else [_common(frame)]


def _common(frame: pd.DataFrame) -> Sheet:
    protocols = list(dict.fromkeys(frame["protocol"]))
    sheet = Sheet(["Setting", *protocols, "Paper"], [], "Common settings")
    for dataset, part in groups(frame, "dataset"):
        sheet.rows.append(str(dataset))
        for name, label in {**COMMON, RUNTIME: "Seconds per fit, over methods"}.items():
            rows = part[(part["parameter"] == name) & (part["value"] != "")]
            if len(rows):
                by = [_merged(rows[rows["protocol"] == p], name) for p in protocols]
                sheet.rows.append([label, *by, _starred(rows.iloc[0])])
    return sheet


def _merged(rows: pd.DataFrame, name: str) -> str:
    """The value that methods have, or the range of the times they took."""
    if rows.empty:
        return "–"
    if name == RUNTIME:
        low, high = (f(rows["value"].astype(float)) for f in (min, max))
        return f"{low:.3g} to {high:.3g}" if low != high else f"{low:.3g}"
    counts = rows["value"].value_counts()
    usual = str(counts.index[0])
    rest = [f"{r.method} {r.value}" for r in rows.itertuples() if r.value != usual]
    return f"{usual} ({', '.join(rest)})" if rest else usual


def _starred(row: pd.Series) -> str:
    return f"{row['paper']}*" if row["origin"] == CODE else row["paper"] or "–"


def _own(frame: pd.DataFrame, results: Results) -> list[Sheet]:
    sheets = []
    own = frame[~frame["parameter"].isin([*COMMON, RUNTIME])]
    for dataset, part in groups(own, "dataset"):
        protocols = list(dict.fromkeys(part["protocol"]))
        sheet = Sheet(["Parameter", *protocols, "Paper"], [], f"{dataset}, by method")
        for method, rows in groups(part, "method"):
            sheet.rows.append(results.labels.get(method, method))
            for name, same in groups(rows, "parameter"):
                values = dict(zip(same["protocol"], same["value"], strict=True))
                line = [values.get(p, "–") for p in protocols]
                sheet.rows.append([str(name), *line, _starred(same.iloc[0])])
        sheets.append(sheet)
    return sheets
