"""That what is compared is all there is: ranges, and real reports beside NVIDIA's own figures."""

import csv
from pathlib import Path

import pytest

from tests.analysis.compare.test_compare import compared, of_kind
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared


def test_ranges_have_what_autograd_launched_for_them_and_count_once(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 100),
            Range("backward", 50, 90),
            Range("mm, seq = 1", 60, 70, thread=101),
            Range("mm, seq = 2", 61, 69, thread=101),
        ],
        kernels=[
            Kernel("a", 200, 207, launch=10),
            Kernel("b", 210, 250, launch=62, thread=101),
            Kernel("c", 260, 261, launch=80, thread=101),
        ],
    )
    rows = of_kind(compared(path, path), "range")
    fields = ("before_ns", "calls_before", "self_before_ns")
    assert {name: tuple(row[field] for field in fields) for name, row in rows.items()} == {
        "step": (48, 1, 7),
        "backward": (41, 1, 1),
        "mm": (40, 2, 40),
    }


def test_work_in_no_range_has_a_row(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("softmax", 0, 9)],
        kernels=[Kernel("a", 20, 25, launch=1), Kernel("b", 30, 37, launch=12)],
    )
    rows = of_kind(compared(path, path), "range")
    assert [(name, row["self_before_ns"]) for name, row in rows.items()] == [
        ("[no range]", 7),
        ("softmax", 5),
    ]


def nvidia(name: str) -> dict[str, tuple[int, int]]:
    """Return calls and time of each kernel, as NVIDIA's cuda_gpu_kern_sum says."""
    with shared.expected(name, "cuda_gpu_kern_sum").open() as stream:
        rows = list(csv.DictReader(stream))
    return {row["Name"]: (int(row["Instances"]), int(row["Total Time (ns)"])) for row in rows}


def test_a_real_pair_is_reconciled_row_by_row() -> None:
    names = "fsdp-2xh100-before", "fsdp-2xh100-after"
    table = compared(*(shared.report(name) for name in names))
    kernels = of_kind(table, "kernel")
    for name, side, calls in zip(names, ("before", "after"), (4010, 3587), strict=True):
        known = nvidia(name)
        assert {
            str(row[f"recorded_{side}"]): (row[f"calls_{side}"], row[f"{side}_ns"])
            for row in kernels.values()
            if row[f"calls_{side}"]
        } == known
        assert of_kind(table, "total")["kernel"][f"calls_{side}"] == calls
        for kind in ("category", "kernel", "range"):
            rows = of_kind(table, kind).values()
            assert sum(int(row[f"self_{side}_ns"]) for row in rows) == sum(
                time for _, time in known.values()
            )
    gone = [name for name, row in of_kind(table, "range").items() if row["status"] == "gone"]
    assert len(gone) == 12
    assert all(name.startswith("FSDP::") for name in gone)


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_a_real_report_compared_with_itself_shows_no_difference(name: str) -> None:
    path = shared.report(name)
    table = compared(path, path)
    assert set(table.columns["status"]) <= {"same", "noise"}  # noise, where there are steps
    assert {row["delta_ns"] for row in table.rows()} == {0}
    kernel = of_kind(table, "total")["kernel"]
    for kind in ("category", "range", "kernel"):
        rows = of_kind(table, kind).values()
        if rows:
            assert sum(int(row["self_before_ns"]) for row in rows) == kernel["before_ns"]


def test_the_word_on_a_total_is_that_of_its_interval(tmp_path: Path) -> None:
    # Of two steps each; judged together with busy and kernel, which do not differ, wall is chance.
    walls = (1000, 1010), (900, 920)
    one, two = (
        make_report(
            tmp_path / f"{place}.sqlite",
            ranges=[Range("step", at * 2000, at * 2000 + wall) for at, wall in enumerate(pair)],
            kernels=[
                Kernel("gemm", at * 2000 + 9, at * 2000 + 9 + time, launch=at * 2000 + 1)
                for at, time in enumerate((100, 140))
            ],
        )
        for place, pair in enumerate(walls)
    )
    for pair, word in (((one, two), "faster"), ((two, one), "slower")):
        assert of_kind(compared(*pair), "total")["wall"]["status"] == word
        for row in of_kind(compared(*pair), "total").values():
            outside = not float(row["ratio_low"]) <= 1 <= float(row["ratio_high"])
            assert (row["status"] in ("faster", "slower")) == outside
