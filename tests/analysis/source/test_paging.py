"""Answers from arrays in temporary files are those from memory, and nothing stays behind."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import Report, ReportError
from analysis.show import cli
from analysis.source import paging
from analysis.source.memory_limit import VARIABLE
from tests.made.commands.commands import command_module
from tests.made.reports.build_report import Call, Kernel, Memory, Range, make_report
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux needs and has it")


QUESTIONS = (
    "kernels",
    "kernels --by category --sort calls",
    "kernels --within forward",
    "kernels --steps 0:1",
    "ranges",
    "ranges --tree",
    "ranges --instances",
    "phases",
    "attention",
    "copies",
    "gaps --min-gap 0",
    "nvidia --report cuda_gpu_kern_sum",
    "nvidia --report cuda_gpu_kern_sum:nvtx-name",
    "nvidia --report nvtx_gpu_proj_sum",
    "nvidia --report nvtx_kern_sum",
)
PAGE = ""


def answer(question: str, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return the exit status, the data and the notes of a command."""
    name, *arguments = question.split() or ["__main__"]
    form = "json" if question == PAGE else "csv"
    command = command_module(f"analysis.{name}")
    status = cli.run(lambda: command.main([str(path), *arguments, "--format", form]))
    printed = capsys.readouterr()
    notes = [line for line in printed.err.splitlines() if "working in" not in line]
    return status, printed.out, "\n".join(notes)


def quick_folder() -> Path:
    """Return where thousands of files cost little: in memory, which is all right for a test."""
    shared_memory = Path("/dev/shm")
    return shared_memory if os.access(shared_memory, os.W_OK) else Path(tempfile.gettempdir())


def check_the_same(path: Path, questions: tuple[str, ...], capsys: Any) -> None:
    """Check that each question has the same answer when every array lies in a file."""
    before = len(paging._all)
    for question in questions:
        plain = answer(question, path, capsys)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, "90M")
            patch.setattr(paging, "LARGE_BYTES", 1)
            patch.setattr(paging, "resident_bytes", lambda: 0)
            patch.setattr("analysis.source.memory_limit.disk_folder", quick_folder)
            assert answer(question, path, capsys) == plain, question
    assert any(pages.in_files for pages in paging._all[before:])


LARGEST = (
    "fsdp-2xh100-after",
    "fsdp-2xh100-before",
    "registered-strings-cupy",
    "sliced-2xh100",
    "train-step-small-a100",
)
REPORTS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in LARGEST else [])
    for name in (*shared.WITH_KERNELS, *shared.WITHOUT_KERNELS)
]


@pytest.mark.parametrize("name", REPORTS)
def test_real_reports_answer_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_the_same(shared.report(name), (*QUESTIONS, PAGE), capsys)


def test_a_report_of_a_cpu_run_answers_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    check_the_same(ROOT / "nsys_reports" / "sample.sqlite", (*QUESTIONS, PAGE), capsys)


times = st.integers(0, 60)
NAMES = st.sampled_from(["forward", "backward", "optimizer", "step", "warmup", "gemm", "softmax"])
KERNELS = st.builds(
    lambda name, start, length, launch, process: Kernel(
        name, start, start + length, launch=launch, process=process, thread=100
    ),
    *(NAMES, times, times, st.none() | times, st.sampled_from([100, 200])),
)
RANGES = st.builds(
    lambda name, start, length, thread: Range(name, start, start + length, thread=thread),
    *(NAMES, times, times, st.sampled_from([100, 101])),
)


@pytest.mark.slow
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(KERNELS, min_size=1, max_size=12), st.lists(RANGES, max_size=10))
def test_made_up_reports_answer_the_same(
    capsys: pytest.CaptureFixture[str], kernels: list[Kernel], ranges: list[Range]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make_report(
            Path(folder) / "r.sqlite",
            kernels=kernels,
            ranges=ranges,
            calls=[Call("cudaMemcpy_v3020", 10, 12, 900)],
            memory=[Memory(20, 25, 4096, 900)],
        )
        check_the_same(path, QUESTIONS, capsys)


@given(st.lists(st.integers(0, 3 << 20), min_size=1, max_size=8), st.integers(0, 255))
@settings(max_examples=20)
def test_arrays_in_files_hold_what_was_put_there(sizes: list[int], value: int) -> None:
    with paging.arrays_in_files(quick_folder(), 1):
        made = [np.full(size, value, np.uint8) for size in sizes]
        zero = [np.zeros(size, np.uint8) for size in sizes]
        grown = np.arange(3)
        grown.resize(200_000, refcheck=False)
    # They may be used, and freed, after numbers lie in memory again.
    assert all(bool((array == value).all()) for array in made)
    assert not any(array.any() for array in zero)
    assert grown[:4].tolist() == [0, 1, 2, 0]
    assert int(grown.sum()) == 3


def test_memory_lies_in_memory_again_afterwards(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 5)])
    plain = np._core.multiarray.get_handler_name()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "1M")
        first, second = Report(path), Report(path)
        assert np._core.multiarray.get_handler_name() == "temporary files"
        first.close()
        assert np._core.multiarray.get_handler_name() == "temporary files"
        second.close()
    assert np._core.multiarray.get_handler_name() == plain


