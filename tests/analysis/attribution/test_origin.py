"""A kernel of the backward pass is led back to the forward range it serves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import Report
from analysis.attribution.launches import Attribution, launched_inside
from analysis.attribution.origin import Origin, origin
from analysis.knowledge.vocabulary import EVALUATE
from analysis.source import tables
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

MAIN, ENGINE = 100, 101


def engine(name: str, start: int, end: int, number: int | None) -> list[Range]:
    """The ranges that emit_nvtx pushes around one node, on autograd's own thread."""
    around = Range(f"{EVALUATE}{name}, op_id = 5", start, end, thread=ENGINE)
    if number is None:
        return [around, Range(f"{name}, op_id = 6", start + 1, end - 1, thread=ENGINE)]
    node = Range(f"{name}, seq = {number}, op_id = 6", start + 1, end - 1, thread=ENGINE)
    return [around, node]


def found(path: Path) -> tuple[Attribution, Origin]:
    with Report(path) as report:
        attribution = Attribution.of(report)
        return attribution, origin(attribution)


def of_range(path: Path, name: str) -> int:
    """Return the time of the work whose origin is inside the ranges of a name."""
    attribution, came_from = found(path)
    ranges = attribution.ranges.take(attribution.ranges.called(name))
    return int(attribution.work.duration_ns[launched_inside(ranges, came_from.creator)].sum())


def test_the_last_operator_to_start_with_a_number_created_the_node(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("scores", 0, 10),
            Range("aten::view, seq = 7, op_id = 1", 1, 4),  # creates no node
            Range("softmax", 20, 30),
            Range("aten::softmax, seq = 7, op_id = 2", 21, 29),
            *engine("SoftmaxBackward0", 50, 60, 7),
        ],
        kernels=[Kernel("softmax_backward", 100, 140, launch=55, thread=ENGINE)],
    )
    assert of_range(path, "softmax") == 40
    assert of_range(path, "scores") == 0


def test_what_the_engine_launches_around_the_node_belongs_to_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("forward", 0, 30),
            Range("aten::mm, seq = 3, op_id = 1", 1, 4),
            *engine("MmBackward0", 50, 60, 3),
        ],
        kernels=[
            Kernel("mm", 100, 110, launch=52, thread=ENGINE),
            Kernel("sum_of_gradients", 110, 115, launch=50, thread=ENGINE),
        ],
    )
    assert of_range(path, "forward") == 15


def test_accumulated_gradients_are_backward_without_origin(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("aten::mm, seq = 0, op_id = 1", 1, 4),
            *engine("AccumulateGrad", 50, 60, None),
        ],
        kernels=[Kernel("add", 100, 110, launch=52, thread=ENGINE)],
    )
    _, came_from = found(path)
    assert came_from.backward.tolist() == [True]
    assert came_from.known.tolist() == [False]


def test_an_operator_that_starts_after_the_backward_pass_created_nothing_of_it(
    tmp_path: Path,
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("first", 0, 10),
            Range("aten::mm, seq = 3, op_id = 1", 1, 4),
            *engine("MmBackward0", 50, 60, 3),
            Range("second", 70, 90),
            Range("aten::mm, seq = 3, op_id = 9", 71, 74),
        ],
        kernels=[Kernel("mm", 100, 110, launch=52, thread=ENGINE)],
    )
    assert (of_range(path, "first"), of_range(path, "second")) == (10, 0)


def test_processes_number_their_nodes_alike_and_share_none(tmp_path: Path) -> None:
    ranges, kernels = [], []
    for process, start in ((1, 0), (2, 5), (3, 8)):
        made = Range("aten::mm, seq = 3, op_id = 1", start, start + 2)
        ran = engine("MmBackward0", start + 50, start + 60, 3)
        # The last was recorded from the middle of its step on.
        own = ran if process == 3 else [Range(f"of {process}", start, start + 4), made, *ran]
        ranges += [replace(each, process=process) for each in own]
        took = (100 * process, 101 * process)
        kernels.append(Kernel("mm", *took, launch=start + 52, thread=ENGINE, process=process))
    path = make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=kernels)
    assert (of_range(path, "of 1"), of_range(path, "of 2")) == (1, 2)
    assert found(path)[1].known.tolist() == [True, True, False]


