"""A folder on a disk for large temporary files: the usual one may lie in memory."""

import tempfile
from pathlib import Path
from typing import Final

from analysis.source import free_memory

LARGE_FILES: Final = Path("/var/tmp")
"""Where large temporary files go on a system whose usual folder for them is in memory."""

IN_MEMORY: Final = ("tmpfs", "ramfs")


def disk_folder() -> Path | None:
    """Return a folder on a disk for large temporary files, or None where all are in memory."""
    folders = (Path(tempfile.gettempdir()).resolve(), LARGE_FILES)
    kinds = file_system_kinds()
    return next((folder for folder in folders if folder.is_dir() and on_disk(folder, kinds)), None)


def on_disk(folder: Path, kinds: dict[Path, str]) -> bool:
    """Return whether a folder lies on a file system that is not memory."""
    around = next((place for place in (folder, *folder.parents) if place in kinds), None)
    return around is None or kinds[around] not in IN_MEMORY


def file_system_kinds() -> dict[Path, str]:
    """Return the kind of each file system by its mount point; of several at one place the last."""
    fields = [line.split() for line in free_memory.lines_of(free_memory.PROC / "self/mounts")]
    return {Path(place): kind for _, place, kind, *_ in fields}
