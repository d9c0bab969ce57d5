"""How an answer is shown: as a table or GitHub's markdown for people, or as csv or json.

csv and json carry every value as it is. Tables and markdown round and use human units; a table also
cuts long names in the middle. Names are text and nothing else: what would steer a terminal is shown
as an escape, and what markdown or HTML would read as its own is shown as code.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from analysis.knowledge.short_names import distinct_short_names, numbered
from analysis.show.counts import plural as plural
from analysis.show.sheet import COMFORTABLE_NAME, Sheet, cut, folded, visible, widest
from analysis.show.table import Table

if TYPE_CHECKING:
    from rich.table import Table as Grid

NARROWEST_NAME: Final = 12
READABLE_NAME: Final = 24
GAP: Final = 2
NAME: Final = "name"
"""The column of kernel names, of which a table for people shows the short ones."""


def duration(nanoseconds: float) -> str:
    """Return a time in the unit that suits it (ns to s), to four digits.

    >>> duration(950), duration(21_023_800), duration(1_500_000_000)
    ('950 ns', '21.02 ms', '1.500 s')
    """
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(nanoseconds) >= size * 0.99995:
            return f"{digits(nanoseconds / size)} {unit}"
    return f"{digits(nanoseconds) if nanoseconds % 1 else int(nanoseconds)} ns"


def digits(value: float) -> str:
    """Return a number to four digits, without an exponent.

    >>> digits(1.23456), digits(123.456), digits(9.9999), digits(12345.6)
    ('1.235', '123.5', '10.00', '12,346')
    """
    whole = len(str(int(abs(float(f"{value:.3e}"))))) if math.isfinite(value) else 4
    return f"{value:,.{max(0, 4 - whole)}f}"


def scaled(value: float, unit: str = "") -> str:
    """Return a count with a decimal prefix and its unit.

    >>> scaled(811_597_824, "FLOP"), scaled(12)
    ('811.6 MFLOP', '12')
    """
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{digits(value / size)} {prefix}{unit}".strip()
    return f"{value:g} {unit}".strip()


def binary(count: float) -> str:
    """Return a number of bytes of memory with a binary prefix, as memory is sold and allocated.

    >>> binary(20 * 2**20), binary(1536), binary(12), binary(-2048)
    ('20.00 MiB', '1.500 KiB', '12 B', '-2.000 KiB')
    """
    for prefix, size in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if abs(count) >= size:
            return f"{digits(count / size)} {prefix}B"
    return f"{count:g} B"


def percent(share: float) -> str:
    """Return a share of 1 as a percentage.

    >>> percent(0.7603)
    '76.0 %'
    """
    return f"{share * 100:.1f} %"


def are(count: int) -> str:
    """Return the verb after a count.

    >>> are(1), are(0)
    ('is', 'are')
    """
    return "is" if count == 1 else "are"


UNITS: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    (r"_ns$", "", duration),
    (r"(^|_)share$", r"\1share", percent),
    (r"^flops_per_s$", "FLOP/s", lambda value: scaled(value, "FLOP/s")),
    (r"(^|_)bytes_per_s$", r"\1bytes/s", lambda value: scaled(value, "B/s")),
    (r"^flops$", "FLOPs", lambda value: scaled(value, "FLOP")),
    (r"^bytes$", "bytes", lambda value: scaled(value, "B")),
    (r"_bytes$", "", binary),
)
"""By the end of a column's name: what its title becomes, and how its values are shown."""


def value_text(column: str, value: float | str) -> str:
    """Return a value of a column as a person reads it; a number that is missing (NaN) as a dash."""
    if isinstance(value, str):
        return visible(value)
    if math.isnan(value):
        return "-"
    for pattern, _, form in UNITS:
        if re.search(pattern, column):
            return form(value)
    return f"{value:,}" if isinstance(value, int) else digits(value)


def column_title(column: str) -> str:
    """Return the title of a column in a table for people.

    >>> column_title("total_ns"), column_title("time_ratio")
    ('total', 'time ratio')
    """
    for pattern, instead, _ in UNITS:
        column = re.sub(pattern, instead, column)
    return column.replace("_", " ")


