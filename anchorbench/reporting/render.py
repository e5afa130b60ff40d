"""Writing tables and figures: the same input gives the same bytes, on any day."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300


@dataclass
class Sheet:
    """A table for readers: text cells, some of them bold, in sections.

    `rows` holds a list of cells for a row and a str for the heading of a section. `bold` holds
    (row, column) pairs, counted in `rows`. The first column is set left, the others right, except
    those named in `left`.
    """

    columns: list[str]
    rows: list[list[str] | str]
    title: str = ""
    bold: set[tuple[int, int]] = field(default_factory=set)
    left: set[int] = field(default_factory=lambda: {0})


def write_table(
    frame: pd.DataFrame,
    sheets: Sequence[Sheet],
    stem: Path,
    title: str,
    caption: str,
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write `stem`.csv (the numbers), .md and .tex (the sheets); return the paths."""
    texts = {
        ".csv": csv(frame),
        ".md": markdown(sheets, title, caption, notes),
        ".tex": latex(sheets, stem.name, title, caption, notes),
    }
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, text in texts.items():
        path = stem.with_name(stem.name + suffix)
        path.write_text(text, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def write_figure(figure: Figure, frame: pd.DataFrame, stem: Path) -> list[Path]:
    """Write `stem`.png (300 dpi), .pdf (vector) and .csv (the data drawn); return the paths."""
    from matplotlib.text import Text

    from anchorbench.reporting.artefacts._style import legible

    stem.parent.mkdir(parents=True, exist_ok=True)
    for text in figure.findobj(Text):
        text.set_text(legible(text.get_text()))
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf", ".csv")]
    figure.savefig(paths[1], metadata={"CreationDate": None, "Creator": None, "Producer": None})
    paths[0].write_bytes(png(figure))
    paths[2].write_text(csv(frame), encoding="utf-8", newline="\n")
    return paths


def png(figure: Figure) -> bytes:
    """Return a figure as PNG with a palette of 256 colours, which keeps the file small."""
    from PIL import Image

    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, metadata={"Software": None})
    image = Image.open(raw).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True, dpi=(DPI, DPI))
    return small.getvalue()


def csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV text, floats with six significant digits."""
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def markdown(sheets: Sequence[Sheet], title: str, caption: str, notes: Sequence[str] = ()) -> str:
    """Return a title, the caption, the sheets as pipe tables, and the notes as a list."""
    parts = [f"# {title}", caption]
    for sheet in sheets:
        if sheet.title:
            parts.append(f"## {sheet.title}")
        parts.append("\n".join(_pipe_rows(sheet)))
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _pipe_rows(sheet: Sheet) -> list[str]:
    width = len(sheet.columns)
    rules = [":---" if i in sheet.left else "---:" for i in range(width)]
    lines = [[_escaped(column) for column in sheet.columns], rules]
    for i, row in enumerate(sheet.rows):
        if isinstance(row, str):
            lines.append([f"**{_escaped(row)}**"] + [""] * (width - 1))
        else:
            cells = [_escaped(cell) for cell in row]
            lines.append([f"**{c}**" if (i, j) in sheet.bold else c for j, c in enumerate(cells)])
    return [f"| {' | '.join(line)} |" for line in lines]


def _escaped(cell: str) -> str:
    """Text that does not end a cell of a pipe table."""
    return cell.replace("|", r"\|")


_TEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "↓": r"$\downarrow$",
    "†": r"$\dagger$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "₀": r"$_0$",
    "₁": r"$_1$",
}


def escape_latex(text: str) -> str:
    """Return text that LaTeX sets as it stands."""
    return "".join(_TEX.get(character, character) for character in text)


def latex(
    sheets: Sequence[Sheet], name: str, title: str, caption: str, notes: Sequence[str] = ()
) -> str:
    """Return the sheets as LaTeX tables (needs booktabs); caption and notes under the first."""
    text = " ".join([caption, *notes])
    blocks = []
    for number, sheet in enumerate(sheets):
        heading = f"{title}: {sheet.title}" if sheet.title else title
        full = f"{heading}. {text}" if number == 0 else f"{heading}."
        label = f"tab:{name}" + (f"-{number + 1}" if number else "")
        blocks.append(_tabular(sheet, escape_latex(full), label))
    return "\n".join(blocks)


def _tabular(sheet: Sheet, caption: str, label: str) -> str:
    width = len(sheet.columns)
    align = "".join("l" if i in sheet.left else "r" for i in range(width))
    body: list[str] = []
    for i, row in enumerate(sheet.rows):
        if isinstance(row, str):
            body += [r"\midrule"] if body else []
            body.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(row)}}}}} \\")
            continue
        cells = [escape_latex(cell) for cell in row]
        cells = [rf"\textbf{{{c}}}" if (i, j) in sheet.bold else c for j, c in enumerate(cells)]
        body.append(" & ".join(cells) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(escape_latex(column) for column in sheet.columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
