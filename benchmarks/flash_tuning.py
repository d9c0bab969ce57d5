"""Command `python -m benchmarks.flash_tuning`: see `benchmarks.tuning.flash_tuning`."""

import sys

from benchmarks.tuning.flash_tuning import main
from profiling.common.cli import run

if __name__ == "__main__":
    sys.exit(run(main))
