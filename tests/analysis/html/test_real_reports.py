"""The pages of real reports hold exactly what was recorded, in six bytes an event at most."""

import numpy as np
import pytest

from analysis import Report
from analysis.attribution.launches import Attribution
from analysis.html.pack import as_json
from analysis.page.browser import as_html
from analysis.page.page import page
from analysis.recorded.cuda_calls import cuda_calls
from analysis.recorded.device_work import RANKED, DeviceWork, device_work
from tests.made.reports.html_page import ReadPage, read_page
from tests.made.tools import shared

LARGE = 10_000
"""Events, from which on the size of a page is promised."""

MOST_BYTES = 6
"""An event."""

REPORTS = (*shared.WITH_KERNELS, "nvtx-only-2022.4")


@pytest.fixture(scope="module", params=REPORTS)
def opened(request: pytest.FixtureRequest) -> tuple[Report, ReadPage]:
    with Report(shared.report(request.param)) as report:
        made = read_page(as_html(report, page(report)))
        device_work(report).call, cuda_calls(report).names, Attribution.of_any(report).ranges
        _ = device_work(report).names
    return report, made


def work_of(done: DeviceWork) -> list[tuple[str, int, int, int]]:
    starts = done.of_call(done.calls.start_ns)
    columns = (done.name, done.start_ns, done.duration_ns, starts)
    return [
        (done.names[name], start, took, launch)
        for name, start, took, launch in zip(*(each.tolist() for each in columns), strict=True)
    ]


def test_work_and_its_launches_are_what_was_recorded(opened: tuple[Report, ReadPage]) -> None:
    report, made = opened
    done = device_work(report)
    for kind, kept in (("kernels", done.kind < RANKED), ("copies", done.kind >= RANKED)):
        wanted = [row for row, is_one in zip(work_of(done), kept.tolist(), strict=True) if is_one]
        found = [
            (row.name, row.start, row.duration, launch.start if launch else -1)
            for row in made.events(kind)
            for launch in [made.launching(row)]
        ]
        assert sorted(found) == sorted(wanted)


def test_calls_are_what_was_recorded(opened: tuple[Report, ReadPage]) -> None:
    report, made = opened
    calls = cuda_calls(report)
    wanted = [
        (calls.names[name], start, end - start)
        for name, start, end in zip(
            calls.name.tolist(), calls.start_ns.tolist(), calls.end_ns.tolist(), strict=True
        )
    ]
    assert sorted((row.name, row.start, row.duration) for row in made.events("calls")) == sorted(
        wanted
    )


def test_ranges_are_what_was_recorded(opened: tuple[Report, ReadPage]) -> None:
    report, made = opened
    ranges = Attribution.of_any(report).ranges
    names = [ranges.names[place] for place in ranges.name.tolist()]
    wanted = zip(names, ranges.start_ns.tolist(), ranges.wall_ns.tolist(), strict=True)
    found = made.events("ranges")
    assert sorted((row.name, row.start, row.duration) for row in found) == sorted(wanted)
    inferred = sum(row.more.get("inferred", 0) for row in found)
    assert inferred == int(np.count_nonzero(ranges.inferred))


def test_rows_of_a_lane_ascend_and_of_those_that_start_together_the_longer_is_first(
    opened: tuple[Report, ReadPage],
) -> None:
    _, made = opened
    for rows in made.lanes:
        order = [(row.start, -row.duration) for row in rows]
        assert order == sorted(order)


def test_an_event_takes_six_bytes_at_most(opened: tuple[Report, ReadPage]) -> None:
    report, made = opened
    events = sum(lane["count"] for lane in made.head["lanes"])
    each = made.packed_bytes / events
    print(
        f"{report.path.name}: {events:,} events in {made.packed_bytes:,} bytes, {each:.2f} each; "
        f"names {made.names_bytes:,}, tables {len(as_json(made.tables)):,}"
    )
    assert events <= LARGE or each <= MOST_BYTES
