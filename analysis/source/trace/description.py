"""The tables that describe a recording beside its events: threads, GPUs, times, the recorder."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from analysis.source.trace import fields, schema
from analysis.source.trace.events import Staging
from analysis.source.trace.payloads import insert_costs

PRODUCT: Final = "PyTorch profiler, converted by spanlight"

EARLIEST_NS: Final = 1_262_304_000_000_000_000
LATEST_NS: Final = 4_102_444_800_000_000_000
"""2010 and 2100: a start outside is a clock that does not count from 1970."""

GPU_FIELDS: Final[Mapping[str, str]] = {
    "id": "id",
    "name": "name",
    "totalMemory": "totalGlobalMem",
    "smCount": "numSms",
    "cuDevice": "id",
    "maxRegistersPerBlock": "regsPerBlock",
    "maxShmemPerBlock": "sharedMemPerBlock",
    "maxShmemPerBlockOptin": "sharedMemPerBlockOptin",
    "maxShmemPerSm": "sharedMemPerMultiprocessor",
    "maxRegistersPerSm": "regsPerMultiprocessor",
    "threadsPerWarp": "warpSize",
    "maxThreadsPerBlock": "maxThreadsPerBlock",
    "computeMajor": "computeMajor",
    "computeMinor": "computeMinor",
    "smMajor": "computeMajor",
    "smMinor": "computeMinor",
}
"""Columns of TARGET_INFO_GPU, and PyTorch's names for them."""


def insert_description(
    connection: sqlite3.Connection,
    staging: Staging,
    metadata: Mapping[str, object],
    origin: int,
) -> None:
    """Write the tables that describe the recording, and the strings of all tables."""
    _insert_thread_names(connection, staging)
    schema.insert(connection, "StringIds", ((at, name) for name, at in staging.names.items()))
    _insert_gpus(connection, metadata.get("deviceProperties"))
    insert_costs(connection, metadata.get("toolkit_costs"))
    base = metadata.get("baseTimeNanoseconds")
    started = origin + (base if isinstance(base, int) else 0)
    if EARLIEST_NS < started < LATEST_NS:
        text = datetime.fromtimestamp(started // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        schema.insert(connection, "TARGET_INFO_SESSION_START_TIME", [(started, text, None)])
    numbers = schema.VERSION
    schema.insert(
        connection,
        "META_DATA_EXPORT",
        [
            ("EXPORT_PRODUCT_NAME", PRODUCT),
            ("EXPORT_PRODUCT_VERSION", _version()),
            ("EXPORT_SCHEMA_VERSION", ".".join(map(str, numbers))),
            ("EXPORT_SCHEMA_VERSION_MAJOR", str(numbers[0])),
            ("EXPORT_SCHEMA_VERSION_MINOR", str(numbers[1])),
            ("EXPORT_SCHEMA_VERSION_MICRO", str(numbers[2])),
        ],
    )


def run_rows(
    trace: str, staging: Staging, metadata: Mapping[str, object], converted: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Return the rows of TOOLKIT_RUN: the recorder, the rank, what was converted and left out."""
    rows: dict[str, object] = {"recorder": "torch", "trace": trace}
    distributed = metadata.get("distributedInfo")
    if isinstance(distributed, dict):
        rows |= {key: distributed[key] for key in ("rank", "world_size") if key in distributed}
    rows["converted"] = json.dumps(dict(converted))
    rows["left_out"] = json.dumps(dict(staging.left_out.most_common()))
    if staging.renumbered:
        rows["renumbered_threads"] = json.dumps(staging.renumbered)
    return [(key, fields.text(value)) for key, value in rows.items()]


def _insert_thread_names(connection: sqlite3.Connection, staging: Staging) -> None:
    """Name the threads that have events: Kineto may give several names, ``python`` among them."""
    rows: list[tuple[int, None, int]] = []
    for key, thread in staging.threads.items():
        names = [_thread_name(name, key[1]) for name in staging.thread_names.get(key, ())]
        if not names and f"{key[0]} {key[1]}" in staging.renumbered:
            names = [fields.text(f"thread {key[1]}")]
        if names:
            telling = next((name for name in names if name != "python"), names[0])
            rows.append((staging.name_id(telling), None, thread))
    if rows:
        schema.insert(connection, "ThreadNames", rows)


def _thread_name(name: str, thread: object) -> str:
    """Return ``pt_autograd_0`` for ``thread 155 (pt_autograd_0)``."""
    prefix = f"thread {thread} ("
    return name[len(prefix) : -1] if name.startswith(prefix) and name.endswith(")") else name


def _insert_gpus(connection: sqlite3.Connection, devices: object) -> None:
    rows = (
        [device for device in devices if isinstance(device, dict) and has_id(device)]
        if isinstance(devices, list)
        else []
    )
    if not rows:
        return
    schema.create(connection, "TARGET_INFO_GPU")
    marks = ", ".join("?" * len(GPU_FIELDS))
    connection.executemany(
        f"INSERT INTO TARGET_INFO_GPU (vmId, {', '.join(GPU_FIELDS)}) VALUES (0, {marks})",
        [[_cell(device.get(field)) for field in GPU_FIELDS.values()] for device in rows],
    )


def has_id(device: Mapping[str, object]) -> bool:
    """Return whether a device has the number that its row must have."""
    return fields.integer(device.get(GPU_FIELDS["id"])) is not None


def _cell(value: object) -> str | int | None:
    """Return a property of a device as SQLite takes it: text, a whole number, or nothing."""
    return fields.text(value) if isinstance(value, str) else fields.integer(value)


def _version() -> str:
    try:
        return version("spanlight")
    except PackageNotFoundError:
        return "unknown"
