"""The messages of collectives: how large, of what type, and between which ranks, as recorded.

A PyTorch trace tells it of the kernels themselves, else of the ``record_param_comms`` that a kernel
was launched in; a backend on a CPU of its ranges. NCCL's own ranges carry the size of a message and
the communicator in their NVTX payloads (``nvtx_payload_schemas.h`` of NCCL); the kernel is launched
in one, or, where calls are grouped, after it. What is not recorded is not known, but for what the
name of a kernel says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.knowledge.collectives import (
    DTYPES,
    KINDS,
    OF_ALL_RANKS,
    PAIRWISE,
    kernel_dtype,
    kind_of,
)
from analysis.recorded.payload_schemas import (
    COMMUNICATOR,
    declared_schemas,
    payload_records,
)
from analysis.source.host.message_tables import message_rows
from analysis.source.nvtx_tables import has_payloads, payload_ranges
from analysis.source.tables import MISSING

if TYPE_CHECKING:
    from analysis.recorded.device_work import DeviceWork
    from analysis.recorded.ranges import Ranges
    from analysis.source.database import Columns
    from analysis.source.report import Report

SIZES: Final = ("Message size [bytes]", "Bytes")
"""The labels of the size in NCCL's payloads, of some before 2.26 too."""

RANKS: Final = "No. of ranks"
"""The label of the size of a communicator, in the payloads of the calls that make one."""

PARTS: Final = frozenset({"all_gather", "gather"})
"""The kinds of which a backend's range has the tensors of one rank; the array is that of all."""


@dataclass(frozen=True)
class Message:
    """What a collective moves, and between whom.

    Attributes:
        kind: one of `KINDS`, else what the collective is called.
        bytes: of the whole array, as nccl-tests has it; `MISSING` where not known.
        dtype: the type of its elements; "" where not known.
        ranks: how many take part; `MISSING` where not known.
        group: what tells the process group from others in all reports of a run; "" if not known.
    """

    kind: str
    bytes: int = MISSING
    dtype: str = ""
    ranks: int = MISSING
    group: str = ""


@dataclass(frozen=True)
class Messages:
    """The messages of some collectives, ``C`` of them.

    Attributes:
        told: ``(K,)`` distinct messages.
        message: ``(C,)`` the position of each one's.
        sequence: ``(C,)`` its number in its process group, or `MISSING`.
    """

    told: list[Message]
    message: Int64
    sequence: Int64

    def take(self, order: Int64) -> Messages:
        """Return those at some positions."""
        return replace(self, message=self.message[order], sequence=self.sequence[order])


def kernel_messages(done: DeviceWork, rows: Int64) -> Messages:
    """Return the messages of some kernels, ``(C,)`` rows of a table of device work."""
    told = message_rows(done.report)
    of_kernel = _of_kernels(told, done, rows)
    calls = Intervals(
        *(done.of_call(column)[rows] for column in _calls(done)),
    )
    of_host = _of_host(told, calls)
    place = np.where(of_kernel != NONE, of_kernel, of_host)
    by_nccl, ranges = _of_nccl(done.report, calls, place == NONE)
    names, name = done.names, done.name[rows]
    made: dict[tuple[int, int, int], int] = {}
    messages: dict[Message, int] = {}
    result = np.zeros(len(rows), np.int64)
    for turn, key in enumerate(zip(name.tolist(), place.tolist(), by_nccl.tolist(), strict=True)):
        if key not in made:
            own, row, payload = key
            message = _of_name(names[own])
            if row != NONE:
                message = _joined(message, _of_row(told, row))
            elif payload != NONE:
                message = _joined(message, ranges[payload])
            made[key] = messages.setdefault(message, len(messages))
        result[turn] = made[key]
    sequence = np.full(len(rows), MISSING, np.int64)
    sequence[place != NONE] = told["sequence"][place[place != NONE]]
    return Messages(list(messages), result, sequence)


def range_messages(report: Report, ranges: Ranges) -> Messages:
    """Return the messages of collectives that are ranges, of a backend's threads or the host's."""
    told = message_rows(report)
    spans = zip(*(told[key].tolist() for key in ("thread", "start_ns", "end_ns")), strict=True)
    known = {span: row for row, span in enumerate(spans)}
    mine = zip(
        *(each.tolist() for each in (ranges.thread, ranges.start_ns, ranges.end_ns)), strict=True
    )
    messages: dict[Message, int] = {}
    result = np.zeros(len(ranges), np.int64)
    for turn, (span, name) in enumerate(zip(mine, ranges.name.tolist(), strict=True)):
        row = known.get(span)
        found = Message(kind_of(ranges.names[name])) if row is None else _of_row(told, row)
        result[turn] = messages.setdefault(found, len(messages))
    return Messages(list(messages), result, np.full(len(ranges), MISSING, np.int64))


def _calls(done: DeviceWork) -> tuple[Int64, Int64, Int64]:
    return done.calls.thread, done.calls.start_ns, done.calls.end_ns


def _of_name(name: str) -> Message:
    """Return what the name of a kernel tells of its message."""
    return Message(kind_of(name), dtype=kernel_dtype(name))


