"""The bar of a recording, on a terminal 80 wide: it moves, says what runs, and how long still."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from profiling.processes.starting import child_environment
from tests.made.runs.launched import TINY, find_nsys

STYLES, MOVES = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CLOCK = re.compile(r"\b\d:\d\d:\d\d")


def shown(folder: Path, *words: str, by: str) -> list[str]:
    """Record on a terminal; return the lines that were seen on it, each redrawing one."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**child_environment(), "TERM": "xterm", "COLUMNS": "80", "PYTHONHASHSEED": "0"}
    if by == "nsys":
        environment["NSYS"] = find_nsys()
    command = [sys.executable, "-m", "spanlight", "profile", *words, "--recorder", by]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # nobody has the terminal open any more
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0, seen.decode()
    text = MOVES.sub("\n", STYLES.sub("", seen.decode(errors="replace")))
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def in_order(lines: Sequence[str], *wanted: str) -> bool:
    """Return whether lines begin with these words, in this order, others between."""
    rest = iter(lines)
    return all(any(line.startswith(word) for line in rest) for word in wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "ranks", "last"),
    [
        ("torch", (), ("writing the trace", "converting the trace")),
        ("nsys", (), ("nsys writes its report", "nsys exports its report")),
        ("torch", ("--ranks", "2"), ("writing the trace", "converting the trace of rank 0")),
    ],
)
def test_it_tells_every_phase_and_for_how_long_still(
    by: str, ranks: Sequence[str], last: Sequence[str], tmp_path: Path
) -> None:
    lines = shown(tmp_path, *TINY, "--steps", "20", "--batch", "2", *ranks, by=by)
    bars = [line for line in lines if CLOCK.search(line)]
    assert max(map(len, bars)) < 78  # with room for ^C
    assert "left" not in lines  # broken off
    steps = ("warm-up", "steps, unrecorded", "warm-up, recorded", "steps, recorded")
    assert in_order(bars, "starting", *steps, *last)
    counted = [int(found[1]) for line in bars if (found := re.search(r" (\d+)/42 ", line))]
    assert counted == sorted(counted)
    assert len(set(counted)) > 2
    assert any(re.search(r"0:00:\d\d, about 0:0\d:\d\d left$", line) for line in bars)
    if ranks:
        assert any(line.startswith("converting the trace of rank 1 ") for line in bars)


@pytest.mark.slow
def test_while_a_script_runs_the_terminal_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import time, torch\nprint('begun')\nfor _ in range(20):\n    torch.ones(3) + 1\n"
        "    time.sleep(0.1)\nprint('ended')\n"
    )
    lines = shown(tmp_path, "--script", "train.py", by="torch")
    begun, ended = lines.index("begun"), lines.index("ended")
    assert lines[begun - 1].endswith("nsys_reports/train.sqlite")
    assert ended == begun + 1
    assert in_order(lines[ended:], "writing the trace ", "converting the trace ")
