"""What a run takes, recorded or predicted."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.arithmetic.arrays import Int64


@dataclass(frozen=True)
class Times:
    """What a run takes.

    Attributes:
        whole_ns: from the first launch to the last end; on a CPU from the first operator.
        step_ns: ``(S,)`` each step that counts, in the process where it takes longest.
        took_ns: ``(M,)`` each piece of device work; on a CPU each operator by itself.
        end_ns: ``(M,)`` when device work ends, from some origin; empty on a CPU.
    """

    whole_ns: int
    step_ns: Int64
    took_ns: Int64
    end_ns: Int64


@dataclass(frozen=True)
class Blind:
    """The blind replay of a run: waits and starts withheld, means in their place.

    Attributes:
        window_ns: the time from the first launch to the last end, as recorded.
        replayed_ns: the same time in the blind replay.
    """

    window_ns: int
    replayed_ns: int

    @property
    def error(self) -> float:
        """By how much the replay is longer than the recording, as a share; negative if shorter."""
        return self.replayed_ns / max(self.window_ns, 1) - 1
