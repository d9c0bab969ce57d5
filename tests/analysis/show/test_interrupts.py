"""Ctrl-C while a command imports what it needs, and after it is done."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.show.interrupts import Interruptible, is_starting
from tests.made.runs.launched import ROOT

SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"
CTRL_C = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
LINE = "error: interrupted\n"

ENTRY_POINTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for package in ("analysis", "profiling")
    for path in (ROOT / package).rglob("*.py")
    if '\nif __name__ == "__main__":' in path.read_text()
)


def python(folder: Path, *words: str, **modules: str) -> subprocess.CompletedProcess[str]:
    """Run Python where modules of these names and contents hide the real ones."""
    for name, content in modules.items():
        (folder / f"{name}.py").write_text(content)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-P", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_all_commands_are_looked_at() -> None:
    assert {"analysis", "analysis.kernels", "profiling.launch", "profiling.processes.process"} <= {
        *ENTRY_POINTS
    }


@pytest.mark.parametrize("module", ENTRY_POINTS)
def test_while_a_command_imports_what_it_needs_ctrl_c_is_one_line(
    module: str, tmp_path: Path
) -> None:
    done = python(tmp_path, "-m", module, argparse=CTRL_C, psutil=CTRL_C)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", LINE)


def test_an_interruption_that_a_module_would_swallow_ends_the_command_too(tmp_path: Path) -> None:
    swallowing = f"try:\n    {CTRL_C.splitlines()[0]}\n    {CTRL_C.splitlines()[1]}\n"
    swallowing += "except BaseException:\n    raise ImportError('no argparse') from None\n"
    done = python(tmp_path, "-m", "analysis.kernels", argparse=swallowing)
    assert (done.returncode, done.stderr) == (130, LINE)


@pytest.mark.parametrize("package", ["analysis.kernels", "profiling.launch.__main__"])
def test_for_a_program_that_imports_us_it_stays_keyboard_interrupt(
    package: str, tmp_path: Path
) -> None:
    program = f"""
try:
    import {package}
except KeyboardInterrupt:
    print("caught")
"""
    done = python(tmp_path, "-c", program, argparse=CTRL_C)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caught\n", "")


def test_somebody_elses_module_that_imports_us_keeps_its_own_handling(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text(
        "import signal, analysis, profiling\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    (tmp_path / "theirs" / "__main__.py").touch()
    assert python(tmp_path, "-m", "theirs").stdout == "True\n"


def test_a_command_that_is_told_to_ignore_it_goes_on(tmp_path: Path) -> None:
    # As a shell without job control starts what it puts into the background.
    program = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    help_ = python(tmp_path, "-m", "analysis.kernels", "--help", sitecustomize=program)
    assert help_.returncode == 0
    (tmp_path / "psutil.py").write_text(CTRL_C)
    assert python(tmp_path, "-m", "profiling.launch", "--help").returncode == 0


def test_after_the_answer_it_is_one_line_too_and_the_answer_is_whole(tmp_path: Path) -> None:
    words = ("-m", "analysis.kernels", str(SAMPLE), "--format", "csv")
    whole = python(tmp_path, *words)
    late = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
    done = python(tmp_path, *words, sitecustomize=late)
    assert (done.returncode, done.stdout) == (130, whole.stdout)
    assert done.stderr == whole.stderr + LINE


def test_inside_of_a_program_nothing_is_changed() -> None:
    def theirs(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGINT, theirs)
    try:
        with Interruptible():
            assert signal.getsignal(signal.SIGINT) is theirs
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["python", "-m", "analysis"], True),
        (["python", "-X", "dev", "-mprofiling.launch", "--size", "tiny"], True),
        (["python", "-m", "analysiser"], False),
        (["python", "-m", "pytest", "tests/test_analysis.py"], False),
    ],
)
def test_a_command_of_ours_is_told_by_what_was_typed(typed: list[str], expected: bool) -> None:
    assert is_starting(["-m"], typed) is expected
    assert not is_starting(["/a/analysis/kernels.py"], typed)
    assert not is_starting([""], typed)
