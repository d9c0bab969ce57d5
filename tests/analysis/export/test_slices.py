"""Slices on tracks without overlap, whatever their times are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analysis.export.slices import Slices, edges

SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 1)), max_size=14)


@given(SPANS)
def test_opened_and_closed_in_order_every_slice_ends_when_it_ends(
    spans: list[tuple[int, int, int]],
) -> None:
    start, length, thread = np.array(spans, np.int64).reshape(-1, 3).T
    slices = Slices("", [""], start * 0, start, start + length, thread)
    track, found = slices.tracks(), edges(slices)
    assert found.time_ns.tolist() == sorted(found.time_ns.tolist())
    open_: dict[tuple[int, int], list[int]] = {}
    for row, is_end, time in zip(
        found.row.tolist(), found.is_end.tolist(), found.time_ns.tolist(), strict=True
    ):
        stack = open_.setdefault((int(thread[row]), int(track[row])), [])
        if is_end:
            assert stack.pop() == row
            assert time == start[row] + length[row]
        else:
            stack.append(row)
            assert time == start[row]
    assert not any(open_.values())


@given(SPANS)
def test_a_further_track_is_taken_only_for_what_overlaps(spans: list[tuple[int, int, int]]) -> None:
    start, length, thread = np.array(spans, np.int64).reshape(-1, 3).T
    end = start + length
    track = Slices("", [""], start * 0, start, end, thread).tracks()
    for row in np.flatnonzero(track).tolist():
        others = np.flatnonzero((thread == thread[row]) & (track == track[row] - 1))
        crossed = (
            (start[others] < start[row]) & (start[row] < end[others]) & (end[others] < end[row])
        ) | ((start[row] < start[others]) & (start[others] < end[row]) & (end[row] < end[others]))
        assert crossed.any()
