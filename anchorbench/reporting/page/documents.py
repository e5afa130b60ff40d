"""Artefacts on the page: figures as they are, tables from their Markdown files as blocks."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anchorbench.reporting import catalogue

LONG = 25_000
"""Characters of a table from which on the page links to its file."""

Text = list[tuple[str, bool]]
"""Pieces of a line, each with whether it is bold."""


def section(folder: Path) -> dict[str, Any]:
    """Artefacts by category; those that show nothing, and those not made, by name alone."""
    categories: dict[str, list[dict[str, Any]]] = {}
    empty, missing = [], []
    for name, about in catalogue.discover().items():
        artefact = _artefact(folder, name, about)
        if artefact is None:
            missing.append(about["label"])
        elif not artefact["images"] and not artefact["blocks"] and not artefact["links"]:
            empty.append(about["label"])
        else:
            categories.setdefault(about["category"], []).append(artefact)
    known = [c for c in catalogue.CATEGORIES if c in categories]
    ordered = [{"name": c, "artefacts": categories[c]} for c in known]
    return {"categories": ordered, "empty": empty, "missing": missing}


def pack(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Mark the tables of a section as packed, to be put in by the script; return them by name."""
    taken = {
        f"artefact-{one['name']}": one
        for category in found["categories"]
        for one in category["artefacts"]
        if one["blocks"]
    }
    for name, one in taken.items():
        one["packed"] = name
    return taken


def _artefact(folder: Path, name: str, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """A figure, a table or both; None where no file of it is there."""
    found: dict[str, Any] = {"name": name, "label": about["label"], "caption": about["caption"]}
    found |= {"images": [], "blocks": [], "links": [], "table": "", "packed": ""}
    made = False
    for kind in about["kind"].split("+"):
        path = folder / catalogue.FOLDERS[kind] / f"{name}{'.md' if kind == 'table' else '.png'}"
        if not path.is_file():
            continue
        made = True
        if not _has_rows(path.with_suffix(".csv")):
            continue
        if kind == "figure":
            found["images"].append(base64.b64encode(path.read_bytes()).decode("ascii"))
            continue
        text = path.read_text(encoding="utf-8")
        found["table"] = str(path.with_suffix(".csv").relative_to(folder))
        if len(text) > LONG or about.get("extract"):  # factors have a section of their own
            found["links"].append(found["table"])
        else:
            found["blocks"] = blocks(text)
    return found if made else None


def _has_rows(path: Path) -> bool:
    """Whether a CSV holds more than its head."""
    if not path.is_file():
        return True
    with path.open(encoding="utf-8") as lines:
        next(lines, "")
        return next(lines, None) is not None


def blocks(text: str) -> list[dict[str, Any]]:
    """Return the blocks of a table's .md file, without its title and caption."""
    found: list[dict[str, Any]] = []
    for place, block in enumerate(text.strip().split("\n\n")):
        if block.startswith("# ") or (place == 1 and not block.startswith(("|", "##", "- "))):
            continue
        if block.startswith("## "):
            found.append({"kind": "heading", "text": pieces(block[3:])})
        elif block.startswith("|"):
            found.append({"kind": "table", **_table(block)})
        elif block.startswith("- "):
            items = [pieces(line[2:]) for line in block.split("\n")]
            found.append({"kind": "notes", "items": items})
        else:
            found.append({"kind": "text", "text": pieces(block)})
    return found


def _table(block: str) -> dict[str, Any]:
    """Head, sides and rows of a pipe table; a row that is one bold cell is a section."""
    head, rules, *rows = (_cells(line) for line in block.split("\n"))
    lines = []
    for row in rows:
        is_section = len(row) > 1 and row[0].startswith("**") and not any(row[1:])
        text = row[0].strip("*") if is_section else ""
        lines.append({"section": text, "cells": [] if is_section else [pieces(c) for c in row]})
    return {"head": head, "right": [rule.endswith(":") for rule in rules], "rows": lines}


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [cell.strip().replace(r"\|", "|") for cell in cells]


def pieces(text: str) -> Text:
    """Return a line as pieces, those between ** in bold."""
    parts = re.split(r"\*\*(.+?)\*\*", text)
    return [(part, bool(i % 2)) for i, part in enumerate(parts) if part]
