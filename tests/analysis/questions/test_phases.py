"""The phases on the page: how long each was open, what it launched; and those of one GPU."""

import json
from pathlib import Path

import pytest

from analysis import Report, phases
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared

ENGINE = 101


def overview(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return instances, host time and kernel time of each phase."""
    with Report(path) as report:
        table = phases.overview(Selected.of(report, Selection()))
    assert table is not None
    return {
        str(row["phase"]): (int(row["instances"]), int(row["wall_ns"]), int(row["kernel_ns"]))
        for row in table.rows()
    }


def test_a_phase_inside_its_like_is_open_once(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward pass", 0, 30),
            Range("Forward", 5, 25),
            Range("backward", 30, 60),
            Range("backward", 32, 50, thread=ENGINE),
        ],
        kernels=[Kernel("a", 100, 101, launch=6), Kernel("b", 101, 103, launch=35, thread=ENGINE)],
    )
    assert overview(path) == {"forward": (1, 30, 1), "backward": (1, 30, 2)}


def test_phases_that_overlap_on_two_threads_share_their_time(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("backward", 0, 10), Range("backward", 6, 20, thread=ENGINE)],
        kernels=[Kernel("a", 100, 101, launch=6)],
    )
    assert overview(path) == {"backward": (2, 20, 1)}


def test_two_processes_have_each_their_own_time(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("forward", 0, 10), Range("forward", 0, 10, process=200)],
        kernels=[Kernel("a", 100, 101, launch=6)],
    )
    assert overview(path) == {"forward": (2, 20, 1)}


def test_what_no_step_launched_is_not_the_steps_other_work(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 10, 50), Range("forward", 10, 20), Range("ProfilerStep#2", 60, 70)],
        kernels=[
            Kernel("initialise", 100, 101, launch=2),
            Kernel("forward", 101, 103, launch=12),
            Kernel("clip", 103, 107, launch=30),
            Kernel("next step", 107, 115, launch=65),
            Kernel("save", 115, 131, launch=80),
            Kernel("no launch", 131, 163),
        ],
    )
    assert overview(path) == {
        "forward": (1, 10, 2),
        "other": (0, 0, 4 + 8 + 32),
        "outside steps": (0, 0, 1 + 16),
    }


def test_phases_of_one_device_and_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 9),
            Range("forward", 10, 20),
            Range("forward", 10, 20, process=200),
        ],
        kernels=[
            Kernel("w", 50, 60, launch=2),
            Kernel("a", 60, 61, launch=12),
            Kernel("b", 61, 63, launch=12, device=1, process=200),
        ],
    )

    def times(*options: str) -> list[int]:
        assert phases.main([str(path), "--format", "json", *options]) == 0
        rows = json.loads(capsys.readouterr().out)
        return [row["kernel_ns"] for row in rows if row["phase"] == "forward"]

    assert times() == [3]
    assert times("--device", "0") == times("--process", "100") == [1]
    assert times("--device", "1") == times("--process", "200") == [2]
    assert phases.main([str(path), "--device", "1"]) == 0
    assert "0 ns, 0.0 % of the work, was warm-up" in capsys.readouterr().out
    with pytest.raises(ReportError, match="no device 7; this report has: 0, 1"):
        phases.main([str(path), "--device", "7"])


@pytest.mark.parametrize("name", ["fsdp-2xh100-after", "sliced-2xh100"])
def test_the_phases_of_two_gpus_add_up(name: str) -> None:
    with Report(shared.report(name)) as report:
        both, *each = (
            {
                (row["phase"], row["category"]): (int(row["calls"]), int(row["kernel_ns"]))
                for row in phases.by_category(report, device=device).rows()
            }
            for device in (None, 0, 1)
        )
    for key, (calls, time) in both.items():
        parts = [one[key] for one in each if key in one]
        assert (sum(part[0] for part in parts), sum(part[1] for part in parts)) == (calls, time)
