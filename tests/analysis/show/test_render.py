import csv
import io
import json
import math
import re

import numpy as np
import pytest
from rich.cells import cell_len

from analysis.page.show import prose
from analysis.show import render
from analysis.show.sheet import Sheet
from analysis.show.table import Column, Table

HOSTILE = [
    "[lambda() (instance 1)]",
    "[bold red]not markup[/]",
    "\x1b[31mred\x1b[0m \x07 \x9b31m",
    "two\nlines\r\nand a\ttab",
    'a|b "quoted", with \\| a bar',
    "<script>alert(1)</script> & `code` ``more``",
    "x" * 10_000,
    "核" * 200,
    "\u202egnp.exe\u2066",
    "",
    ":smile: **bold** _it_",
]


def table(names: list[str], **options: str) -> Table:
    """Return a table of names with a number each."""
    return Table("t", {"name": names, "total_ns": np.arange(len(names))}, **options)  # type: ignore[arg-type]  # strings only


def as_text(made: Table, width: int = 60) -> list[str]:
    """Return the lines of the human table."""
    stream = io.StringIO()
    render.write_text(made, Sheet(width), stream)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_human_table(name: str) -> None:
    lines = as_text(table([name, "plain"]))
    assert len(lines) == 4
    assert all(cell_len(line) <= 60 for line in lines)
    assert all(character.isprintable() for line in lines for character in line)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_the_markdown_table(name: str) -> None:
    lines = render.as_markdown(table([name, "plain"])).splitlines()
    assert len(lines) == 4
    bars = [re.sub(r"\\\|", "", line).count("|") for line in lines]
    assert bars == [3, 3, 3, 3]
    assert "<script>" not in re.sub(r"(`+).*?\1", "", lines[2])


@pytest.mark.parametrize(
    "name",
    [
        "https://evil.example/x",
        "HTTP://EVIL.EXAMPLE",
        "ftp://evil.example",
        "loads …http://evil.example",
        "//evil.example",
        "www.evil.example",
        "WWW.evil.example",
        "(www.evil.example)",
        "me@evil.example",
        "mailto:me@evil.example",
        "xmpp:me@evil.example",
        "a `https://evil.example` b",
        "[see](https://evil.example)",
        "<https://evil.example>",
    ],
)
def test_no_name_is_a_link_in_markdown(name: str) -> None:
    """What makes a link stands in code (as cmark-gfm and markdown-it with linkify have it too)."""
    made = table([name, "plain"], heading=f"most of it in {name}")
    text = render.as_markdown(made) + prose(f"most of it in {name}")
    outside = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text.lower())
    assert "evil" not in outside
    assert text.lower().count("evil") == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_and_json_carry_the_whole_name(name: str) -> None:
    made = table([name, "plain"])
    rows = list(csv.reader(io.StringIO(render.as_csv(made), newline="")))
    assert rows == [["name", "total_ns"], [name, "0"], ["plain", "1"]]
    expected = [{"name": name, "total_ns": 0}, {"name": "plain", "total_ns": 1}]
    assert json.loads(render.as_json(made)) == expected


def test_brackets_are_shown_as_they_are() -> None:
    assert as_text(table(["[bold]x[/bold]"]))[2].startswith("[bold]x[/bold] ")


def test_a_long_name_is_cut_in_the_middle() -> None:
    (row,) = as_text(table(["front " + "x" * 100 + " back"]), width=30)[2:]
    assert re.match(r"front x+…x+ back +0 ns$", row)
    assert len(row) == 30


def test_droppable_columns_go_before_the_name_is_cut() -> None:
    columns: dict[str, Column] = {
        "name": ["n" * 40],
        "max_ns": np.array([1]),
        "total_ns": np.array([2]),
    }
    made = Table("t", columns, droppable=("max_ns",))
    assert as_text(made, width=80)[0].split() == ["name", "max", "total"]
    assert as_text(made, width=50)[0].split() == ["name", "total"]


def test_a_table_too_wide_for_the_terminal_keeps_its_numbers_whole() -> None:
    columns: dict[str, Column] = {
        "name": ["n" * 40],
        **{f"c{n}_ns": np.array([123_456_789]) for n in range(4)},
    }
    (row,) = as_text(Table("t", columns), width=20)[2:]
    assert row.split()[1:] == ["123.5", "ms"] * 4


def test_a_table_without_rows_has_its_titles() -> None:
    assert as_text(table([]))[0].split() == ["name", "total"]
    assert render.as_csv(table([])) == "name,total_ns\n"
    assert render.as_json(table([])) == "[]\n"
    assert len(render.as_markdown(table([])).splitlines()) == 2


def test_what_is_missing_is_a_dash_and_null() -> None:
    made = Table("t", {"ratio": np.array([math.nan, 2.0])})
    assert json.loads(render.as_json(made)) == [{"ratio": None}, {"ratio": 2.0}]
    assert [line.strip() for line in as_text(made)[2:]] == ["-", "2.000"]


def test_what_is_missing_is_an_empty_field_of_csv() -> None:
    made = Table("t", {"calls": np.array([1, 2]), "ratio": np.array([math.nan, 2.0])})
    assert render.as_csv(made) == "calls,ratio\n1,\n2,2.0\n"


def test_csv_keeps_every_digit() -> None:
    made = Table("t", {"total_ns": np.array([1 << 62]), "mean_ns": np.array([1 / 3])})
    assert render.as_csv(made) == "total_ns,mean_ns\n4611686018427387904,0.3333333333333333\n"


def test_the_whole_markdown() -> None:
    columns: dict[str, Column] = {
        "name": ["a_kernel<int>", "b|c"],
        "calls": np.array([1234, 1]),
        "total_ns": np.array([21_023_800, 5]),
        "share": np.array([0.9, 0.1]),
        "source": ["kernel", "kernel"],
    }
    made = Table("t", columns, heading="run.sqlite\n2 kernels", hidden=("source",))
    assert render.as_markdown(made) == (
        "run.sqlite\n"
        "\n"
        "2 kernels\n"
        "\n"
        "| name | calls | total | share |\n"
        "| --- | --: | --: | --: |\n"
        "| `a_kernel<int>` | 1,234 | 21.02 ms | 90.0 % |\n"
        "| `b\\|c` | 1 | 5 ns | 10.0 % |\n"
    )


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (999.96, "1.000 µs"),
        (1_000, "1.000 µs"),
        (999_960, "1.000 ms"),
        (12.5, "12.50 ns"),
        (-1_500_000, "-1.500 ms"),
        (7_811_141_695, "7.811 s"),
        (3_600_000_000_000, "3,600 s"),
    ],
)
def test_a_duration_has_four_digits_and_its_unit(nanoseconds: float, shown: str) -> None:
    assert render.duration(nanoseconds) == shown


def test_columns_of_different_lengths_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="columns of different lengths"):
        Table("t", {"a": ["x"], "b": []})


def test_a_table_is_taken_and_cut_by_rows() -> None:
    made = table(["a", "b", "c"])
    assert made.take(np.array([2, 0])).rows() == [
        {"name": "c", "total_ns": 2},
        {"name": "a", "total_ns": 0},
    ]
    assert made.head(1).rows() == [{"name": "a", "total_ns": 0}]
    assert len(made) == 3
    assert made.frame()["total_ns"].tolist() == [0, 1, 2]
