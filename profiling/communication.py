"""Command `python -m profiling.communication`: see `profiling.parallel.communication`."""

import sys

from profiling.common.cli import run
from profiling.parallel.communication import main

if __name__ == "__main__":
    sys.exit(run(main, out_of_memory="use smaller --sizes or fewer --ranks"))
