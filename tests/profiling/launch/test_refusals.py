"""What cannot be run is refused in one line that says what to do, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.source import free_memory
from profiling.common import machine, memory_fit
from profiling.common.errors import LaunchError
from profiling.common.settings import Settings, shape
from profiling.launch import __main__ as launch
from profiling.processes.notes import read_note
from tests.made.runs.launched import ROOT, TINY
from tests.made.runs.launched import launch as launched


def refused(capsys: pytest.CaptureFixture[str], reports: Path, *arguments: str) -> tuple[int, str]:
    """Run the launcher in this process; return its status and its one line."""
    before = {path: path.read_bytes() for path in reports.rglob("*") if path.is_file()}
    try:
        status = launch.main(["--reports", str(reports), *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert {path: path.read_bytes() for path in reports.rglob("*") if path.is_file()} == before
    lines = printed.err.splitlines()
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in printed.err
    return status, lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "huge"], "no size is called 'huge'; there are: tiny, small, medium"),
        (["--num-heads", "5"], r"num_heads must divide d_model: 768 / 5 is 153.60"),
        (["--d-model", "12"], "even head width"),
        (["--steps", "0"], "--steps: must be a positive whole number, not '0'"),
        (["--steps", "-1"], "--steps: must be a positive whole number, not '-1'"),
        (["--batch", "0"], "--batch: must be a positive whole number, not '0'"),
        (["--context", "-5"], "--context: must be a positive whole number, not '-5'"),
        (["--context", "1.5"], "--context: must be a positive whole number, not '1.5'"),
        (["--warmup", "-1"], "--warmup: must be 0 or a positive whole number, not '-1'"),
        (["--mode", "dream"], "invalid choice: 'dream'"),
        (["--dtype", "int8"], "invalid choice: 'int8'"),
        (["--recorder", "pen"], "invalid choice: 'pen'"),
        (["--name", "../elsewhere"], "a report cannot be called '../elsewhere'"),
        (["--name", ""], "a report cannot be called ''"),
        (["--device", "tpu"], "no device is called 'tpu'"),
        (["--name", 200 * "n"], "a report's name has at most 100 characters"),
        (["--seed", "99999999999999999999"], "--seed: must be below 2**63"),
    ],
)
def test_wrong_usage_is_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = refused(capsys, tmp_path, *arguments)
    assert status == 2
    assert re.search(message if "\\" in message else re.escape(message), line), line


def test_cuda_asked_for_and_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, line = refused(capsys, tmp_path, *TINY[:-1], "cuda")
    assert (status, line) == (
        1,
        "error: CUDA was asked for and no CUDA device is here; ask for cpu",
    )


def test_nsys_asked_for_and_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NSYS", raising=False)
    monkeypatch.setenv("PATH", "")
    status, line = refused(capsys, tmp_path, *TINY, "--recorder", "nsys")
    assert status == 1
    assert line.startswith("error: nsys was asked for and is not on the PATH; install Nsight")


def test_nsys_named_and_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSYS", "no/such/nsys")
    status, line = refused(capsys, tmp_path, *TINY, "--recorder", "nsys")
    assert (status, line) == (
        1,
        "error: no/such/nsys is no program; name the nsys program with --nsys PATH or NSYS=",
    )


def test_a_model_that_does_not_fit_is_refused_before_it_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_fit, "available_bytes", lambda device: 8 * 2**30)
    status, line = refused(capsys, tmp_path, "--size", "10B", "--device", "cpu")
    assert status == 1
    assert re.search(r"10B \(train, .*\) needs about \d+\.\d GiB and 8\.0 GiB are free", line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "context", "measured_gib"),
    [("small", 128, 3.1), ("small", 512, 5.5), ("medium", 128, 10.9)],
)
def test_the_memory_estimate_is_near_what_was_measured(
    size: str, context: int, measured_gib: float
) -> None:
    settings = Settings(size=size, config=shape(size), batch=4, context=context, device="cpu")
    assert memory_fit.needed_bytes(settings) / 2**30 == pytest.approx(measured_gib, rel=0.2)


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    monkeypatch.setattr(free_memory, "CGROUPS", tmp_path)
    assert machine.available_bytes("cpu") == 600


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    status, line = refused(capsys, tmp_path, *TINY, "--reports", str(tmp_path / "file" / "inside"))
    assert status == 1
    assert "inside: cannot be written to (Not a directory); give another with --reports" in line


def test_a_disk_without_room_is_said_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5 * 2**20}))
    status, line = refused(capsys, tmp_path, *TINY)
    assert status == 1
    assert "5 MiB are free on its disk and a recording wants 100" in line
    assert list(tmp_path.iterdir()) == []


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "most likely out of memory"),
        ("raise MemoryError", "out of memory"),
    ],
)
def test_a_workload_that_crashes_leaves_the_earlier_report(
    text: str, message: str, tmp_path: Path
) -> None:
    """What a script raises: `tests/profiling/launch/test_script.py`."""
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "mine.sqlite").write_bytes(b"earlier")
    done = launched(
        *("--script", script(tmp_path, text), "--name", "mine", "--overwrite"),
        *("--device", "cpu"),
        reports=reports,
    )
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(message, last), done.stderr
    assert [path.name for path in reports.iterdir()] == ["mine.sqlite"]
    assert (reports / "mine.sqlite").read_bytes() == b"earlier"


def test_a_script_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = refused(capsys, tmp_path, "--script", str(tmp_path / "none.py"))
    assert status == 1
    assert line.endswith("none.py: no such file; give the script to record")


@pytest.mark.slow
def test_a_disk_that_fills_during_the_run(tmp_path: Path) -> None:
    """Stood for by a limit on the size of a file, which fails the same write."""
    command = [sys.executable, "-m", "profiling.launch", "--reports", str(tmp_path), *TINY]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "bash", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("not full, nor a quota used up")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_ends_the_workload_and_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    sleeper = script(
        tmp_path,
        f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(120)",
    )
    reports = tmp_path / "reports"
    command = [sys.executable, "-m", "profiling.launch", "--reports", str(reports)]
    process = subprocess.Popen(
        [*command, "--script", str(sleeper)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # these tests may run by nohup
    )
    deadline = time.monotonic() + 60
    while not (started.exists() and started.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (status, "")
    assert "Traceback" not in said
    assert not reports.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_report_that_appears_during_the_run_is_kept(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    racing = script(
        tmp_path,
        f"import torch; torch.ones(1); open({str(reports / 'script.sqlite')!r}, 'w').write('mine')",
    )
    done = launched("--script", racing, "--name", "script", reports=reports)
    assert (done.returncode, done.stdout) == (1, "")
    assert "script.sqlite: exists; choose another --name" in done.stderr
    assert [path.name for path in reports.iterdir()] == ["script.sqlite"]
    assert (reports / "script.sqlite").read_text() == "mine"


def test_a_note_cut_short_by_a_full_disk_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"step')
    with pytest.raises(
        LaunchError, match=r"result.json of the run is cut short; see that its disk"
    ):
        read_note(tmp_path / "result.json")


def test_ranges_that_do_not_arrive_are_missed(tmp_path: Path) -> None:
    from profiling.recorders.nsys import check_ranges_arrived

    silent = tmp_path / "silent.sqlite"
    silent.touch()
    with pytest.raises(
        LaunchError, match=r"0 of 4 ranges: .* nvtx 0\.2\.12; install nvtx==0\.2\.11"
    ):
        check_ranges_arrived(silent, {"step": 3, "forward": 1}, "2023.4", "0.2.12")
    with pytest.raises(LaunchError, match=r"first missing: step; use --recorder torch"):
        check_ranges_arrived(silent, {"step": 3}, "2023.4", "0.2.11")