def titles_of(table: Table) -> dict[str, str]:
    """Return the title of each column of a table that people see.

    Where CPU operators stand in for kernels, which its column ``source`` says, the titles do too.
    """
    on_cpu = "operator" in table.columns.get("source", ())
    return {
        column: OF_OPERATORS[column] if on_cpu and column in OF_OPERATORS else column_title(column)
        for column in table.columns
        if column not in table.hidden
    }


OF_OPERATORS: Final = {"kernel_ns": "operators", "gpu_ops": "calls"}
"""Titles where operators take the kernels' place."""


def cut_apart(names: Sequence[str], width: int) -> list[str]:
    """Return texts shortened to a width, numbered where different ones would look alike.

    >>> cut_apart(["block.0.weight", "block.1.weight", "bias"], 11)
    ['bloc…ght #1', 'bloc…ght #2', 'bias']
    """
    whole = [cut(name, width) for name in names]
    short_and_numbered = zip(names, whole, numbered(whole, names), strict=True)
    marks = [(name, longer.removeprefix(short)) for name, short, longer in short_and_numbered]
    return [cut(name, width - len(mark)) + mark for name, mark in marks]


def write_text(table: Table, sheet: Sheet, stream: TextIO) -> tuple[str, ...]:
    """Write a table for a person to read.

    Args:
        table: what to write.
        sheet: what it must fit.
        stream: where to.

    Returns:
        The titles of the columns that there was no room for.
    """
    from rich.console import Console

    console = Console(
        file=stream,
        width=sheet.width,
        no_color=True,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=sheet.styled,
        legacy_windows=False,
        _environ={},  # the sheet says it all, whatever TERM and COLUMNS do
    )
    titles = titles_of(table)
    cells = {column: [value_text(column, row[column]) for row in table.rows()] for column in titles}
    if NAME in cells:
        cells[NAME] = distinct_short_names(cells[NAME])
    words = {column for column in titles if isinstance(table.columns[column], list)}
    shown, console.width = fit_columns(cells, titles, words, table, sheet)
    for line in table.caption.split("\n") if table.caption else ():
        stream.write("".join(f"{part}\n" for part in sheet.lines(line, "  ")))
    if table.caption:
        stream.write("\n")
    console.print(grid(cells, shown, words, header_style="bold" if sheet.styled else ""))
    return tuple(title for column, title in titles.items() if column not in cells)


