"""Command `python -m profiling.parallel_benchmark`: see `profiling.parallel.parallel_benchmark`."""

import sys

from analysis.show.command import run
from profiling.parallel.parallel_benchmark import main

if __name__ == "__main__":
    sys.exit(run(main))
