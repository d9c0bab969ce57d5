"""The fields of one event of a PyTorch trace, in the types and codes of a report.

Fields come and go between versions of PyTorch: each reader says what stands in for a missing one.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, overload

from analysis.arithmetic.sensible_times import FARTHEST_NS, LONGEST_NS

Event = Mapping[str, object]
Row = tuple[object, ...]

COPY_NAME: Final = re.compile(r"Memcpy (\w+)(?: \((.+) -> (.+)\))?")
FILL_NAME: Final = re.compile(r"Memset \((.+)\)")
COPY_KINDS: Final = (
    "", "HtoD", "DtoH", "HtoA", "AtoH", "AtoA", "AtoD", "DtoA", "DtoD", "HtoH", "PtoP"
)  # fmt: skip
MEMORY_KINDS: Final = (
    "Pageable", "Pinned", "Device", "Array", "Managed", "Device Static", "Managed Static", "Unknown"
)  # fmt: skip
WAIT_KINDS: Final = ("", "Event Sync", "Stream Wait Event", "Stream Sync", "Context Sync")
"""Kineto's names, each at the number that nsys gives it (0 and 7 are unknown)."""

OPENING: Final = "<({["
CLOSING: Final = ">)}]"
UNNAMED: Final = "(anonymous namespace)"


MOST_DIGITS: Final = 19
"""Of a time in microseconds before the point: what has more is no time, and slow to write out."""

EARLIEST_NS: Final = -LONGEST_NS
"""Of an event, from the trace's base: an earlier one would put the others impossibly far away."""


NO_TIMES: Final = "no times"
NEGATIVE: Final = "negative duration"
UNTIMED: Final = (NO_TIMES, NEGATIVE)
"""Why an event is left out that should count; other reasons are those of what has no place."""


class Unusable(Exception):
    """An event lacks something that its row needs; the message says what."""


def nanoseconds(microseconds: object) -> int:
    """Return a trace's decimal microseconds as nanoseconds, exactly; a smaller fraction is rounded.

    >>> nanoseconds("6322354305188.13"), nanoseconds(4), nanoseconds("1.5e3")
    (6322354305188130, 4000, 1500000)
    """
    if isinstance(microseconds, int):
        return microseconds * 1000
    if not isinstance(microseconds, str):
        raise Unusable(NO_TIMES)
    whole, _, fraction = microseconds.partition(".")
    try:
        if fraction.isdecimal() and len(fraction) <= 3:
            return int(whole + fraction.ljust(3, "0"))
        exact = Decimal(microseconds)
        if exact.adjusted() < MOST_DIGITS:  # 1e900000 takes seconds to be written out
            return int((exact * 1000).to_integral_value())
    except (ValueError, ArithmeticError):
        pass
    raise Unusable(NO_TIMES)


def span(event: Event) -> tuple[int, int]:
    """Return the start and the end of an event, in nanoseconds from the trace's own base."""
    start, duration = nanoseconds(event.get("ts")), nanoseconds(event.get("dur"))
    if duration < 0:
        raise Unusable(NEGATIVE)
    if not EARLIEST_NS <= start <= FARTHEST_NS or duration > LONGEST_NS:
        raise Unusable(NO_TIMES)
    return start, start + duration


def instant(event: Event) -> int:
    """Return the time of an event without duration, in nanoseconds from the trace's own base."""
    at = nanoseconds(event.get("ts"))
    if not EARLIEST_NS <= at <= FARTHEST_NS:
        raise Unusable(NO_TIMES)
    return at


def gpu_place(event: Event, args: Event) -> tuple[int, int, int, int | None, int | None]:
    """Return device, context, stream, correlation id and graph node of work on a GPU.

    Kineto gives the device as process and the stream as thread, too; a copy between two devices
    has no `device`, but the one it ran `in`.
    """
    device = args.get("device", args.get("inDevice", event.get("pid")))
    return (
        integer(device, 0),
        integer(args.get("context", args.get("inContext")), 0),
        integer(args.get("stream", event.get("tid")), 0),
        integer(args.get("correlation")),
        integer(args.get("graph node id"), 0) or None,
    )


def name(event: Event) -> str:
    """Return the event's name."""
    found = event.get("name")
    if not isinstance(found, str):
        raise Unusable("no name")
    return text(found)


def text(value: object) -> str:
    """Return a value as text that SQLite takes: half a surrogate pair is none."""
    found = str(value)
    return found if found.isascii() else found.encode("utf-8", "replace").decode("utf-8")


def base_name(name: str) -> str:
    """Return the base name of a demangled kernel, as nsys gives it in ``shortName``.

    A name without arguments in parentheses is no C++ signature (Triton's, cuBLAS's) and stays; so
    does one whose brackets do not match.

    >>> base_name("void at::native::(anonymous namespace)::cat<float, 4>(char*, int)")
    'cat'
    >>> base_name("triton_poi_fused_add_0")
    'triton_poi_fused_add_0'
    """
    begin, end, depth, at = 0, -1, 0, 0
    while at < len(name):
        letter = name[at]
        if depth == 0 and letter == "(":
            if not name.startswith(UNNAMED, at):
                return name[begin : at if end < 0 else end] or name
            at += len(UNNAMED)
            continue
        if letter in OPENING:
            if depth == 0:
                end = at
            depth += 1
        elif letter in CLOSING:
            depth -= 1
            if depth < 0:
                return name
        elif depth == 0 and letter in ": ":
            begin, end = at + 1, -1
        at += 1
    return name


@overload
def integer(value: object) -> int | None: ...


@overload
def integer(value: object, default: int) -> int: ...


def integer(value: object, default: int | None = None) -> int | None:
    """Return a number that SQLite can hold, else ``default``."""
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return int(value)
    return default


def triple(value: object) -> tuple[int, int, int]:
    """Return the three sizes of a grid or block, 1 for each that is missing."""
    numbers = list(value)[:3] if isinstance(value, list) else []
    x, y, z = (integer(number, 1) for number in [*numbers, 1, 1, 1][:3])
    return x, y, z


def code_of(kinds: Sequence[str], name: object, unknown: int) -> int:
    """Return nsys's code of a kind of copy, memory or wait: its place among the kinds."""
    return kinds.index(name) if isinstance(name, str) and name in kinds else unknown


def hashable(value: object) -> object:
    """Return a process or thread id as a key: some traces have text there, or anything else."""
    return value if isinstance(value, int | str) else str(value)
