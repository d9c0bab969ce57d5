"""Command `python -m profiling.communication`: see `profiling.parallel.communication`."""

import sys

from analysis.show.command import run
from profiling.parallel.communication import main

if __name__ == "__main__":
    sys.exit(run(main))
