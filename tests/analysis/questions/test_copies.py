"""Copies: totals as NVIDIA has them, and which kept the host waiting."""

import csv
import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest

from analysis import Report, copies
from analysis.show.errors import ReportError
from tests.made.reports.build_device import (
    DEVICE,
    PAGEABLE,
    PINNED,
    TO_HOST,
    WITHIN,
    Copy,
    Set,
    add_device_work,
)
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared
from tests.made.tools.nsys_tool import rule_rows

SYNC = "cudaMemcpy_v3020"


def listed(path: Path, exclude: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    """Return kind, calls, bytes, time and synchronous calls of each row."""
    with Report(path) as report:
        rows = copies.copies(report, exclude=exclude).rows()
    fields = ("kind", "calls", "bytes", "total_ns", "synchronous_calls")
    return [tuple(row[field] for field in fields) for row in rows]


def one(tmp_path: Path, copy: Copy) -> int:
    """Return how many synchronous calls a report with one copy has."""
    path = add_device_work(make_report(tmp_path / "r.sqlite"), copies=[copy])
    with Report(path) as report:
        (row,) = copies.copies(report).rows()
    return int(row["synchronous_calls"])


def test_the_whole_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = add_device_work(
        make_report(tmp_path / "r.sqlite"),
        copies=[
            Copy(0, 100, bytes=1000, launch=0),
            Copy(100, 200, bytes=3000, launch=100),
            Copy(300, 350, bytes=50, kind=TO_HOST, source=DEVICE, target=PAGEABLE, launch=200),
        ],
        sets=[Set(400, 410, bytes=8, launch=390)],
    )
    assert copies.main([str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == (
        "kind,calls,bytes,total_ns,bytes_per_s,synchronous_calls\n"
        "memcpy Host-to-Device,2,4000,200,20000000000.0,0\n"
        '"memcpy Device-to-Host, pageable",1,50,50,1000000000.0,1\n'
        "memset,1,8,10,800000000.0,0\n"
    )


def test_a_gigabyte_in_600_ms_is_not_1000_mb_a_second(tmp_path: Path) -> None:
    copy = Copy(0, 600_000_000, bytes=1_000_000_000, launch=0)
    path = add_device_work(make_report(tmp_path / "r.sqlite"), copies=[copy])
    with Report(path) as report:
        (row,) = copies.copies(report).rows()
    assert row["bytes_per_s"] == pytest.approx(1e9 / 0.6)


@pytest.mark.parametrize(
    ("copy", "waits"),
    [
        (Copy(0, 9, 64_001, call=SYNC, launch=0), 1),
        (Copy(0, 9, 64_000, call=SYNC, launch=0), 0),
        (Copy(0, 9, 64_000, kind=TO_HOST, call=SYNC, launch=0), 1),
        (Copy(0, 9, 10**6, kind=WITHIN, call=SYNC, launch=0, same=True), 0),
        (Copy(0, 9, 10**6, launch=0), 0),
        (Copy(0, 9, 8, source=PAGEABLE, launch=0), 1),
        (Copy(0, 9, 10**6, call="cuMemcpyHtoD_v2", launch=0), 1),
        (Copy(0, 9, 10**6, call="cudaGraphLaunch_v10000", source=PAGEABLE, launch=0), 0),
        (Copy(0, 9, 10**6, call=SYNC), 0),
    ],
)
def test_which_copies_keep_the_host_waiting(tmp_path: Path, copy: Copy, waits: int) -> None:
    assert one(tmp_path, copy) == waits


def test_sets_of_host_memory_wait_unless_they_are_asynchronous(tmp_path: Path) -> None:
    path = add_device_work(
        make_report(tmp_path / "r.sqlite"),
        sets=[
            Set(0, 9, memory=PINNED, call="cudaMemset_v3020", launch=0),
            Set(9, 18, memory=DEVICE, call="cudaMemset_v3020", launch=9),
            Set(18, 27, memory=PINNED, launch=18),
        ],
    )
    assert listed(path) == [("memset", 3, 0, 27, 1)]


def test_another_process_with_the_same_correlation_id_does_not_count(tmp_path: Path) -> None:
    path = add_device_work(
        make_report(tmp_path / "r.sqlite"),
        copies=[
            Copy(0, 9, 10**6, launch=0),
            Copy(0, 9, 10**6, call=SYNC, launch=0, process=200),
        ],
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_RUNTIME"):
            connection.execute(f"UPDATE {table} SET correlationId = 5")
    assert listed(path) == [("memcpy Host-to-Device", 2, 2 * 10**6, 18, 1)]


def test_a_call_that_is_recorded_twice_counts_once(tmp_path: Path) -> None:
    copy = Copy(0, 9, 10**6, call="cudaMemcpy", launch=0, done=10)
    path = add_device_work(make_report(tmp_path / "r.sqlite"), copies=[copy])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME SELECT start + 1, end - 1, eventClass, "
            "globalTid, correlationId, nameId, returnValue FROM CUPTI_ACTIVITY_KIND_RUNTIME"
        )
    assert listed(path) == [("memcpy Host-to-Device", 1, 10**6, 9, 1)]


def test_copies_without_a_recorded_call_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = add_device_work(make_report(tmp_path / "r.sqlite"), copies=[Copy(0, 9), Copy(9, 18)])
    assert copies.main([str(path)]) == 0
    assert "note: 2 copies and sets have no recorded call" in capsys.readouterr().err


def test_what_a_range_asked_for_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = add_device_work(
        make_report(tmp_path / "r.sqlite", ranges=[Range("Warm-up", 0, 50), Range("step", 60, 99)]),
        copies=[Copy(70, 80, 5, launch=10), Copy(80, 81, 7, launch=65)],
    )
    assert listed(path, exclude=("none",)) == [("memcpy Host-to-Device", 2, 12, 11, 0)]
    assert (
        listed(path) == listed(path, exclude=("warmup",)) == [("memcpy Host-to-Device", 1, 7, 1, 0)]
    )
    assert copies.main([str(path), "--exclude", "none"]) == 0
    assert "1 copy or set, 10 ns, was warm-up: included\n" in capsys.readouterr().out
    assert copies.main([str(path)]) == 0
    assert "1 copy or set, 10 ns, is left out\n" in capsys.readouterr().out
    with Report(path) as report, pytest.raises(ReportError, match="no NVTX range is called 'x'"):
        copies.copies(report, exclude=("x",))


def test_a_report_without_copies_has_an_empty_table(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 9, launch=0)])
    assert listed(path) == []


def test_a_cpu_run_has_nothing_to_copy(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", operators=[Operator("aten::mm", 0, 9, 9)])
    with Report(path) as report, pytest.raises(ReportError, match="no copies \\(a CPU run\\)"):
        copies.copies(report)


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_totals_are_nvidias_on_the_real_reports(name: str) -> None:
    sums: dict[str, list[int]] = {}
    for kind, calls, size, time, _ in listed(shared.report(name)):
        label = f"[CUDA {str(kind).removesuffix(', pageable')}]"
        total = sums.setdefault(label, [0, 0, 0])
        for place, value in enumerate((time, calls, size)):
            total[place] += int(str(value))
    times = rows_of(name, "cuda_gpu_mem_time_sum")
    if times is None:
        return
    assert {
        row["Operation"]: [int(row["Total Time (ns)"]), int(row["Count"])] for row in times
    } == {label: total[:2] for label, total in sums.items()}
    sizes = rows_of(name, "cuda_gpu_mem_size_sum") or []
    assert {row["Operation"] for row in sizes} == set(sums)
    for row in sizes:
        assert float(row["Total (MB)"]) == pytest.approx(sums[row["Operation"]][2] / 1e6, abs=6e-4)


def rows_of(name: str, kind: str) -> list[dict[str, str]] | None:
    """Return the rows NVIDIA prints, or None where it has nothing to report."""
    shared.report(name)
    path = shared.SHARED / "reports" / "expected" / f"{name}.{kind}.csv"
    return list(csv.DictReader(StringIO(path.read_text()))) if path.exists() else None


@pytest.mark.parametrize("name", ["forward-2.7b-a100", "registered-strings-cupy"])
def test_synchronous_copies_are_those_of_nvidias_rules(name: str, tmp_path: Path) -> None:
    rows = [
        row
        for rule in ("cuda_memcpy_sync:rows=-1", "cuda_memcpy_async:rows=-1")
        for row in rule_rows(shared.report(name), rule, tmp_path)
    ]
    assert sum(int(str(row[4])) for row in listed(shared.report(name))) == len(rows)


def test_the_rules_run_on_a_report_built_here_and_agree(tmp_path: Path) -> None:
    path = add_device_work(
        make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 9, launch=0)]),
        copies=[
            Copy(0, 9, 64_001, call=SYNC, launch=0),
            Copy(10, 19, 64_000, call=SYNC, launch=10),
            Copy(20, 29, 64_000, kind=TO_HOST, call=SYNC, launch=20),
            Copy(30, 39, 8, source=PAGEABLE, launch=30),
            Copy(40, 49, 8, launch=40),
        ],
    )
    found = [
        len(rule_rows(path, f"{rule}:rows=-1", tmp_path))
        for rule in ("cuda_memcpy_sync", "cuda_memcpy_async")
    ]
    assert found == [2, 1]
    assert sum(int(str(row[4])) for row in listed(path)) == 3
