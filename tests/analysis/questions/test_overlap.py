"""Overlap: what of the collectives is hidden under compute, alone and over several ranks."""

import gzip
import json
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report, overlap
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.alignment import align_clocks, shared_collectives
from analysis.measures.collectives import DeviceCollectives
from analysis.measures.ranks.waiting import waiting_times
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared as shared_files

REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL"
GATHER = "ncclDevKernel_AllGather_RING_LL"
TRACES = ("gpt-8xh100-rank0", "gpt-8xh100-rank1")


def rows(
    *paths: Path, by: str = "device", warmup: bool = False
) -> list[dict[str, int | float | str]]:
    """Return the rows of the answer about some reports."""
    with ExitStack() as stack:
        reports = [stack.enter_context(Report(path)) for path in paths]
        exclude = ("none",) if warmup else ()
        return overlap.overlap(*reports, by=by, exclude=exclude).rows()


def of_rank(path: Path, rank: int, kernels: list[Kernel], began: int | None = None) -> Path:
    """Write a report of one rank."""
    make_report(path, kernels=kernels, run={"rank": str(rank)})
    if began is not None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs INTEGER)")
            connection.execute("INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES (?)", (began,))
    return path


def test_one_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("gemm", 0, 100),
            Kernel(REDUCE, 50, 150, stream=9),
            Kernel(GATHER, 140, 160, stream=10),
            Kernel("gemm", 155, 200),
        ],
    )
    assert overlap.main([str(path), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "report,rank,process,device,calls,total_ns,collective_ns,hidden_ns,exposed_ns,"
        "hidden_share,waiting_ns,compute_ns,span_ns\n"
        "r.sqlite,,100,0,2,120,110,55,55,0.5,0,145,200\n"
    )
    assert err == "note: of one rank only: how long collectives waited for others is not known\n"


def test_by_collective_hidden_and_exposed_are_parts_of_the_union_too(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("gemm", 0, 100),
            Kernel(REDUCE, 50, 150),
            Kernel(REDUCE, 140, 160),
            Kernel(GATHER, 10, 20),
        ],
    )
    found = {str(row["collective"]): row for row in rows(path, by="collective")}
    picked = ("calls", "total_ns", "collective_ns", "hidden_ns", "exposed_ns")
    assert [found[REDUCE][name] for name in picked] == [2, 120, 110, 50, 60]
    assert [found[GATHER][name] for name in picked] == [1, 10, 10, 10, 0]


def test_ranks_are_brought_together_by_the_ends_of_their_collectives(tmp_path: Path) -> None:
    first = of_rank(
        tmp_path / "0.sqlite", 0, [Kernel(REDUCE, 100, 200), Kernel(REDUCE, 400, 460)], began=5000
    )
    # On its own clock 1000 later; it comes late to the first, early to the second.
    second = of_rank(
        tmp_path / "1.sqlite", 1, [Kernel(REDUCE, 1180, 1200), Kernel(REDUCE, 1390, 1460)], 7777
    )
    found = rows(first, second)
    assert [row["rank"] for row in found] == ["0", "1"]
    assert [row["waiting_ns"] for row in found] == [80, 10]


def test_without_shared_collectives_the_utc_times_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = of_rank(tmp_path / "0.sqlite", 0, [Kernel(REDUCE, 0, 9)], began=5000)
    second = of_rank(tmp_path / "1.sqlite", 1, [Kernel(GATHER, 0, 9)], began=6000)
    assert overlap.main([str(first), str(second)]) == 0
    out, err = capsys.readouterr()
    assert "clocks: by the time each recording began; no collective is shared by all" in out
    assert "2 of 2 collectives (100.0 %) are not shared by all ranks" in err


def test_a_transfer_between_two_of_three_is_not_shared() -> None:
    none = IntervalUnion.of(np.empty(0, np.int64), np.empty(0, np.int64))
    zero = np.zeros(1, np.int64)
    place = DeviceCollectives(1, 0, ["ncclKernel_SendRecv"], zero, zero, zero + 9, none)
    assert shared_collectives([place, place]).row.shape == (2, 1)
    assert shared_collectives([place, place, place]).row.shape == (3, 0)
    assert align_clocks([place], [None]).offset_ns.tolist() == [0]
    (times,), met = waiting_times([place], zero)
    assert (times.tolist(), met.unmatched) == ([-1], 1)


def test_collectives_of_gloo_are_ranges_of_its_threads(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("gloo:all_reduce", 50, 150, thread=7), Range("all_reduce", 40, 45)],
        operators=[
            Operator("aten::mm", 0, 100, 100),
            Operator("aten::add_", 60, 140, 80, thread=7),  # inside the collective: part of it
        ],
    )
    (row,) = rows(path)
    assert (row["calls"], row["collective_ns"], row["hidden_ns"]) == (1, 100, 50)
    assert (row["device"], row["compute_ns"]) == (-1, 100)


