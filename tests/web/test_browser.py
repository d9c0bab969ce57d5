"""The page in a real browser: it opens, says what the commands say, and does what is asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis import Report
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.launches import Attribution
from analysis.page.page import page
from analysis.recorded.device_work import RANKED, device_work
from analysis.show.render import duration, value_text
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared
from tests.web.conftest import Opened

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]
REPORTS = (*shared.WITH_KERNELS, "nvtx-only-2022.4")
HOSTILE = (
    "<script>globalThis.ran = 1</script>",
    "<img src=x onerror='globalThis.ran = 1'>",
    "</script><b>\"quoted\" & 'more'",
    "{{EVENTS}} \u202egnp.exe \u2028 \x1b[31m",
    "long" * 20_000,
)


BUSY = """([lane, windows]) => windows.map(([from, to]) => {
    const { union } = spanlight.lanes[lane];
    const pixels = new Float64Array(990);
    union.busyOf(from, to, pixels);
    return [union.busy(from, to), pixels.reduce((sum, each) => sum + each, 0)];
})"""
"""What a lane's drawing holds of some windows: the whole, and its pixels added up."""


POINT = """(row) => {
    const { timeline, lanes, view } = spanlight;
    const [lane] = lanes;
    view.around(lane.start[row], lane.start[row] + lane.duration[row]);
    timeline.draw();
    const { canvas } = timeline.surface;
    canvas.scrollIntoView({ block: "center" });
    const { left, top } = canvas.getBoundingClientRect();
    const x = timeline.xOf(lane.start[row] + lane.duration[row] / 2);
    return [left + x, top + timeline.ruler + timeline.rowOf({ lane, row }).y - timeline.scroll + 4];
}"""
"""Shows a kernel of the first lane; returns where on the screen it is."""


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """Two steps, each with a kernel of the forward and one of the backward pass."""
    return make_report(
        tmp_path / "steps.sqlite",
        ranges=[
            Range("step", 1000, 51_000),
            Range("forward", 1000, 20_000),
            Range("backward", 20_000, 50_000),
            Range("step", 51_000, 101_000),
            Range("forward", 51_000, 70_000),
        ],
        kernels=[
            Kernel("sgemm_one", 10_000, 30_000, launch=2000),
            Kernel("elementwise_two", 40_000, 45_000, launch=21_000),
            Kernel("sgemm_one", 60_000, 80_000, launch=52_000),
        ],
    )


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_of_a_real_report_opens_from_disk_and_asks_for_nothing(
    name: str, open_report: Open
) -> None:
    opened = open_report(shared.report(name))
    assert opened.errors == []
    assert [
        each for each in opened.requests if not each.startswith(("file:", "data:", "blob:"))
    ] == []
    with Report(shared.report(name)) as report:
        assert opened.page.inner_text("#verdict") == " ".join(page(report).verdict.split())


@pytest.mark.parametrize("name", ["train-step-small-a100", "fsdp-2xh100-after"])
def test_tables_say_what_the_commands_print(name: str, open_report: Open) -> None:
    opened = open_report(shared.report(name))
    with Report(shared.report(name)) as report:
        kernels = report.kernels()
    shown = opened.evaluate(
        "() => [...document.querySelectorAll('#panel-kernels tbody tr')]"
        ".map((row) => [...row.cells].slice(0, 4).map((cell) => cell.textContent))"
    )
    columns = ["name", "category", "calls", "total_ns"]
    rows = kernels[columns].head(len(shown)).to_dict("list")
    texts = [[value_text(column, each) for each in rows[column]] for column in columns]
    assert shown == [list(row) for row in zip(*texts, strict=True)]
    assert len(shown) == min(100, len(kernels))


