"""Where the real reports are, if they are: the one place that looks outside the repository."""

from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
"""The root of the repository."""

SHARED: Final = ROOT.parent / "shared"
REASON: Final = "the real reports are not beside this repository"

WITH_KERNELS: Final = (
    "cuda-graphs-a100",
    "forward-2.7b-a100",
    "fsdp-2xh100-after",
    "fsdp-2xh100-before",
    "mpi-saxpy-2022.2",
    "no-meta-2021",
    "registered-strings-cupy",
    "sliced-2xh100",
    "train-step-small-a100",
)
WITHOUT_KERNELS: Final = ("no-cuda-cp1251", "nvtx-only-2022.4")


def there(path: Path) -> Path:
    """Return the path, or skip the test if nothing is there."""
    if not path.exists():
        pytest.skip(REASON)
    return path


def report(name: str) -> Path:
    """Return a real report by its name."""
    return there(SHARED / "reports" / f"{name}.sqlite")


def expected(name: str, kind: str) -> Path:
    """Return what ``nsys stats`` prints of a report, as csv."""
    return there(SHARED / "reports" / "expected" / f"{name}.{kind}.csv")


def trace(name: str) -> Path:
    """Return a real PyTorch trace, gzipped."""
    return there(SHARED / "reports" / "traces" / f"{name}.trace.json.gz")
