"""The report that would be recorded of a program that ran on the machine."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Final

from tests.made.replay.machine import (
    BLOCKING_COPY,
    COPY,
    LAUNCH,
    MAKE_WAIT,
    RECORD,
    WAIT_DEVICE,
    WAIT_EVENT,
    WAIT_STREAM,
    WORKS,
    Machine,
    Step,
)
from tests.made.reports import build_device
from tests.made.reports.build_device import Copy, EventRecord, Waiting, add_device_work
from tests.made.reports.build_report import Call, Kernel, Range, make_report

CALLED: Final = {
    LAUNCH: "cudaLaunchKernel_v7000",
    COPY: "cudaMemcpyAsync_v3020",
    BLOCKING_COPY: "cudaMemcpyAsync_v3020",
    RECORD: "cudaEventRecord_v3020",
    MAKE_WAIT: "cudaStreamWaitEvent_v3020",
    WAIT_DEVICE: "cudaDeviceSynchronize_v3020",
    WAIT_STREAM: "cudaStreamSynchronize_v3020",
    WAIT_EVENT: "cudaEventSynchronize_v3020",
}
SYNC_TYPE: Final = {
    MAKE_WAIT: build_device.STREAM_WAIT,
    WAIT_STREAM: build_device.STREAM_SYNC,
    WAIT_EVENT: build_device.EVENT_WAIT,
}


def work_order(program: Sequence[Step], ran: Machine) -> list[int]:
    """Return the positions of steps that start work, in the order of the report's device work."""
    places = [place for place, step in enumerate(program) if step.does in WORKS]
    return sorted(places, key=lambda at: (program[at].does != LAUNCH, ran.work[at]))


def record(
    program: Sequence[Step],
    path: Path,
    *,
    device: int | None = None,
    late_ns: int = 0,
) -> Machine:
    """Write the report of a program, and return the machine that ran it.

    Args:
        program: what is run.
        path: of the new report.
        device: only what is of this device, as the report of one rank is; None for all.
        late_ns: how much earlier the clock of the report was started.
    """
    ran = Machine(program)
    run = shifted(ran, late_ns)
    kernels, calls, copies, waits, records = [], [], [], [], []
    for place, step in enumerate(program):
        if device is not None and step.device != device:
            continue
        begun, returned = run.calls[place]
        name = CALLED[step.does]
        call = build_device.Call(name, begun, returned, step.thread)
        if step.does == LAUNCH:
            number = place + 1
            kernels.append(
                Kernel(
                    step.name,
                    *run.work[place],
                    device=step.device,
                    stream=step.stream,
                    correlation=number,
                )
            )
            calls.append(Call(name, begun, returned, number, step.thread))
        elif step.does in WORKS:
            source = build_device.PAGEABLE if step.does == BLOCKING_COPY else build_device.PINNED
            copies.append(
                Copy(
                    *run.work[place],
                    bytes=step.size,
                    source=source,
                    call=name,
                    launch=begun,
                    done=returned,
                    thread=step.thread,
                    stream=step.stream,
                )
            )
        elif step.does == RECORD:
            records.append(EventRecord(call, step.event, step.stream))
        elif step.does in SYNC_TYPE:
            event = None if step.does == WAIT_STREAM else step.event
            waits.append(Waiting(call, SYNC_TYPE[step.does], step.stream, event))
        else:
            calls.append(Call(name, begun, returned, 50_000 + place, step.thread))
    found = ranges(program, run) if device is None else []
    make_report(path, kernels=kernels, calls=calls, ranges=found)
    add_device_work(path, copies=copies, waits=waits, events=records)
    return ran


def shifted(ran: Machine, late_ns: int) -> Machine:
    """Return what ran, on a clock that was started earlier."""
    run = copy(ran)
    run.calls, run.work = (
        {place: (start + late_ns, end + late_ns) for place, (start, end) in spans.items()}
        for spans in (ran.calls, ran.work)
    )
    return run


def ranges(program: Sequence[Step], ran: Machine) -> list[Range]:
    """Return the ranges around stretches of steps, each from the end of the call before it on."""
    found: list[Range] = []
    for place, step in enumerate(program):
        if not step.inside:
            continue
        begun, returned = ran.calls[place]
        before = program[place - 1] if place else None
        if before and (before.inside, before.thread) == (step.inside, step.thread):
            found[-1] = Range(step.inside, found[-1].start, returned, step.thread)
        else:
            found.append(Range(step.inside, begun - step.gap, returned, step.thread))
    return found