@pytest.mark.parametrize("name", ["train-step-small-a100", "sliced-2xh100"])
def test_nothing_is_left_out_at_any_zoom(name: str, open_report: Open) -> None:
    opened = open_report(shared.report(name))
    heads = opened.evaluate(
        "() => spanlight.lanes.map("
        "({ head }) => [head.kind, head.process, head.device, head.stream])"
    )
    origin, span = opened.evaluate(
        "() => [Number(spanlight.packed.head.origin_ns), spanlight.view.span]"
    )
    windows = [(span * at // 11, span * at // 11 + span // 3**at) for at in range(1, 11)]
    with Report(shared.report(name)) as report:
        done = device_work(report)
        for lane, (kind, process, device, stream) in enumerate(heads):
            if kind not in ("kernels", "copies"):
                continue
            mine = (done.process == process) & (done.device == device) & (done.stream == stream)
            mine &= (done.kind < RANKED) == (kind == "kernels")
            union = IntervalUnion.of(done.start_ns[mine] - origin, done.end_ns[mine] - origin)
            edges = np.asarray(windows, dtype=np.int64).T
            expected = union.within(edges[0], edges[1]).tolist()
            held = opened.evaluate(BUSY, [lane, windows])
            assert [whole for whole, _ in held] == expected
            assert [pixels for _, pixels in held] == pytest.approx(expected, abs=1e-3)


def pointed_at(opened: Opened, row: int) -> str:
    """Bring a kernel of the first lane under the pointer; what is told of it."""
    x, y = opened.evaluate(POINT, row)
    opened.page.mouse.move(x, y)
    told: str = opened.page.inner_text(".tooltip")
    return told


def test_what_is_under_the_pointer_is_told(steps: Path, open_report: Open) -> None:
    opened = open_report(steps)
    for row, (name, took, phase) in enumerate(
        [
            ("sgemm_one", "20.00 µs", "forward"),
            ("elementwise_two", "5.000 µs", "backward"),
            ("sgemm_one", "20.00 µs", "forward"),
        ]
    ):
        told = pointed_at(opened, row)
        assert told.startswith(name)
        assert took in told
        assert f"step \u203a {phase}" in told
        assert "launched by" in told


@pytest.mark.parametrize("name", ["train-step-small-a100", "forward-2.7b-a100"])
def test_a_kernel_of_a_real_report_is_told_with_its_name_time_and_ranges(
    name: str, open_report: Open
) -> None:
    opened = open_report(shared.report(name))
    with Report(shared.report(name)) as report:
        attribution = Attribution.of(report)
        done, start_ns = attribution.device, attribution.ran[0]
        order = np.argsort(start_ns, kind="stable")
        for row in range(5, len(order), len(order) // 10):
            place = int(order[row])
            told = pointed_at(opened, row)
            assert told.startswith(done.names[done.name[place]][:300])
            assert duration(int(done.duration_ns[place])) in told
            opened.evaluate("(row) => spanlight.go({ lane: spanlight.lanes[0], row })", row)
            chain = opened.page.inner_text(".details dt:text-is('ranges') + dd")
            assert chain.endswith(" \u203a ".join(own_chain(attribution, place)))


def own_chain(attribution: Attribution, place: int) -> list[str]:
    """Return the names of the ranges around a launch, the outermost first."""
    found: list[str] = []
    at = int(attribution.own[place])
    while at != NONE:
        found.insert(0, attribution.ranges.names[attribution.ranges.name[at]])
        at = int(attribution.parents[at])
    return found


def test_a_row_of_a_table_stands_out_on_the_time_line_and_back(
    steps: Path, open_report: Open
) -> None:
    opened = open_report(steps)
    opened.page.click("#panel-kernels >> text=sgemm_one")
    assert "2 events stand out, 40.00 µs together: sgemm_one" in opened.page.inner_text(".details")
    opened.page.keyboard.press("Escape")
    assert "stand out" not in opened.page.inner_text(".details")
    opened.evaluate(
        "() => { const lane = spanlight.lanes.find((each) => each.head.kind === 'kernels');"
        "spanlight.tables.show({ lane, row: 1 }); }"
    )
    assert "elementwise_two" in opened.page.inner_text("tr.chosen")


def test_keys_search_sorting_and_theme_work(steps: Path, open_report: Open) -> None:
    opened = open_report(steps)
    page = opened.page

    def view() -> list[float]:
        shown: list[float] = opened.evaluate("() => [spanlight.view.from, spanlight.view.to]")
        return shown

    before = view()
    page.keyboard.press("w")
    nearer = view()
    assert nearer[1] - nearer[0] < before[1] - before[0]
    page.keyboard.press("d")
    assert view()[0] > nearer[0]
    page.keyboard.press("/")
    page.keyboard.type("elementwise")
    assert "1 events stand out" in page.inner_text(".details") or "1 event" in page.inner_text(
        ".details"
    )
    page.keyboard.press("Enter")
    assert view()[0] <= 39_000 <= view()[1]
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("dialog.help")
    page.keyboard.press("?")
    page.click("#panel-kernels th >> text=calls")
    assert page.get_attribute("#panel-kernels th[aria-sort]", "aria-sort") == "descending"
    page.click("#theme")
    assert opened.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert opened.errors == []


def test_wheel_drag_and_brush_move_the_view(steps: Path, open_report: Open) -> None:
    opened = open_report(steps)
    mouse = opened.page.mouse

    def view() -> tuple[float, float]:
        start, end = opened.evaluate("() => [spanlight.view.from, spanlight.view.to]")
        return start, end

    def box(canvas: str) -> tuple[float, float, float]:
        opened.page.locator(canvas).scroll_into_view_if_needed()
        place = opened.page.locator(canvas).bounding_box()
        return place["x"], place["y"], place["width"]

    opened.page.keyboard.press("0")
    whole = view()
    x, y, width = box("canvas.timeline")
    mouse.move(x + width / 2, y + 60)
    mouse.wheel(0, -300)
    opened.page.wait_for_timeout(200)
    near = view()
    mouse.down()
    mouse.move(x + width / 2 - 100, y + 60, steps=4)
    mouse.up()
    assert view()[0] > near[0]
    assert view()[1] - view()[0] == pytest.approx(near[1] - near[0])
    opened.page.keyboard.press("0")
    assert view() == whole
    x, y, width = box("canvas.overview")
    mouse.move(x + width * 0.25, y + 20)
    mouse.down()
    mouse.move(x + width * 0.5, y + 20, steps=4)
    mouse.up()
    assert view() == pytest.approx((whole[1] * 0.25, whole[1] * 0.5), rel=0.01)
    assert opened.errors == []


def test_a_link_shows_what_one_saw(steps: Path, open_report: Open) -> None:
    opened = open_report(
        steps, hash_="#time=5000-45000&event=0-1&search=gemm&table=ranges&theme=dark"
    )
    assert opened.evaluate("() => [spanlight.view.from, spanlight.view.to]") == [5000, 45_000]
    assert "elementwise_two" in opened.page.inner_text(".details h3")
    assert opened.page.is_visible("#panel-ranges")
    assert opened.evaluate("() => document.documentElement.dataset.theme") == "dark"
    written = opened.evaluate("() => location.hash")
    assert "time=5000-45000" in written
    assert "search=gemm" in written


@pytest.mark.parametrize(
    "hash_", ["#time=9-1&event=7-1e9&table=<b>", "#%E0%A4%A&&=&time=a-b", "#event=99-99"]
)
def test_a_link_that_is_wrong_is_ignored(hash_: str, steps: Path, open_report: Open) -> None:
    opened = open_report(steps, hash_=hash_)
    assert opened.errors == []
    assert opened.page.is_visible("#panel-kernels")


def test_hostile_names_are_text(tmp_path: Path, open_report: Open) -> None:
    report = make_report(
        tmp_path / "h.sqlite",
        ranges=[Range(name, 100 * at, 100 * at + 90) for at, name in enumerate(HOSTILE)],
        kernels=[
            Kernel(name, 100 * at + 20, 100 * at + 80, launch=100 * at + 5)
            for at, name in enumerate(HOSTILE)
        ],
    )
    opened = open_report(report)
    for tab in opened.page.query_selector_all("[role=tab]"):
        tab.click()
    for row in range(len(HOSTILE)):
        opened.evaluate(
            "(row) => { const lane = spanlight.lanes[0];"
            "spanlight.go({ lane, row }); spanlight.timeline.draw(); }",
            row,
        )
    assert opened.evaluate("() => globalThis.ran") is None
    assert (
        opened.evaluate("() => document.querySelectorAll('main img, main script, main b').length")
        == 0
    )
    assert opened.errors == []


def test_a_thousand_levels_can_be_folded_and_opened(tmp_path: Path, open_report: Open) -> None:
    report = make_report(
        tmp_path / "deep.sqlite",
        ranges=[Range("level", at, 100_000 - at) for at in range(1009)],
        kernels=[Kernel("k", 5000, 6000, launch=2000)],
    )
    opened = open_report(report)
    rows = (
        "() => spanlight.timeline.layout.rows"
        ".filter((row) => row.lane.head.kind === 'ranges').length"
    )
    assert opened.evaluate(rows) == 8
    opened.evaluate(
        "() => { const { layout } = spanlight.timeline;"
        "layout.toggle(layout.lanes.find((lane) => lane.head.kind === 'ranges'));"
        "spanlight.timeline.draw(); }"
    )
    assert opened.evaluate(rows) == 1009
    assert opened.errors == []
