"""How figures look: sizes, type, colours. Matplotlib is imported on first use, with no display."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from anchorbench.reporting.results import Results

COLUMN, PAGE = 3.3, 6.8  # widths in inches: one column, the whole page
INK, MUTED, RULE = "#222222", "#6b6b6b", "#d9d9d9"

# Okabe and Ito's colours, told apart by people with any common colour vision.
KNOWN = {
    "sparse_vae": "#0072B2",
    "vae": "#E69F00",
    "beta_vae": "#D55E00",
    "oi_vae": "#CC79A7",
    "vsc": "#009E73",
    "nmf": "#56B4E9",
}
FURTHER = ["#882255", "#999933", "#332288", "#44AA99", "#8C564B", "#DDCC77", "#117733", "#AA4499"]
CATEGORIES = [
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#999933",
    "#000000",
]
MARKERS = "os^Dv<>P"
RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 0.8,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a dollar sign in a label is one
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
}


def new(width: float, height: float) -> Figure:
    """Return an empty figure (inches) in the house style, for writing to files alone."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(RC)  # type: ignore[arg-type]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def subplots(rows: int, columns: int, width: float, height: float, **kwargs: Any) -> Any:
    """Return (figure, array of axes (rows, columns))."""
    figure = new(width, height)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def message(text: str, width: float = COLUMN) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure, axes = subplots(1, 1, width, 1.0)
    axes[0, 0].axis("off")
    axes[0, 0].text(0.5, 0.5, text, ha="center", va="center", color=MUTED, wrap=True)
    return figure


def colours(methods: Iterable[str]) -> dict[str, str]:
    """Return a colour for each method: its own for known ones, the next free one for others.

    The others take theirs in the order of their names, so that a figure's colours do not depend on
    the order in which methods were run.
    """
    names = list(methods)
    others = sorted(name for name in names if name not in KNOWN)
    further = {name: FURTHER[i % len(FURTHER)] for i, name in enumerate(others)}
    return {name: KNOWN.get(name) or further[name] for name in names}


def lines(results: Results, methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return a colour and a dash for the line of each method: a variant has its base's, dashed."""
    methods = list(methods)
    base = {m: str(results.methods[m]["plugin"]) for m in methods}
    colour = colours(dict.fromkeys(base.values()))
    return {
        m: {"color": colour[base[m]], "linestyle": "-" if m == base[m] else "--"} for m in methods
    }


def legible(text: str) -> str:
    """Return text with the code of each character that the figures' font lacks, as \\u4e2d."""
    known = _characters()
    return "".join(c if c == "\n" or ord(c) in known else _code(c) for c in text)


def _code(c: str) -> str:
    return f"\\u{ord(c):04x}"


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(RC["font.sans-serif"][0])).get_charmap())


def entry(label: str) -> str:
    """Return a label as legends show it: they would leave out one that begins with "_"."""
    return f" {label}" if label.startswith("_") else label


def log_axis(axis: Axis) -> None:
    """Label a logarithmic axis with powers of ten, without mathematical type."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

    def power(value: float, _: int | None) -> str:
        return "10" + str(round(float(np.log10(value)))).translate(digits)

    axis.set_major_formatter(FuncFormatter(power))
    axis.set_minor_formatter(NullFormatter())


def letter(index: int) -> str:
    """Return a, b, …, z, aa, ab, …: the mark by which a box is found in print without colour."""
    head, tail = divmod(index, 26)
    return (letter(head - 1) if head else "") + "abcdefghijklmnopqrstuvwxyz"[tail]


def rho(setting: str) -> float | None:
    """Return the correlation that a setting such as "rho0.4" names, or None."""
    found = re.search(r"rho(-?\d+(?:\.\d+)?)", setting)
    return float(found.group(1)) if found else None


def lighter(colour: str, share: float = 0.55) -> tuple[float, float, float]:
    """Return a colour mixed with a share of white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (c + (1 - c) * share for c in to_rgb(colour))
    return red, green, blue


def box(axes: Axes, position: float, values: Any, colour: str, width: float) -> None:
    """Draw a box: quartiles, median in ink, whiskers to 1.5 IQR, small outliers.

    Edges have the full colour, so that a box without height is still seen.
    """
    axes.boxplot(
        [np.asarray(values, dtype=float)],
        positions=[position],
        widths=width,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": lighter(colour), "edgecolor": colour, "linewidth": 0.7},
        medianprops={"color": INK, "linewidth": 1.1, "solid_capstyle": "butt"},
        whiskerprops={"color": colour, "linewidth": 0.7},
        capprops={"linewidth": 0},
        flierprops={
            "marker": "o",
            "markersize": 1.5,
            "markerfacecolor": colour,
            "markeredgecolor": "none",
        },
    )


def by_rows(handles: list[Any], columns: int) -> list[Any]:
    """Return legend handles reordered so that they read along rows, not down columns."""
    return [handle for start in range(columns) for handle in handles[start::columns]]


def needs_log(values: Sequence[float], decades: float = 1.5) -> bool:
    """Whether positive values span so much that a linear axis would hide most of them."""
    x = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    return bool(x.size and x.min() > 0 and np.log10(x.max() / x.min()) > decades)


def light_grid(axes: Axes) -> None:
    """Draw horizontal hairlines behind the data."""
    axes.grid(axis="y", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
