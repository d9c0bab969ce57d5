"""What a run without a name of its own is called, and the earlier one it can be compared with."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

from analysis.show.errors import ReportError
from analysis.source.report import Report
from analysis.source.report_metadata import SHAPE
from profiling.launch.plan import Launch, report_of
from profiling.recorders.report_files import Taken, check_free

_OF_THE_WORK: Final = (
    *("workload", "script", "model", "base_model", "teacher_model", "max_new_tokens"),
    *("mode", *(key for key in SHAPE if key != "dtype"), "world_size", "device"),
)
"""What two runs have in common whose times are worth comparing; the rest is what one changes."""


def names(base: str) -> Iterator[str]:
    """Yield a name, and those that follow where it is taken.

    >>> found = names("small")
    >>> next(found), next(found), next(found)
    ('small', 'small-2', 'small-3')
    """
    yield base
    for number in count(2):
        yield f"{base}-{number}"


def named(launch: Launch, going_on: Collection[str] = ()) -> Launch:
    """Return a launch whose name is free: the next one, where it has none of its own.

    Args:
        launch: what was asked for.
        going_on: the names of other runs, whose reports are not there yet.

    Raises:
        Taken: it has a name of its own, which is taken and not to be replaced.
    """
    if launch.base is None:
        if launch.name in going_on:
            path = report_of(launch.stems[0])
            raise Taken(path, problem="another run records it now")
        check_free(*launch.earlier(), overwrite=launch.overwrite)
        return launch
    every = (replace(launch, name=name) for name in names(launch.base))
    return next(each for each in every if each.name not in going_on and not each.earlier())


def earlier_alike(launch: Launch, made: Path) -> Path | None:
    """Return the last report before one that has a number, if one is of the same work.

    Args:
        launch: what was asked for.
        made: its report, of rank 0 where there are several.
    """
    found = re.fullmatch(rf"{re.escape(launch.base or '')}-([0-9]+)(\.rank0)?", made.stem)
    if found is None or launch.base is None:
        return None
    every = [f"{launch.base}-{number}" for number in range(int(found[1]) - 1, 1, -1)]
    for name in (*every, launch.base):
        path = made.with_name(f"{name}{found[2] or ''}.sqlite")
        if path.exists() and _alike(path, made):
            return path
    return None


def _alike(before: Path, after: Path) -> bool:
    try:
        with Report(before) as earlier, Report(after) as later:
            known = earlier.run, later.run
    except ReportError:
        return False
    was, now = ({key: run.get(key) for key in _OF_THE_WORK} for run in known)
    return was == now
