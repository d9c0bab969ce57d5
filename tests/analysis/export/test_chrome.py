"""Chrome's JSON holds every slice; viewers drop what overlaps, and that is said."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.export.test_perfetto import exported, times
from tests.made.reports.build_report import Kernel, Memory, Range, make_report
from tests.made.tools.shared import report, trace


def events(content: bytes, phase: str) -> list[dict[str, Any]]:
    """Return the events of a phase."""
    return [each for each in json.loads(content)["traceEvents"] if each["ph"] == phase]


def ns(microseconds: float) -> int:
    return round(microseconds * 1000)


def test_slices_lie_on_threads_and_streams_and_arrows_lead_from_call_to_kernel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel('a "quoted"\nname', 1020, 2040, launch=2), Kernel("b", 2030, 2050)],
        memory=[Memory(10, 15, 4096, correlation=9)],
        ranges=[Range("forward", 1, 9, payload=12), Range("begun", 3, 30, kind=60)],
        threads={100: "main"},
    )
    content = exported(path, output=tmp_path / "o.json", options=("--format", "chrome"))
    gpu = 1 << 24
    assert [
        (each["name"], each["cat"], each["pid"], each["tid"], each["ts"], each["dur"], each["args"])
        for each in events(content, "X")
    ] == [
        ('a "quoted"\nname', "kernel", gpu, 1, 1.02, 1.02, {"correlation": 1}),
        ("b", "kernel", gpu, 1, 2.03, 0.02, {"correlation": 2}),
        ("memcpy Host-to-Device", "copy", gpu, 0, 0.01, 0.005, {"bytes": 4096, "correlation": 9}),
        ("forward", "ranges", 100, 100, 0.001, 0.008, {"payload": 12}),
        ("cudaLaunchKernel_v7000", "CUDA calls", 100, 100, 0.002, 0.001, {"correlation": 1}),
    ]
    begun, ended = (events(content, phase)[0] for phase in "be")
    assert (begun["name"], begun["ts"], ended["ts"]) == ("begun", 0.003, 0.03)
    assert begun["id"] == ended["id"]
    [start], [end] = events(content, "s"), events(content, "f")
    assert (start["ts"], start["pid"], start["id"]) == (0.002, 100, end["id"])
    assert (end["ts"], end["pid"], end["tid"]) == (1.02, gpu, 1)
    named = {
        (each["name"], each["pid"], each["tid"]): each["args"] for each in events(content, "M")
    }
    assert named["process_name", gpu, 0] == {"name": "GPU 0"}
    assert named["thread_name", 100, 100] == {"name": "main"}
    said = capsys.readouterr().err
    assert "viewers drop slices that overlap on one track, of which this trace has 1;" in said


def test_every_row_of_a_real_report_is_there_to_the_nanosecond(tmp_path: Path) -> None:
    path = report("train-step-small-a100")
    content = exported(path, output=tmp_path / "o", options=("--format", "chrome"))
    found = Counter(
        (each["cat"], ns(each["ts"]), ns(each["ts"]) + ns(each["dur"]))
        for each in events(content, "X")
    )
    tables = {
        "kernel": "CUPTI_ACTIVITY_KIND_KERNEL",
        "copy": "CUPTI_ACTIVITY_KIND_MEMCPY",
        "set": "CUPTI_ACTIVITY_KIND_MEMSET",
        "CUDA calls": "CUPTI_ACTIVITY_KIND_RUNTIME",
        "ranges": "NVTX_EVENTS",
    }
    expected = Counter(
        {
            (kind, *row): count
            for kind, table in tables.items()
            for row, count in times(
                path, table, "WHERE eventType = 59" if kind == "ranges" else ""
            ).items()
        }
    )
    assert found == expected


def test_ranks_of_one_process_id_stay_apart_and_are_on_one_clock(tmp_path: Path) -> None:
    paths = [trace(f"gpt-8xh100-rank{rank}") for rank in range(2)]
    content = exported(*paths, output=tmp_path / "o", options=("--format", "chrome"))
    ends: dict[int, list[int]] = {}
    for each in events(content, "X"):
        if each["cat"] == "kernel" and each["name"].startswith("nccl"):
            ends.setdefault(each["pid"], []).append(ns(each["ts"]) + ns(each["dur"]))
    first, second = (sorted(mine) for mine in ends.values())
    apart = sorted(abs(one - other) for one, other in zip(first, second, strict=True))
    assert apart[len(apart) // 2] < 10_000
    names = {
        each["args"]["name"] for each in events(content, "M") if each["name"] == "process_name"
    }
    assert {"rank 0 GPU 0", "rank 1 GPU 1"} <= names
