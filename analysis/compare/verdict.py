"""The verdict on two reports: slower, faster, same, no difference shown, or other work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis.compare.changes import relative_change
from analysis.compare.checks import SIDES
from analysis.compare.rows import FASTER, NOISE, SAME, SLOWER, UNJUDGED
from analysis.compare.show import Row, interval, only_kind
from analysis.compare.sides import BUSY, WALL
from analysis.show.render import duration, plural

if TYPE_CHECKING:
    from analysis.compare.checks import SharedWork
    from analysis.show.table import Table

OTHER_SHAPES: Final = "other shapes"
OTHER_WORK: Final = "other work"
NOT_JUDGED: Final = "not judged"
WORDS: Final = {NOISE: "no difference shown", UNJUDGED: NOT_JUDGED}
"""What the status of a total is called in a verdict; the others are called as they are."""


ENOUGH: Final = 3
"""With so many steps a missing interval is due to how much they differ, not to how few they are."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison found, and why.

    Attributes:
        word: `OTHER_SHAPES`, `OTHER_WORK`, `NOT_JUDGED`, ``slower``, ``faster``, ``same`` or ``no
            difference shown``.
        reason: what that rests on.
    """

    word: str
    reason: str

    def __str__(self) -> str:
        """Return both, as a line above a comparison."""
        return f"verdict: {self.word}: {self.reason}"


def verdict(
    totals: Mapping[str, Row], shapes: Sequence[str], work: SharedWork | None, steps: Sequence[int]
) -> Verdict:
    """Return the verdict on two reports.

    Where a step is another piece of work, or the recordings hold more or less of it, its time says
    nothing about speed. Else the time counts in which a GPU did anything, on a CPU the wall time.

    Args:
        totals: rows of kind ``total`` by name.
        shapes: in what the shapes of the work differ.
        work: how the work of two reports without steps differs.
        steps: how many steps are compared, before and after; 0 where none are marked.
    """
    if shapes:
        return Verdict(OTHER_SHAPES, f"{', '.join(shapes)}; times differ as the work does")
    if work is not None and not work.alike:
        return Verdict(OTHER_WORK, str(work))
    name = BUSY if BUSY in totals else WALL
    row = totals[name]
    status, ratio = str(row["status"]), float(row["ratio"])
    before, after = duration(float(row["before_ns"])), duration(float(row["after_ns"]))
    found = f"{name} {before} -> {after}, {relative_change(ratio)}{interval(row)}"
    found += why_no_interval(row, steps)
    return Verdict(WORDS.get(status, status), found)


def why_no_interval(row: Row, steps: Sequence[int]) -> str:
    """Return in words why a total has no interval; "" where it has one, or is the same.

    Args:
        row: the total.
        steps: see `verdict`.
    """
    if row["status"] == SAME or not row["before_ns"] or not math.isnan(float(row["ratio_low"])):
        return ""
    if not all(steps):
        return "; too few steps to tell (none are marked)"
    pairs = zip(steps, SIDES, strict=True)
    if few := [f"{plural(count, 'step')} {word}" for count, word in pairs if count < ENOUGH]:
        return f"; too few steps to tell ({' and '.join(few)})"
    return "; no interval: the steps before differ too much among themselves, record more of them"


def lone_totals(table: Table) -> list[str]:
    """Return lines on totals that changed where no name of the work did by itself."""
    names = only_kind(table, "kernel")
    if not len(names) or not set(names.columns["status"]) <= {NOISE, SAME}:
        return []
    what, count = str(names.columns["kind"][0]), len(names)
    changed = {
        str(row["name"]): str(row["status"])
        for row in only_kind(table, "total").rows()
        if row["status"] in (FASTER, SLOWER)
    }
    lines = []
    if of_work := [f"{name} is {status}" for name, status in changed.items() if name != WALL]:
        lines.append(
            f"{' and '.join(of_work)}, and none of {plural(count, what)} by itself: small "
            "differences add up, and names are judged together, each the more strictly the more "
            "there are, while a total is judged alone"
        )
    elif WALL in changed:
        lines.append(
            f"{WALL} is {changed[WALL]}, and none of {plural(count, what)}: what differs is the "
            f"time in which no {what} ran"
        )
    return lines
