"""How the page looks: light and dark, contrast by WCAG, nothing over anything, a phone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.made.reports.build_report import Operator, Range, make_report
from tests.made.tools import shared
from tests.web.conftest import DESK, Opened

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]

PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 3,
}
REPORTS = ("train-step-small-a100", "fsdp-2xh100-after", "comparison", "cpu")

GROUNDS = """() => ["timeline", "overview"].map((name) => {
    const { timeline, overview } = spanlight;
    const surface = { timeline, overview }[name].surface;
    return [...surface.context.getImageData(2, surface.canvas.height - 3, 1, 1).data];
})"""
"""The ground of each canvas, read out of its pixels."""

COLOURS = """() => [".card", "body"].map(
    (name) => getComputedStyle(document.querySelector(name)).backgroundColor
)"""

CONTRASTS = """() => {
    const dot = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const over = (colour, ground) => {
        for (const each of [ground, colour]) {
            dot.fillStyle = each;
            dot.fillRect(0, 0, 1, 1);
        }
        return `rgb(${dot.getImageData(0, 0, 1, 1).data.slice(0, 3).join(" ")})`;
    };
    const light = (colour) => {
        const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        const [red, green, blue] = colour.match(/[0-9]+/g).map((each) => linear(each / 255));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const known = new Map();
    const seen = (colour, ground) => {
        const key = `${colour} on ${ground}`;
        if (!known.has(key)) known.set(key, over(colour, ground));
        return known.get(key);
    };
    const groundOf = (node) => seen(
        getComputedStyle(node).backgroundColor,
        node.parentElement ? groundOf(node.parentElement) : "rgb(255 255 255)",
    );
    const measured = (node, text, style = getComputedStyle(node)) => {
        const ground = groundOf(node);
        const pair = [light(seen(style.color, ground)), light(ground)];
        const [least, most] = pair.sort((a, b) => a - b);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        return [text.slice(0, 40), (most + 0.05) / (least + 0.05), large ? 3 : 4.5];
    };
    const found = texts().map((text) => measured(text.parentElement, text.data));
    for (const node of document.querySelectorAll("input"))
        if (node.checkVisibility())
            found.push(measured(node, node.placeholder, getComputedStyle(node, "::placeholder")));
    return found;
}"""
"""Every visible text: its contrast, and the least that it needs."""

OVER_AND_OUT = """() => {
    const boxes = [];
    for (const text of texts()) {
        const node = text.parentElement;
        const range = document.createRange();
        range.selectNodeContents(text);
        let [left, top, right, bottom] = [-Infinity, -Infinity, Infinity, Infinity];
        for (let each = node; each; each = each.parentElement) {
            if (getComputedStyle(each).overflowX === "visible") continue;
            const box = each.getBoundingClientRect();
            [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
            [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
        }
        const card = node.closest("dialog, .tooltip, .card, .summary").getBoundingClientRect();
        for (const rect of range.getClientRects()) {
            const box = {
                text, left: Math.max(left, rect.left), top: Math.max(top, rect.top),
                right: Math.min(right, rect.right), bottom: Math.min(bottom, rect.bottom),
                above: node.closest("th, dialog, .tooltip"),
            };
            if (box.right - box.left > 1 && box.bottom - box.top > 1) boxes.push({ ...box, card });
        }
    }
    const over = [];
    boxes.forEach((a, i) => {
        for (const b of boxes.slice(0, i)) {
            if (a.text === b.text || !a.above !== !b.above) continue;
            const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (width > 1 && height > 3) over.push([a.text.data, b.text.data]);
        }
    });
    const out = boxes.filter(({ left, right, bottom, card }) =>
        left < card.left || right > card.right + 0.5 || bottom > card.bottom + 0.5);
    return [over, out.map(({ text }) => text.data), boxes.length];
}"""
"""Texts that lie over one another, those that leave their card, and how many there are.

A table's headings and what floats stay above what is scrolled under them.
"""

TEXTS = """globalThis.texts = () => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const { currentNode: text } = walker;
        if (text.data.trim() && text.parentElement.checkVisibility()) found.push(text);
    }
    return found;
};"""
"""Every text that is seen."""

SMALL = """() => [...document.querySelectorAll("button, summary, input, a")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 24)
    .map((each) => each.textContent)"""
"""What is tapped and is not 24 pixels high, as WCAG 2.5.8 asks."""

SIZES = """() => [...document.querySelectorAll("#verdict, .budget *")]
    .filter((each) => each.checkVisibility())
    .map((each) => parseFloat(getComputedStyle(each).fontSize))"""

ALL_SHOWN = """() => {
    document.querySelectorAll("details").forEach((each) => (each.open = true));
    const lane = spanlight.lanes.find(({ head }) => head.kind !== "idle");
    spanlight.go({ lane, row: Math.min(3, lane.start.length - 1) });
}"""
"""Opens what is folded, and selects an event."""


POINT = """() => {
    const { timeline, view } = spanlight;
    timeline.draw();
    const { canvas, width } = timeline.surface;
    canvas.scrollIntoView({ block: "center" });
    const { left, top } = canvas.getBoundingClientRect();
    const row = timeline.layout.rows.find((each) => each.lane.head.kind !== "idle");
    view.show(row.start[0], row.start[0] + row.duration[0]);
    const y = timeline.ruler + row.y - timeline.scroll + 4;
    return [left + (timeline.gutter + width) / 2, top + y];
}"""
"""Shows the first event of the first row; returns where on the screen it is."""


@pytest.fixture
def open_named(open_report: Open, tmp_path: Any) -> Open:
    """Open the page of one of `REPORTS`."""

    def one(name: str, **options: Any) -> Opened:
        if name == "comparison":
            pair = (shared.report(f"fsdp-2xh100-{side}") for side in ("before", "after"))
            opened = open_report(*pair, **options)
        elif name == "cpu":
            opened = open_report(on_a_cpu(tmp_path / "cpu.sqlite"), **options)
        else:
            opened = open_report(shared.report(name), **options)
        opened.evaluate(TEXTS)
        opened.evaluate(ALL_SHOWN)
        return opened

    return one


def on_a_cpu(path: Any) -> Any:
    """Write a report of two steps of operators on a CPU."""
    names = ("aten::linear", "aten::scaled_dot_product_attention", "aten::native_layer_norm")
    return make_report(
        path,
        ranges=[
            part
            for at in (0, 1_000_000)
            for part in (
                Range("step", at, at + 1_000_000),
                Range("forward", at, at + 400_000),
                Range("backward", at + 400_000, at + 900_000),
            )
        ],
        operators=[
            Operator(name, at + 10_000, at + 200_000, 190_000)
            for at in range(0, 2_000_000, 250_000)
            for name in [names[at // 250_000 % 3]]
        ],
    )


def tabs(opened: Opened) -> Iterator[str]:
    """Open one tab after another, with a row of its table chosen."""
    for tab in opened.page.query_selector_all("[role=tab]"):
        tab.click()
        rows = opened.page.query_selector_all("[role=tabpanel]:not([hidden]) tbody tr")
        if rows:
            rows[0].click()
            rows[-1].hover()
        yield tab.inner_text()


def look(opened: Opened) -> list[Any]:
    """Return the grounds of the canvases, and the colours of the page and its cards."""
    return [*opened.evaluate(GROUNDS), *opened.evaluate(COLOURS)]


def test_the_theme_changes_colours_and_canvases_and_stays(open_report: Open) -> None:
    report = shared.report("registered-strings-cupy")
    looks = {}
    for scheme in ("light", "dark"):
        opened = open_report(report, color_scheme=scheme)
        looks[scheme] = look(opened)
    assert all(light != dark for light, dark in zip(*looks.values(), strict=True))
    page = opened.page
    page.click("#theme")
    page.wait_for_timeout(300)  # the address is written a little later
    assert look(opened) == looks["light"]
    assert "theme=light" in opened.evaluate("() => location.hash")
    page.reload()
    page.wait_for_selector("canvas.timeline")
    page.wait_for_timeout(300)
    assert look(opened) == looks["light"]
    page.click("#theme")
    page.wait_for_timeout(300)
    assert look(opened) == looks["dark"]


def test_a_page_without_a_choice_follows_the_system(open_report: Open) -> None:
    opened = open_report(shared.report("registered-strings-cupy"), color_scheme="light")
    light = look(opened)
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_timeout(300)
    assert all(one != other for one, other in zip(light, look(opened), strict=True))


@pytest.mark.parametrize("name", REPORTS)
def test_every_text_can_be_told_from_its_ground(name: str, open_named: Open) -> None:
    opened = open_named(name)
    opened.page.mouse.move(*opened.evaluate(POINT))
    found = contrasts(opened, ".tooltip")
    for _ in tabs(opened):
        found += contrasts(opened, "[role=tabpanel]")
    opened.page.keyboard.press("?")
    found += contrasts(opened, "dialog")
    assert len(found) > 300
    assert [each for each in found if each[1] < each[2]] == []


def contrasts(opened: Opened, shown: str) -> list[list[Any]]:
    """Return what `CONTRASTS` measures in light and in dark, while something is shown."""
    found = []
    for scheme in ("light", "dark"):
        opened.page.emulate_media(color_scheme=scheme)
        assert opened.page.is_visible(f"{shown}:visible")
        found += opened.evaluate(CONTRASTS)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_no_text_lies_over_another_or_leaves_its_card(name: str, open_named: Open) -> None:
    opened = open_named(name)
    for tab in tabs(opened):
        for width in (1280, 1920):
            opened.page.set_viewport_size(DESK | {"width": width})
            over, out, count = opened.evaluate(OVER_AND_OUT)
            assert (tab, width, over, out) == (tab, width, [], [])
            assert count > 30


@pytest.mark.parametrize("name", REPORTS)
def test_a_phone_shows_all_within_its_width(name: str, open_named: Open) -> None:
    opened = open_named(name, **PHONE)
    assert min(opened.evaluate(SIZES)) >= 12
    for tab in tabs(opened):
        wide, inner = opened.evaluate("() => [document.scrollingElement.scrollWidth, innerWidth]")
        assert (tab, wide <= inner, inner) == (tab, True, 390)
        over, out, _ = opened.evaluate(OVER_AND_OUT)
        assert (tab, over, out) == (tab, [], [])
        assert (tab, opened.evaluate(SMALL)) == (tab, [])
    assert opened.errors == []
