"""The payloads of our spans beside a trace: the FLOPs of each range, the costs of each name.

Kineto keeps no NVTX payload. So the spans keep theirs, in order of opening per thread and name,
and the launcher stores that list in the trace's metadata. Here the k-th annotation of a thread and
name gets the k-th entry.
"""

import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from analysis.show.counts import plural
from analysis.source.trace import fields, schema
from analysis.source.trace.source import TraceError

PAYLOADS: Final = "toolkit_payloads"
"""Where the launcher stores the list in the trace's metadata."""

COLUMNS = 'start, "end", eventType, text, globalTid, domainId, int64Value'


def pair_payloads(
    connection: sqlite3.Connection, payloads: object, unpaired: dict[str, int] | None = None
) -> None:
    """Stage the payloads of annotations, once it is certain that each has its annotation.

    Args:
        connection: of the report, with the staged annotations attached.
        payloads: ``{thread: {name: [flops or null, ...]}}``, its JSON text, or nothing. A name that
            is not in it at all has no payloads.
        unpaired: where given, payloads that cannot be paired are counted here and left out.

    Raises:
        TraceError: a thread and name has more or fewer annotations than payloads.
    """
    connection.execute(
        "CREATE TABLE staging.payload (native_thread, text, place, flops, "
        "PRIMARY KEY (native_thread, text, place)) WITHOUT ROWID"
    )
    if payloads is not None:
        connection.executemany(
            "INSERT INTO staging.payload VALUES (?, ?, ?, ?)",
            _entries(connection, payloads, unpaired),
        )


def insert_annotations(connection: sqlite3.Connection, origin: int) -> int:
    """Write NVTX_EVENTS, each with its payload, and return how many there are."""
    schema.create(connection, "NVTX_EVENTS")
    # In order of opening: of two that start together, the one that ends later was opened first.
    done = connection.execute(
        f"INSERT INTO NVTX_EVENTS ({COLUMNS}) "
        "SELECT a.start - ?, a.stop - ?, ?, a.text, a.thread, 0, p.flops FROM ("
        "SELECT *, rowid AS input, row_number() OVER (PARTITION BY native_thread, text "
        "ORDER BY start, stop DESC, rowid) - 1 AS place FROM staging.annotation) a "
        "LEFT JOIN staging.payload p USING (native_thread, text, place) "
        "ORDER BY a.start, a.stop DESC, a.input",
        (origin, origin, schema.PUSH_POP),
    )
    return done.rowcount


def insert_costs(connection: sqlite3.Connection, costs: object) -> None:
    """Write TOOLKIT_RANGE_COST from ``[[name, flops, bytes, elements], ...]``, or its JSON text.

    Raises:
        TraceError: the costs are something else.
    """
    if costs is None:
        return
    rows = _decoded(costs, "toolkit_costs")
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == 4 and isinstance(row[0], str) for row in rows
    ):
        raise _unreadable("toolkit_costs")
    schema.insert(
        connection,
        "TOOLKIT_RANGE_COST",
        [
            (fields.text(row[0]), *(_whole(number, "toolkit_costs") for number in row[1:]))
            for row in rows
        ],
    )


def _entries(
    connection: sqlite3.Connection, payloads: object, unpaired: dict[str, int] | None
) -> Iterator[tuple[str, str, int, int | None]]:
    threads = _decoded(payloads, PAYLOADS)
    if not isinstance(threads, dict):
        raise _unreadable(PAYLOADS)
    recorded: dict[tuple[str, str], int] = {
        (thread, text): count
        for thread, text, count in connection.execute(
            "SELECT native_thread, text, count(*) FROM staging.annotation GROUP BY 1, 2"
        )
    }
    for thread, names in threads.items():
        if not isinstance(names, dict):
            raise _unreadable(PAYLOADS)
        for name, values in names.items():
            if not isinstance(values, list):
                raise _unreadable(PAYLOADS)
            found = recorded.get((fields.text(thread), fields.text(name)), 0)
            if found != len(values):
                calls, given = plural(found, "annotation"), plural(len(values), "payload")
                what = f"thread {thread} has {calls} called {name!r} but {given}"
                if unpaired is None:
                    raise TraceError(f"{what}; record again, all of the run or none of it")
                unpaired[what] = len(values)
                continue
            for place, value in enumerate(values):
                yield fields.text(thread), fields.text(name), place, _whole(value, PAYLOADS)


def _decoded(value: object, key: str) -> object:
    """Return the value, which some versions of PyTorch store as JSON inside a string."""
    if not isinstance(value, str):
        return value
    try:
        decoded: object = json.loads(value)
    except json.JSONDecodeError as error:
        raise _unreadable(key) from error
    return decoded


def _whole(value: object, key: str) -> int | None:
    """Return a whole number; the reader of the trace leaves those with an exponent as text."""
    if value is None:
        return None
    try:
        number = Decimal(value) if isinstance(value, int | str) else Decimal("NaN")
        if number.adjusted() > fields.MOST_DIGITS:  # 1e900000 takes seconds to be written out
            raise _unreadable(key)
        whole = int(number)
    except (ValueError, ArithmeticError) as error:
        raise _unreadable(key) from error
    if whole != number or not -(1 << 63) <= whole < 1 << 63:
        raise _unreadable(key)
    return whole


def _unreadable(key: str) -> TraceError:
    return TraceError(
        f"{key} in the trace's metadata is not what this version writes; record the trace again"
    )
