"""Damaged PyTorch traces, each a real one cut to some events, with one value changed."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any, Final

EVENTS: Final = 500

LITERALS: Final = (
    *("1e999999", "1e900000", "-1e400", "1e-900000", "NaN", "Infinity", "null", "true", "0.5"),
    *(str(number) for number in (2**63, -(2**63), 2**62, 10**30, -1, 0, 2**24, 10**18)),
    *("9" * 4000, "9" * 5000),
    *(
        '"abc"',
        '"1e900000"',
        '"\\ud800"',
        '"\\u001b[31mred\\r\\nerror: forged"',
        "[]",
        "{}",
        "[1, 2]",
    ),
)
"""What a value is replaced by: JSON, or what Python's decoder takes for it."""

FIELDS: Final = ("ts", "dur", "tid", "pid", "name", "cat", "ph", "args")
ARGUMENTS: Final = (
    *("correlation", "device", "stream", "context", "bytes", "grid", "graph node id"),
    *("Sequence number", "Fwd thread id", "registers per thread", "External id", "labels"),
)
METADATA: Final = ("deviceProperties", "distributedInfo", "baseTimeNanoseconds", "schemaVersion")


def first_events(trace: Path) -> dict[str, Any]:
    """Return a trace with as many of its events as `EVENTS`, of all kinds, in their order."""
    whole = json.loads(gzip.decompress(trace.read_bytes()), parse_float=str)
    events = whole["traceEvents"]
    step = max(1, len(events) // EVENTS)
    return {**whole, "traceEvents": events[::step][:EVENTS]}


def mutant_trace(base: dict[str, Any], seed: int, path: Path) -> str:
    """Write a trace with one value, or one field of all events, changed; return which.

    Args:
        base: the trace, as JSON says it; it stays as it is.
        seed: chooses the change.
        path: where to.
    """
    chance = random.Random(seed)
    literal = chance.choice(LITERALS)
    changed = json.loads(json.dumps(base))
    events = changed["traceEvents"]
    where = chance.choice(("event", "event", "argument", "all", "metadata", "bytes"))
    name = where
    if where == "metadata":
        name = chance.choice(METADATA)
        value = changed.get(name)
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and chance.random() < 0.8:
            inner[chance.choice(list(inner))] = MARK
        else:
            changed[name] = MARK
    elif where != "bytes":
        field = chance.choice(ARGUMENTS if where == "argument" else FIELDS)
        name = f"{where} {field}"
        chosen = events if where == "all" else chance.sample(events, 20)
        for event in chosen:
            (event.setdefault("args", {}) if where == "argument" else event)[field] = MARK
    text = json.dumps(changed).replace(f'"{MARK}"', literal)
    content = bytearray(text.encode())
    if where == "bytes":
        for _ in range(8):
            content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)
    return f"{name} = {literal[:40]}"


MARK: Final = "@changed@"
