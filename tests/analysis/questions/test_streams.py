"""Which streams and devices ran at the same time: by eye, by every instant, and by SQL."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report, streams
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

Pair = tuple[int, int, int, int, int, int, int]


def pairs(path: Path, **selected: object) -> list[Pair]:
    """Return the seven columns of every pair."""
    with Report(path) as report:
        table = streams.streams(report, **selected)  # type: ignore[arg-type]
    return [tuple(row.values())[:7] for row in table.rows()]  # type: ignore[misc]


def test_the_whole_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 10),
            Kernel("a", 8, 20),
            Kernel("b", 5, 30, stream=9),
            Kernel("c", 18, 25, device=1),
        ],
    )
    assert streams.main([str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == (
        "device_a,stream_a,device_b,stream_b,busy_a_ns,busy_b_ns,overlap_ns,process_a,process_b\n"
        "0,7,0,9,20,25,15,100,100\n"
        "0,9,1,7,25,7,7,100,100\n"
        "0,7,1,7,20,7,2,100,100\n"
    )
    assert streams.main([str(path)]) == 0
    said = capsys.readouterr().out
    assert "GPU 0: 2 streams, busy 30 ns, on two or more at once 15 ns (50.0 %)\n" in said
    assert "GPU 1: 1 stream, busy 7 ns\n" in said
    assert "process" not in said


def test_a_stream_of_another_process_is_another(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 10), Kernel("a", 5, 15, process=200)]
    )
    assert pairs(path) == [(0, 7, 0, 7, 10, 10, 5)]
    assert pairs(path, process=200) == []


def test_warm_up_counts_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            *(Kernel("a", 100, 110, launch=5, stream=stream) for stream in (1, 2)),
            Kernel("a", 200, 230, launch=25, stream=1),
            Kernel("a", 220, 240, launch=26, stream=2),
        ],
        ranges=[Range("warmup", 0, 10), Range("step", 20, 40)],
    )
    assert pairs(path) == pairs(path, steps=(0, 1)) == [(0, 1, 0, 2, 30, 20, 10)]
    assert pairs(path, exclude=("none",)) == [(0, 1, 0, 2, 40, 30, 20)]


def test_one_stream_has_no_pair_and_a_cpu_none_at_all(tmp_path: Path) -> None:
    one = make_report(tmp_path / "one.sqlite", kernels=[Kernel("a", 0, 10)])
    assert pairs(one) == []
    cpu = make_report(tmp_path / "cpu.sqlite", operators=[Operator("aten::mm", 0, 9, 9)])
    with pytest.raises(ReportError, match=r"so no streams \(a CPU run\)"):
        pairs(cpu)


def test_where_nothing_ran_at_the_same_time_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = Kernel("b", 20, 30, stream=9)
    for kernels, word in (
        ([Kernel("a", 0, 10)], "one stream did everything (GPU 0): there is no pair"),
        ([Kernel("a", 0, 10), apart], "nothing ran at the same time on any two of 2 streams"),
    ):
        path = make_report(tmp_path / f"{len(kernels)}.sqlite", kernels=kernels)
        assert streams.main([str(path)]) == 0
        assert capsys.readouterr().err == f"note: {word}\n"


some_kernels = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(0, 3), st.integers(0, 1)),
    min_size=1,
    max_size=12,
)


@given(made=some_kernels)
def test_times_are_those_of_counting_every_instant(
    made: list[tuple[int, int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = make_report(
        tmp_path_factory.mktemp("random") / "r.sqlite",
        kernels=[
            Kernel("k", start, start + long, stream=stream, device=device)
            for start, long, stream, device in made
        ],
    )
    busy: dict[tuple[int, int], set[int]] = {}
    for start, long, stream, device in made:
        busy.setdefault((device, stream), set()).update(range(start, start + long))
    found = {row[:4]: row[4:] for row in pairs(path)}
    assert found == {
        (*one, *other): (len(busy[one]), len(busy[other]), len(busy[one] & busy[other]))
        for one in busy
        for other in busy
        if one < other
    }
    with Report(path) as report:
        table = streams.streams(report)
    instants = [instant for (device, _), each in busy.items() if device == 0 for instant in each]
    twice = int((np.bincount(instants, minlength=1) > 1).sum()) if instants else 0
    if len([key for key in busy if key[0] == 0]) > 1:
        assert f"on two or more at once {twice} ns" in table.heading


@pytest.mark.parametrize("name", ["fsdp-2xh100-before", "fsdp-2xh100-after"])
def test_streams_of_a_real_report_overlap_as_a_sweep_of_its_rows_says(name: str) -> None:
    path = shared.report(name)
    found = {row[:4]: row[4:] for row in pairs(path)}
    with Report(path) as report:
        rows = report.columns(
            "SELECT deviceId AS device, streamId AS stream, start, end FROM "
            "(SELECT deviceId, streamId, start, end FROM CUPTI_ACTIVITY_KIND_KERNEL UNION ALL "
            "SELECT deviceId, streamId, start, end FROM CUPTI_ACTIVITY_KIND_MEMCPY UNION ALL "
            "SELECT deviceId, streamId, start, end FROM CUPTI_ACTIVITY_KIND_MEMSET)"
        )
    columns = (rows[name].tolist() for name in ("device", "stream", "start", "end"))
    spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for device, stream, start, end in sorted(zip(*columns, strict=True), key=lambda row: row[2]):
        mine = spans.setdefault((device, stream), [])
        if mine and start <= mine[-1][1]:
            mine[-1] = (mine[-1][0], max(mine[-1][1], end))
        else:
            mine.append((start, end))
    assert len(found) == len(spans) * (len(spans) - 1) // 2
    for (device_a, stream_a, device_b, stream_b), times in found.items():
        one, other = spans[device_a, stream_a], spans[device_b, stream_b]
        both, place = 0, 0
        for start, end in one:
            while place < len(other) and other[place][1] <= start:
                place += 1
            at = place
            while at < len(other) and other[at][0] < end:
                both += min(end, other[at][1]) - max(start, other[at][0])
                at += 1
        assert times == (sum(e - s for s, e in one), sum(e - s for s, e in other), both)
