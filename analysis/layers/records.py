"""Read the layer times that ``python -m profiling.model_timing`` writes.

Times are seconds in the file and whole nanoseconds here. What a record does not tell is left out of
its parts: the GPU's times on a CPU, and the parts of attention in records made before they were
split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analysis.show.errors import ReportError

ATTN: Final = "attn"
ATTN_FORWARD: Final = "attn_forward"
FFN: Final = "ffn"
ON_GPU: Final = "_cuda"
"""What the key of a GPU's time ends in, after that of the host's."""

_LISTED: Final = 10
"""How many malformed records of a file are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The times of the parts of one layer in one run, by name.

    Attributes:
        cpu_ns: on the host; on a GPU that is the launching.
        gpu_ns: on the GPU; empty on a CPU.
    """

    cpu_ns: dict[str, int]
    gpu_ns: dict[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """The times of one forward pass; ``total_ns`` is the host's."""

    batch_size: int
    input_len: int
    total_ns: int
    layers: tuple[Layer, ...]

    @property
    def source(self) -> str:
        """The clock whose times count: ``gpu`` where every layer has its times, else ``cpu``."""
        both = all(ATTN in layer.gpu_ns and FFN in layer.gpu_ns for layer in self.layers)
        return "gpu" if both else "cpu"

    def parts_ns(self, source: str) -> list[dict[str, int]]:
        """Return the times of the parts of each layer, by one of the two clocks."""
        return [layer.gpu_ns if source == "gpu" else layer.cpu_ns for layer in self.layers]


def read(path: Path) -> tuple[list[Run], list[str]]:
    """Return the runs of a file, and a line on each record that holds no run.

    Raises:
        ReportError: the file cannot be read, or holds no run at all.
    """
    remedy = "give a file that profiling.model_timing wrote"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ReportError(path, f"cannot be read ({reason})", remedy) from None
    except (ValueError, RecursionError):
        raise ReportError(path, "no JSON", remedy) from None
    if not isinstance(content, list):
        raise ReportError(path, "no list of records", remedy)
    runs, wrong = [], []
    for index, value in enumerate(content):
        try:
            runs.append(run_of_record(value))
        except ValueError as error:
            wrong.append(f"{path}: record {index}: {error}; left out")
    if not runs:
        why = wrong[0].removeprefix(f"{path}: ") if wrong else "the list is empty"
        raise ReportError(path, f"no layer times ({why.removesuffix('; left out')})", remedy)
    if more := len(wrong) - _LISTED:
        wrong[_LISTED:] = [f"{path}: {more:,} more records left out"] if more > 0 else []
    return runs, wrong


def run_of_record(value: object) -> Run:
    """Return the run that a record holds.

    Raises:
        ValueError: something is not there, or not a time.
    """
    record = _object(value, "it")
    layers = record.get("layer_details")
    if not isinstance(layers, list) or not layers:
        raise ValueError("layer_details is no list of layers")
    return Run(
        _count(record, "batch_size"),
        _count(record, "input_len"),
        _needed(record, "total_time", "total_time"),
        tuple(_layer(layer, f"layer {number}") for number, layer in enumerate(layers)),
    )


def _layer(value: object, where: str) -> Layer:
    layer = _object(value, where)
    details = layer.get("attn_details")
    parts = {key: layer.get(key) for key in (ATTN, ATTN + ON_GPU, FFN, FFN + ON_GPU)}
    parts |= _object(details, f"{where}: attn_details") if details is not None else {}
    found = Layer({}, {})
    for key, seconds in parts.items():
        if seconds is not None:
            into = found.gpu_ns if key.endswith(ON_GPU) else found.cpu_ns
            into[key.removesuffix(ON_GPU)] = _needed(parts, key, f"{where}: {key}")
    for half in (ATTN, FFN):
        if half not in found.cpu_ns:
            raise ValueError(f"{where}: {half} is not there")
    return found


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value


def _count(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key)
    if type(value) is not int or not 0 < value < 1 << 53:
        raise ValueError(f"{key} is no positive whole number")
    return value


def _needed(record: Mapping[str, Any], key: str, where: str) -> int:
    seconds: Any = record.get(key)
    # Not NaN either: that is not in between.
    if type(seconds) not in {int, float} or not 0 <= seconds < 1e9:
        raise ValueError(f"{where} is no time in seconds")
    return round(float(seconds) * 1e9)