def test_the_place_of_the_function_is_that_of_numpys_own_header() -> None:
    header = Path(np.get_include()) / "numpy" / "__multiarray_api.h"
    found = re.search(
        r"#define PyDataMem_SetHandler \\\s.*?PyArray_API\[(\d+)\]", header.read_text(), re.S
    )
    assert found
    assert int(found[1]) == paging.SET_HANDLER


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with 300,000 kernels in 100,000 ranges."""
    path = make_report(
        tmp_path_factory.mktemp("large") / "large.sqlite",
        kernels=[Kernel("gemm", 5, 9, launch=2), Kernel("softmax", 9, 12, launch=3)],
        ranges=[Range("forward", 0, 5)],
    )
    count = 100_000
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TEMP TABLE n AS SELECT 1 AS i")
        connection.execute(
            "INSERT INTO n WITH RECURSIVE c(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM c "
            f"WHERE i < {count}) SELECT i FROM c"
        )
        for table in ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"):
            fields = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            moved = {"start": "+ 20 * i", "end": "+ 20 * i", "correlationId": "+ 10 * i"}
            listed = ", ".join(f'"{field}" {moved.get(field, "")}' for field in fields)
            connection.execute(f"INSERT INTO {table} SELECT {listed} FROM {table}, n ORDER BY i")
        connection.commit()
    return path


def run(
    path: Path, *arguments: str, before: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `analysis.ranges` in a process of its own, after some commands of the shell."""
    line = f'{before} exec "$@"'
    command = [sys.executable, "-m", "analysis.ranges", str(path), *arguments]
    return subprocess.run(
        ["sh", "-c", line, "sh", *command],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )


PEAK = """
import json, runpy, sys
peak = 0
sys.argv = ["ranges", *sys.argv[1:]]
try:
    runpy.run_module("analysis.ranges", run_name="__main__")
finally:
    import resource
    kept = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(json.dumps(int(kept[0]) * 1024), file=sys.stderr)
"""


def peak(path: Path, **env: str) -> tuple[str, int]:
    """Return the answer of a process and the most memory it held."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), "--format", "csv"],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, json.loads(done.stderr.splitlines()[-1])


def test_less_memory_is_held_and_the_answer_is_the_same(large: Path) -> None:
    plain, most = peak(large)
    paged, least = peak(large, **{VARIABLE: "100M"})
    assert paged == plain
    assert least < most - (20 << 20)


def test_a_full_disk_is_one_line(large: Path) -> None:
    # A limit on the size of files, in blocks of 512 bytes, fails as a full disk does.
    done = run(large, before="ulimit -f 1000;", **{VARIABLE: "100M"})
    assert done.returncode == 1
    assert done.stdout == ""
    note, error = done.stderr.splitlines()
    assert re.search(r"large.sqlite may need .* of memory, 104.9 MB is free: working in /", note)
    assert re.search(
        r"error: .*: no temporary files in /.* \(file too large; it may need .*TMPDIR", error
    )


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 5)])

    def take() -> None:
        with Report(path):
            np.empty(1 << 58, np.uint8)

    with pytest.raises(ReportError, match=r"r.sqlite: not enough memory \(it may need .* MB\); "):
        take()


def test_nothing_stays_behind_when_it_is_interrupted(large: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analysis.ranges", str(large)]
    env = {**os.environ, VARIABLE: "100M", "TMPDIR": str(tmp_path)}
    for _ in range(3):
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stderr is not None
        assert "working in" in process.stderr.readline()
        time.sleep(random.Random(os.getpid()).random() / 5)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate()
        assert (process.returncode, out, error) == (130, "", "error: interrupted\n")
        assert not list(tmp_path.iterdir())


def test_ctrl_c_while_pages_are_asked_for_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupting() -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr(paging, "resident_bytes", interrupting)

    def ask() -> None:
        with paging.arrays_in_files(Path(tempfile.gettempdir()), 1):
            assert len(np.zeros(1 << 20)) == 1 << 20
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        ask()


def test_more_names_than_memory_holds_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 5, launch=1)],
        ranges=[Range(f"block {number}", number, number + 1) for number in range(2000)],
    )
    monkeypatch.setenv(VARIABLE, "1M")
    with Report(path) as report, pytest.raises(ReportError, match="2,000 different names need"):
        report.ranges()


def test_more_rows_than_memory_holds_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = [Range("block", number, number + 1) for number in range(2000)]
    kernels = [Kernel("a", 0, 5, launch=1)]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels, ranges=ranges)
    monkeypatch.setenv(VARIABLE, "1M")
    with Report(path) as report:
        assert report.ranges()["instances"].tolist() == [2000]
        with pytest.raises(ReportError, match="2,000 rows need 2 MB of memory, 1 MB is free"):
            report.ranges(instances=True)