def test_without_them_the_hosts_ranges_stand_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("all_reduce", 40, 90)],
        operators=[Operator("aten::mm", 0, 30, 30), Operator("aten::div_", 50, 60, 10)],
    )
    assert overlap.main([str(path), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert (row["collective_ns"], row["hidden_ns"], row["compute_ns"]) == (50, 0, 30)
    assert "the host's calls count in their place\n" in err


def test_what_the_host_waits_after_an_asynchronous_call_is_told_and_counts_as_no_collective(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("communication", 10, 20),
            Range("all_reduce", 12, 18),
            Range("communication", 50, 90),  # the wait for it
            Range("communication", 55, 60, thread=3),  # the wait of another thread
        ],
        operators=[Operator("aten::mm", 20, 50, 30)],
    )
    assert overlap.main([str(path), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert (row["collective_ns"], row["hidden_ns"], row["exposed_ns"]) == (6, 0, 6)
    assert "but not the 45 ns that it waited for them afterwards" in err


def test_warmup_is_left_out(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel(REDUCE, 10, 20, launch=1), Kernel(REDUCE, 110, 130, launch=101)],
        ranges=[Range("warmup", 0, 50), Range("step", 100, 140)],
    )
    assert rows(path)[0]["total_ns"] == 20
    assert rows(path, warmup=True)[0]["total_ns"] == 30


def test_a_kind_alone_has_the_times_of_its_device(tmp_path: Path) -> None:
    kernels = [Kernel("gemm", 0, 60), *(Kernel(REDUCE, at, at + 50, stream=at) for at in range(40))]
    path = make_report(tmp_path / "r.sqlite", kernels=kernels)
    (whole,), (kind,) = rows(path), rows(path, by="collective")
    picked = ("total_ns", "collective_ns", "hidden_ns", "exposed_ns", "hidden_share")
    assert [kind[name] for name in picked] == [whole[name] for name in picked]
    assert (kind["hidden_ns"], kind["exposed_ns"]) == (60, 29)


def test_reports_of_two_runs_are_no_ranks_of_one(tmp_path: Path) -> None:
    paths = [shared_files.report(f"fsdp-2xh100-{when}") for when in ("before", "after")]
    with pytest.raises(ReportError, match=r"recorded 4,809 s after fsdp-2xh100-before\.sqlite; "):
        rows(*paths)
    with pytest.raises(ReportError, match=r"recorded 4,809 s before fsdp-2xh100-after\.sqlite; "):
        rows(*reversed(paths))
    one, two = (
        make_report(
            tmp_path / f"{size}.sqlite",
            kernels=[Kernel(REDUCE, 0, 9)],
            run={"rank": str(rank), "size": size},
        )
        for rank, size in enumerate(("small", "tiny"))
    )
    with pytest.raises(ReportError, match=r"size is tiny, not small as in small\.sqlite; give one"):
        rows(one, two)


def test_that_reports_are_of_one_run_is_said_where_none_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        make_report(tmp_path / name, kernels=[Kernel(REDUCE, 0, 9)])
        for name in ("a.sqlite", "b.sqlite")
    ]
    assert overlap.main([*map(str, paths)]) == 0
    said = capsys.readouterr().err
    assert "not said by a.sqlite, b.sqlite: taken for ranks of one run\n" in said


def test_refusals(tmp_path: Path) -> None:
    none = make_report(tmp_path / "none.sqlite", kernels=[Kernel("gemm", 0, 9)])
    one = of_rank(tmp_path / "one.sqlite", 0, [Kernel(REDUCE, 0, 9)])
    other = of_rank(tmp_path / "other.sqlite", 0, [Kernel(REDUCE, 0, 9)])
    with pytest.raises(ReportError, match=r"no collectives .*; record a parallel run"):
        rows(none)
    with pytest.raises(ReportError, match="given twice"):
        rows(one, one)
    with pytest.raises(ReportError, match=r"of rank 0, as one\.sqlite is"):
        rows(one, other)


Interval = tuple[int, int]
INTERVALS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair))),
    max_size=8,
)


@given(collectives=INTERVALS.filter(len), compute=INTERVALS)
def test_against_counting_every_nanosecond(
    collectives: list[Interval], compute: list[Interval]
) -> None:
    covered = {at for start, end in collectives for at in range(start, end)}
    working = {at for start, end in compute for at in range(start, end)}
    kernels = [Kernel(REDUCE, *each) for each in collectives]
    kernels += [Kernel("gemm", *each) for each in compute]
    with TemporaryDirectory() as folder:
        (row,) = rows(make_report(Path(folder) / "r.sqlite", kernels=kernels))
    assert row["collective_ns"] == len(covered)
    assert row["hidden_ns"] == len(covered & working)
    assert row["compute_ns"] == len(working)


def union(intervals: Iterable[tuple[float, float]]) -> list[list[float]]:
    """Return intervals joined where they touch."""
    joined: list[list[float]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return joined


@pytest.mark.parametrize("name", TRACES)
def test_a_real_trace_against_a_plain_sum(name: str) -> None:
    path = shared_files.trace(name)
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    kernels = [event for event in events if event.get("cat") == "kernel"]
    collective, other = (
        union((e["ts"], e["ts"] + e["dur"]) for e in kernels if ("nccl" in e["name"]) == wanted)
        for wanted in (True, False)
    )
    hidden = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in collective for b in other)
    (row,) = rows(path)
    # The trace has microseconds as floats: to the nearest 0.25 ns here, so a few ns in all.
    assert row["collective_ns"] == pytest.approx(sum(b - a for a, b in collective) * 1e3, abs=99)
    assert row["hidden_ns"] == pytest.approx(hidden * 1e3, abs=99)


def test_two_real_ranks_end_their_collectives_together(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [shared_files.trace(name) for name in TRACES]
    assert overlap.main([*map(str, paths), "--format", "table"]) == 0
    assert "by the ends of 76 shared collectives, ± 6.183 µs" in capsys.readouterr().out
    late, early = (int(str(row["waiting_ns"])) for row in rows(*paths))
    # Rank 0 comes early and waits for most of its 48 ms in collectives; the time that both are in
    # them is alike, as it must be.
    own = [int(str(row["total_ns"])) for row in rows(*paths)]
    assert own[0] - late == pytest.approx(own[1] - early, rel=0.02)
