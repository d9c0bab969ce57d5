"""Command `python -m profiling.parallel_benchmark`: see `profiling.parallel.parallel_benchmark`."""

import sys

from profiling.common.cli import run
from profiling.parallel.parallel_benchmark import main

if __name__ == "__main__":
    sys.exit(run(main, out_of_memory="use a smaller --size, --batch or --context"))
