"""The import contracts hold, and break where a module imports what it may not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made.tools.shared import ROOT

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
PACKAGES = ("analysis", "benchmarks", "model", "profiling", "spanlight")

pytestmark = pytest.mark.skipif(not LINT_IMPORTS.exists(), reason="import-linter is not installed")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all packages and of the contracts."""
    folder = tmp_path_factory.mktemp("copied")
    shutil.copyfile(ROOT / ".importlinter", folder / ".importlinter")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


def linted(folder: Path) -> tuple[int, str]:
    """Return the exit status of lint-imports in a folder, and what it says."""
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_contracts_hold(copied: Path) -> None:
    status, said = linted(copied)
    assert status == 0, said
    assert "0 broken" in said


LAZY = "\n\ndef later():\n    {}\n"
FOR_TYPES = "\n\nfrom typing import TYPE_CHECKING as CHECKING\n\nif CHECKING:\n    {}\n"


@pytest.mark.parametrize("how", ["\n{}\n", LAZY, FOR_TYPES], ids=["plain", "lazy", "for types"])
@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("source/tables.py", "import analysis.kernels", "analysis.kernels"),
        ("measures/idle.py", "import torch", "torch"),
        ("show/table.py", "from profiling.common import cli", "profiling.common"),
    ],
)
def test_an_import_of_what_is_above_breaks_them(
    module: str, statement: str, broken: str, how: str, copied: Path
) -> None:
    path = copied / "analysis" / module
    whole = path.read_text()
    path.write_text(whole + how.format(statement))
    try:
        status, said = linted(copied)
    finally:
        path.write_text(whole)
    assert status == 1
    assert f"analysis.{module[:-3].replace('/', '.')} -> {broken}" in said


def test_two_modules_that_import_one_another_break_them(copied: Path) -> None:
    path = copied / "analysis" / "recorded" / "cuda_calls.py"
    whole = path.read_text()
    path.write_text(whole + LAZY.format("from analysis.recorded import device_work"))
    try:
        status, said = linted(copied)
    finally:
        path.write_text(whole)
    assert status == 1
    assert "No cycles are allowed in analysis.recorded" in said


def test_no_folder_holds_more_than_fifteen_modules() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:
        pytest.skip("not in a git checkout")
    folders: dict[Path, int] = {}
    for path in map(Path, listed):
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    assert {str(folder): count for folder, count in folders.items() if count > 15} == {}


def test_the_names_of_tables_of_nsys_stand_where_files_are_read() -> None:
    holding = {
        path.relative_to(ROOT / "analysis").parts[0]
        for path in (ROOT / "analysis").rglob("*.py")
        if "CUPTI_ACTIVITY_KIND_KERNEL" in path.read_text()
    }
    assert holding <= {"source", "nvidia", "trim"}
