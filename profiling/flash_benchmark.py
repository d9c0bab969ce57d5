"""Command `python -m profiling.flash_benchmark`: see `profiling.attention.flash_benchmark`."""

import sys

from profiling.attention.flash_benchmark import main
from profiling.common.cli import run

if __name__ == "__main__":
    sys.exit(run(main, out_of_memory="use shorter --lengths"))
