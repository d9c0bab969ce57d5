"""Whether a report fails a gate: whether its steps take too much longer than another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from analysis.compare.changes import relative_change
from analysis.compare.rows import NOISE, UNJUDGED
from analysis.compare.show import Row
from analysis.compare.sides import BUSY, WALL
from analysis.show.called import called
from analysis.show.errors import ReportError
from analysis.show.render import duration

DOUBTS: Final = {
    NOISE: "; the steps differ among themselves by so much that it may be chance: record more",
    UNJUDGED: "; with fewer than two steps nobody knows whether by chance",
}
"""What to say of a gate that failed on a difference of that status."""


def gate(
    totals: Mapping[str, Row],
    limit: float,
    paths: Sequence[str],
    queued_ns: tuple[float, float] = (0.0, 0.0),
) -> str:
    """Return why AFTER fails the gate, or nothing if it passes.

    Args:
        totals: rows of kind ``total`` by name.
        limit: percent.
        queued_ns: see `Compared`. Kernels of one stream that grew into one another keep a GPU busy
            for no longer, and yet are slower: that is judged too.
        paths: of the two reports, for the error.

    Raises:
        ReportError: in one of them nothing was measured, so it cannot be judged.
    """
    name = BUSY if BUSY in totals else WALL
    row = totals[name]
    before, after = float(row["before_ns"]), float(row["after_ns"])
    for path, time in zip(paths, (before, after), strict=True):
        if not time:
            raise ReportError(path, f"no {name} time, so no gate", "see the notes on what is left")
    queue = {"before_ns": queued_ns[0], "after_ns": queued_ns[1]}
    if not exceeds(row, limit) and exceeds(queue, limit) and name == BUSY:
        change = relative_change(queued_ns[1] / queued_ns[0]) if queued_ns[0] else "none before"
        return (
            f"gate failed: kernels of one stream, one after the other, take {change}, more than "
            f"the {limit:g} % allowed"
        )
    if not exceeds(row, limit):
        return ""
    text = (
        f"gate failed: {name} time {duration(before)} -> {duration(after)}, "
        f"{relative_change(float(row['ratio']))}, more than the {limit:g} % allowed"
    )
    return text + DOUBTS.get(str(row["status"]), "")


def exceeds(row: Mapping[str, int | float | str], limit: float) -> bool:
    """Return whether AFTER takes more than a percentage longer than BEFORE."""
    # Multiplied out: 100 * 1.14 is 113.99999999999999.
    return float(row["after_ns"]) * 100 > float(row["before_ns"]) * (100 + limit)


def unjudged_slowdowns(totals: Mapping[str, Row], limit: float) -> list[str]:
    """Return lines on totals over the limit where the GPU's busy time, which is judged, is not."""
    if BUSY not in totals or exceeds(totals[BUSY], limit):
        return []
    change = {name: relative_change(float(row["ratio"])) for name, row in totals.items()}
    lines = []
    if exceeds(totals["kernel"], limit):
        lines.append(
            f"kernels took {change['kernel']}, the GPU was busy {change[BUSY]}: copies and "
            "overlap make the difference"
        )
    if exceeds(totals[WALL], limit):
        lines.append(
            f"wall time is {change[WALL]} and is not judged, the GPU was busy {change[BUSY]}: see "
            f"idle, and {called('analysis.gaps')}"
        )
    return lines
