"""Command `python -m profiling.attention_benchmark`: see `profiling.attention`."""

import sys

from analysis.show.command import run
from profiling.attention.attention_benchmark import main

if __name__ == "__main__":
    sys.exit(run(main))
