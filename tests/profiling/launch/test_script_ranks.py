"""Somebody's script on several ranks: a report of each, or none, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from analysis import Report, overlap
from profiling.common.errors import UsageError
from profiling.common.workload import Ranks
from profiling.launch import options
from profiling.launch.script import ScriptRun
from profiling.processes.starting import child_environment
from tests.made.runs.ddp_script import SCRIPT
from tests.made.runs.launched import find_nsys, launch, payloads, run_facts

MARK = "TEST_OF_RANKS"
"""A variable that every process of a run has, by which those that are left are found."""


def written(folder: Path, text: str) -> Path:
    script = folder / "train.py"
    script.write_text(text)
    return script


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_each_rank_of_a_script_has_a_report(recorder: str, tmp_path: Path) -> None:
    env = {"NSYS": find_nsys()} if recorder == "nsys" else {}
    words = ("--script", written(tmp_path, SCRIPT), "--recorder", recorder, "--ranks", "2")
    done = launch(*words, "--", "2", reports=tmp_path / "made", env=env)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert f"recording {tmp_path}/train.py on each of 2 ranks" in said
    for rank, label in ((0, ""), (1, "[rank1]: ")):
        assert f"{label}rank {rank} of 2, of 2 here, sum 1" in said
    reports = [tmp_path / "made" / f"train.rank{rank}.sqlite" for rank in (0, 1)]
    suffixes = ["nsys-rep", "sqlite"] if recorder == "nsys" else ["sqlite"]
    made = ["html", *suffixes], suffixes
    left = [f"train.rank{rank}.{end}" for rank in (0, 1) for end in made[rank]]
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == left
    for rank, report in enumerate(reports):
        known = {"script": "train.py", "recorder": recorder, "rank": str(rank), "world_size": "2"}
        facts = run_facts(report)
        assert {key: facts[key] for key in known} == known
    assert "aten::addmm" in done.stdout
    if recorder == "nsys":  # which hears nothing of gloo's own threads
        assert f"note: {reports[0]}: no collectives in this report" in done.stderr
        return
    assert "hidden share" in done.stdout
    assert len(payloads(reports[0])["gloo:all_reduce"]) == 3
    with ExitStack() as stack:
        opened = [stack.enter_context(Report(path)) for path in reports]
        rows = overlap.overlap(*opened).rows()
    assert [row["rank"] for row in rows] == ["0", "1"]
    calls = [int(row["calls"]) for row in rows]
    assert calls[0] == calls[1] >= 3


FAILS = """
import os, subprocess, sys, time
import torch.distributed as dist

dist.init_process_group("gloo")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
dist.barrier()
if dist.get_rank() == 1:
    print("this is rank 1")
    match sys.argv[1]:
        case "raises":
            try:
                raise ValueError("boom")
            finally:  # the other fails at once, by what this one leaves
                dist.destroy_process_group()
        case "is killed":
            os.kill(os.getpid(), 9)
        case "hangs":
            open("reached", "w").close()
            time.sleep(600)
dist.barrier()
"""


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Path]:
    """A folder with reports of an earlier run, which is to be as it was, with nothing running."""
    reports = tmp_path / "made"
    reports.mkdir()
    for rank in range(2):
        (reports / f"train.rank{rank}.sqlite").write_bytes(b"earlier")
    yield reports
    assert {path.name: path.read_bytes() for path in reports.iterdir()} == {
        f"train.rank{rank}.sqlite": b"earlier" for rank in range(2)
    }
    assert left_of(tmp_path) == []


def left_of(run: Path) -> list[str]:
    """Return what still runs of what was started for a run, a moment later."""
    end_s = time.monotonic() + 5
    while (found := list(processes_of(run))) and time.monotonic() < end_s:
        time.sleep(0.05)
    return found


def processes_of(run: Path) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(run) and process.status() != "zombie":
                yield " ".join(process.cmdline())
        except psutil.Error:
            continue


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("raises", "rank 1 failed with ValueError: boom (train.py:13); the other ranks were ended"),
        ("is killed", "rank 1 was killed, most likely out of memory; use fewer ranks or less at a"),
        ("hangs", "ranks 0, 1 were not done after 9 s; give more time with --timeout, or less wo"),
    ],
)
def test_a_rank_that_fails_is_named_and_nothing_is_left(
    how: str, line: str, earlier: Path, tmp_path: Path
) -> None:
    time_ = ("--timeout", "9") if how == "hangs" else ()
    words = ("--script", written(tmp_path, FAILS), "--ranks", "2", *time_, "--overwrite")
    env = {MARK: str(tmp_path)}
    done = launch(*words, "--", how, reports=earlier, env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *before, last = done.stderr.splitlines()
    assert last.startswith(f"error: {line}")
    assert not any(each.startswith("error: ") for each in before)
    if how == "raises":
        assert {"[rank1]: this is rank 1", "[rank1]: ValueError: boom"} <= {*before}


@pytest.mark.slow
def test_an_interruption_ends_the_ranks_of_a_script(earlier: Path, tmp_path: Path) -> None:
    script = written(tmp_path, FAILS)
    words = ["--script", str(script), "--ranks", "2", "--overwrite", "--reports", str(earlier)]
    process = subprocess.Popen(
        [sys.executable, "-m", "profiling.launch", *words, "--", "hangs"],
        cwd=tmp_path,
        env=child_environment() | {MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end_s = time.monotonic() + 90
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < end_s
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "error: interrupted"


def chosen(script: Path, *words: str) -> Ranks | None:
    _, arguments = options.parse(["--script", str(script), *words])
    return ScriptRun.read(arguments, "cpu").ranks


def test_ranks_of_a_script_have_no_limit_but_one_that_is_given(tmp_path: Path) -> None:
    script = written(tmp_path, "")
    assert chosen(script) is None
    assert chosen(script, "--ranks", "3") == Ranks(count=3, timeout_s=None)
    assert chosen(script, "--ranks", "3", "--timeout", "9") == Ranks(count=3, timeout_s=9.0)
    with pytest.raises(UsageError, match="--timeout is of --ranks N; give that too"):
        chosen(script, "--timeout", "9")
    with pytest.raises(UsageError, match="--strategy is of our own model; a script takes its own"):
        chosen(script, "--ranks", "3", "--strategy", "flat")
