"""Runs of a few calls and kernels, in microseconds: what follows on what, and what a change gains.

A launch reaches its stream 6 us after it returned, queued work follows after 1 us, and a call that
waits returns 3 us after the end of what it waits for.
"""

from pathlib import Path

import pytest

from tests.made.replay.machine import COLLECTIVE, LAUNCH, WAIT_DEVICE, Machine, Step
from tests.made.replay.programs import scaled
from tests.made.replay.recording import record
from tests.made.replay.small_runs import Launched, after, make_run, predicted, whole_us
from tests.made.reports import build_device
from tests.made.reports.build_device import (
    BLOCKING,
    DEFAULT,
    EVENT_WAIT,
    PAGEABLE,
    STREAM_SYNC,
    STREAM_WAIT,
    TO_HOST,
    Copy,
    EventRecord,
    Waiting,
)
from tests.made.reports.build_report import Call, Kernel, Range

SYNC = "cudaDeviceSynchronize_v3020"
STREAM_SYNCHRONIZE = "cudaStreamSynchronize_v3020"
OTHER = 101


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.sqlite"


def waits_for(path: Path) -> dict[int, list[int]]:
    """Return the rows of work that calls wait for, by when each call began, in us."""
    with predicted(path) as known:
        held, chain = known.run.waits, known.run.chain
        found: dict[int, list[int]] = {}
        for node, work in zip(held.node.tolist(), held.work.tolist(), strict=True):
            found.setdefault(int(chain.start_ns[node]) // 1000, []).append(work)
        return found


def test_a_launch_follows_on_the_call_before_it_after_the_hosts_own_time(path: Path) -> None:
    make_run(path, [Launched("a", 0, 4, 10, 30), Launched("b", 100, 104, 110, 130)])
    assert whole_us(path) == 130
    assert whole_us(path, {"a": 0}) == 130
    assert whole_us(path, {"b": 0}) == 110
    # 2 for the first call, 48 between them, 2 for the second; then 6 and 20 of the device.
    assert whole_us(path, host=0.5) == 78
    # Both are launched at once: the second follows on the first.
    assert whole_us(path, host=0) == 6 + 20 + 1 + 20


def test_queued_work_follows_the_work_before_it(path: Path) -> None:
    make_run(path, [Launched("a", 0, 4, 10, 110), Launched("b", 5, 9, 111, 131)])
    assert whole_us(path, {"a": 0.5}) == 81
    assert whole_us(path, {"a": 0}) == 9 + 6 + 20
    assert whole_us(path, host=0.5) == 2 + 6 + 100 + 1 + 20


def test_a_call_that_waits_for_a_stream_waits_for_that_one_alone(path: Path) -> None:
    launched = [
        Launched("long", 0, 4, 10, 510, stream=7),
        Launched("short", 5, 9, 15, 65, stream=13),
        Launched("last", 100, 104, 110, 120, stream=13),
    ]
    call = build_device.Call(STREAM_SYNCHRONIZE, 10, 68)
    make_run(path, launched, waits=[Waiting(call, STREAM_SYNC, stream=13)])
    assert waits_for(path) == {10: [1]}
    assert after(path, {"long": 0}).end_ns.tolist()[1:] == [65_000, 120_000]
    # The call returns 50 earlier, as does the last launch.
    assert after(path, {"short": 0}).end_ns.tolist()[1:] == [15_000, 70_000]


def test_a_call_that_waits_for_the_device_waits_for_all_of_its_streams(path: Path) -> None:
    launched = [
        Launched("long", 0, 4, 10, 210, stream=7),
        Launched("short", 5, 9, 15, 115, stream=13),
        Launched("last", 220, 224, 230, 240),
    ]
    make_run(path, launched, calls=[Call(SYNC, 10, 213, 99)])
    assert waits_for(path) == {10: [0, 1]}
    assert whole_us(path, {"short": 0}) == 240
    assert whole_us(path, {"long": 0}) == 240 - (213 - 118)  # now the short one holds it up
    assert whole_us(path, {"long": 0.75}) == 240 - 50


@pytest.mark.parametrize("recorded", [True, False])
def test_a_stream_waits_for_an_event_of_another_recorded_or_not(path: Path, recorded: bool) -> None:
    launched = [
        Launched("a", 0, 4, 10, 310, stream=7),
        Launched("b", 20, 24, 312, 332, stream=13),
        Launched("b", 340, 344, 350, 370, stream=13),
    ]
    record = EventRecord(build_device.Call("cudaEventRecord", 5, 6), event=1, stream=7)
    wait = Waiting(build_device.Call("cudaStreamWaitEvent", 7, 8), STREAM_WAIT, stream=13, event=1)
    make_run(path, launched, waits=[wait][:recorded], events=[record][:recorded])
    with predicted(path) as known:
        assert known.run.order.edge_to.tolist() == [1]
        assert known.run.order.edge_from.tolist() == [0]
    assert after(path, {"a": 0.5}).end_ns.tolist() == [160_000, 182_000, 370_000]
    assert after(path, {"a": 0}).end_ns.tolist() == [10_000, 50_000, 370_000]


def test_a_call_that_waits_for_an_event_waits_for_what_was_before_its_record(path: Path) -> None:
    launched = [Launched("a", 0, 4, 10, 110), Launched("b", 10, 14, 111, 511)]
    record = EventRecord(build_device.Call("cudaEventRecord", 5, 6), event=1)
    wait = Waiting(build_device.Call("cudaEventSynchronize", 20, 113), EVENT_WAIT, event=1)
    make_run(path, [*launched, Launched("c", 120, 124, 512, 520)], waits=[wait], events=[record])
    assert waits_for(path) == {20: [0]}


def test_an_event_of_a_stream_without_work_holds_up_nothing(path: Path) -> None:
    record = EventRecord(build_device.Call("cudaEventRecord", 5, 6), event=1, stream=99)
    wait = Waiting(build_device.Call("cudaEventSynchronize", 20, 33), EVENT_WAIT, event=1)
    launched = [Launched("a", 0, 4, 10, 30), Launched("a", 40, 44, 50, 70)]
    make_run(path, launched, waits=[wait], events=[record])
    assert waits_for(path) == {}


def test_an_event_stands_for_what_its_stream_was_made_to_wait_for(path: Path) -> None:
    # Stream 13 waits for 7 and does nothing; the call waits for 13, and so for the work of 7.
    launched = [Launched("a", 0, 4, 10, 110, stream=7), Launched("b", 5, 9, 15, 20, stream=13)]
    record = EventRecord(build_device.Call("cudaEventRecord", 10, 11), event=1, stream=7)
    wait = Waiting(build_device.Call("cudaStreamWaitEvent", 12, 13), STREAM_WAIT, 13, event=1)
    held = Waiting(build_device.Call(STREAM_SYNCHRONIZE, 20, 113), STREAM_SYNC, stream=13)
    make_run(path, launched, waits=[wait, held], events=[record])
    assert waits_for(path) == {20: [0, 1]}


def test_a_copy_of_pageable_memory_is_waited_for_by_its_own_call(path: Path) -> None:
    copy = Copy(80, 96, 1_000, source=PAGEABLE, launch=0, done=99)
    make_run(path, [Launched("a", 110, 114, 120, 140)], copies=[copy])
    assert waits_for(path) == {0: [1]}
    assert whole_us(path, {"memcpy*": 2}) == 140 + 16
    # The host prepares the copy: 40 of 80; then 16 and 3; then 5.5 to the launch, 2 in it, 26.
    assert whole_us(path, host=0.5) == 40 + 16 + 3 + 5.5 + 2 + 26


def test_a_launch_waits_for_room_in_a_full_queue(path: Path) -> None:
    steps = [Step(LAUNCH, took=40_000, host=4_000)] * 1_250 + [Step(WAIT_DEVICE)]
    ran = record(steps, path)
    assert ran.calls[1_240][1] - ran.calls[1_240][0] > 30_000
    with predicted(path) as known:
        full = known.run.order.full_queue[:1_250]
        assert (full[1_022:] == range(1_250 - 1_022)).all()
        assert known.blind.error == 0
    for change, changed in (
        ({"scale": {"k": 0.5}}, scaled(steps, {"k": 0.5})),
        ({"host": 0.5}, scaled(steps, host=0.5)),
        ({"scale": {"k": 0.0}}, scaled(steps, {"k": 0})),
    ):
        assert after(path, **change).whole_ns == Machine(changed).window_ns


def test_of_calls_inside_one_another_the_outermost_counts(path: Path) -> None:
    kernels = [Kernel("a", 16, 36, correlation=1), Kernel("a", 116, 136, correlation=2)]
    calls = [
        *(Call("cuLaunchKernel", start, start + 6, at) for at, start in ((1, 2), (2, 102))),
        *(
            Call("cudaLaunchKernel_v7000", start, start + 10, at)
            for at, start in ((1, 0), (2, 100))
        ),
        *(
            Call("cudaLaunchKernel_v7000", start, start + 10, at)
            for at, start in ((1, 0), (2, 100))
        ),
    ]
    make_run(path, [], kernels=kernels, calls=calls)
    with predicted(path) as known:
        assert len(known.run.chain) == 2
    assert whole_us(path) == 136
    assert whole_us(path, host=0.5) == 5 + 45 + 5 + 6 + 20


@pytest.mark.parametrize(("quiet", "follows"), [(60, True), (40, False)])
def test_a_thread_that_was_silent_for_50_us_takes_over(
    path: Path, quiet: int, follows: bool
) -> None:
    # The second thread waits for the kernel until 113; the first goes on after its silence.
    resumed = 124
    first = resumed - quiet
    launched = [
        Launched("a", 0, 4, 10, 110),
        Launched("b", first - 4, first, 111, 112, stream=13),
        Launched("c", resumed, resumed + 4, resumed + 10, 150, stream=13),
    ]
    calls = [Call(SYNC, 20, 113, 99, OTHER)]
    make_run(path, launched, calls=calls)
    with predicted(path) as known:
        chain = known.run.chain
        last = chain.start_ns.tolist().index(resumed * 1000)
        assert bool(chain.taken_over[last]) == follows
        assert chain.thread[chain.before[last]] % (1 << 24) == (OTHER if follows else 100)


def test_all_kernels_of_a_graph_are_launched_by_one_call(path: Path) -> None:
    kernels = [
        Kernel("a", 20, 40, correlation=1),
        Kernel("b", 41, 61, correlation=1),
        Kernel("c", 62, 82, correlation=1),
    ]
    make_run(path, [], kernels=kernels, calls=[Call("cudaGraphLaunch_v10000", 0, 14, 1)])
    assert whole_us(path, {"b": 0.5}) == 72
    assert whole_us(path, host=0.5) == 75


def test_work_of_an_unknown_launch_follows_its_stream(path: Path) -> None:
    make_run(
        path,
        [Launched("a", 0, 4, 10, 110), Launched("c", 130, 134, 231, 241)],
        kernels=[Kernel("b", 130, 230)],
    )
    assert after(path, {"a": 0.5}).end_ns.tolist() == [60_000, 180_000, 191_000]
    with predicted(path) as known:
        assert known.distrust is not None


def test_kernels_that_overlap_on_a_stream_do_not_follow_on_one_another(path: Path) -> None:
    kernels = [Kernel("a", 20, 120, correlation=1), Kernel("b", 40, 60, correlation=1)]
    calls = [Call("cudaGraphLaunch_v10000", 0, 14, 1)]
    make_run(path, [], kernels=kernels, calls=calls)
    with predicted(path) as known:
        assert known.run.order.before.tolist() == [-1, -1]
    assert whole_us(path, {"a": 0}) == 60


def test_the_legacy_default_stream_takes_turns_with_blocking_streams(path: Path) -> None:
    launched = [
        Launched("a", 0, 4, 10, 110, stream=7),
        Launched("b", 5, 9, 111, 131, stream=13),
        Launched("beside", 10, 14, 20, 90, stream=14),
        Launched("c", 15, 19, 132, 152, stream=7),
    ]
    streams = [(7, DEFAULT), (13, BLOCKING), (14, 2)]
    make_run(path, launched, streams=streams)
    with predicted(path) as known:
        order = known.run.order
        assert [*zip(order.edge_to.tolist(), order.edge_from.tolist(), strict=True)] == [
            (2, 0),
            (3, 2),
        ]
    assert after(path, {"a": 0.5}).end_ns.tolist() == [60_000, 90_000, 81_000, 102_000]


def test_copies_of_one_direction_take_turns(path: Path) -> None:
    copies = [
        Copy(10, 110, launch=0, done=4, stream=7),
        Copy(111, 211, launch=5, done=9, stream=13),
        Copy(20, 50, kind=TO_HOST, launch=10, done=14, stream=14),
    ]
    make_run(path, [Launched("a", 15, 19, 25, 26, stream=15)], copies=copies)
    with predicted(path) as known:
        assert known.run.order.edge_to.tolist() == [3]
        assert known.run.order.edge_from.tolist() == [1]
    assert whole_us(path, {"memcpy Host-to-Device": 0.5}) == 60 + 1 + 50


def test_a_collective_ends_when_the_last_device_has_come(path: Path) -> None:
    steps = [
        Step(LAUNCH, took=20_000, name="sgemm", device=0),
        Step(LAUNCH, took=100_000, name="softmax", device=1),
        Step(LAUNCH, took=10_000, name=COLLECTIVE, device=0),
        Step(LAUNCH, took=10_000, name=COLLECTIVE, device=1),
        Step(LAUNCH, took=5_000, name="sgemm", device=0),
        Step(LAUNCH, took=5_000, name="sgemm", device=1),
        Step(WAIT_DEVICE),
        Step(LAUNCH, took=5_000, name="sgemm", device=0),
    ]
    ran = record(steps, path)
    assert ran.work[2][1] == ran.work[3][1] == ran.work[3][0] + 10_000
    assert ran.work[2][1] - ran.work[2][0] > 80_000
    for names in ({"softmax": 0.5}, {COLLECTIVE: 0.5}, {"sgemm": 0.0}, {"softmax": 0.0}):
        expected = Machine(scaled(steps, names)).window_ns
        assert after(path, names).whole_ns == expected, names


def test_a_call_that_did_not_wait_hides_nothing_from_the_next(path: Path) -> None:
    # cudaFree returned at once, though work was under way; the next call waited for it.
    calls = [Call("cudaFree_v3020", 10, 12, 98), Call(SYNC, 13, 113, 99)]
    launched = [Launched("a", 0, 4, 10, 110), Launched("b", 120, 124, 130, 140)]
    make_run(path, launched, calls=calls)
    assert waits_for(path) == {13: [0]}
    assert whole_us(path, {"a": 0.5}) == 90


def test_where_a_wait_is_left_out_the_next_one_waits(path: Path) -> None:
    calls = [Call(SYNC, 10, 113, 98), Call(SYNC, 115, 118, 99)]
    launched = [Launched("a", 0, 4, 10, 110), Launched("b", 120, 124, 130, 140)]
    make_run(path, launched, calls=calls, ranges=[Range("check", 9, 114)])
    assert waits_for(path) == {10: [0], 115: [0]}
    # The second call still returns when the kernel has ended, at 113, not at 118.
    assert whole_us(path, remove=("check",)) == 140 - 5


@pytest.mark.parametrize(
    "name",
    [
        *(
            "cuMemFreeAsync",
            "cuMemFreeAsync_ptsz",
            "cudaFreeAsync_v11020",
            "cudaMallocAsync_v11020",
        ),
        *("cuMemsetD32Async", "cuMemcpyDtoHAsync_v2_ptsz", "cudaLaunchCooperativeKernel_v9000"),
    ],
)
def test_calls_in_stream_order_wait_for_nothing(path: Path, name: str) -> None:
    launched = [Launched("a", 0, 4, 10, 30), Launched("b", 120, 124, 130, 140)]
    make_run(path, launched, calls=[Call(name, 50, 52, 98)])
    assert waits_for(path) == {}
    # A host that takes no time launches the second kernel while the first one runs.
    assert whole_us(path, host=0) == 6 + 20 + 1 + 10


@pytest.mark.parametrize(
    "name",
    ["cudaFree_v3020", "cuMemFree_v2", "cudaFreeMipmappedArray_v5000", "cudaMemcpyPeer_v4000"],
)
def test_calls_of_memory_wait_for_what_was_launched(path: Path, name: str) -> None:
    launched = [Launched("a", 0, 4, 10, 30), Launched("b", 120, 124, 130, 140)]
    make_run(path, launched, calls=[Call(name, 5, 33, 98)])
    assert waits_for(path) == {5: [0]}
    assert whole_us(path, {"a": 0.5}) == 140 - 10


def test_a_step_ends_after_the_thread_that_works_for_it(path: Path) -> None:
    # One thread marks the step and calls nothing; another one launches in it, and waits.
    launched = [Launched("a", 100, 104, 110, 310), Launched("b", 1100, 1104, 1110, 1310)]
    calls = [Call(SYNC, 105, 313, 98), Call(SYNC, 1105, 1313, 99)]
    steps = [Range("step", 10, 900, OTHER), Range("step", 1010, 1900, OTHER)]
    make_run(path, launched, calls=calls, ranges=steps)
    assert after(path, {"a": 0.5}).step_ns.tolist() == [790_000, 890_000]
    assert whole_us(path, {"a": 0.5}) == 1310 - 100 - 100


def test_what_other_threads_do_between_two_backward_passes_stays(path: Path) -> None:
    launched, ranges = [], []
    for at in (0, 1000):
        launched += [Launched("a", at + 100, at + 104, at + 110, at + 120)]
        of_backward = [(at + begun, at + begun + 4, at + begun + 10) for begun in (300, 500)]
        launched += [Launched("b", *row, row[2] + 10, thread=OTHER) for row in of_backward]
        ranges += [Range("step", at + 10, at + 900), Range("backward", at + 200, at + 800)]
        ranges += [Range("loss", at + 90, at + 160)]
    make_run(path, launched, ranges=ranges)
    assert after(path).step_ns.tolist() == [890_000] * 2
    # What is before the backward pass and after it stays, in the second step too.
    assert after(path, remove=("backward",)).step_ns.tolist() == [290_000] * 2
    # The rest of the loss is before the first call of the thread that takes over.
    assert after(path, remove=("loss",)).step_ns.tolist() == [890_000 - 70_000] * 2
