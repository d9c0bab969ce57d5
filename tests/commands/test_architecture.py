"""ARCHITECTURE.md names files and folders that are there, and every folder of `analysis`."""

import re

from tests.made.tools.shared import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text()
PLACES = ("", "analysis", "profiling")


def test_every_file_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", TEXT))
    assert len(named) > 30
    there = {
        name
        for name in named
        if any((ROOT / place / name).exists() for place in PLACES) or list(ROOT.glob(f"*/*/{name}"))
    }
    assert named - there == set()


def test_every_folder_is_on_a_floor() -> None:
    for package in ("analysis", "profiling"):
        for folder in (ROOT / package).iterdir():
            if (folder / "__init__.py").exists():
                assert f"{folder.name}/" in TEXT, folder
