"""Run the launcher as a person would, and ask the report what is in it.

The launcher runs in this process: what it records runs in one of its own anyway, and imports torch
there. `launch_process` starts the launcher too.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from profiling.processes.starting import child_environment
from tests.made.commands.in_process import run_command
from tests.made.tools.shared import ROOT as ROOT

TINY = ("--size", "tiny", "--batch", "2", "--context", "16", "--steps", "2", "--device", "cpu")


def launch(
    *arguments: str | Path, reports: Path, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    given = ("--reports", reports, *arguments)
    return run_command("profiling.launch", *given, env={**os.environ, **(env or {})}, cwd=cwd)


def launch_process(
    *arguments: str | Path, reports: Path, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "profiling.launch", "--reports", str(reports)]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def find_nsys() -> str:
    """Return the real nsys, or skip."""
    found = os.environ.get("NSYS") or shutil.which("nsys")
    if not found:
        pytest.skip("nsys is neither named by NSYS= nor on the PATH")
    return found


def rows(report: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{report.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def run_facts(report: Path) -> dict[str, str]:
    return dict(rows(report, "SELECT key, value FROM TOOLKIT_RUN"))


def payloads(report: Path) -> dict[str, list[int | None]]:
    """Return the payloads of each range, by name, in order of start."""
    found: dict[str, list[int | None]] = {}
    for name, payload in rows(
        report,
        "SELECT coalesce(s.value, n.text), coalesce(n.int64Value, n.uint64Value) "
        "FROM NVTX_EVENTS n LEFT JOIN StringIds s ON s.id = n.textId "
        "WHERE n.eventType = 59 ORDER BY n.start",
    ):
        found.setdefault(name, []).append(payload)
    return found


def nvtx_sum(nsys: str, report: Path) -> dict[str, int]:
    """Return NVIDIA's own count of each range's instances; it exits 0 even when it fails."""
    done = subprocess.run(
        [nsys, "stats", "-q", "--force-export=false", "-f", "json", "-r", "nvtx_sum", str(report)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip().startswith("["), done.stdout + done.stderr
    return {row["Range"]: row["Instances"] for row in json.loads(done.stdout)}


def ranking(report: Path, *words: str) -> list[dict[str, Any]]:
    done = run_command("analysis.kernels", report, "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer
