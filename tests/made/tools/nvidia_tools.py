"""NVIDIA's `nsys stats` beside our own `analysis.nvidia`, on one file."""

import contextlib
import io
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from analysis.nvidia import __main__ as nvidia
from analysis.show.errors import ReportError

NOTHING = ""


def theirs(program: str, path: Path, reports: Sequence[str]) -> dict[str, str]:
    """Return what nsys prints of each report; it exits with 0 where it fails, and prints nothing.

    One process makes all reports, each into a file, which lacks the empty line that ends a print.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "stats", "-q", "--force-export=false", "-f", "csv"]
        command += ["-r", ",".join(reports), "-o", f"{folder}/r", str(path)]
        subprocess.run(command, capture_output=True)
        files = {report: Path(folder, f"r_{report.replace(':', '_')}.csv") for report in reports}
        said = {report: file.read_text() for report, file in files.items() if file.exists()}
    assert said, f"{program} made no report of {path}"
    return {
        report: f"{said[report]}\n" if said.get(report, "").strip() else NOTHING
        for report in reports
    }


def ours(path: Path, report: str) -> str:
    """Return what our command prints as csv, nothing where it refuses."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            assert nvidia.main([str(path), "--report", report, "--format", "csv"]) == 0
    except ReportError:
        return NOTHING
    return out.getvalue()
