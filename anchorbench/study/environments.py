"""What a method says of the libraries that it needs beside, or in place of, the suite's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchorbench.study.digest import file_sha256

REQUIREMENTS, FILE = "requirements", "environment"
"""Keys of METHOD."""
NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*($|[<>=!~;@(])")
"""A requirement that begins with a package's name."""


@dataclass(frozen=True)
class Environment:
    """Libraries of a method's own: requirements for pip, or a file for conda."""

    requirements: tuple[str, ...] = ()
    file: Path | None = None

    @property
    def ingredient(self) -> list[str]:
        """What of it decides a number: the requirements, or the file's content."""
        return [f"conda {file_sha256(self.file)}"] if self.file else list(self.requirements)

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the packages that requirements name."""
        found = map(NAMED.match, self.requirements)
        return tuple(match[1] for match in found if match)

    def __str__(self) -> str:
        return f"conda {self.file.name}" if self.file else f"pip {', '.join(self.requirements)}"


def of(meta: Mapping[str, Any], path: Path) -> Environment | None:
    """The environment that a METHOD names; None for the suite's own.

    Parameters
    ----------
    meta : mapping
        The METHOD. `environment` is a path from the folder that methods/ lies in.
    path : Path
        The method's file.

    Raises
    ------
    ValueError
        It names both, or what is no list of requirements and no file that is there.
    """
    lines, name = meta.get(REQUIREMENTS), meta.get(FILE)
    if lines is not None and name is not None:
        raise ValueError("names both requirements and environment: keep one of them")
    if lines is not None:
        _check_requirements(lines)
        return Environment(requirements=tuple(lines))
    if name is None:
        return None
    if not isinstance(name, str):
        raise ValueError(f"environment must be the path of a file for conda, not {name!r}")
    file = path.parent.parent / name
    if not file.is_file() or file.suffix not in (".yml", ".yaml"):
        raise ValueError(f"environment {name!r}: there is no such .yml file ({file})")
    return Environment(file=file)


def _check_requirements(lines: Any) -> None:
    good = isinstance(lines, list) and lines and all(isinstance(r, str) and r for r in lines)
    if not good:
        raise ValueError(
            f'requirements must be a list such as ["scikit-learn==1.5.2"], not {lines!r}'
        )
    for line in lines:
        if line.startswith("-"):
            raise ValueError(
                f"requirements: {line!r} is an option of pip: set it as an environment variable "
                "instead, e.g. PIP_FIND_LINKS and PIP_NO_INDEX"
            )
        if not NAMED.match(line) or "file:" in line:
            raise ValueError(
                f"requirements: {line!r} is no package's name with versions: of a path no digest "
                "tells when its content changes; build a wheel and name it, with PIP_FIND_LINKS"
            )
