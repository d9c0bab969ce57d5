"""All-reduces timed between ranks, and what is said of those that cannot be."""

import argparse
import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from profiling.common import cli
from profiling.common.errors import LaunchError
from profiling.parallel import communication
from profiling.parallel.communication import size
from profiling.processes import ranks
from profiling.processes.running import NotInTime

COLUMNS = [
    "backend",
    "ranks",
    "bytes",
    "steps",
    "median_ns",
    "mean_ns",
    "std_ns",
    "min_ns",
    "max_ns",
    "slowest_ns",
    "slowest_rank",
    "algorithm_bytes_per_s",
    "bus_bytes_per_s",
    "status",
]


def run(*arguments: str) -> int:
    try:
        return cli.run(lambda: communication.main(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)


@pytest.mark.slow
def test_it_measures_what_fits_and_says_why_the_rest_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.json"
    sizes = ("--sizes", "40KB,900000GB,1MiB", "--ranks", "2", "--steps", "3", "--warmup", "1")
    assert run(*sizes, "--format", "csv", "--json", str(kept)) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split(",") == COLUMNS
    found = rows(printed.out)
    assert [(row["backend"], row["bytes"], row["steps"]) for row in found] == [
        ("gloo", "40000", "3"),
        ("gloo", "900000000000000", "0"),
        ("gloo", "1048576", "3"),
        *(("nccl", row["bytes"], "0") for row in found[:3]),
    ]
    statuses = [row["status"] for row in found]
    assert statuses[0] == statuses[2] == "ok"
    assert statuses[1].startswith("needs 1,637 TiB, ")  # 2 ranks, 900e12 / 2^40 each
    assert statuses[3:] == 3 * ["needs 2 GPUs, this machine has 0"]
    assert found[1]["median_ns"] == ""
    assert "note: gloo, 2 ranks, 900.0 TB: needs 1,637 TiB" in printed.err
    raw = json.loads(kept.read_text())
    assert raw["kind"] == "communication"
    assert raw["facts"]["device"] == "cpu"
    check_figures(found[0], raw["rows"][0])


def check_figures(row: dict[str, str], raw: dict[str, Any]) -> None:
    """Compare the columns with the times they are of: 3 steps of 2 ranks."""
    times = sorted(time for rank in raw["times_ns"] for time in rank)
    assert [len(rank) for rank in raw["times_ns"]] == [3, 3]
    assert float(row["min_ns"]) == times[0] > 0
    assert float(row["max_ns"]) == times[5]
    median_ns = (times[2] + times[3]) / 2
    assert float(row["median_ns"]) == median_ns
    slowest = max(sorted(rank)[1] for rank in raw["times_ns"])
    assert float(row["slowest_ns"]) == slowest
    assert sorted(raw["times_ns"][int(row["slowest_rank"])])[1] == slowest
    assert math.isclose(float(row["algorithm_bytes_per_s"]), 40000 / median_ns * 1e9)
    assert row["bus_bytes_per_s"] == row["algorithm_bytes_per_s"]  # 2(N-1)/N is 1 for two


def test_the_bus_bandwidth_counts_what_each_link_carries() -> None:
    row = communication.AllReduceRow("gloo", 4, 6000, "ok", [[2000, 2000]] * 4)
    figures = row.figures()
    assert figures["algorithm_bytes_per_s"] == pytest.approx(3e9)
    assert figures["bus_bytes_per_s"] == pytest.approx(3e9 * 6 / 4)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("4", 4), ("8B", 8), ("1kb", 1000), ("100MB", 10**8), ("1GB", 10**9), ("1GiB", 2**30)],
)
def test_sizes_are_read_with_their_units(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "0", "3", "-4", "1.5MB", "1TB", "MB", "4 MB", "1e6"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a size such as 1MB, a multiple"):
        size(text)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--backends", "mpi"], 2, "'mpi' is none of: gloo, nccl"),
        (["--ranks", "0"], 2, "must be a positive whole number"),
        (["--timeout", "0"], 2, "must be a positive number"),
        (["--sizes", "1MB,huge"], 2, "must be a size such as 1MB"),
        (["--backends", "nccl"], 1, "nothing could be measured: needs 2 GPUs, this machine has 0"),
        (["--output", "/nowhere/x.csv"], 1, "its folder does not exist"),
        (["--json", "/"], 1, "a directory; name a file"),
        (["--format", "sqlite"], 2, "invalid choice: 'sqlite'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert said in printed.err


class Ranks:
    """Stands in for two ranks: each size is told of until one fails."""

    def __init__(self, failing: dict[int, BaseException]) -> None:
        self.failing = failing
        self.starts: list[list[int]] = []

    def run(self, _: str, count: int, plan: dict[str, Any], **options: Any) -> list[Any]:
        self.starts.append(plan["sizes"])
        for each in plan["sizes"]:
            for rank in range(count):
                options["on_told"](rank, {"bytes": each, "started": True})
            if each in self.failing:
                options["on_told"](0, {"bytes": each, "times_ns": [1, 1]})
                raise self.failing[each]
            for rank in range(count):
                options["on_told"](rank, {"bytes": each, "times_ns": [1000, 3000]})
        return []


@pytest.fixture
def three() -> list[str]:
    return ["--sizes", "4,8,12", "--ranks", "2", "--backends", "gloo", "--format", "csv"]


def test_after_a_size_that_kills_its_ranks_the_others_go_on(
    three: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Ranks({8: LaunchError("rank 1 was killed")})
    monkeypatch.setattr(ranks, "run", fake.run)
    assert run(*three) == 0
    printed = capsys.readouterr()
    found = rows(printed.out)
    assert [row["status"] for row in found] == ["ok", "rank 1 was killed", "ok"]
    assert [row["median_ns"] for row in found] == ["2000.0", "", "2000.0"]
    assert fake.starts == [[4, 8, 12], [12]]
    assert "note: gloo, 2 ranks, 8 B: rank 1 was killed" in printed.err


def test_when_the_time_is_up_later_sizes_are_not_tried(
    three: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Ranks({8: NotInTime("not done after 1 s")})
    monkeypatch.setattr(ranks, "run", fake.run)
    assert run(*three) == 0
    statuses = [row["status"] for row in rows(capsys.readouterr().out)]
    assert statuses == ["ok", "not done after 1 s", "not done after 1 s"]
    assert len(fake.starts) == 1


def test_an_interruption_loses_no_row(
    three: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "run", Ranks({8: KeyboardInterrupt()}).run)
    assert run(*three) == 130
    printed = capsys.readouterr()
    statuses = [row["status"] for row in rows(printed.out)]
    assert statuses == ["ok", "not measured", "not measured"]
    assert printed.err.splitlines()[-1] == "error: interrupted; 1 of 3 rows are measured"


def test_ranks_without_a_core_each_are_noted(
    three: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "run", Ranks({}).run)
    monkeypatch.setattr(ranks, "cores", lambda: 1)
    assert run(*three) == 0
    assert "note: 2 gloo ranks shared 1 cores" in capsys.readouterr().err
