"""`python -m anchorbench`: the steps of the workflow, each of which can be run by hand."""

import sys

from anchorbench.cli import main

sys.exit(main())
