"""The records of layer times: a JSON list of runs, with the keys of these classes.

``python -m profiling.model_timing`` writes them. Times are seconds in the file; in the figures made
of them whole nanoseconds. What a record does not tell is null, or not there: the GPU's times on a
CPU, and the parts of attention in records made before they were split.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

import msgspec

from analysis.show.errors import ReportError
from analysis.source.json_files import checked, left_out, read_json

ATTN: Final = "attn"
ATTN_FORWARD: Final = "attn_forward"
FFN: Final = "ffn"
ON_GPU: Final = "_cuda"
"""What the key of a GPU's time ends in, after that of the host's."""

Seconds = Annotated[float, msgspec.Meta(ge=0, lt=1e9)]
Count = Annotated[int, msgspec.Meta(gt=0, lt=1 << 53)]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The times of one layer in one run; on a GPU those of the host are of the launching.

    Attributes:
        attn: the first half, attention with its norm and residual.
        ffn: the second half.
        attn_details: the parts of attention, each on the host and, with `ON_GPU`, on the GPU.
    """

    attn: Seconds
    attn_cuda: Seconds | None = None
    ffn: Seconds
    ffn_cuda: Seconds | None = None
    attn_details: dict[str, Seconds | None] | None = None

    @cached_property
    def parts_ns(self) -> dict[str, dict[str, int]]:
        """The times of the parts by clock, ``cpu`` or ``gpu``, and by name."""
        found: dict[str, dict[str, int]] = {"cpu": {}, "gpu": {}}
        halves = {ATTN: self.attn, ATTN + ON_GPU: self.attn_cuda}
        halves |= {FFN: self.ffn, FFN + ON_GPU: self.ffn_cuda}
        for name, seconds in (halves | (self.attn_details or {})).items():
            if seconds is not None:
                clock = "gpu" if name.endswith(ON_GPU) else "cpu"
                found[clock][name.removesuffix(ON_GPU)] = round(seconds * 1e9)
        return found


@dataclass(frozen=True, kw_only=True)
class Run:
    """The times of one forward pass; ``total_time`` is the host's."""

    timestamp: str = ""
    batch_size: Count
    input_len: Count
    total_time: Seconds
    layer_details: Annotated[list[Layer], msgspec.Meta(min_length=1)]

    @property
    def total_ns(self) -> int:
        """The time of the whole pass on the host."""
        return round(self.total_time * 1e9)

    @property
    def source(self) -> str:
        """The clock whose times count: ``gpu`` where every layer has its times, else ``cpu``."""
        seen = (layer.parts_ns["gpu"] for layer in self.layer_details)
        return "gpu" if all(ATTN in parts and FFN in parts for parts in seen) else "cpu"

    def parts_ns(self, source: str) -> list[dict[str, int]]:
        """Return the times of the parts of each layer, by one of the two clocks."""
        return [layer.parts_ns[source] for layer in self.layer_details]


def read(path: Path) -> tuple[list[Run], list[str]]:
    """Return the runs of a file, and a line on each record that holds no run.

    Raises:
        ReportError: the file cannot be read, or holds no run at all.
    """
    remedy = "give a file that profiling.model_timing wrote"
    content = read_json(path, remedy)
    if not isinstance(content, list):
        raise ReportError(path, "no list of records", remedy)
    runs, wrong = [], []
    for index, value in enumerate(content):
        try:
            runs.append(checked(value, Run))
        except ValueError as error:
            wrong.append(f"record {index}: {error}")
    if not runs:
        why = wrong[0] if wrong else "the list is empty"
        raise ReportError(path, f"no layer times ({why})", remedy)
    return runs, left_out(path, wrong, "records")
