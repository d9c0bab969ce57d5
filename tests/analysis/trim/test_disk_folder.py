"""Large temporary files go to a folder on a disk."""

from pathlib import Path

import pytest

from analysis.source import free_memory
from analysis.trim import disk_folder


def test_a_folder_in_memory_is_no_place_for_large_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, large, mounts = tmp_path / "tmp", tmp_path / "var", tmp_path / "self/mounts"
    for place in (folder, large, mounts.parent):
        place.mkdir()
    monkeypatch.setattr(free_memory, "PROC", tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folder))
    monkeypatch.setattr(disk_folder, "LARGE_FILES", large)
    assert disk_folder.disk_folder() == folder
    on_disk = f"disk / ext4 rw 0 0\ntmpfs {folder} tmpfs rw 0 0\n"
    mounts.write_text(on_disk)
    assert disk_folder.disk_folder() == large
    mounts.write_text(f"{on_disk}tmpfs {large} tmpfs rw 0 0\n")
    assert disk_folder.disk_folder() is None
