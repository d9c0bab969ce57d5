"""NVIDIA's own expert rules, run by the real nsys where there is one."""

import csv
import os
import shutil
import subprocess
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

VERSION = "2023.4"
"""The version whose rules these tests know."""


@cache
def nsys() -> str:
    """Return a real nsys of that version, from NSYS= or the PATH, or skip the test."""
    found = shutil.which(os.environ.get("NSYS") or "nsys")
    if found is None:
        pytest.skip("nsys is neither named by NSYS= nor on the PATH")
    said = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    if VERSION not in said:
        pytest.skip(f"these rules are of nsys {VERSION}; here is {said.strip()}")
    return found


def rule_rows(report: Path, rule: str, folder: Path) -> list[dict[str, str]]:
    """Return the rows that ``nsys analyze -r RULE`` prints of a report, which is copied first."""
    copy = folder / f"{report.stem}-copy.sqlite"
    shutil.copyfile(report, copy)
    command = [nsys(), "analyze", "-q", "--force-export=false", "-f", "csv", "-r", rule, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text = done.stdout.strip()
    return list(csv.DictReader(StringIO(text))) if "," in text else []
