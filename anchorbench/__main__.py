"""`python -m anchorbench`: the steps of the workflow, each of which can be run by hand."""

import sys

from anchorbench import warm


def main() -> int:
    """Do a step: in a child of the parent that keeps its imports, or here."""
    if sys.argv[1:2] == ["_warm"]:
        warm.serve(int(sys.argv[2]))
    if (code := warm.ask(sys.argv[1:])) is not None:
        return code
    from anchorbench.cli import main as here
    from anchorbench.runs import processes

    processes.may_fork = processes.LINUX
    processes.leave_in_order()
    return here()


sys.exit(main())