def _joined(by_name: Message, told: Message) -> Message:
    """Return a message as it was told, as far as the kernel can be all of it.

    A gather is sent and received piece by piece, a barrier is an all-reduce. What is done by
    kernels of any other kind is several of them, and the size of each is not known.
    """
    if (
        told.kind in (by_name.kind, "barrier")
        or by_name.kind in (*PAIRWISE, "")
        or (by_name.kind not in KINDS)
    ):
        return replace(told, dtype=told.dtype or by_name.dtype)
    return Message(by_name.kind, MISSING, told.dtype, told.ranks, told.group)


def _of_row(told: Columns, row: int) -> Message:
    """Return the message of a row that PyTorch told of."""
    values: Mapping[str, Any] = {name: column[row] for name, column in told.items()}
    kind, ranks = kind_of(values["name"]), max(int(values["size"]), MISSING)
    dtype, size = DTYPES.get(values["dtype"], (values["dtype"].lower(), MISSING))
    inside, outside = int(values["in_elements"]), int(values["out_elements"])
    elements = max(inside, outside)
    if outside == MISSING and kind in PARTS:  # the tensors of one rank alone
        elements = inside * ranks if ranks != MISSING else MISSING
    known = elements >= 0 and size != MISSING
    group = f"{values['group']} {values['ranks']}".strip()
    return Message(kind, elements * size if known else MISSING, dtype, ranks, group)


def _of_kernels(told: Columns, done: DeviceWork, rows: Int64) -> Int64:
    """Return ``(C,)`` the row that tells of each kernel itself, or `NONE`."""
    keys = ("device", "correlation", "start_ns")
    own = zip(*(told[key].tolist() for key in keys), strict=True)
    known = {key: row for row, key in enumerate(own) if key[0] != MISSING}
    kernels = (done.device[rows], done.correlation[rows], done.start_ns[rows])
    found = [known.get(key, NONE) for key in zip(*(each.tolist() for each in kernels), strict=True)]
    return np.array(found, np.int64)


def _of_host(told: Columns, calls: Intervals) -> Int64:
    """Return ``(C,)`` the row that tells of what the host did around each launch, or `NONE`."""
    some = np.flatnonzero((told["thread"] != MISSING) & (told["in_elements"] >= 0))
    around = Intervals(told["thread"][some], told["start_ns"][some], told["end_ns"][some])
    place = innermost_of_any(around, calls)
    return np.where(place != NONE, np.append(some, NONE)[place], NONE)


def _of_nccl(report: Report, calls: Intervals, wanted: Bools) -> tuple[Int64, list[Message]]:
    """Return ``(C,)`` positions of messages that NCCL's payloads tell, or `NONE`, and those.

    A range's kernel is the first that is launched on its thread from its start on. A kernel of
    several ranges moves them all, or some of them: how much is not known.
    """
    result, told = np.full(len(wanted), NONE, np.int64), _payloads(report)
    if not told or not wanted.any():
        return result, []
    thread, start, messages = zip(*told, strict=True)
    by_thread: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(wanted)[np.argsort(calls.start_ns[wanted], kind="stable")].tolist():
        by_thread[int(calls.thread[row])].append(row)
    first: dict[int, list[int]] = defaultdict(list)
    for number in dict.fromkeys(thread):
        launched = by_thread.get(number, [])
        mine = [place for place, owner in enumerate(thread) if owner == number]
        at = np.searchsorted(calls.start_ns[launched], [start[place] for place in mine])
        for place, turn in zip(mine, at.tolist(), strict=True):
            if turn < len(launched):
                first[launched[turn]].append(place)
    for row, places in first.items():
        if len(places) == 1:
            result[row] = places[0]
    return result, list(messages)


def _payloads(report: Report) -> list[tuple[int, int, Message]]:
    """Return the thread, the start and the message of each range of NCCL's that tells its size."""
    declared = {
        domain: schemas
        for domain, schemas in declared_schemas(report).items()
        if any(
            entry.label in (COMMUNICATOR, SIZES[0])
            for each in schemas.values()
            for entry in each.entries
        )
    }
    if not declared or not has_payloads(report):
        return []
    found, digits, code = payload_ranges(report)
    records = [payload_records(declared, text) for text in digits]
    values = [dict(record[0]) if record else {} for record in records]
    sizes = {
        told[COMMUNICATOR]: told[RANKS]
        for told in values
        if isinstance(told.get(COMMUNICATOR), int) and isinstance(told.get(RANKS), int)
    }
    result = []
    columns = (found.name, code, found.thread, found.start_ns, found.more["domain"])
    for name, place, thread, start, domain in zip(
        *(each.tolist() for each in columns), strict=True
    ):
        size = next((values[place][label] for label in SIZES if label in values[place]), None)
        if domain not in declared or name == NONE or not isinstance(size, int):
            continue
        communicator = values[place].get(COMMUNICATOR)
        ranks = sizes.get(communicator)
        kind = kind_of(found.names[name])
        if kind in OF_ALL_RANKS:
            size = size * ranks if isinstance(ranks, int) else MISSING
        group = f"NCCL {communicator:x}" if isinstance(communicator, int) else ""
        result.append(
            (
                thread,
                start,
                Message(kind, size, "", ranks if isinstance(ranks, int) else MISSING, group),
            )
        )
    return result
