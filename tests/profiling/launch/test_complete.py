"""Recordings of an nsys without its importer, and the reports made of them elsewhere."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.costs.device_peaks import PEAK_BYTES, PEAK_FLOPS
from profiling.recorders import importer
from profiling.recorders.nsys import Nsys
from tests.made.commands.in_process import run_command
from tests.made.runs.launched import TINY, launch, payloads, rows, run_facts
from tests.made.runs.recording_half import half_of_nsys
from tests.made.runs.shared_recording import tiny_recording

CHANGING = {"date", "command", "step_ns", "unprofiled_step_ns", PEAK_FLOPS, PEAK_BYTES}
"""The facts in which two runs of the same differ."""


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return the whole nsys, and one that only records."""
    return half_of_nsys(tmp_path_factory.mktemp("half"))


@pytest.fixture(scope="module")
def recorded(half: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording that its nsys could not finish; its notes lie beside it."""
    reports = tmp_path_factory.mktemp("recorded")
    done = launch(*TINY, "--recorder", "nsys", reports=reports, env={"NSYS": str(half[1])})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    left = sorted(path.name for path in reports.iterdir())
    assert left == ["tiny.qdstrm", "tiny.qdstrm.json"]
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"note: recorded, and kept in {reports}/tiny.qdstrm; no report")
    assert last.endswith(f"python -m profiling.complete {reports}/tiny.qdstrm")
    return reports / "tiny.qdstrm"


@pytest.fixture
def recording(recorded: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    for path in recorded.parent.glob("tiny.qdstrm*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "tiny.qdstrm"


def run(
    *arguments: str | Path, nsys: str | Path, status: int = 0
) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "/usr/bin:/bin", "NSYS": str(nsys)}
    done = run_command("profiling.complete", *arguments, env=environment)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_report_equals_one_of_the_whole_nsys(
    half: tuple[str, Path],
    recording: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    whole = half[0]
    before = files(tmp_path)
    done = run(recording, nsys=whole)
    assert "Phases" in done.stdout
    assert {name: files(tmp_path)[name] for name in before} == before
    assert {*files(tmp_path)} - {*before} == {"tiny.sqlite", "tiny.nsys-rep"}
    ours, theirs = tmp_path / "tiny.sqlite", tiny_recording("nsys", tmp_path_factory).report
    assert payloads(ours) == payloads(theirs)
    query = "SELECT * FROM TOOLKIT_RANGE_COST ORDER BY 1, 2, 3, 4"
    assert rows(ours, query) == rows(theirs, query)
    facts = [run_facts(ours), run_facts(theirs)]
    assert facts[0].keys() == facts[1].keys()
    assert {key for key in facts[0] if facts[0][key] != facts[1][key]} <= CHANGING
    assert tables(ours) == tables(theirs)


def tables(report: Path) -> set[str]:
    """Return the tables; which of nsys' own messages come depends on the moment."""
    return {name for (name,) in rows(report, "SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.slow
def test_memory_comes_along(half: tuple[str, Path], tmp_path: Path) -> None:
    whole, program = half
    arguments = (*TINY, "--recorder", "nsys", "--memory")
    done = launch(*arguments, reports=tmp_path, env={"NSYS": str(program)})
    assert done.returncode == 0, done.stderr
    run(tmp_path / "tiny.qdstrm", "--no-page", nsys=whole)
    report = tmp_path / "tiny.sqlite"
    assert "resident memory" in run_facts(report)["memory_source"]
    (samples,) = rows(report, "SELECT count(*) FROM TOOLKIT_MEMORY")
    assert samples[0] > 100


@pytest.mark.slow
def test_a_script_is_recorded_and_completed(half: tuple[str, Path], tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import torch\nfrom profiling.spans import span\n"
        "for _ in range(3):\n    with span('forward', flops=7): torch.ones(2) + 1\n"
    )
    done = launch("--script", script, "--recorder", "nsys", "--device", "cpu",
                  reports=tmp_path, env={"NSYS": str(half[1])})  # fmt: skip
    assert done.returncode == 0, done.stderr
    run(tmp_path / "mine.qdstrm", "--no-page", nsys=half[0])
    assert payloads(tmp_path / "mine.sqlite")["forward"] == [7, 7, 7]
    assert run_facts(tmp_path / "mine.sqlite")["script"] == "mine.py"


@pytest.mark.slow
def test_ranks_are_recorded_and_completed_together(half: tuple[str, Path], tmp_path: Path) -> None:
    for name in ("tiny.rank0.sqlite", "tiny.rank5.nsys-rep"):
        (tmp_path / name).write_bytes(b"earlier")
    arguments = ("--size", "tiny", "--context", "16", "--steps", "1", "--device", "cpu")
    ranks = ("--ranks", "2", "--recorder", "nsys", "--overwrite")
    done = launch(*arguments, *ranks, reports=tmp_path, env={"NSYS": str(half[1])})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    recordings = [tmp_path / f"tiny.rank{rank}.qdstrm" for rank in (0, 1)]
    beside = [f"{path.name}.json" for path in recordings]
    assert sorted(files(tmp_path)) == sorted([*beside, *(path.name for path in recordings)])
    done = run(*recordings[::-1], nsys=half[0])
    assert done.stdout.count("Phases") == 1
    assert "hidden share" in done.stdout
    assert [run_facts(path.with_suffix(".sqlite"))["rank"] for path in recordings] == ["0", "1"]


def test_what_is_there_is_not_written_over_unless_asked(
    half: tuple[str, Path], recording: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "tiny.nsys-rep"
    earlier.write_bytes(b"earlier")
    before = files(tmp_path)
    done = run(recording, nsys=half[0], status=1)
    assert done.stderr == (
        f"error: {earlier}: exists; give another folder with --reports, or --overwrite to replace "
        "it\n"
    )
    assert files(tmp_path) == before
    run(recording, "--reports", tmp_path / "new", "--no-page", nsys=half[0])
    assert sorted(files(tmp_path / "new")) == ["tiny.nsys-rep", "tiny.sqlite"]
    run(recording, "--overwrite", "--no-page", nsys=half[0])
    assert earlier.read_bytes() != b"earlier"


@pytest.mark.slow
def test_an_unfinished_recording_is_in_the_way_of_the_next(
    half: tuple[str, Path], recording: Path, tmp_path: Path
) -> None:
    before = files(tmp_path)
    done = launch(*TINY, "--name", "tiny", reports=tmp_path)
    assert done.returncode == 1
    assert f"{recording}: exists; choose another --name, or give --overwrite" in done.stderr
    assert files(tmp_path) == before
    done = launch(*TINY, "--overwrite", reports=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(files(tmp_path)) == ["tiny.html", "tiny.sqlite"]


def test_without_its_notes_the_report_says_what_it_lacks(
    half: tuple[str, Path], recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.qdstrm.json").unlink()
    done = run(recording, nsys=half[0])
    assert f"note: {tmp_path}/tiny.qdstrm.json is not here: the report lacks" in done.stderr
    facts = run_facts(tmp_path / "tiny.sqlite")
    assert facts.keys() == {"recorder", "nsys", "missing"}
    assert facts["nsys"].startswith(Nsys(half[0]).version)
    assert "tiny.qdstrm.json was not beside the recording" in facts["missing"]
    assert "missing what the run was, its step times" in done.stdout


def spoil(recording: Path, how: str) -> None:
    notes = recording.with_name(recording.name + ".json")
    data = bytearray(recording.read_bytes())
    if how == "cut":
        recording.write_bytes(data[: len(data) // 2])
    elif how == "changed":
        data[len(data) // 2] ^= 0xFF
        recording.write_bytes(data)
    elif how == "notes cut":
        notes.write_text(notes.read_text()[:100])
    elif how == "other notes":
        notes.write_text(json.dumps({"kind": "benchmark"}))
    elif how == "noise":
        notes.unlink()
        recording.write_bytes(b"noise" * 5000)
    elif how == "empty":
        notes.unlink()
        recording.write_bytes(b"")
    elif how == "ranges":
        known = json.loads(notes.read_text())
        known["pushed"]["step"] += 4
        notes.write_text(json.dumps(known))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"tiny.qdstrm: cut short, [0-9,]+ of [0-9,]+ bytes are here; bring it again"),
        ("changed", r"tiny.qdstrm: damaged, not what was recorded; bring it again"),
        ("notes cut", r"tiny.qdstrm.json: no JSON; bring it"),
        ("other notes", r"tiny.qdstrm.json: damaged, or no notes of profiling.launch; bring it"),
        ("noise", r"the importer failed \(Qdstrm file is incomplete or invalid.*is damaged"),
        ("empty", r"the importer failed \(ReadStreamException\); the recording is damaged"),
        ("ranges", r"nsys [0-9.]+ recorded \d+ of \d+ ranges: first missing: step"),
    ],
)
def test_what_is_damaged_is_one_line_and_nothing_is_made(
    how: str, message: str, half: tuple[str, Path], recording: Path, tmp_path: Path
) -> None:
    spoil(recording, how)
    before = files(tmp_path)
    done = run(recording, nsys=half[0], status=1)
    said = done.stderr.splitlines()
    assert [line.startswith("error: ") for line in said][-1:] == [True]
    assert re.search(message, said[-1]), said
    assert done.stdout == ""
    assert files(tmp_path) == before


def test_a_recording_that_was_imported_by_hand_is_no_damaged_one(
    half: tuple[str, Path], recording: Path, tmp_path: Path
) -> None:
    found = importer.find(Nsys(half[0]))
    assert found
    size = recording.stat().st_size
    by_hand = tmp_path / "by-hand.nsys-rep"
    subprocess.run([found, "-i", recording, "-o", by_hand], check=True, capture_output=True)
    assert recording.stat().st_size > size  # it writes to what it reads
    run(recording, "--no-page", nsys=half[0])


def test_several_each_for_itself(half: tuple[str, Path], recording: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.qdstrm"
    other.write_bytes(b"noise" * 5000)
    done = run(other, recording, "--no-page", nsys=half[0], status=1)
    assert f"error: {other}: the importer failed" in done.stderr
    assert f"made {tmp_path}/tiny.sqlite" in done.stderr
    assert not (tmp_path / "other.sqlite").exists()


def test_an_nsys_that_only_records_cannot_complete(
    half: tuple[str, Path], recording: Path, tmp_path: Path
) -> None:
    done = run(recording, nsys=half[1], status=1)
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        f"({half[1]}) has no QdstrmImporter beside it, it only records; name a whole nsys with "
        "--nsys PATH or NSYS="
    )


@pytest.mark.slow
def test_what_has_no_exporter_is_kept_as_a_recording_too(
    half: tuple[str, Path], tmp_path: Path
) -> None:
    """The real nsys, but for its command export."""
    whole = half[0]
    program = tmp_path / "nsys"
    program.write_text(
        f'#!/bin/sh\ntest "$1" != export || {{ echo "unknown command" >&2; exit 1; }}\n'
        f'exec {whole} "$@"\n'
    )
    program.chmod(0o755)
    reports = tmp_path / "reports"
    done = launch(*TINY, "--recorder", "nsys", reports=reports, env={"NSYS": str(program)})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "could not export it (unknown command)" in done.stderr
    assert sorted(files(reports)) == ["tiny.nsys-rep", "tiny.nsys-rep.json"]
    run(reports / "tiny.nsys-rep", "--no-page", nsys=whole)
    assert sorted(files(reports)) == ["tiny.nsys-rep", "tiny.nsys-rep.json", "tiny.sqlite"]
    assert run_facts(reports / "tiny.sqlite")["size"] == "tiny"
