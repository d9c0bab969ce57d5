"""Trimming reports that nsys and our own recorders made, with NVIDIA's own tool as the judge."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from analysis import Report
from tests.analysis.trim.test_trim import rows, trimmed
from tests.made.runs.shared_recording import tiny_recording
from tests.made.tools import shared
from tests.made.tools.nsys_tool import nsys
from tests.made.tools.nvidia_tools import ours, theirs

WORK = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
REPORTS = (
    "cuda_gpu_kern_sum",
    "cuda_gpu_kern_sum:base",
    "cuda_api_sum",
    "cuda_gpu_mem_time_sum",
    "cuda_gpu_mem_size_sum",
    "cuda_kern_exec_sum",
    "nvtx_sum",
    "nvtx_pushpop_sum",
    "nvtx_gpu_proj_sum",
    "nvtx_kern_sum",
)


@pytest.fixture
def real(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int, int]:
    """Return a link to a real report, and the middle third of its time."""
    path = tmp_path / f"{request.param}.sqlite"
    path.symlink_to(shared.report(request.param))
    table = "NVTX_EVENTS" if "nvtx" in request.param else "CUPTI_ACTIVITY_KIND_KERNEL"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        first, last = connection.execute(f"SELECT min(start), max(start) FROM {table}").fetchone()
    return path, first + (last - first) // 3, first + 2 * (last - first) // 3


def launched_between(path: Path, table: str, begin: int, end: int) -> list[str]:
    """Return the rows of a table that were launched in a window, by looking at each of them."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        first: dict[tuple[int, int], int] = {}
        for call in connection.execute("SELECT * FROM CUPTI_ACTIVITY_KIND_RUNTIME"):
            key = call["globalTid"] >> 24, call["correlationId"]
            first[key] = min(first.get(key, call["start"]), call["start"])
        try:
            found = connection.execute(f"SELECT * FROM CUPTI_ACTIVITY_KIND_{table}").fetchall()
        except sqlite3.OperationalError:
            return []
        return [
            str(tuple(row))
            for row in found
            if begin
            <= first.get((row["globalPid"] >> 24, row["correlationId"]), row["start"])
            < end
        ]


@pytest.mark.parametrize("real", shared.WITH_KERNELS, indirect=True)
def test_a_real_report_keeps_what_was_launched_in_the_window(real: tuple[Path, int, int]) -> None:
    path, begin, end = real
    small = trimmed(path, "--from-ns", str(begin), "--to-ns", str(end))
    for table in WORK:
        expected = launched_between(path, table, begin, end)
        assert launched_between(small, table, begin, end) == expected
        assert launched_between(small, table, 0, 1 << 62) == expected
    sql = "SELECT name, sql FROM sqlite_master WHERE sql NOT LIKE '%TOOLKIT_RUN%' ORDER BY name"
    assert rows(small, sql) == rows(path, sql)


@pytest.mark.parametrize(
    "real",
    ["fsdp-2xh100-after", "registered-strings-cupy", "sliced-2xh100", "nvtx-only-2022.4"],
    indirect=True,
)
def test_nsys_reads_it_and_says_what_we_say(real: tuple[Path, int, int]) -> None:
    path, begin, end = real
    small = trimmed(path, "--from-ns", str(begin), "--to-ns", str(end))
    answered = 0
    for report, expected in theirs(nsys(), small, REPORTS).items():
        assert ours(small, report) == expected, report
        answered += bool(expected)
    assert answered >= 2


def test_every_string_that_is_referred_to_is_there(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    path.symlink_to(shared.report("train-step-small-a100"))
    small = trimmed(path, "--within", "forward*")
    for table, column in (
        ("CUPTI_ACTIVITY_KIND_KERNEL", "demangledName"),
        ("CUPTI_ACTIVITY_KIND_KERNEL", "mangledName"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", "nameId"),
        ("NVTX_EVENTS", "textId"),
        ("ThreadNames", "nameId"),
    ):
        lost = f"SELECT {column} FROM {table} WHERE {column} NOT IN (SELECT id FROM StringIds)"
        assert set(rows(small, lost)) <= set(rows(path, lost))
    counts = [rows(each, "SELECT count(*) FROM StringIds")[0][0] for each in (small, path)]
    assert counts[0] < counts[1]


@pytest.fixture(params=["torch", "nsys"])
def recorded(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a link to a tiny training run of two steps, recorded on the CPU."""
    by_torch = request.param == "torch"
    made = tiny_recording(request.param, tmp_path_factory, memory=by_torch)
    path = tmp_path / f"by-{request.param}.sqlite"
    path.symlink_to(made.report)
    return path


def test_the_steps_of_a_recorded_run_have_the_answers_they_had(recorded: Path) -> None:
    parts = []
    with Report(recorded) as report:
        for step in range(2):
            small = trimmed(recorded, "--steps", f"{step}:{step + 1}")
            with Report(small) as cut:
                chosen = (step, step + 1)
                pd.testing.assert_frame_equal(report.kernels(steps=chosen), cut.kernels())
                parts.append((cut.phases(), cut.attention(), cut.ranges(), cut.roofline()))
            small.unlink()
        whole = (
            report.phases(),
            report.attention(),
            report.ranges(exclude=["warmup"]),
            report.roofline(),
        )
    keys = (["phase", "category"], ["part"], ["range", "style"], ["range"])
    values = (
        ["calls", "kernel_ns"],
        ["calls", "kernel_ns", "flops", "bytes"],
        ["instances", "kernel_ns", "self_ns", "flops"],
        ["kernel_ns", "flops", "bytes"],
    )
    for place, (key, value) in enumerate(zip(keys, values, strict=True)):
        together = pd.concat([part[place] for part in parts]).groupby(key)[value].sum()
        expected = whole[place].groupby(key)[value].sum()
        pd.testing.assert_frame_equal(together.loc[expected.index], expected)


def test_the_memory_of_a_kept_step_is_what_it_was(recorded: Path) -> None:
    if "nsys" in recorded.name:
        pytest.skip("recorded without --memory")
    with Report(recorded) as report:
        steps, peaks = report.memory(show="steps"), report.memory()
    small = trimmed(recorded, "--steps", "1:2")
    with Report(small) as cut:
        fields = ["start_bytes", "peak_bytes", "end_bytes"]
        assert cut.memory(show="steps")[fields].iloc[0].tolist() == steps[fields].iloc[1].tolist()
        assert set(cut.memory()["range"]) == set(peaks["range"])
