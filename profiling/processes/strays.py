"""Processes that a recorder has started and that are children of nobody: nsys has such an agent."""

import os
from pathlib import Path
from typing import Final

TEMPORARY: Final = "TMPDIR"
"""The variable that names the folder for temporary files: a recorder's is one of the run's."""


def end_strays(folder: Path | str) -> None:
    """End processes whose temporary files go into the folder of a run, but for this one.

    Where the launcher or the disk is gone, nsys and its agent wait for each other for ever.
    """
    import psutil

    inside = Path(folder).resolve()
    for process in psutil.process_iter():
        try:
            place = process.environ().get(TEMPORARY)
            if place and Path(place).is_relative_to(inside) and process.pid != os.getpid():
                process.kill()
        except psutil.Error:  # it has ended, or is another user's
            continue
