"""A disk that becomes full while a run is recorded, a launcher that is killed: nothing is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from profiling.processes.starting import child_environment
from tests.made.runs.launched import ROOT, find_nsys

FILL = """
import shutil, sys
import torch
from profiling.spans import span

free = shutil.disk_usage(sys.argv[1]).free
with open(sys.argv[1] + "/fill", "wb") as file:
    file.write(bytes(free - int(sys.argv[2])))
open(sys.argv[1] + "/../filled", "w").close()
while True:
    with span("step"):
        torch.ones(3) + 1
"""
WAIT = "import time, torch\nwhile True:\n    torch.ones(3) + 1\n    time.sleep(0.01)\n"
FULL = "its disk became full, and the run is not kept; make room, or give another with --reports"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with just the room that a recording wants."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=104m", "none", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def launcher(reports: Path, *words: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "profiling.launch", "--reports", str(reports), *map(str, words)],
        cwd=ROOT,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fill(path: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 14))


def those_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that were started for a folder, or keep temporary files there."""
    return [
        each
        for each in psutil.process_iter(["cmdline", "environ"])
        if any(str(folder) in word for word in each.info["cmdline"] or ())
        or str(folder) in (each.info["environ"] or {}).get("TMPDIR", "")
    ]


def none_left(folder: Path) -> bool:
    return all(each.status() == psutil.STATUS_ZOMBIE for each in those_of(folder))


def wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 2_000_000])
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_a_script_fills_the_disk(
    recorder: str, left: int, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorder == "nsys":
        monkeypatch.setenv("NSYS", find_nsys())
    script = tmp_path / "fill.py"
    script.write_text(FILL)
    (disk / "fill.sqlite").write_text("earlier")
    words = ("--name", "fill", "--overwrite", "--recorder", recorder, "--", disk, str(left))
    process = launcher(disk, "--script", script, *words)
    if left:  # with torch nothing is written until the end
        wait_for((tmp_path / "filled").exists)
        fill(disk / "more")
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (1, ""), err
    assert err.splitlines()[-1] == f"error: {disk}: {FULL}"
    # nsys may still find room for its report: then the script's own failure is shown, and no other.
    frames = [line for line in err.splitlines() if line.startswith("  File ")]
    assert all(str(script) in line for line in frames), err
    assert {path.name for path in disk.iterdir()} <= {"fill", "fill.sqlite", "more"}
    assert (disk / "fill.sqlite").read_text() == "earlier"
    wait_for(lambda: none_left(disk))


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_the_disk_of_ranks_becomes_full(
    recorder: str, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorder == "nsys":
        monkeypatch.setenv("NSYS", find_nsys())
    (disk / "tiny.rank1.sqlite").write_text("earlier")
    run = ("--size", "tiny", "--context", "16", "--device", "cpu", "--steps", "100000")
    process = launcher(disk, *run, "--ranks", "2", "--overwrite", "--recorder", recorder)

    def fill_later() -> None:
        while not list(disk.glob(".recording-*/rank-1/told.jsonl")) and process.poll() is None:
            time.sleep(0.05)
        fill(disk / "more")

    filler = threading.Thread(target=fill_later)
    filler.start()
    out, err = process.communicate(timeout=90)
    filler.join()
    assert (process.returncode, out) == (1, ""), err
    assert err.splitlines()[-1] == f"error: {disk}: {FULL}"
    assert "Traceback" not in err
    assert sorted(path.name for path in disk.iterdir()) == ["more", "tiny.rank1.sqlite"]
    wait_for(lambda: none_left(disk))


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_a_launcher_that_is_killed_leaves_neither_process_nor_file(
    recorder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorder == "nsys":
        monkeypatch.setenv("NSYS", find_nsys())
    script = tmp_path / "wait.py"
    script.write_text(WAIT)
    reports = tmp_path / "reports"
    process = launcher(reports, "--script", script, "--recorder", recorder)
    wait_for(lambda: list(reports.glob(".recording-*/told.jsonl")))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for(lambda: none_left(tmp_path))
    wait_for(lambda: not list(reports.iterdir()))
