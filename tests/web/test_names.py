"""Names are text wherever they stand, whatever is in them, and however long they are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from tests.made.reports.build_report import Kernel, Memory, Range, make_report, written
from tests.web.conftest import Opened

pytestmark = pytest.mark.slow

Open = Callable[..., Opened]

RUN: Final = "globalThis.ran = 1"
HOSTILE: Final[tuple[str | bytes, ...]] = (
    f"<script>{RUN}</script>",
    f"<img src=x onerror='{RUN}'>",
    f"</script><svg onload='{RUN}'>",
    f"javascript:{RUN}//",
    f"\"' onmouseover='{RUN}' x=\"",
    f"</title><style>*{{display:none}}</style><script>{RUN}</script>",
    "__proto__",
    "{{EVENTS}} \u2028 \x1b[31m \x00",
    "\u202egnp.exe \u2066 \u200b",
    b"no UTF-8: \xff\xfe \xed\xa0\x80 <b>",
)
FILE: Final = f"<img src=x onerror='{RUN}'>\u202egnp.exe &lt;b>"
RUN_KEYS: Final = ("workload", "model", "size", "mode", "recorder", "torch", "commit", "missing")
MARKUP: Final = "main :is(img, script, style, b, svg, iframe, [onload], [onerror], [onmouseover])"

STEERING: Final = """() => [...document.querySelectorAll("body *:not(script)")]
    .flatMap((node) => [...node.childNodes, ...node.attributes])
    .map((each) => each.nodeType === Node.ELEMENT_NODE ? "" : each.nodeValue)
    .filter((text) => /[\\u202a-\\u202e\\u2066-\\u2069\\u2028\\u200b\\x1b]/.test(text))"""
"""Texts and attributes that hold what steers what stands beside it."""


def make(path: Path, names: Sequence[str | bytes] = HOSTILE, first: int = 20_000) -> Path:
    """Write a report in which all that has a name bears one of these."""
    texts = [name if isinstance(name, str) else name.decode("latin-1") for name in names]
    made = make_report(
        path,
        ranges=[
            Range("step", 0, 100_000),
            *(
                part
                for at, (name, text) in enumerate(zip(names, texts, strict=True))
                for part in (
                    Range(name, 1000 * at + 10, 1000 * at + 900),
                    Range(name, 1000 * at + 20, 1000 * at + 800, registered=True),
                    Range(text, 1000 * at + 30, 1000 * at + 700, domain=text, thread=101 + at),
                )
            ),
        ],
        kernels=[
            Kernel(name, first + 5000 * at, first + 5000 * at + 1000, launch=1000 * at + 40)
            for at, name in enumerate(names)
        ],
        memory=[Memory(1000, 2000, 64, 90)],
        gpus=texts,
        threads={100 + at: text for at, text in enumerate(texts)},
        run=dict(zip(RUN_KEYS, texts, strict=False)),
    )
    with written(made) as connection:
        label = "".join(texts)
        connection.execute("UPDATE ENUM_CUDA_MEMCPY_OPER SET name = ?, label = ?", (label, label))
    return made


def looked_through(opened: Opened) -> None:
    """Open all tabs, sort, choose and point at everything, and search."""
    page = opened.page
    opened.evaluate(
        "() => document.querySelectorAll('details').forEach((each) => (each.open = true))"
    )
    for tab in page.query_selector_all("[role=tab]"):
        tab.click()
        for row in page.query_selector_all("[role=tabpanel]:not([hidden]) tbody tr")[:3]:
            row.dispatch_event("click")
    opened.evaluate(
        "() => spanlight.lanes.filter(({ start }) => start.length > 0).forEach((lane) => {"
        "spanlight.go({ lane, row: 0 }); spanlight.timeline.draw(); })"
    )
    x, y = opened.evaluate(
        "() => { const { canvas } = spanlight.timeline.surface;"
        "canvas.scrollIntoView({ block: 'center' });"
        "const { left, top } = canvas.getBoundingClientRect(); return [left, top]; }"
    )
    for at in range(45, 250, 20):
        page.mouse.move(x + 600, y + at)
        page.mouse.move(x + 20, y + at)


def nothing_ran(opened: Opened) -> None:
    """Check that names were text, and that the page still answers."""
    assert opened.evaluate("() => globalThis.ran ?? ({}).ran") is None
    assert opened.evaluate(f"() => document.querySelectorAll({MARKUP!r}).length") == 0
    assert opened.evaluate(STEERING) == []
    assert opened.errors == []
    opened.page.click("#tab-ranges")
    assert opened.page.is_visible("#panel-ranges")


def test_a_name_is_text_wherever_it_stands(tmp_path: Path, open_report: Open) -> None:
    opened = open_report(make(tmp_path / f"{FILE}.sqlite"))
    looked_through(opened)
    nothing_ran(opened)
    shown = opened.page.inner_text("#panel-ranges")
    assert all(str(name) in shown for name in HOSTILE[:7])
    assert "\\u202egnp.exe" in shown
    assert "no UTF-8: " in shown


def test_names_of_a_comparison_are_text(tmp_path: Path, open_report: Open) -> None:
    before = make(tmp_path / f"{FILE}.sqlite")
    opened = open_report(before, make(tmp_path / f"{FILE} after.sqlite", first=20_700))
    looked_through(opened)
    nothing_ran(opened)


def test_what_is_searched_for_is_text(tmp_path: Path, open_report: Open) -> None:
    opened = open_report(make(tmp_path / "report.sqlite"))
    for name in map(str, HOSTILE):
        opened.evaluate(
            "(hash) => { location.hash = hash; }", f"search={quote(name)}&table={quote(name)}"
        )
        opened.page.fill("main .bar-top input", name)
        opened.page.fill("#panel-kernels input", name)
        assert "stand" in opened.page.inner_text(".details")
        opened.page.wait_for_timeout(250)  # the address is written a little later
    opened.page.reload()
    opened.page.wait_for_selector("canvas.timeline")
    nothing_ran(opened)


def test_a_name_of_a_megabyte_can_be_looked_at(tmp_path: Path, open_report: Open) -> None:
    name = "<b>" + "long" * 250_000
    opened = open_report(
        make_report(
            tmp_path / "long.sqlite",
            ranges=[Range("step", 0, 9000), Range(name, 10, 8000)],
            kernels=[Kernel(name, 2000, 3000, launch=40)],
        )
    )
    opened.page.click("#panel-kernels tbody tr")
    assert opened.page.text_content(".details h3") == name
    nothing_ran(opened)


def test_a_hundred_thousand_long_names_stay_usable(tmp_path: Path, open_report: Open) -> None:
    opened = open_report(
        make_report(
            tmp_path / "many.sqlite",
            ranges=[
                Range(f"{at:06d} " + "layer.block." * 16 + "x", 1000 * at, 1000 * at + 900)
                for at in range(100_000)
            ],
            kernels=[Kernel("k", 5000, 6000, launch=2000)],
        )
    )
    opened.page.fill("main .bar-top input", "077777")
    assert "1 event stands out" in opened.page.inner_text(".details")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_timeout(100)
    assert opened.page.inner_text(".details h3").startswith("077777 layer.block.")
    opened.page.keyboard.press("Escape")
    before = opened.evaluate("() => spanlight.view.from")
    opened.page.keyboard.press("d")
    assert opened.evaluate("() => spanlight.view.from") > before
    opened.page.click("#tab-ranges")
    opened.page.fill("#panel-ranges input", "012345")
    assert opened.errors == []
