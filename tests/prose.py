"""The pages of the reference run as text: their numbers and their tables."""

import re
from functools import cache

import pandas as pd

from anchorbench.study.plugins import SUITE

RESULTS = SUITE / "results"
REFERENCE = RESULTS / "reference"
PAGES = ("README", "reproduction", "findings")
NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+)"


def page(name):
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def paragraphs(name):
    """The paragraphs and bullets of a page, each in one line, without the addresses of links."""
    text = re.sub(r"(?m)^ *[|#].*\n", "\n", page(name))
    parts = re.split(r"\n\s*\n|\n(?=\* )", re.sub(r"\]\([^)]*\)", "]", text))
    return [" ".join(part.split()) for part in parts if part.strip()]


def sentences(name):
    """All of them in one line."""
    return " ".join(paragraphs(name))


def tables(text):
    """Each table of a page: header and rows of cells."""
    blocks = re.findall(r"(?:^ *\|.*\n)+", text, flags=re.MULTILINE)
    for block in blocks:
        head, _, *rows = (line.strip() for line in block.splitlines())
        yield head, [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def number(text):
    """A printed number, and how far a rounded one may be off."""
    digits = text.replace(",", "")
    return float(digits), 0.5001 * 10.0 ** -len(digits.partition(".")[2])


def numbers(text):
    """All numbers of a text, as `number` reads them."""
    return [number(found) for found in re.findall(NUMBER, text)]


@cache
def at_papers_length():
    """Our numbers at the paper's document length, by dataset, method, protocol and metric."""
    table = pd.read_csv(REFERENCE / "tables" / "fidelity.csv")
    return table.set_index(["dataset", "method", "protocol", "metric"])["scaled_mean"]
