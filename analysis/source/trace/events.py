"""The events of a PyTorch trace as rows, staged in a scratch database.

Rows are staged because what a report needs is known only at the end of a trace: the time of its
first event, the process that launched a kernel, the order of operators in a thread.
"""

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final, TypeGuard

from analysis.arithmetic.global_ids import ID_BITS, ID_MASK
from analysis.source.trace import fields, messages
from analysis.source.trace.fields import Event, Row, Unusable

SCHEMA: Final[Mapping[str, str]] = {
    "kernel": (
        "start, stop, device, context, stream, correlation, graph_node, name, registers, "
        "grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes"
    ),
    "copy": (
        "start, stop, device, context, stream, correlation, graph_node, bytes, kind, "
        "source_kind, target_kind, source_device, target_device"
    ),
    "fill": "start, stop, device, context, stream, correlation, graph_node, bytes, memory_kind",
    "wait": "start, stop, device, context, stream, correlation, kind, event",
    "call": "start, stop, thread, class, correlation, name",
    "annotation": "start, stop, thread, native_thread, text",
    "operator": "start, stop, thread, name, sequence, forward_thread, shapes, types, inputs",
    "memory": "start, device, thread, address, delta, allocated, reserved",
    "python": "start, stop, thread, name",
    "message": (
        "start, stop, thread, device, correlation, name, in_elements, out_elements, type, "
        "group_name, ranks, size, sequence"
    ),
}
"""The staged tables; times are nanoseconds from the trace's own base, threads global ids."""

HOST: Final = 1 << 48
"""The upper half of every global id: one machine."""

RENUMBERED_FROM: Final = ID_MASK
LARGEST_NATIVE: Final = (1 << ID_BITS) - (1 << 16)
BATCH_ROWS: Final = 4096

# Before PyTorch 1.12 the categories had other names.
KIND_OF_CATEGORY: Final[Mapping[str, str]] = {
    "kernel": "kernel",
    "Kernel": "kernel",
    "gpu_memcpy": "copy",
    "Memcpy": "copy",
    "gpu_memset": "fill",
    "Memset": "fill",
    "cuda_sync": "wait",
    "cuda_runtime": "call",
    "Runtime": "call",
    "cuda_driver": "driver_call",
    "user_annotation": "annotation",
    "cpu_op": "operator",
    "Operator": "operator",
    "python_function": "python",
}

BOOKKEEPING: Final = frozenset(
    {
        "profiler::_record_function_enter",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        "aten::is_leaf",
        "aten::output_nr",
        "aten::_version",
    }
)
"""Operators that ``key_averages()`` neither shows nor subtracts from others."""

OBJECT: Final = re.compile(r" at 0x[0-9a-f]+")
"""What Python puts behind the name of an object's type."""

NO_EVENT: Final = "not an event"
"""What an entry of the list of events is counted under that is none."""

MEMORY: Final = "[memory]"
"""The instant events of ``profile_memory=True``, one for every allocation and release."""


