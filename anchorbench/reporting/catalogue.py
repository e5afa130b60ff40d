"""The artefacts that there are, and how one is made; nothing is imported to find them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from anchorbench.reporting import render
from anchorbench.reporting.results import Results
from anchorbench.reporting.text import clean, clean_columns
from anchorbench.runs.sealed import read_json, write_json
from anchorbench.study.config import ConfigError
from anchorbench.study.hints import suggest
from anchorbench.study.plugins import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CATEGORIES = ("Prediction", "Recovery", "Interpretation", "Reproducibility", "Cost")
FOLDERS = {"table": "tables", "figure": "figures"}


@cache
def discover() -> dict[str, dict[str, Any]]:
    """Return the metadata of every artefact by name, sorted; nothing is imported."""
    files = sorted((Path(__file__).parent / "artefacts").glob("[!_]*.py"))
    return {path.stem: literal(path, "ARTEFACT") for path in files}


def chosen(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the artefacts that a configuration asks for. Raises ConfigError for unknown ones."""
    known = discover()
    for name in config.get("artefacts", ()):
        if name not in known:
            raise ConfigError(f"config key artefacts: no artefact {name!r}; {suggest(name, known)}")
    return {name: known[name] for name in config.get("artefacts", known)}


def load(name: str) -> ModuleType:
    """Import an artefact. Raises KeyError, with the known names, for an unknown one."""
    if name not in discover():
        raise KeyError(f"no artefact {name!r}; known artefacts: {', '.join(discover())}")
    return import_module(f"anchorbench.reporting.artefacts.{name}")


def extract(name: str, runs: Iterable[Any]) -> pd.DataFrame:
    """Return what an artefact needs of codes and loadings; `runs` are read as they are needed."""
    frame: pd.DataFrame = load(name).extract(runs)
    return clean_columns(frame)


def outputs(name: str, out_dir: str | Path) -> list[Path]:
    """Return the paths that `build` writes for an artefact."""
    kinds = discover()[name]["kind"].split("+")
    suffixes = {"table": (".csv", ".md", ".tex"), "figure": (".png", ".pdf", ".csv")}
    return [Path(out_dir) / FOLDERS[k] / f"{name}{s}" for k in kinds for s in suffixes[k]]


def attempt(name: str, make: Callable[[], object], out_dir: str | Path) -> str:
    """Call `make`, which builds an artefact; return why it failed, or "".

    A failure stops nothing: the artefact's files say it in the artefact's place, and
    `out_dir`/failures/<name>.json keeps the reason, for the report, for the gate, whose exit status
    is then not zero, and for the next call, which tries again.
    """
    record = failure(name, out_dir)
    try:
        make()
    except Exception as error:
        reason = clean(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    else:
        record.unlink(missing_ok=True)
        return ""
    _write_failure(name, reason, out_dir)
    write_json(record, {"artefact": name, "reason": reason})
    return reason


def failure(name: str, out_dir: str | Path) -> Path:
    """The file that says why an artefact could not be made."""
    return Path(out_dir) / "failures" / f"{name}.json"


def failures(out_dir: str | Path) -> dict[str, str]:
    """Return the artefacts that could not be made, with the reasons."""
    files = sorted((Path(out_dir) / "failures").glob("*.json"))
    return {file.stem: str((read_json(file) or {}).get("reason", "unknown")) for file in files}


def _write_failure(name: str, reason: str, out_dir: str | Path) -> None:
    """Write an artefact's files with the reason in the place of its contents."""
    from anchorbench.reporting.artefacts import _style

    about, text = discover()[name], f"This could not be made: {reason}"
    frame = pd.DataFrame({"failed": [reason]})
    for kind in about["kind"].split("+"):
        stem = Path(out_dir) / FOLDERS[kind] / name
        if kind == "figure":
            render.write_figure(_style.message(text[:300]), frame, stem)
        else:
            sheet = render.Sheet(["Failed"], [[reason]])
            render.write_table(frame, [sheet], stem, about["label"], text)


def build(name: str, results: Results, out_dir: str | Path) -> list[Path]:
    """Make an artefact and write it to `out_dir`/tables or figures; return the paths.

    An artefact of kind "table+figure" gives both: make() is the table, draw(frame, results) the
    figure of it.
    """
    module, about = load(name), discover()[name]
    made = module.make(results)
    if about["kind"] == "figure":
        return _write_figure(made, name, out_dir)
    paths = _write_table(made, module, results, name, out_dir)
    if about["kind"] == "table+figure":
        paths += _write_figure(module.draw(made, results), name, out_dir)
    return paths


def _write_table(
    frame: pd.DataFrame, module: ModuleType, results: Results, name: str, out_dir: str | Path
) -> list[Path]:
    from anchorbench.reporting.artefacts._tables import plain_sheets

    about = discover()[name]
    sheets = module.pretty(frame, results) or plain_sheets(frame)  # a head without rows
    stem = Path(out_dir) / FOLDERS["table"] / name
    notes, of = frame.attrs.get("notes", []), frame.attrs.get("of")
    title = f"{about['label']}, {of}" if of else about["label"]
    return render.write_table(frame, sheets, stem, title, about["caption"], notes)


def _write_figure(drawn: tuple[Figure, pd.DataFrame], name: str, out_dir: str | Path) -> list[Path]:
    return render.write_figure(*drawn, Path(out_dir) / FOLDERS["figure"] / name)
