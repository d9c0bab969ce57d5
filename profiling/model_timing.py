"""Command `python -m profiling.model_timing`: see `profiling.layers.model_timing`."""

import sys

from analysis.show.command import run
from profiling.layers.model_timing import main

if __name__ == "__main__":
    sys.exit(run(main))
