"""A notebook shows the page in a frame that reaches nothing outside."""

from html.parser import HTMLParser
from pathlib import Path

from analysis import Report
from analysis.page.browser import as_html
from analysis.page.page import page
from tests.made.reports.build_report import Kernel, Range, make_report

NAME = "\"'></iframe><script>alert(1)</script>&quot;"


class Elements(HTMLParser):
    """The elements of some HTML, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_is_the_whole_of_a_sandboxed_frame(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(NAME, 0, 100)],
        kernels=[Kernel(NAME, 200, 300, launch=5)],
    )
    with Report(path) as report:
        shown = report.show(height=500)._repr_html_()
        wanted = as_html(report, page(report))
    elements = Elements()
    elements.feed(shown)
    ((tag, attributes),) = elements.found
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == wanted
    assert "height: 500px" in (attributes["style"] or "")


def test_the_page_in_a_cell_counts_what_is_asked_for(tmp_path: Path) -> None:
    ranges = [Range("step", 0, 100), Range("step", 100, 200)]
    kernels = [Kernel("a", 300, 310, launch=5), Kernel("b", 310, 330, launch=105)]
    path = make_report(tmp_path / "r.sqlite", ranges=ranges, kernels=kernels)
    with Report(path) as report:
        shown = report.show(steps=(1, 2))
        assert shown.page == as_html(report, page(report, steps=(1, 2)), steps=(1, 2))
        assert repr(shown) == f"<a page of {len(shown.page):,} bytes, which a notebook shows>"
