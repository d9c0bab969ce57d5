"""Notes that lie beside a recording: whatever is in them, one line says that they are none."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.show.errors import CommandError
from profiling.recorders.run_notes import RunNotes
from tests.made.reports.build_report import Range, make_report

WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "facts that are a list": lambda known: known.update(facts=[]),
    "no recorder": lambda known: known["facts"].pop("recorder"),
    "a version that is a number": lambda known: known["facts"].update(nsys=2023),
    "a size in words": lambda known: known.update(bytes="5"),
    "a size below 0": lambda known: known.update(bytes=-1),
    "ranges in words": lambda known: known.update(pushed={"step": "1"}),
    "costs that are words": lambda known: known.update(costs=["abcd"]),
    "costs without a name": lambda known: known.update(costs=[[None, 1, 2, 3]]),
    "costs of another width": lambda known: known.update(costs=[["step", 1]]),
    "costs beyond 64 bits": lambda known: known.update(costs=[["step", 10**30, 2, 3]]),
    "half a letter": lambda known: known.update(costs=[["\ud800", 1, 2, 3]]),
    "memory of another shape": lambda known: known.update(memory={"note": [], "ranges": []}),
}


def kept(folder: Path) -> tuple[Path, Path]:
    """Return a recording, and its notes."""
    recording = folder / "run.nsys-rep"
    recording.write_bytes(bytes(100))
    notes = RunNotes(
        facts={"recorder": "nsys", "nsys": "2023.4.4"}, costs=[["step", 1, 2, 3]], pushed={}
    )
    return recording, notes.keep(recording)


def complete(recording: Path, folder: Path) -> None:
    """Read the notes of a recording, and complete a report by them."""
    report = make_report(folder / "report.sqlite", ranges=[Range("step", 0, 9)])
    notes = RunNotes.read(recording)
    assert notes is not None
    notes.add_of_file(report, recording)


def test_notes_as_they_were_kept_complete_a_report(tmp_path: Path) -> None:
    recording, _ = kept(tmp_path)
    complete(recording, tmp_path)


@pytest.mark.parametrize("name", WRONG)
def test_notes_of_another_shape_are_told_in_one_line(name: str, tmp_path: Path) -> None:
    recording, notes = kept(tmp_path)
    known = json.loads(notes.read_text())
    WRONG[name](known)
    notes.write_text(json.dumps(known))
    with pytest.raises(CommandError) as refused:
        complete(recording, tmp_path)
    assert str(refused.value).startswith(f"{notes}: damaged, or no notes of profiling.launch; ")


@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)])
def test_notes_that_are_no_file_are_not_waited_for(
    made: Callable[[Path], None], tmp_path: Path
) -> None:
    recording, notes = kept(tmp_path)
    notes.unlink()
    made(notes)
    with pytest.raises(CommandError, match=r"run\.nsys-rep\.json: cannot be read \("):
        RunNotes.read(recording)
