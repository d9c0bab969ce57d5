"""Many ranks of one run, answered as one: read where they lie, put together here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Unpack

from analysis.attribution.selection import Options
from analysis.fleet.engine import Engine
from analysis.fleet.groups import Group, groups_of
from analysis.fleet.named_reports import reports_of
from analysis.fleet.summary import (
    COLLECTIVES,
    PARTS_OF_IT,
    RANGES,
    STEPS,
    RankSummary,
    Unread,
)
from analysis.fleet.tables import TABLES, columns_of_groups
from analysis.measures.ranks.waiting import absent_notes, waiting_notes
from analysis.show.errors import CommandError
from analysis.show.render import duration, plural
from analysis.show.table import Table

HIDDEN: Final = {
    "ranks": ("report", "cost_ns"),
    "ranges": ("min_wall_ns", "max_wall_ns"),
    "collectives": ("shared_calls", "last_calls", "transfer_bus_bytes_per_s"),
}
"""What each table leaves out for people."""

SPARE: Final = {
    "ranks": ("waiting_ns", "steps", "copies_ns"),
    "ranges": ("wall_outlier_rank", "median_wall_ns", "min_ns", "ranks"),
    "steps": ("range", "cause", "ranks"),
    "collectives": ("last_range", "algorithm_bytes_per_s", "dtype", "mean_ns"),
    "stragglers": ("grew_ns", "waiting_ns", "step_cost_ns"),
}
"""What goes besides in a narrow terminal, in order."""

REMEDIES: Final = {
    "ranges": "record with --trace=nvtx",
    "collectives": "record a parallel run: make profile RANKS=2",
}
"""What to do about a table whose matter was not recorded."""

WITHOUT_RANGES: Final = frozenset({STEPS, COLLECTIVES})
NEEDED: Final = {
    "ranks": WITHOUT_RANGES,
    "ranges": frozenset({RANGES}),
    "steps": WITHOUT_RANGES,
    "collectives": frozenset({COLLECTIVES}),
    "stragglers": WITHOUT_RANGES,
}
"""What of the summaries each table is made of."""


@dataclass(frozen=True)
class Fleet:
    """The answer on many ranks.

    Attributes:
        groups: the ranks by the work they did.
        unread: the reports that could not be read.
        notes: on the groups.
    """

    groups: tuple[Group, ...]
    unread: tuple[Unread, ...]
    notes: tuple[str, ...]

    @property
    def heading(self) -> str:
        """How many ranks there are, in which groups, and who keeps the others waiting."""
        count = sum(len(group.ranks) for group in self.groups)
        lines = [plural(count, "rank")]
        if self.unread:
            lines[0] += f", and {plural(len(self.unread), 'report')} that could not be read"
        if len(self.groups) > 1:
            lines[0] += f", in {len(self.groups)} groups of different work"
        for group in self.groups:
            of = f"group {group.number}: " if len(self.groups) > 1 else ""
            if group.clocks.matched:
                shared = plural(group.clocks.matched, "shared collective")
                spread = duration(group.clocks.spread_ns)
                lines.append(f"{of}clocks: by the ends of {shared}, ± {spread}")
            if group.places:
                lines += [f"{of}{line}" for line in group.late.lines(group.labels)]
        return "\n".join(lines)

    def table(self, name: str) -> Table:
        """Return one of the tables, by its name in `TABLES`.

        Raises:
            CommandError: it has no columns: what it is about was recorded in no report.
        """
        ranks = [rank for group in self.groups for rank in group.ranks]
        columns = columns_of_groups(name, self.groups)
        if not columns:
            raise CommandError(f"no {name} in these reports; {REMEDIES.get(name, '')}")
        hidden = HIDDEN.get(name, ()) + (() if len(self.groups) > 1 else ("group",))
        return Table(
            name=name,
            columns=columns,
            heading=self.heading,
            counted=_alike([rank.counted for rank in ranks]),
            notes=(
                *self.notes,
                *dict.fromkeys(note for rank in ranks for note in rank.notes),
                *(self._of_collectives if name in ("collectives", "stragglers") else ()),
            ),
            hidden=hidden,
            spare=SPARE.get(name, ()),
        )

    @property
    def _of_collectives(self) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(
                note
                for group in self.groups
                if group.places
                for note in (*waiting_notes(group.met), *absent_notes(group.places))
            )
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables that have a row."""
        return tuple(self.table(name) for name in TABLES if columns_of_groups(name, self.groups))


def _alike(lines: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what is said of the part that counts, where all ranks say the same."""
    distinct = list(dict.fromkeys(lines))
    if len(distinct) == 1:
        return distinct[0]
    return (f"of each rank another part counts: {' · '.join(distinct[0])} in the first",)


def fleet(
    *paths: str | os.PathLike[str],
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: str | None = None,
    show: str | None = None,
    **selected: Unpack[Options],
) -> Fleet:
    """Return the answer on the reports of many ranks.

    ``fleet("reports").table("stragglers").frame()`` is a DataFrame with the columns of the csv.

    Args:
        paths: of reports, a rank each; a folder stands for the reports in it.
        workers: how many processes of this machine read them; None for one a processor.
        scheduler: the address of a Dask scheduler whose workers read them instead.
        scheduler_file: the file in which a Dask scheduler wrote its address.
        show: the table that is wanted, of `TABLES`, where others are not: less is read then.
        selected: what counts of each: see `analysis.attribution.selection.Options`.

    Raises:
        CommandError: none can be read, one is given twice, two are of one rank, or a scheduler
            does not answer.
    """
    named = reports_of([os.fspath(path) for path in paths])
    engine = Engine(workers, scheduler, scheduler_file)
    found = engine.summaries(named, selected, NEEDED.get(show or "", PARTS_OF_IT))
    ranks = [each for each in found if isinstance(each, RankSummary)]
    unread = tuple(each for each in found if isinstance(each, Unread))
    if not ranks:
        first = unread[0]
        more = f" (and {len(unread) - 1} more cannot be read either)" if len(unread) > 1 else ""
        raise CommandError(f"{first.path}: {first.why}{more}")
    groups, notes = groups_of(ranks)
    return Fleet(tuple(groups), unread, tuple(notes))
