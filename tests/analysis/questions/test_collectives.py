"""Collectives: sizes, bandwidth, what is transfer, who came last and where that rank was."""

import csv
import json
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from analysis import Report, collectives
from analysis.knowledge.nvtx_payloads import STATIC, Entry, Schema
from analysis.source.trace.convert import convert
from analysis.trim import __main__ as trim
from tests.made.reports.build_payloads import add_payloads, framed
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared as shared_files

REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL"
GATHER = "ncclDevKernel_AllGather_RING_LL"
SCATTER = "ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL"
COLUMNS = (
    "kind,bytes,dtype,ranks,calls,mean_ns,algorithm_bytes_per_s,bus_bytes_per_s,transfer_ns,"
    "waiting_ns,shared_calls,transfer_bus_bytes_per_s,last_rank,last_calls,last_range"
)
Told = dict[str, object]


def rows(*paths: Path) -> list[dict[str, int | float | str]]:
    """Return the rows of the answer about some reports."""
    with ExitStack() as stack:
        reports = [stack.enter_context(Report(path)) for path in paths]
        return collectives.collectives(*reports).rows()


def asked(capsys: pytest.CaptureFixture[str], *paths: Path) -> tuple[list[dict[str, str]], str]:
    """Return the rows of the command's csv, and what stands on stderr."""
    assert collectives.main([*map(str, paths), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    return list(csv.DictReader(out.splitlines())), err


def told(name: str, before: int, after: int, *, size: int = 4, group: str = "0") -> Told:
    """Return what PyTorch tells of a message."""
    return {
        "Collective name": name,
        "In msg nelems": before,
        "Out msg nelems": after,
        "Group size": size,
        "dtype": "BFloat16",
        "Process Group Name": group,
        "Process Group Ranks": str(list(range(size))),
    }


def trace(path: Path, kernels: Iterable[tuple[str, int, int, Told]], rank: int = 0) -> Path:
    """Write and convert a PyTorch trace of kernels: name, start and end in µs, what is told."""
    events = [
        {
            "ph": "X",
            "cat": "kernel",
            "name": name,
            "pid": 0,
            "tid": 7,
            "ts": start,
            "dur": end - start,
            "args": {"device": 0, "stream": 7, "correlation": turn, **args},
        }
        for turn, (name, start, end, args) in enumerate(kernels, start=1)
    ]
    run = {"distributedInfo": {"rank": rank, "world_size": 4}, "traceEvents": events}
    path.write_text(json.dumps(run))
    convert(path, path.with_suffix(".sqlite"))
    return path.with_suffix(".sqlite")


@pytest.mark.parametrize(
    ("kernel", "name", "before", "after", "bytes_", "factor"),
    [
        (REDUCE, "allreduce", 1000, 1000, 2000, 1.5),
        (GATHER, "_allgather_base", 250, 1000, 2000, 0.75),
        (SCATTER, "_reduce_scatter_base", 1000, 250, 2000, 0.75),
        ("ncclDevKernel_SendRecv", "all_to_allv", 1000, 1000, 2000, 0.75),
        ("ncclDevKernel_Broadcast_RING_LL", "broadcast", 1000, 1000, 2000, 1),
        ("ncclDevKernel_SendRecv", "send", 1000, 1000, 2000, 1),
    ],
)
def test_the_size_is_of_the_whole_array_and_the_bus_carries_a_part_of_it(
    tmp_path: Path, kernel: str, name: str, before: int, after: int, bytes_: int, factor: float
) -> None:
    path = trace(tmp_path / "t.json", [(kernel, 0, 10, told(name, before, after))])
    (row,) = rows(path)
    assert (row["bytes"], row["dtype"], row["ranks"]) == (bytes_, "bfloat16", 4)
    assert row["algorithm_bytes_per_s"] == pytest.approx(bytes_ / 10e-6)
    assert row["bus_bytes_per_s"] == pytest.approx(bytes_ / 10e-6 * factor)


def test_what_was_not_recorded_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel(REDUCE, 0, 100)])
    assert collectives.main([str(path), "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{COLUMNS}\nall_reduce,,float32,,1,100.0,,,,,0,,,,\n"
    assert "the size of 1 of 1 collective (100.0 %) was not recorded" in err
    assert "of one rank only: how long collectives waited for others is not known" in err


def test_waiting_is_until_the_last_began_and_the_rest_is_transfer(tmp_path: Path) -> None:
    times = [(100, 200, 180, 200), (400, 460, 390, 460)]
    paths = [
        make_report(
            tmp_path / f"{rank}.sqlite",
            kernels=[Kernel(REDUCE, *each[2 * rank : 2 * rank + 2]) for each in times],
            run={"rank": str(rank)},
        )
        for rank in range(2)
    ]
    (row,) = rows(*paths)
    assert (row["calls"], row["shared_calls"]) == (4, 4)
    # Rank 0 waits 80 for rank 1, then rank 1 waits 10 for rank 0; all spend 20 + 20 + 60 + 60.
    assert (row["waiting_ns"], row["transfer_ns"]) == (90, 160)
    assert float(row["mean_ns"]) * 4 == 90 + 160


def test_who_came_last_was_in_the_range_that_took_longer_than_in_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def of_rank(rank: int, load: int) -> Path:
        start = 50 + load
        return make_report(
            tmp_path / f"{rank}.sqlite",
            kernels=[Kernel(REDUCE, start, 130, launch=start - 2)],
            ranges=[
                Range("step", 0, 140),
                Range("data", 10, 10 + load),
                Range("forward", 10 + load, 40 + load),
                Range("nccl:all_reduce", 45 + load, 60 + load),
            ],
            run={"rank": str(rank)},
        )

    (row,), _ = asked(capsys, of_rank(0, 5), of_rank(1, 50), of_rank(2, 6))
    assert (row["last_rank"], row["last_calls"], row["last_range"]) == ("1", "1", "data")
    assert row["waiting_ns"] == "89"


def test_of_ranks_with_several_devices_each_is_called_by_rank_and_device(tmp_path: Path) -> None:
    for rank in range(2):
        kernels = [
            Kernel(REDUCE, 50 if (rank, device) == (1, 1) else 0, 100, device, launch=0)
            for device in range(2)
        ]
        make_report(tmp_path / f"rank{rank}.sqlite", kernels=kernels)
    (row,) = rows(tmp_path / "rank0.sqlite", tmp_path / "rank1.sqlite")
    assert row["last_rank"] == "1:1"
    (row,) = rows(tmp_path / "rank1.sqlite")
    assert row["last_rank"] == "device 1"


def test_groups_of_one_size_and_other_ranks_are_not_paired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = told("allreduce", 9, 9, group="0")
    own = [
        {**told("allreduce", 9, 9, size=2, group="1"), "Process Group Ranks": f"[{at}, {at + 2}]"}
        for at in (0, 1)
    ]
    paths = [
        trace(
            tmp_path / f"{rank}.json",
            [(REDUCE, 0, 9, own[rank]), (REDUCE, 10 + rank, 20, both)],
            rank,
        )
        for rank in (0, 1)
    ]
    found, err = asked(capsys, *paths)
    assert [(row["ranks"], row["shared_calls"], row["waiting_ns"]) for row in found] == [
        ("4", "2", "1000"),
        ("2", "0", ""),
    ]
    assert "2 of 4 collectives (50.0 %) are not shared by all ranks" in err


def test_of_two_groups_of_one_size_each_is_matched_in_itself(tmp_path: Path) -> None:
    def of_rank(rank: int) -> Path:
        group = [rank // 2 * 2, rank // 2 * 2 + 1]
        message = {**told("allreduce", 9, 9, size=2), "Process Group Ranks": str(group)}
        start = {0: 0, 1: 3, 2: 0, 3: 7}[rank]
        return trace(tmp_path / f"{rank}.json", [(REDUCE, start, 20, message)], rank)

    (row,) = rows(*map(of_rank, range(4)))
    assert (row["ranks"], row["calls"], row["shared_calls"]) == (2, 4, 4)
    assert row["waiting_ns"] == 3000 + 7000


def test_numbers_match_collectives_of_which_one_rank_recorded_more(tmp_path: Path) -> None:
    def of_rank(rank: int, numbers: Iterable[int]) -> Path:
        kernels = [
            (REDUCE, 100 * at, 100 * at + 50 - 5 * rank, {**told("allreduce", 9, 9), "Seq": at})
            for at in numbers
        ]
        return trace(tmp_path / f"{rank}.json", kernels, rank)

    (row,) = rows(of_rank(0, range(1, 6)), of_rank(1, range(3, 8)))
    assert (row["calls"], row["shared_calls"]) == (10, 6)


def test_where_clocks_contradict_one_another_waiting_is_what_is_longer_than_the_shortest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = [(0, 1000, 9000), (0, 5000, 6000)]
    paths = [
        make_report(
            tmp_path / f"{rank}.sqlite",
            kernels=[Kernel(REDUCE, at, at + 40 + 20 * rank) for at in starts[rank]],
            run={"rank": str(rank)},
        )
        for rank in (0, 1)
    ]
    (row,), err = asked(capsys, *paths)
    assert (row["transfer_ns"], row["waiting_ns"], row["last_rank"]) == ("240", "60", "0")
    assert "the clocks of the reports cannot be brought together" in err


def nccl(path: Path, kernels: list[Kernel], ranges: list[Range]) -> Path:
    """Write a report with NCCL's ranges, whose payloads tell of a communicator of 4."""
    make_report(path, kernels=kernels, ranges=ranges)
    sized = Schema(
        STATIC, (Entry("NCCL communicator ID", 18), Entry("Message size [bytes]", 75 - 1))
    )
    made = Schema(STATIC, (Entry("NCCL communicator ID", 18), Entry("No. of ranks", 5)))
    payloads = {
        "ncclCommInitRank": framed(2, (77).to_bytes(8, "little") + (4).to_bytes(4, "little")),
        "ncclAllGather": framed(1, (77).to_bytes(8, "little") + (500).to_bytes(8, "little")),
        "ncclAllReduce": framed(1, (78).to_bytes(8, "little") + (600).to_bytes(8, "little")),
    }
    return add_payloads(path, [(1, sized), (2, made)], payloads)


def test_nccls_payloads_tell_sizes_also_of_what_is_launched_at_the_end_of_a_group(
    tmp_path: Path,
) -> None:
    path = nccl(
        tmp_path / "r.sqlite",
        kernels=[Kernel(GATHER, 20, 30, launch=7), Kernel(REDUCE, 50, 90, launch=42)],
        ranges=[
            Range("ncclCommInitRank", 0, 2, domain="NCCL"),
            Range("ncclAllGather", 5, 10, domain="NCCL"),
            Range("ncclAllReduce", 35, 38, domain="NCCL"),
            Range("ncclGroupEnd", 40, 45, domain="NCCL"),
        ],
    )
    reduce, gather = rows(path)
    assert (gather["kind"], gather["bytes"], gather["ranks"]) == ("all_gather", 2000, 4)
    assert (reduce["bytes"], reduce["dtype"]) == (600, "float32")
    assert reduce["ranks"] != reduce["ranks"]  # no call that made its communicator was recorded


def test_of_several_ranges_for_one_kernel_the_size_is_not_known(tmp_path: Path) -> None:
    path = nccl(
        tmp_path / "r.sqlite",
        kernels=[Kernel(REDUCE, 50, 90, launch=42)],
        ranges=[
            Range("ncclAllReduce", 31, 32, domain="NCCL"),
            Range("ncclAllReduce", 35, 38, domain="NCCL"),
        ],
    )
    (row,) = rows(path)
    assert row["bytes"] != row["bytes"]


@pytest.mark.slow
def test_two_real_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [shared_files.trace(f"gpt-8xh100-rank{rank}") for rank in (0, 1)]
    found, err = asked(capsys, *paths)
    largest = found[0]
    assert (largest["kind"], largest["bytes"], largest["dtype"]) == (
        "all_gather",
        "150994944",
        "float32",
    )
    assert (largest["ranks"], largest["calls"]) == ("8", "16")
    assert sum(int(row["calls"]) for row in found) == 152
    assert "the size of 40 of 152 collectives (26.3 %) was not recorded" in err
    assert "2 of 8 ranks are given: waiting for the others counts as transfer" in err
    waited = sum(int(row["waiting_ns"]) for row in found)
    assert waited == pytest.approx(34.9e6, rel=0.01)
    assert collectives.main([*map(str, paths)]) == 0
    assert "rank 1 came last in 37 of 76 shared collectives" in capsys.readouterr().out


def test_the_trace_keeps_what_it_tells_of_messages(tmp_path: Path) -> None:
    path = trace(tmp_path / "t.json", [(GATHER, 3, 10, told("_allgather_base", 250, 1000))])
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            "SELECT c.start_ns, c.end_ns, c.device, c.correlation, n.value, in_elements, "
            "out_elements, t.value, group_size FROM TOOLKIT_COLLECTIVE c "
            "JOIN StringIds n ON n.id = name_id JOIN StringIds t ON t.id = type_id"
        ).fetchall()
    assert row == [(0, 7000, 0, 1, "_allgather_base", 250, 1000, "BFloat16", 4)]


@pytest.mark.slow
def test_a_trimmed_report_keeps_what_is_told_of_messages(tmp_path: Path) -> None:
    cut = tmp_path / "cut.sqlite"
    whole = shared_files.trace("gpt-8xh100-rank0")
    assert trim.main([str(whole), "--output", str(cut), "--steps", "1:2"]) == 0
    assert {row["dtype"] for row in rows(cut)} == {"bfloat16", "float32"}
    assert {row["ranks"] for row in rows(cut)} == {8}
