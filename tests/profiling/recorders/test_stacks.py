"""Recording what the host does besides launching: what nsys is asked for, and Python's stacks."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report
from analysis.recorded.cpu_samples import cpu_samples
from analysis.recorded.host_functions import python_functions, system_calls
from analysis.recorded.scheduling import scheduling
from profiling.common.errors import UsageError
from profiling.launch.__main__ import main
from profiling.recorders.nsys import Nsys
from profiling.recorders.nsys_recorder import NsysRecorder
from profiling.recorders.recorder import RECORDERS, Recorder
from profiling.recorders.torch_recorder import EmbeddedRecorder
from tests.made.tools.nsys_tool import nsys
from tests.profiling.recorders.test_recorder import EmptyRecorder

ALL = ("--trace=", "--sample=", "--cpuctxsw=", "--cuda-event-trace=", "--output=")
TINY = ("--size", "tiny", "--context", "16", "--steps", "1", "--device", "cpu")


def stand_in(folder: Path, *, allowed: str = "OK", options: tuple[str, ...] = ALL) -> Nsys:
    """Return an nsys that says what it knows, and whether it may sample."""
    program = folder / "nsys"
    lines = [
        "#!/bin/sh",
        'case "$1" in',
        "--version) echo NVIDIA Nsight Systems version 2025.1.1.1;;",
        f"status) echo 'CPU Profiling Environment (process-tree): {allowed}';;",
        f"profile) echo '{' '.join(options)}';;",
        "esac",
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    return Nsys(str(program))


def asked(
    found: Nsys, folder: Path, device: str, *, stacks: bool = False, shapes: bool = False
) -> set[str]:
    """Return the options that a recording is started with."""
    words = found.profile_command(
        folder / "r", device, ["true"], folder, stacks=stacks, shapes=shapes
    )
    return {word for word in words if word.startswith("--")}


def test_by_default_nothing_is_asked_for_that_slows_the_host_down(tmp_path: Path) -> None:
    assert asked(stand_in(tmp_path), tmp_path, "cuda", stacks=False) == {
        *("--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none", "--cuda-event-trace=true"),
        f"--output={tmp_path / 'r'}",
    }


def test_with_stacks_calls_samples_and_scheduling_are_recorded(tmp_path: Path) -> None:
    found = asked(stand_in(tmp_path), tmp_path, "cuda:0", stacks=True)
    assert {"--trace=cuda,nvtx,osrt", "--sample=process-tree", "--cpuctxsw=process-tree"} < found


def test_where_samples_are_not_allowed_the_rest_is_recorded_and_that_is_said(
    tmp_path: Path,
) -> None:
    found = stand_in(tmp_path, allowed="Fail")
    words = asked(found, tmp_path, "cuda", stacks=True)
    assert {"--trace=cuda,nvtx,osrt", "--sample=none", "--cpuctxsw=none"} < words
    assert NsysRecorder(found).lacks() == []
    (said,) = NsysRecorder(found).with_stacks().lacks()
    assert said.startswith("no CPU samples and no scheduling, only system calls")
    allowed = stand_in(tmp_path)
    assert NsysRecorder(allowed).with_stacks().lacks() == []


def test_an_older_nsys_is_asked_for_what_it_knows(tmp_path: Path) -> None:
    older = stand_in(tmp_path, options=("--trace=", "--output="))
    words = asked(older, tmp_path, "cuda", stacks=True)
    assert words == {"--trace=cuda,nvtx,osrt", f"--output={tmp_path / 'r'}"}


def test_a_recorder_that_cannot_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="empty cannot tell"):
        EmptyRecorder().with_stacks()
    monkeypatch.setitem(RECORDERS, "empty", f"{EmptyRecorder.__module__}:EmptyRecorder")
    words = [*TINY, "--recorder", "empty", "--stacks", "--reports", str(tmp_path)]
    assert main(words) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: --stacks: the recorder empty cannot tell what the host does")
    assert list(tmp_path.iterdir()) == []


def test_an_option_that_takes_no_value_is_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*TINY, "--stacks=all"])
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "--stacks" in line


def test_the_embedded_recorder_keeps_python_functions_with_stacks_alone() -> None:
    plain: Recorder = EmbeddedRecorder()
    assert "Python functions" not in plain.describe("cpu")
    assert "with the Python functions that run" in plain.with_stacks().describe("cpu")
    assert plain.limits(memory=False) == []
    (limit,) = plain.with_stacks().limits(memory=False)
    assert limit.endswith("Python functions of the script's main thread alone")


@pytest.mark.slow
def test_a_recording_with_stacks_has_python_functions_on_the_threads_that_ran_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--recorder", "torch", "--reports", str(tmp_path)]
    assert main([*TINY, *words, "--stacks", "--name", "with"]) == 0
    assert main([*TINY, *words, "--name", "without"]) == 0
    assert "with the Python functions that run" in capfd.readouterr().err
    with Report(tmp_path / "with.sqlite") as report:
        functions = python_functions(report)
        assert report.run["stacks"] == "yes"
        assert any("transformer.py" in name for name in functions.names)
    with closing(sqlite3.connect(tmp_path / "with.sqlite")) as connection:
        operators = connection.execute("SELECT DISTINCT global_tid FROM TOOLKIT_OPERATOR")
        assert set(functions.thread.tolist()) & {thread for (thread,) in operators}
    with Report(tmp_path / "without.sqlite") as report:
        assert "stacks" not in report.run
        assert len(python_functions(report)) == 0


@pytest.mark.slow
def test_a_recording_of_a_real_nsys_has_system_calls_and_samples_where_it_may(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSYS", nsys())
    words = ["--recorder", "nsys", "--reports", str(tmp_path), "--stacks", "--name", "r"]
    status = main([*TINY, *words])
    said = capfd.readouterr().err
    if "Connection to Agent lost" in said:
        pytest.skip("the part of nsys that samples crashed, as it does now and then in a container")
    assert status == 0
    allowed = Nsys(os.environ["NSYS"]).may_sample
    assert ("note: no CPU samples" in said) != allowed
    with Report(tmp_path / "r.sqlite") as report:
        assert len(system_calls(report)) > 0
        assert (len(cpu_samples(report)) > 0) == allowed
        assert (len(scheduling(report)) > 0) == allowed
