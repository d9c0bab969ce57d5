"""What of a report a change is about: the work of a category, of kernels, or of a range.

A range has the work launched inside it, on its own thread or by a thread that works for it
(`analysis.attribution.work_phases`), and the work of the backward pass that comes from it. The
host's time in it is that of its own thread, and of threads that work for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.attribution import named_ranges, work_phases
from analysis.attribution.origin import origin
from analysis.knowledge.categories import CATEGORIES
from analysis.knowledge.short_names import short_name
from analysis.knowledge.vocabulary import canonical, matching
from analysis.show.errors import ReportError
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution


@dataclass(frozen=True)
class Scope:
    """What a name stands for in a report.

    Attributes:
        work: ``(M,)`` which device work; on a CPU which operators.
        ranges: ``(R,)`` which ranges, with those of their backward pass; None where it is the name
            of a category or of kernels.
    """

    work: Bools
    ranges: Bools | None


def scope_of_ranges(attribution: Attribution, wanted: str) -> Scope:
    """Return the ranges of a name, with their work and that of their backward pass.

    Raises:
        ReportError: no range is called so; the message lists some that there are.
    """
    report, ranges = attribution.report, attribution.ranges
    chosen = named_ranges.ranges_named(report.path, ranges, wanted)
    called = {canonical(ranges.names[number]) for number in np.unique(ranges.name[chosen]).tolist()}
    backward = ranges.where(
        lambda name: (
            name.endswith(names.BACKWARD_SUFFIX)
            and name.removesuffix(names.BACKWARD_SUFFIX) in called
        )
    )
    chosen = chosen | backward
    work = work_phases.work_inside(attribution, chosen)
    ranked = len(attribution.work)
    place, _ = work_phases.ranges_around(origin(attribution).creator, ranges.take(chosen))
    work[:ranked] |= place != -1
    return Scope(work, chosen)


def scope(attribution: Attribution, wanted: str) -> Scope:
    """Return what a name stands for: a category that there is work of, else ranges, else kernels.

    Raises:
        ReportError: there is nothing of that name; the message lists what there is.
    """
    work = attribution.work
    count = len(attribution.all_launches.thread)
    mask = np.zeros(count, np.bool_)
    if wanted in CATEGORIES:
        mask[: len(work)] = work.in_category(wanted)
        if mask.any():
            return Scope(mask, None)
    if matching(attribution.ranges.names, wanted):
        return scope_of_ranges(attribution, wanted)
    called = work.names if work.on_cpu else attribution.device.names
    place = work.kind if work.on_cpu else attribution.device.name
    fits = [wanted in (name, short_name(name)) for name in called]
    if not any(fits):
        fits = [
            fnmatchcase(name, wanted) or fnmatchcase(short_name(name), wanted) for name in called
        ]
    if not any(fits):
        raise nothing_called(attribution, wanted)
    return Scope(np.array(fits, np.bool_)[place], None)


def nothing_called(attribution: Attribution, wanted: str) -> ReportError:
    """Return the error of a name that stands for nothing, with what there is."""
    there = set(attribution.work.categories)
    categories = ", ".join(label for label in CATEGORIES if label in there)
    ranges = named_ranges.listed_names(attribution.ranges)
    return ReportError(
        attribution.report.path,
        f"no category, range or kernel is called {wanted!r}",
        f"it has the categories {categories}; the ranges {ranges}",
    )
