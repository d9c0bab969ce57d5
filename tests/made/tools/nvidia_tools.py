"""NVIDIA's `nsys stats` beside our own `analysis.nvidia`, on one file."""

import contextlib
import io
import subprocess
from pathlib import Path

from analysis.nvidia import __main__ as nvidia
from analysis.show.errors import ReportError

NOTHING = ""


def theirs(program: str, path: Path, report: str) -> str:
    """Return what nsys prints; it exits with 0 even where it fails, and then prints nothing."""
    command = [program, "stats", "-q", "--force-export=false", "-f", "csv", "-r", report, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout if done.stdout.strip() else NOTHING


def ours(path: Path, report: str) -> str:
    """Return what our command prints as csv, nothing where it refuses."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            assert nvidia.main([str(path), "--report", report, "--format", "csv"]) == 0
    except ReportError:
        return NOTHING
    return out.getvalue()
