"""The phases on the page: how long each was open, and what it launched."""

from pathlib import Path

from analysis import phases
from analysis.attribution import Attribution
from analysis.report import Report
from tests.build_report import Kernel, Range, make_report

ENGINE = 101


def overview(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return instances, host time and kernel time of each phase."""
    with Report(path) as report:
        table = phases.overview(Attribution.of(report))
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