def grid(
    cells: dict[str, list[str]], titles: Mapping[str, str], words: set[str], header_style: str
) -> Grid:
    """Return the table that `rich` draws of cells which fit its width.

    Args:
        cells: what is shown in each column.
        titles: of the columns, perhaps of several lines.
        words: the columns that hold text; the others are aligned on the right.
        header_style: of the titles, in the words of `rich`.
    """
    from rich import box
    from rich.table import Column
    from rich.table import Table as Grid
    from rich.text import Text

    drawn = Grid(
        *(
            Column(
                Text(titles[column]),
                justify="left" if column in words else "right",
                no_wrap=True,
                overflow="crop",
            )
            for column in cells
        ),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style=header_style,
    )
    for row in zip(*cells.values(), strict=True):
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def fit_columns(
    cells: dict[str, list[str]],
    titles: Mapping[str, str],
    words: set[str],
    table: Table,
    sheet: Sheet,
) -> tuple[dict[str, str], int]:
    """Make cells fit a sheet: fold titles, leave out columns, then shorten the longest names.

    Args:
        cells: what is shown in each column; changed in place.
        titles: of the columns.
        words: the columns that hold text.
        table: says which columns can be missed.
        sheet: what the table must fit.

    Returns:
        The titles as they are shown, and how wide the table may be: where a line stays a line, it
        rather becomes too long than a number wrong.
    """
    words = {column for column in words if not hold_figures(cells[column])}
    shown = dict(titles)
    widths = {column: widest(titles[column], *cells[column]) for column in cells}
    comfortable = min(COMFORTABLE_NAME, sheet.width // 2) if sheet.folds else COMFORTABLE_NAME

    def needed(longest: int) -> int:
        taken = (
            min(width, max(longest, title_width(column))) if column in words else width
            for column, width in widths.items()
        )
        return sum(taken) + GAP * (len(widths) - 1)

    def title_width(column: str) -> int:
        return widest(*shown[column].split("\n"))

    def leave_out(columns: Iterable[str], longest: int) -> None:
        for column in columns:
            if column in cells and needed(longest) > sheet.width:
                del widths[column], cells[column]

    if sheet.folds and needed(comfortable) > sheet.width:
        for column, values in cells.items():
            room = max(widest(*values), widest(*titles[column].split(" ")))
            shown[column] = "\n".join(folded(titles[column], room))
            widths[column] = max(title_width(column), widest(*values))
    leave_out(table.droppable, comfortable)
    if sheet.folds:
        first = [column for column in cells if column in words] or list(cells)
        others = [column for column in reversed(cells) if column not in first[:1]]
        leave_out(table.spare, READABLE_NAME)
        leave_out(sorted(others, key=words.__contains__), NARROWEST_NAME)
    longest = max((widths[column] for column in words & widths.keys()), default=0)
    while longest > NARROWEST_NAME and needed(longest) > sheet.width:
        longest -= 1
    for column in words & widths.keys():
        cells[column] = cut_apart(cells[column], max(longest, title_width(column)))
    return shown, max(sheet.width, needed(longest))


def hold_figures(cells: Sequence[str]) -> bool:
    """Return whether texts of a column are no names but figures, of which none can be cut.

    >>> hold_figures(["2.805 ± 2.1 ms", "not available"]), hold_figures(["sgemm", "-"])
    (True, False)
    """
    figures = any(re.match(r"[-+]?\d[\d,.]*( |$)", cell) for cell in cells)
    return figures and all(len(cell) <= COMFORTABLE_NAME for cell in cells)


def as_csv(table: Table) -> str:
    """Return a table as csv: integers as they are, other numbers to their last digit.

    What is missing (NaN) is an empty field.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows():
        # Only NaN differs from itself.
        writer.writerow(["" if value != value else value for value in row.values()])
    return stream.getvalue()


def as_json(table: Table) -> str:
    """Return a table as a json array of objects, one a line; a missing number (NaN) is null.

    Of an answer that says something as a whole the array is ``rows`` of an object that says it.
    """
    lines = [
        json.dumps(
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in row.items()
            },
            ensure_ascii=False,
            allow_nan=False,
        )
        for row in table.rows()
    ]
    rows = "[" + ",\n ".join(lines) + "]"
    if not table.whole:
        return rows + "\n"
    facts = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in table.whole.items()
    ]
    return "{" + ",\n ".join([*facts, f'"rows":\n {rows}']) + "}\n"


def as_markdown(table: Table) -> str:
    """Return a table as GitHub's markdown, in human units and with full names."""
    titles = titles_of(table)
    words = [isinstance(table.columns[column], list) for column in titles]
    lines = [
        "| " + " | ".join(titles.values()) + " |",
        "| " + " | ".join("---" if word else "--:" for word in words) + " |",
    ]
    lines += [
        "| "
        + " | ".join(markdown_cell(value_text(column, row[column])) for column in titles)
        + " |"
        for row in table.rows()
    ]
    above = [f"{markdown_cell(visible(line))}\n" for line in table.caption.split("\n") if line]
    return "\n".join(above + lines) + "\n"


MADE_A_LINK: Final = re.compile(r"//|www\.|@", re.IGNORECASE)
"""What GitHub makes a link of by itself where it stands in a text that is no code."""


def markdown_cell(cell: str) -> str:
    r"""Return text as code where markdown or HTML could read anything else into it.

    Within code only the bar and the backtick mean something: the bar ends the cell unless a
    backslash stands before it, the backtick ends the code unless the fence is longer.

    >>> print(markdown_cell("a_b<c|d>"), markdown_cell("21.02 ms"))
    `a_b<c\|d>` 21.02 ms
    """
    plain = re.fullmatch(r"[\w .,:;%/+()…·-]*", cell) and "_" not in cell
    if plain and not MADE_A_LINK.search(cell):
        return cell
    # A backslash that is already there would escape our own.
    bar = "&#124;" if "\\|" in cell else "\\|"
    return code(cell.replace("|", bar))


def code(text: str) -> str:
    """Return a text as code of markdown, in which only the backtick means something.

    >>> print(code("a_b"), code("`x"))
    `a_b` `` `x ``
    """
    runs = [len(run) for run in re.findall(r"`+", text)]
    fence = "`" * (max(runs, default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
