"""Command `python -m profiling.complete`: see `profiling.launch.complete`."""

import sys

from profiling.common.cli import run
from profiling.launch.complete import main

if __name__ == "__main__":
    sys.exit(run(main))
