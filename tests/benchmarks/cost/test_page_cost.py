"""What the page for a browser takes is held against its goals; nothing here is timed."""

from benchmarks.cost.page_cost import BYTES, OPEN, row


def test_each_figure_has_its_unit_and_goal() -> None:
    assert row(OPEN, [1.0, 2.0, 9.0])[2:] == ("<= 5 s", "met, narrowly")
    assert row(BYTES, [7.0])[2:] == ("<= 6 B", "missed")
    assert row("draw a tenth", [3.0, 4.0])[2:] == ("<= 50 ms", "met")
