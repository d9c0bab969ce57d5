"""Command `python -m profiling.torch_trace`: see `analysis.source.trace.convert`."""

import sys

from analysis.show.command import run
from analysis.source.trace.convert import main

if __name__ == "__main__":
    sys.exit(run(main))
