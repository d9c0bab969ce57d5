"""Runs of one configuration together, and the parts that a run divides into without a gap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.arithmetic.arrays import Float64
from analysis.layers.records import ATTN, ATTN_FORWARD, FFN, Run

TOTAL: Final = "total"
OTHER: Final = "other"
"""What of a run is in no layer: embedding, final norm, head, and on a GPU the first launch."""
AROUND: Final = "attn_norm_residual"
"""What of `ATTN` is not the module's call: the norm before it and the addition after it."""
REST: Final = "attn_forward_rest"
"""What of the module's call is in none of its parts: reshaping, the cache, the hooks."""


@dataclass(frozen=True)
class Group:
    """The runs of one configuration: model, batch and length.

    Attributes:
        file: they are from.
        layers: how many the model has.
        source: whose times count, ``gpu`` or ``cpu``.
    """

    file: str
    batch_size: int
    input_len: int
    layers: int
    source: str
    runs: tuple[Run, ...]

    def names(self, source: str) -> tuple[str, ...]:
        """Return the parts that every layer of every run has, in the order of the file."""
        sets = [layer.keys() for run in self.runs for layer in run.parts_ns(source)]
        return tuple(name for name in sets[0] if all(name in known for known in sets))

    def by_layer_ns(self, part: str, source: str | None = None) -> Float64:
        """Return ``(runs, layers)`` the time of a part in each layer; `TOTAL`: of both halves.

        What a clock has not seen is NaN.
        """
        pieces = (ATTN, FFN) if part == TOTAL else (part,)
        return np.array(
            [
                [sum(layer.get(piece, np.nan) for piece in pieces) for layer in layers]
                for layers in (run.parts_ns(source or self.source) for run in self.runs)
            ],
            np.float64,
        )

    def part_ns(self, part: str, source: str | None = None) -> Float64:
        """Return ``(runs,)`` the time of a part over all layers; derived parts too.

        That of `TOTAL` is the host's, whatever the source.
        """
        if part == TOTAL:
            return np.array([run.total_ns for run in self.runs], np.float64)
        differences = {
            OTHER: (TOTAL, ATTN, FFN),
            AROUND: (ATTN, ATTN_FORWARD),
            REST: (ATTN_FORWARD, *self.details(source or self.source)),
        }
        if part not in differences:
            result: Float64 = self.by_layer_ns(part, source).sum(axis=1)
            return result
        whole, *others = (self.part_ns(name, source) for name in differences[part])
        for other in others:
            whole = whole - other
        return whole

    def mean_ns(self, part: str, source: str | None = None) -> float:
        """Return the mean of `part_ns` over the runs."""
        return float(self.part_ns(part, source).mean())

    def share(self, part: str) -> float:
        """Return the share of a part in the mean run; NaN where that takes no time."""
        return ratio(self.mean_ns(part), self.mean_ns(TOTAL))

    def details(self, source: str) -> tuple[str, ...]:
        """Return the parts that the attention module's call is split into."""
        return tuple(n for n in self.names(source) if n not in {ATTN, ATTN_FORWARD, FFN})

    def tree(self) -> Iterator[tuple[str, str, bool]]:
        """Yield each part, the part that it belongs to, and whether it is divided no further."""
        names, details = self.names(self.source), self.details(self.source)
        has_call = ATTN_FORWARD in names
        yield ATTN, TOTAL, not has_call
        if has_call:
            yield AROUND, ATTN, True
            yield ATTN_FORWARD, ATTN, not details
            for detail in details:
                yield detail, ATTN_FORWARD, True
            if details:
                yield REST, ATTN_FORWARD, True
        yield FFN, TOTAL, True
        yield OTHER, TOTAL, True

    def bottleneck(self) -> str:
        """Return what takes longest of a run, the first of equals: attention, FFN or the rest."""
        return max((part for part, within, _ in self.tree() if within == TOTAL), key=self.mean_ns)

    def within_attention(self) -> str | None:
        """Return the undivided part of attention that takes longest; None where there is none."""
        parts = [part for part, within, whole in self.tree() if within != TOTAL and whole]
        return max(parts, key=self.mean_ns, default=None)

    def slowest(self) -> tuple[int, float]:
        """Return the layer that takes longest, and its mean time in nanoseconds."""
        means = self.by_layer_ns(TOTAL).mean(axis=0)
        return int(means.argmax()), float(means.max())


def groups(files: Mapping[str, Sequence[Run]]) -> list[Group]:
    """Return the runs by file, model and configuration, the smallest configuration first."""
    found: dict[tuple[str, int, str, int, int], list[Run]] = {}
    for file, runs in files.items():
        for run in runs:
            key = (file, len(run.layer_details), run.source, run.batch_size, run.input_len)
            found.setdefault(key, []).append(run)
    places = {file: place for place, file in enumerate(files)}
    return [
        Group(file, batch, length, layers, source, tuple(runs))
        for (file, layers, source, batch, length), runs in sorted(
            found.items(), key=lambda item: (places[item[0][0]], *item[0][1:])
        )
    ]


def ratio(part: float, whole: float) -> float:
    """Return the share that a part is of the whole; NaN where the whole is 0."""
    return part / whole if whole else float("nan")
