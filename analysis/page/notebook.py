"""The page for a browser inside a notebook's cell."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Unpack

from analysis.page.browser import as_html
from analysis.page.page import page

if TYPE_CHECKING:
    from analysis.attribution.selection import Options
    from analysis.source.report import Report

HEIGHT: Final = 900
"""Pixels of a cell: the verdict, and the time line below it."""


@dataclass(frozen=True)
class Frame:
    """A page in a frame of its own, which notebooks show as it is.

    Its script runs, and can reach neither the notebook nor the network.

    Attributes:
        page: the page, a whole document.
        height: of the frame, in pixels.
    """

    page: str
    height: int

    def __repr__(self) -> str:
        return f"<a page of {len(self.page):,} bytes, which a notebook shows>"

    def _repr_html_(self) -> str:
        """Return the frame as IPython asks for it."""
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(self.page)}" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def frame(report: Report, height: int = HEIGHT, **selected: Unpack[Options]) -> Frame:
    """Return the page of a report for a notebook's cell.

    Args:
        report: what was recorded.
        height: of the frame, in pixels.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Raises:
        ReportError: the report holds not what is asked for.
    """
    return Frame(as_html(report, page(report, **selected), **selected), height)
