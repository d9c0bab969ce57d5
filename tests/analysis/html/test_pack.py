"""Columns of any numbers, and tables of any values, are read out of the page as they went in."""

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.html.links import steps_from_next
from analysis.html.pack import as_json, encoded, payload_of
from analysis.html.tables import MOST_ROWS, as_records
from analysis.show.table import Column, Table
from tests.made.reports.html_page import numbers

COLUMNS = st.lists(st.lists(st.integers(0, 2**63 - 1), max_size=20), max_size=5)


@given(COLUMNS)
def test_a_column_is_read_as_it_was_written(columns: list[list[int]]) -> None:
    named = {str(place): np.array(column, np.int64) for place, column in enumerate(columns)}
    payload, (places,) = payload_of([named])
    read = {
        name: numbers(payload[offset : offset + width * len(named[name])], width, len(named[name]))
        for name, (offset, width) in places.items()
    }
    assert read == {name: column.tolist() for name, column in named.items()}


@pytest.mark.parametrize(
    ("most", "width"), [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32, 8)]
)
def test_a_number_takes_no_more_bytes_than_the_largest_needs(most: int, width: int) -> None:
    _, (places,) = payload_of([{"a": np.array([0, most])}])
    assert places == {"a": (0, width)}


@given(st.lists(st.one_of(st.just(-1), st.integers(0, 1000)), max_size=30))
def test_rows_of_calls_are_found_again_where_they_are_known(rows: list[int]) -> None:
    call, read = -1, []
    for step in steps_from_next(np.array(rows, np.int64)).tolist():
        call += 1 + (-(step + 1) // 2 if step % 2 else step // 2)
        read.append(call)
    known = [(found, row) for found, row in zip(read, rows, strict=True) if row != -1]
    assert all(found == row for found, row in known)


@given(st.recursive(st.text() | st.integers() | st.none() | st.booleans(), st.lists, max_leaves=9))
def test_json_is_read_as_it_was_written_and_holds_nothing_of_html(value: object) -> None:
    text = as_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not {"<", ">", "&"} & set(text)


def test_what_is_no_number_is_not_known_and_what_javascript_would_round_is_text() -> None:
    columns: dict[str, Column] = {
        "a_ns": np.array([2**53, 2**53 + 1]),
        "b": np.array([np.nan, np.inf]),
    }
    assert as_records(Table("t", columns))["rows"] == [[2**53, None], [str(2**53 + 1), None]]


def test_a_long_table_says_how_much_of_it_there_is() -> None:
    table = Table("t", {"a": np.arange(MOST_ROWS + 2)}, heading="all")
    made = as_records(table)
    assert len(made["rows"]) == MOST_ROWS
    assert made["heading"] == "all\nthe first 10,000 rows; 2 more rows not shown"


def test_events_are_inflated_by_what_browsers_have() -> None:
    assert zlib.decompress(base64.b64decode(encoded(b"abc"))) == b"abc"
