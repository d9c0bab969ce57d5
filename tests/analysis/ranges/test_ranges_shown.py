"""What is shown of ranges: notes, the tree for people, gaps in columns, one device or process."""

import csv
import io
import json
from pathlib import Path

import pytest

from analysis.ranges import __main__ as ranges
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.reports.range_rows import by_range, rows
from tests.made.tools import shared

ENGINE = 101


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Two steps after a warm-up."""
    made, launched = [], []
    for name, begin in (("warmup", 0), ("step", 100), ("step", 200)):
        made += [Range(name, begin, begin + 90), Range("forward", begin, begin + 30)]
        made.append(Range("softmax", begin + 10, begin + 20))
        launched.append(Kernel("sgemm", begin + 1000, begin + 1010, launch=begin + 5))
        launched.append(Kernel("softmax", begin + 1020, begin + 1022, launch=begin + 15))
    return make_report(tmp_path / "r.sqlite", ranges=made, kernels=launched)


def test_warm_up_that_is_left_out_is_called_so(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("warmup", "Warm-up", "warm*"):
        assert ranges.main([str(trained), "--exclude", name]) == 0
        said = capsys.readouterr().out
        assert "was warm-up: left out\n" in said
        assert "included" not in said


def test_a_column_with_gaps_keeps_its_whole_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = 2**53 + 1  # which no float64 is
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("counted", 0, 10, payload=large), Range("not", 20, 30)],
        kernels=[Kernel("k", 100, 101, launch=5)],
    )
    for shape in ([], ["--tree"], ["--instances"]):
        assert ranges.main([str(path), "--format", "csv", *shape]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split(",")[9] == str(large)
        assert lines[2].split(",")[9] == ""
    assert ranges.main([str(path), "--format", "json"]) == 0
    said = capsys.readouterr().out
    assert f'"flops": {large},' in said
    assert '"flops": null' in said


def test_what_other_threads_launched_in_a_phase_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("warmup", 0, 90),
            Range("backward", 40, 70),
            Range("step", 100, 190),
            Range("backward", 140, 170),
        ],
        kernels=[
            Kernel("a", 200, 203, launch=50, thread=ENGINE),
            Kernel("a", 300, 305, launch=150, thread=ENGINE, device=1),
            Kernel("b", 310, 311, launch=145),
        ],
    )

    def said(*options: str) -> str:
        assert ranges.main([str(path), *options]) == 0
        return capsys.readouterr().err

    assert "8 ns were launched by other threads during backward:" in said("--exclude", "none")
    assert "5 ns were launched by other threads" in said("--exclude", "warmup")
    assert "5 ns were launched by other threads" in said("--device", "1")
    assert "other threads" not in said("--exclude", "backward")


def test_ranges_of_a_report_without_work_have_the_time_they_were_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite", ranges=[Range("outer", 0, 30, payload=9), Range("inner", 5, 10)]
    )
    for shape, inner in (([], "inner"), (["--tree"], "  inner")):
        assert ranges.main([str(path), *shape]) == 0
        said = capsys.readouterr()
        assert "kernel" not in said.out
        assert f"\n{inner} " in said.out
        assert "no GPU work and no CPU operators" in said.err
    (outer, inner_row) = rows(path)
    assert (outer["wall_ns"], outer["flops"], outer["source"]) == (30, 9, "")
    assert inner_row["wall_ns"] == 5


def test_a_report_with_neither_work_nor_ranges_says_so(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite")
    with pytest.raises(ReportError, match="no CUDA kernels and no CPU operators"):
        rows(path)


def test_the_tree_for_people_has_the_steps_and_what_took_most(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ranges.main([str(trained), "--tree"]) == 0
    said = capsys.readouterr()
    assert "\nstep " in said.out
    assert "\nwarmup" not in said.out
    assert "was warm-up: left out\n" in said.out
    assert ranges.main([str(trained), "--tree", "--exclude", "none"]) == 0
    assert "\nwarmup" in capsys.readouterr().out
    assert ranges.main([str(trained), "--tree", "--format", "csv", "--exclude", "none"]) == 0
    assert "\nwarmup" in capsys.readouterr().out
    assert ranges.main([str(trained), "--tree", "--depth", "2", "--top", "1"]) == 0
    said = capsys.readouterr()
    assert "forward" not in said.out
    assert "1 place lies deeper than --depth" in said.err
    assert "1 more place in the tree, with 24 ns of kernel time at most; --top 2 shows" in said.err


def test_a_tree_cut_to_what_took_most_keeps_what_is_around_it(tmp_path: Path) -> None:
    """A range that kept the host busy counts as well."""
    idle = [Range(f"small{place}", place, place + 1) for place in range(30)]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            *idle,
            Range("loop", 100, 300),
            Range("a", 110, 150),
            Range("b", 120, 140),
            Range("wait", 160, 290),
        ],
        kernels=[Kernel("k", 1000, 1900, launch=125), Kernel("s", 2000, 2001, launch=5)],
    )
    cut = rows(path, tree=True, most=4)
    assert [(row["depth"], row["range"]) for row in cut] == [
        *((0, "loop"), (1, "a"), (2, "b"), (1, "wait")),
    ]
    assert next(row["path"] for row in rows(path, tree=True, depth=1)) == "loop"


def test_places_are_sorted_by_the_time_that_is_shown(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("early", 0, 90),
            *(Range("short", 10, 20), Range("long", 30, 40)),
            Range("late", 100, 200),
            *(Range("host only", 110, 115), Range("host longer", 120, 140)),
        ],
        kernels=[
            Kernel("k", 1000, 1005, launch=11),
            Kernel("k", 1010, 1030, launch=31),
            Kernel("k", 1040, 1140, launch=150),
        ],
    )
    assert [row["path"] for row in rows(path, tree=True)] == [
        *("late", "late/host longer", "late/host only"),
        *("early", "early/long", "early/short"),
    ]


def test_only_people_see_indentation(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("json", "csv"):
        assert ranges.main([str(trained), "--tree", "--format", form]) == 0
        said = capsys.readouterr().out
        table = json.loads(said) if form == "json" else list(csv.DictReader(io.StringIO(said)))
        assert [(int(row["depth"]), row["range"], row["path"]) for row in table] == [
            *((0, "step", "step"), (1, "forward", "step/forward")),
            (2, "softmax", "step/forward/softmax"),
        ]
    assert ranges.main([str(trained), "--tree", "--format", "markdown"]) == 0
    assert "|   forward |" in capsys.readouterr().out


def test_at_80_columns_lesser_columns_go_before_a_name_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a_name_of_thirty_six_letters_in_all_"
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 900_000_000), Range(name, 10, 800_000_000, payload=10**10)],
        kernels=[Kernel("k", 10**9, 2 * 10**9, launch=20)],
    )
    monkeypatch.setenv("COLUMNS", "80")
    for shape in (["--tree"], [], ["--instances"]):
        assert ranges.main([str(path), *shape]) == 0
        said = capsys.readouterr()
        assert f"{name} " in said.out
        assert max(map(len, said.out.splitlines())) <= 80
        assert "FLOPs" in said.out
        assert "kernel" in said.out
        for word in ("wall", "self", "gpu ops"):
            assert word in said.err  # which are not shown


def test_depth_goes_with_the_tree(trained: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        ranges.main([str(trained), "--depth", "2"])
    assert stop.value.code == 2


def test_ranges_of_one_device_and_of_one_process(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 10),
            Range("forward", 0, 20, process=200),
            Range("load", 30, 40, process=300),
        ],
        kernels=[
            Kernel("a", 50, 51, launch=5),
            Kernel("b", 51, 53, launch=5, device=1, process=200),
            Kernel("c", 53, 57, launch=6, device=2, process=200),
        ],
    )
    assert by_range(path, "kernel_ns") == {"forward": 7, "load": 0}
    assert by_range(path, "kernel_ns", device=0) == {"forward": 1}
    assert by_range(path, "kernel_ns", device=1) == {"forward": 2}
    assert by_range(path, "kernel_ns", process=200) == {"forward": 6}
    assert by_range(path, "wall_ns", device=1) == {"forward": 20}
    assert by_range(path, "wall_ns", process=300) == {"load": 10}
    with pytest.raises(ReportError, match="no process 7"):
        rows(path, process=7)


@pytest.mark.parametrize("name", ["fsdp-2xh100-after", "sliced-2xh100"])
def test_the_ranges_of_two_gpus_add_up(name: str) -> None:
    both, *each = (
        by_range(shared.report(name), "kernel_ns", device=device) for device in (None, 0, 1)
    )
    for label, time in both.items():
        assert sum(one.get(label, 0) for one in each) == time
