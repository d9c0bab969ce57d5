"""The half of nsys that records, without its importer, made of the real nsys where there is one."""

import os
import shutil
from pathlib import Path

import pytest

from profiling.recorders import importer
from profiling.recorders.nsys import Nsys
from tests.made.runs.launched import find_nsys

LEFT_OUT = ("libcupti", "libnvperf", "CollectX")
"""What is not needed to record NVTX, and large."""


def half_of_nsys(folder: Path) -> tuple[str, Path]:
    """Return the real nsys, and one of the same version that can only record; or skip.

    Its files are links to the real ones, or copies on another disk: nsys looks for its importer
    beside the file it really is, so links by name would lead it there.
    """
    whole = find_nsys()
    found = importer.find(Nsys(whole))
    if found is None:
        pytest.skip(f"{whole} has no importer beside it")
    targets = sorted(found.parent.parent.glob("target-linux-*"))
    if not targets:
        pytest.skip(f"{whole}: its files are not where NVIDIA's packages have them")
    target = folder / targets[0].name
    target.mkdir(parents=True)
    for path in targets[0].iterdir():
        if path.is_file() and not path.name.startswith(LEFT_OUT):
            real = path.resolve()
            try:
                os.link(real, target / path.name)
            except OSError:
                shutil.copy(real, target / path.name)
    return whole, target / "nsys"
