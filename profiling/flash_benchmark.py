"""Command `python -m profiling.flash_benchmark`: see `profiling.attention.flash_benchmark`."""

import sys

from analysis.show.command import run
from profiling.attention.flash_benchmark import main

if __name__ == "__main__":
    sys.exit(run(main))
