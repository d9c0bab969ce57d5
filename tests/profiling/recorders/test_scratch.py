"""The folder of a run: what a killed run left is removed by the next, and a full disk is told."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiling.common.errors import LaunchError, OutOfMemory
from profiling.recorders import scratch
from profiling.recorders.scratch import named_folder, scratch_folder
from tests.made.tools.shared import ROOT

RUN = """
import sys, time
from pathlib import Path
from profiling.recorders.scratch import named_folder
with named_folder(Path(sys.argv[1]), lambda names: "theirs") as made:
    folder = made.folder
    (folder / "rank-0").mkdir()
    (folder / "rank-0" / "trace.json").write_text("{")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Another run that goes on, and its folder."""
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def others(reports: Path) -> set[str]:
    """Return the names of the other runs that the next one sees."""
    seen: set[str] = set()

    def choose(going_on: object) -> str:
        assert isinstance(going_on, set)
        seen.update(going_on)
        return "mine"

    with named_folder(reports, choose) as made:
        assert made.folder.parent == reports
        assert made.name == "mine"
    return seen


def test_what_a_killed_run_left_is_removed_by_the_next_and_not_before(
    theirs: tuple["subprocess.Popen[str]", Path], tmp_path: Path
) -> None:
    process, folder = theirs
    for name in ("empty", "of-somebody", "of-an-older-version"):
        (tmp_path / f".recording-{name}").mkdir()
    (tmp_path / ".recording-of-an-older-version" / "plan.json").write_text("{}")
    assert others(tmp_path) == {"theirs"}
    assert (folder / "rank-0" / "trace.json").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert folder.exists()
    (tmp_path / "earlier.sqlite").write_text("")
    assert others(tmp_path) == set()
    left = sorted(path.name for path in tmp_path.iterdir())
    # Nobody can tell whether one without an owner is dead, so it stays unless it is empty.
    assert left == [".recording-of-an-older-version", "earlier.sqlite"]


def test_a_disk_without_locks_is_recorded_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, os.strerror(38))

    with scratch_folder(tmp_path) as theirs:
        monkeypatch.setattr("fcntl.flock", refuse)
        assert others(tmp_path) == set()
        assert theirs.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, os.strerror(28)),
        OSError(27, os.strerror(27)),
        LaunchError("nsys left no recording; use another"),
    ],
)
def test_whatever_fails_because_of_a_full_disk_says_that(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(error, LaunchError):
        monkeypatch.setattr(scratch, "_FULL_BYTES", 1 << 62)
    full = r"its disk became full.*; make room, or give another"
    with pytest.raises(LaunchError, match=full), scratch_folder(tmp_path):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_fails_otherwise_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (LaunchError("boom"), OutOfMemory("rank 0 is out of memory")):
        if isinstance(error, OutOfMemory):
            monkeypatch.setattr(scratch, "_FULL_BYTES", 1 << 62)
        with pytest.raises(LaunchError) as caught, scratch_folder(tmp_path):
            raise error
        assert caught.value is error


def test_a_disk_that_was_full_for_a_moment_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where nsys removes what it wrote before anybody hears of it."""
    free = [2**40, 2**40, 5, 2**40]

    def usage(_: object) -> object:
        return type("Usage", (), {"free": free.pop(0) if len(free) > 1 else free[0]})

    monkeypatch.setattr("shutil.disk_usage", usage)

    def fail() -> None:
        while len(free) > 1:
            time.sleep(0.01)
        raise LaunchError("nsys left no recording")

    with pytest.raises(LaunchError, match="its disk became full"), scratch_folder(tmp_path):
        fail()
