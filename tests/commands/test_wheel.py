"""The wheel holds every package, and its commands run from any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.made.tools.shared import ROOT

REPORT = ROOT / "nsys_reports" / "sample.sqlite"
PACKAGES = ("analysis", "model", "profiling", "spanlight")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built with what is installed."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves its own folders beside what it builds
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", folder, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("spanlight-*.whl")
    return made


def test_every_module_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".json", ".html"} and "__pycache__" not in path.parts
    }
    assert wanted - held == set()
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in held)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed."""
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def run(site: Path, folder: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run Python in a folder that has modules called as two of ours."""
    (folder / "analysis").mkdir()
    for name in ("analysis/__init__.py", "model.py"):
        (folder / name).write_text("raise SystemExit('a module of theirs was imported')")
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_of_the_installed_wheel_runs_anywhere(site: Path, tmp_path: Path) -> None:
    script = (
        "import sys, runpy, analysis; print(analysis.__file__); "
        f"sys.argv = ['kernels', {str(REPORT)!r}, '--format', 'csv', '--top', '1']; "
        "runpy.run_module('analysis.kernels', run_name='__main__')"
    )
    done = run(site, tmp_path, "-P", "-c", script)
    assert done.returncode == 0, done.stderr
    where, header, _ = done.stdout.splitlines()
    assert Path(where).is_relative_to(site)
    assert header.startswith("name,category,calls,total_ns")


@pytest.mark.parametrize("how", [["bin/spanlight"], ["-m", "spanlight"]], ids=["script", "module"])
def test_the_command_line_takes_its_own_modules_beside_others_of_these_names(
    how: list[str], site: Path, tmp_path: Path
) -> None:
    command = [site / word if "/" in word else word for word in how]
    done = run(site, tmp_path, *command, "kernels", REPORT, "--format", "csv", "--top", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("name,category,calls,total_ns")
