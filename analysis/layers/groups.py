"""Runs of one configuration together, and the parts that a run divides into without a gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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

    @property
    def totals_ns(self) -> Float64:
        """``(runs,)`` the host's time of each run."""
        return np.array([run.total_ns for run in self.runs], np.float64)

    def names(self, source: str) -> tuple[str, ...]:
        """Return the parts that every layer of every run has, in the order of the file."""
        sets = [layer.keys() for run in self.runs for layer in run.parts_ns(source)]
        return tuple(name for name in sets[0] if all(name in known for known in sets))

    def by_layer_ns(self, part: str, source: str | None = None) -> Float64:
        """Return ``(runs, layers)`` the time of a part in each layer; `TOTAL`: of both halves.

        What a clock has not seen is NaN.
        """
        chosen = source or self.source
        pieces = (ATTN, FFN) if part == TOTAL else (part,)
        return np.array(
            [
                [
                    sum(layer.get(piece, np.nan) for piece in pieces)
                    for layer in run.parts_ns(chosen)
                ]
                for run in self.runs
            ],
            np.float64,
        )

    def part_ns(self, part: str, source: str | None = None) -> Float64:
        """Return ``(runs,)`` the time of a part over all layers; derived parts too."""
        if part == TOTAL:
            return self.totals_ns
        if part == OTHER:
            other: Float64 = self.totals_ns - self.by_layer_ns(TOTAL, source).sum(axis=1)
            return other
        if part == AROUND:
            return self.part_ns(ATTN, source) - self.part_ns(ATTN_FORWARD, source)
        if part == REST:
            rest = self.part_ns(ATTN_FORWARD, source)
            for name in self.details(source or self.source):
                rest = rest - self.part_ns(name, source)
            return rest
        result: Float64 = self.by_layer_ns(part, source).sum(axis=1)
        return result

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

    def bottleneck(self) -> tuple[str, float]:
        """Return what takes longest of a run, attention, FFN or the rest, and its share."""
        return self.longest(part for part, within, _ in self.tree() if within == TOTAL)

    def within_attention(self) -> tuple[str, float] | None:
        """Return the undivided part of attention that takes longest, and its share of the run.

        None where attention is not divided.
        """
        parts = [part for part, within, whole in self.tree() if within != TOTAL and whole]
        return self.longest(parts) if parts else None

    def longest(self, parts: Iterable[str]) -> tuple[str, float]:
        """Return which of some parts takes longest, the first of equals, and its share."""
        means = {part: float(self.part_ns(part).mean()) for part in parts}
        part = max(means, key=means.__getitem__)
        return part, ratio(means[part], float(self.totals_ns.mean()))

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
    ordered = sorted(found, key=lambda key: (places[key[0]], *key[1:]))
    return [
        Group(
            file, batch, length, layers, source, tuple(found[file, layers, source, batch, length])
        )
        for file, layers, source, batch, length in ordered
    ]


def ratio(part: float, whole: float) -> float:
    """Return the share that a part is of the whole; NaN where the whole is 0."""
    return part / whole if whole else float("nan")


def deviation(values: Float64) -> float:
    """Return the sample's deviation (n - 1); 0.0 for one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0