class Staging:
    """The events of one trace, taken one by one into rows of the ``staging`` database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.left_out: Counter[str] = Counter()
        self.renumbered: dict[str, int] = {}
        self.thread_names: dict[tuple[object, object], list[str]] = defaultdict(list)
        self.processes: list[int] = []
        self.names: dict[str, int] = {}
        self._connection = connection
        self._staged = 0
        self._threads: dict[tuple[object, object], int] = {}
        self._rows: dict[str, list[Row]] = {table: [] for table in SCHEMA}
        self._convert: Mapping[str, tuple[str, Callable[[Event, Event], Row]]] = {
            "kernel": ("kernel", self._kernel),
            "copy": ("copy", self._copy),
            "fill": ("fill", self._fill),
            "wait": ("wait", self._wait),
            "call": ("call", lambda event, args: self._call(event, args, 0)),
            "driver_call": ("call", lambda event, args: self._call(event, args, 1)),
            "annotation": ("annotation", self._annotation),
            "operator": ("operator", self._operator),
            "memory": ("memory", self._memory),
            "python": ("python", self._python),
        }
        for table, columns in SCHEMA.items():
            connection.execute(f"CREATE TABLE staging.{table} ({columns})")

    def add(self, event: object) -> None:
        """Stage one event of the trace, or count it among those left out."""
        if not isinstance(event, dict):
            self.left_out[NO_EVENT] += 1
            return
        category = event.get("cat")
        kind = KIND_OF_CATEGORY.get(category) if isinstance(category, str) else None
        if event.get("name") == MEMORY and event.get("ph") == "i":
            kind = "memory"
        elif kind is None or event.get("ph") != "X":
            self._leave_out(event)
            return
        args = event.get("args")
        table, convert = self._convert[kind]
        try:
            row = convert(event, args if isinstance(args, dict) else {})
        except Unusable as reason:
            self.left_out[f"{category}: {reason}"] += 1
            return
        self._stage(table, row)
        if isinstance(args, dict) and messages.tells(event, args):
            self._stage("message", self._message(event, args))

    def _stage(self, table: str, row: Row) -> None:
        rows = self._rows[table]
        rows.append(row)
        self._staged += 1
        if len(rows) >= BATCH_ROWS:
            self._write(table)

    def finish(self) -> None:
        """Write the rows that are still held in memory."""
        for table in self._rows:
            self._write(table)

    def name_id(self, name: str) -> int:
        """Return the id of a name in StringIds, a new one for a new name."""
        known = self.names.get(name)
        if known is None:
            known = self.names[name] = len(self.names) + 1
        return known

    def _write(self, table: str) -> None:
        marks = ", ".join("?" * len(SCHEMA[table].split(",")))
        self._connection.executemany(
            f"INSERT INTO staging.{table} VALUES ({marks})", self._rows[table]
        )
        self._rows[table].clear()

    def _leave_out(self, event: Event) -> None:
        """Read the names of threads and processes; count all else."""
        if event.get("ph") != "M":
            category = event.get("cat") or event.get("name")
            phase = event.get("ph")
            suffix = "" if event.get("cat") and phase in ("X", "s", "f") else f" (ph {phase})"
            self.left_out[f"{category}{suffix}"] += 1
            return
        args = event.get("args")
        about = event.get("name")
        process = event.get("pid")
        if not isinstance(args, dict):
            return
        if about == "thread_name":
            key = fields.hashable(process), fields.hashable(event.get("tid"))
            self.thread_names[key].append(fields.text(args.get("name")))
        elif about == "process_labels" and args.get("labels") == "CPU" and is_process(process):
            self.processes.append(process)

    def _kernel(self, event: Event, args: Event) -> Row:
        grid, block = fields.triple(args.get("grid")), fields.triple(args.get("block"))
        return (
            *fields.span(event),
            *fields.gpu_place(event, args),
            self.name_id(fields.name(event)),
            fields.integer(args.get("registers per thread"), 0),
            *grid,
            *block,
            fields.integer(args.get("shared memory"), 0),
        )

    def _copy(self, event: Event, args: Event) -> Row:
        match = fields.COPY_NAME.match(fields.name(event))
        kind, source, target = match.groups() if match else ("", None, None)
        return (
            *fields.span(event),
            *fields.gpu_place(event, args),
            fields.integer(args.get("bytes"), 0),
            fields.code_of(fields.COPY_KINDS, kind, 0),
            fields.code_of(fields.MEMORY_KINDS, source, 7),
            fields.code_of(fields.MEMORY_KINDS, target, 7),
            fields.integer(args.get("fromDevice")),
            fields.integer(args.get("toDevice")),
        )

    def _fill(self, event: Event, args: Event) -> Row:
        match = fields.FILL_NAME.match(fields.name(event))
        kind = fields.code_of(fields.MEMORY_KINDS, match[1] if match else "", 7)
        return (
            *fields.span(event),
            *fields.gpu_place(event, args),
            fields.integer(args.get("bytes"), 0),
            kind,
        )

    def _wait(self, event: Event, args: Event) -> Row:
        *place, _graph_node = fields.gpu_place(event, args)
        kind = fields.code_of(fields.WAIT_KINDS, args.get("cuda_sync_kind", fields.name(event)), 0)
        return (
            *fields.span(event),
            *place,
            kind,
            fields.integer(args.get("wait_on_cuda_event_id"), 0),
        )

    def _call(self, event: Event, args: Event, event_class: int) -> Row:
        correlation = fields.integer(args.get("correlation"))
        name = self.name_id(fields.name(event))
        return (*fields.span(event), self._thread(event), event_class, correlation, name)

    def _annotation(self, event: Event, args: Event) -> Row:
        native_thread = fields.text(event.get("tid"))
        return (*fields.span(event), self._thread(event), native_thread, fields.name(event))

    def _operator(self, event: Event, args: Event) -> Row:
        name = fields.name(event)
        if name in BOOKKEEPING:
            raise Unusable("the profiler's own")
        sequence = fields.integer(args.get("Sequence number"), -1)
        forward_thread = fields.integer(args.get("Fwd thread id"))
        return (
            *fields.span(event),
            self._thread(event),
            self.name_id(name),
            *((sequence, forward_thread) if sequence >= 0 else (None, None)),
            # Some versions of PyTorch spell it otherwise.
            self._arguments(args.get("Input Dims", args.get("Input dims"))),
            self._arguments(args.get("Input type")),
            self._arguments(args.get("Concrete Inputs")),
        )

    def _arguments(self, listed: object) -> int | None:
        """Return the id of a list with an entry for each argument, as text; None if it is empty."""
        if not isinstance(listed, list) or not any(listed):
            return None
        try:
            return self.name_id(fields.text(json.dumps(listed, separators=(",", ":"))))
        except (ValueError, RecursionError):  # no PyTorch nests lists like that
            return None

    def _memory(self, event: Event, args: Event) -> Row:
        delta = fields.integer(args.get("Bytes"))
        allocated = fields.integer(args.get("Total Allocated"))
        if delta is None or allocated is None:
            raise Unusable("no bytes")
        on_host = fields.integer(args.get("Device Type"), 0) == 0
        return (
            fields.instant(event),
            -1 if on_host else fields.integer(args.get("Device Id"), 0),
            self._thread(event),
            fields.integer(args.get("Addr")),
            delta,
            allocated,
            None if on_host else fields.integer(args.get("Total Reserved")),
        )

    def _python(self, event: Event, args: Event) -> Row:
        # An object's address makes a thousand names of one: `item of Tensor object at 0x7f3e5a8e`.
        name = self.name_id(OBJECT.sub("", fields.name(event)))
        return (*fields.span(event), self._thread(event), name)

    def _message(self, event: Event, args: Event) -> Row:
        told = messages.message_of(event, args)
        on_device = event.get("cat") in ("kernel", "Kernel")
        device, _, _, correlation, _ = fields.gpu_place(event, args)
        place = (None, device, correlation) if on_device else (self._thread(event), None, None)
        texts = [
            self.name_id(text) if text else None for text in (told.dtype, told.group, told.ranks)
        ]
        return (
            *fields.span(event),
            *place,
            self.name_id(told.name),
            told.in_elements,
            told.out_elements,
            *texts,
            told.size,
            told.sequence,
        )

    def _thread(self, event: Event) -> int:
        """Return the global id of the event's thread, giving a number to one too large for it.

        Kineto names a thread it was not told of by 32 bits of its pthread id; a global id has room
        for 24. Such threads are numbered downwards from the largest, above any number of Linux's.
        """
        process, thread = event.get("pid"), event.get("tid")
        key = fields.hashable(process), fields.hashable(thread)
        known = self._threads.get(key)
        if known is not None:
            return known
        if not is_process(process):
            raise Unusable("no process")
        if not isinstance(thread, int) or not 0 <= thread < LARGEST_NATIVE:
            number = RENUMBERED_FROM - len(self.renumbered)
            if number < LARGEST_NATIVE:
                raise Unusable("no room for one more unnumbered thread")
            self.renumbered[f"{process} {thread}"] = number
            thread = number
        known = self._threads[key] = HOST | process << ID_BITS | thread
        return known

    @property
    def staged(self) -> bool:
        """Whether any event has become a row."""
        return self._staged > 0

    @property
    def threads(self) -> Mapping[tuple[object, object], int]:
        """The global id of each thread that events were recorded on, by process and thread."""
        return self._threads


def is_process(value: object) -> TypeGuard[int]:
    """Return whether a value of a trace is a process id that a global id has room for."""
    return isinstance(value, int) and 0 <= value < 1 << ID_BITS
