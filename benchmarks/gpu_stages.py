"""Command `python -m benchmarks.gpu_stages`: see `benchmarks.gpu.stages`."""

import sys

from benchmarks.gpu.stages import main

if __name__ == "__main__":
    sys.exit(main())
