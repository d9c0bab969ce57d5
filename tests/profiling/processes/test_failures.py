"""What a process of ours died of is told in the same kind of line, whichever command started it."""

import os
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from profiling.common.errors import LaunchError, OutOfMemory
from profiling.launch import __main__ as launch
from profiling.processes import isolated, ranks
from profiling.processes.failures import Subject
from profiling.processes.notes import SendMessage

ME: Final = "tests.profiling.processes.test_failures"
SUBJECTS: Final = {"launch": "the run", "isolated": "the measurement", "ranks": "rank 0"}
LINES: Final = {
    "killed": "{who} was killed, most likely out of memory; use .*",
    "segfault": "{who} died of SIGSEGV.*",
    "memory": r"{who} is out of memory \(MemoryError\); use .*",
    "exits": "{who} ended with exit status 3.*",
    "unwritten": "{who} could not write what it found; see that its disk is not full, nor a quota "
    "used up",
    "raises": r"{who} failed with ValueError: no such thing \(test_failures.py:\d+\).*",
}


def die(arguments: dict[str, Any], _: SendMessage) -> dict[str, Any]:
    """Die as the environment says."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    match os.environ["DEATH"]:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "memory":
            raise MemoryError
        case "unwritten":
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return {"some": "thing"}
        case "exits":
            os._exit(3)
    raise ValueError("no such thing\nand more of it")


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    return die(spec, lambda _: None)


def launched(folder: Path) -> None:
    words = ["--size", "tiny", "--device", "cpu", "--recorder", "torch"]
    raise LaunchError(str(launch.main([*words, "--reports", str(folder / "reports")])))


STARTS: Final[dict[str, Callable[[Path], object]]] = {
    "launch": launched,
    "isolated": lambda _: isolated.run(ME, {}),
    "ranks": lambda _: ranks.run(f"{ME}:die", 1, {}, timeout_s=60),
}


@pytest.mark.parametrize("start", SUBJECTS)
@pytest.mark.parametrize("death", LINES)
def test_the_line_is_of_the_same_kind(
    start: str,
    death: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DEATH", death)
    monkeypatch.setattr(launch, "FUNCTION", f"{ME}:die")
    with pytest.raises(LaunchError) as caught:
        STARTS[start](tmp_path)
    said = str(caught.value)
    if start == "launch":
        assert said == "1"
        said = capsys.readouterr().err.splitlines()[-1].removeprefix("error: ")
        assert not list(tmp_path.iterdir())
    else:
        assert isinstance(caught.value, OutOfMemory) == (death in {"killed", "memory"})
    assert re.fullmatch(LINES[death].format(who=SUBJECTS[start]), said), said


def test_a_signal_is_told_through_a_shell_or_a_recorder_too() -> None:
    run = Subject(name="the run")
    for status, between in ((-signal.SIGSEGV, False), (128 + signal.SIGSEGV, True)):
        assert str(run.died(None, status, "", between=between)) == "the run died of SIGSEGV"
    for status, between in ((-signal.SIGKILL, False), (128 + signal.SIGKILL, True)):
        assert isinstance(run.died(None, status, "", between=between), OutOfMemory)
    assert str(run.died(None, 129, "")) == "the run ended with exit status 129"
    assert isinstance(run.died(None, 1, "terminate called: std::bad_alloc"), OutOfMemory)
    assert str(run.died(None, 200, "last words\n")) == (
        "the run ended with exit status 200 and said: last words"
    )
