"""Run by the Python of a method's own environment: the suite's code there, none of its libraries.

`python anchorbench/runs/boot.py _fit …` is `python -m anchorbench _fit …` wherever the suite lies.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def main() -> None:
    """Import the package from its own folder, and do what the command line says."""
    sys.path.pop(0)  # this file's folder, in which no library is to be looked for
    spec = importlib.util.spec_from_file_location(
        "anchorbench", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["anchorbench"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    runpy.run_module("anchorbench", run_name="__main__")


if __name__ == "__main__":
    main()
