"""Functions that threads of the host were in: system calls, and Python's of a trace with stacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals
from analysis.source import tables
from analysis.source.host import functions

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report


@dataclass(frozen=True)
class HostFunctions:
    """Calls of functions, in order of time.

    Attributes:
        names: ``(K,)`` the distinct names, ascending.
        name: ``(C,)`` the position of each call's name.
        start_ns: ``(C,)``.
        end_ns: ``(C,)``.
        thread: ``(C,)`` global thread id.
    """

    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64

    def __len__(self) -> int:
        return len(self.start_ns)

    @property
    def times(self) -> Intervals:
        """When they were open, and on which threads."""
        return Intervals(self.thread, self.start_ns, self.end_ns)


def system_calls(report: Report) -> HostFunctions:
    """Return the calls of the operating system, read once; empty where none were recorded."""
    return report.once(_system_calls)


def python_functions(report: Report) -> HostFunctions:
    """Return the calls of Python functions, read once; empty where none were recorded."""
    return report.once(_python_functions)


def _system_calls(report: Report) -> HostFunctions:
    return _named(report, functions.system_calls(report))


def _python_functions(report: Report) -> HostFunctions:
    return _named(report, functions.python_functions(report))


def _named(report: Report, rows: Columns) -> HostFunctions:
    names, name = tables.named(report, rows["name_id"])
    return HostFunctions(names, name, rows["start_ns"], rows["end_ns"], rows["thread"])