def test_kernels_launched_elsewhere_have_no_origin(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("aten::mm, seq = 3, op_id = 1", 1, 4), *engine("MmBackward0", 50, 60, 3)],
        kernels=[
            Kernel("forward", 100, 110, launch=2),
            Kernel("between", 110, 120, launch=65, thread=ENGINE),
            Kernel("orphan", 120, 130),
        ],
    )
    _, came_from = found(path)
    assert came_from.backward.tolist() == [False, False, False]
    assert came_from.creator.thread.tolist() == 3 * [tables.MISSING]


def test_our_own_backward_ranges_lead_to_the_last_range_opened_that_has_none_yet(
    tmp_path: Path,
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("block", 0, 10),
            Range("softmax", 1, 3),
            Range("block", 10, 20),
            Range("softmax", 11, 13),
            Range("softmax.backward", 30, 35, thread=ENGINE),
            Range("softmax.backward", 40, 45, thread=ENGINE),
        ],
        kernels=[
            Kernel("of the second block", 100, 101, launch=31, thread=ENGINE),
            Kernel("of the first block", 101, 103, launch=41, thread=ENGINE),
        ],
    )
    _, came_from = found(path)
    assert came_from.creator.start_ns.tolist() == [11, 1]
    assert of_range(path, "softmax") == 3
    assert of_range(path, "block") == 3


def test_steps_that_never_went_backward_do_not_take_anothers(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("softmax", 0, 5),  # validation: no backward pass
            Range("softmax", 10, 15),
            Range("softmax.backward", 20, 25),
            Range("softmax", 30, 35),
            Range("softmax.backward", 40, 45),
        ],
        kernels=[Kernel("a", 100, 101, launch=21), Kernel("b", 101, 102, launch=41)],
    )
    _, came_from = found(path)
    assert came_from.creator.start_ns.tolist() == [10, 30]


def test_a_pytorch_trace_leads_back_by_its_sequence_numbers(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("scores", 0, 10)],
        operators=[
            Operator("aten::bmm", 2, 6, 4, sequence=9),
            Operator(f"{EVALUATE}BmmBackward0", 50, 60, 1, thread=ENGINE, sequence=9),
            Operator("BmmBackward0", 51, 59, 3, thread=ENGINE, sequence=9),
            Operator("aten::bmm", 52, 57, 5, thread=ENGINE),
        ],
    )
    assert of_range(path, "scores") == 5


def test_the_origins_of_a_real_step() -> None:
    """The figures were worked out by hand from the report; they add up to the thread's time."""
    attribution, came_from = found(shared.report("train-step-small-a100"))
    duration = attribution.work.duration_ns
    counted = {}
    for name in (
        "computing attention scores",
        "masking",
        "computing softmax",
        "final matmul",
        "loss",
    ):
        named = np.array([known == name for known in attribution.ranges.names])
        inside = launched_inside(
            attribution.ranges.take(named[attribution.ranges.name]), came_from.creator
        )
        counted[name] = (int(inside.sum()), int(duration[inside].sum()))
    assert counted == {
        "computing attention scores": (36, 5_650_936),
        "masking": (24, 947_746),
        "computing softmax": (156, 11_643_763),
        "final matmul": (36, 3_838_418),
        "loss": (14, 1_140_869),
    }
    without = came_from.backward & ~came_from.known
    assert (int(without.sum()), int(duration[without].sum())) == (85, 1_794_981)
    assert int(came_from.backward.sum()) == 1237
    assert int(duration[came_from.backward].sum()) == 91_967_403


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_every_real_report_has_its_origins_without_losing_work(name: str) -> None:
    attribution, came_from = found(shared.report(name))
    assert len(came_from.creator.thread) == len(attribution.work.kind)
    assert not (came_from.known & ~came_from.backward).any()
