"""The questions one can ask of a report: one table of them, and `Report`, which asks them.

A question is a function of a report, and of options that choose what counts (see
`analysis.attribution.selection.Options`), which returns a table. Its module is imported when it is
asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analysis.source import report as source

if TYPE_CHECKING:
    import pandas as pd

    from analysis.page.notebook import Frame


class Question(NamedTuple):
    """Where the function is that answers a question.

    Attributes:
        module: its module, imported when the question is asked.
        function: its name; it takes a report, and returns a table.
    """

    module: str
    function: str


QUESTIONS: Final = {
    "kernels": Question("analysis.kernels", "ranking"),
    "ranges": Question("analysis.ranges.summary", "summary"),
    "phases": Question("analysis.phases", "by_category"),
    "attention": Question("analysis.attention", "attention"),
    "budget": Question("analysis.budget", "budget"),
    "roofline": Question("analysis.roofline", "roofline"),
    "gaps": Question("analysis.gaps", "gaps"),
    "copies": Question("analysis.copies", "copies"),
    "overlap": Question("analysis.overlap", "overlap"),
    "collectives": Question("analysis.collectives", "collectives"),
    "streams": Question("analysis.streams", "streams"),
    "whatif": Question("analysis.whatif", "whatif"),
    "memory": Question("analysis.memory.tables", "memory"),
    "answers": Question("analysis.answers.answers", "answers"),
    "compare": Question("analysis.compare.compare", "compare"),
    "coverage": Question("analysis.phases", "coverage"),
}
"""Every question by its name: the method of `Report`, and (but for coverage) the command."""


class Report(source.Report):
    """A report and the questions one can ask of it.

    Every question of `QUESTIONS` is a method and returns a DataFrame whose columns are those of the
    command's csv::

        with Report("run.sqlite") as report:
            report.kernels()
            report.ranges(exclude=["none"], steps=(0, 2))
            report.show()  # the page for a browser, in a notebook's cell
    """

    def show(self, **options: Any) -> Frame:
        """Return the page for a browser, which a notebook shows in a frame.

        Args:
            options: ``height`` of the frame in pixels, and what counts, as every question takes it.

        Raises:
            ReportError: the report holds not what is asked for.
        """
        from analysis.page.notebook import frame

        return frame(self, **options)

    def __getattr__(self, name: str) -> Callable[..., pd.DataFrame]:
        """Return the method that asks a question."""
        if name not in QUESTIONS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return partial(self._ask, QUESTIONS[name])

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *QUESTIONS})

    def _ask(self, question: Question, *others: Report, **options: Any) -> pd.DataFrame:
        answer = getattr(import_module(question.module), question.function)
        frame: pd.DataFrame = answer(self, *others, **options).frame()
        return frame
