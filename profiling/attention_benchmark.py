"""Command `python -m profiling.attention_benchmark`: see `profiling.attention`."""

import sys

from profiling.attention.attention_benchmark import main
from profiling.common.cli import run

if __name__ == "__main__":
    sys.exit(run(main, out_of_memory="use shorter --lengths"))
