"""What text for people is written on: how wide it is, where its lines break, what it can show.

In a terminal lines fit its width and break between words; in a pipe or a file a line stays a line,
and there is neither bold type nor colour.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Final, TextIO

from analysis.show.errors import one_line

WIDTH_WITHOUT_TERMINAL: Final = 100
COMFORTABLE_NAME: Final = 40
ELLIPSIS: Final = "…"

visible: Final = one_line
"""The same of a name in a table: what does not print, a terminal might obey."""

BOLD: Final = "1"
GREEN: Final = "32"
CYAN: Final = "36"
"""Styles, as a terminal takes them."""


@dataclass(frozen=True)
class Sheet:
    """What a text for people is written on: how wide it is, and what it can show.

    Attributes:
        width: in columns.
        folds: whether what is wider goes on in the next line, as in a terminal; elsewhere a line
            stays a line, for programs to read.
        styled: whether there is bold type and colour.
    """

    width: int
    folds: bool = False
    styled: bool = False

    def style(self, text: str, code: str) -> str:
        r"""Return text in a style, one of `BOLD` and its like, where the sheet has styles.

        >>> Sheet(80, styled=True).style("now", BOLD), Sheet(80).style("now", BOLD)
        ('\x1b[1mnow\x1b[0m', 'now')
        """
        return f"\x1b[{code}m{text}\x1b[0m" if self.styled and text else text

    def lines(self, text: str, indent: str = "") -> list[str]:
        """Return the lines that text takes: one, or where the sheet folds those of `folded`."""
        return folded(text, self.width, indent) if self.folds else [visible(text)]


def sheet_of(stream: TextIO) -> Sheet:
    """Return how text for people is written to a stream: in a terminal it fits, elsewhere it stays.

    NO_COLOR and a terminal that only prints letters leave bold type and colour out.
    """
    terminal = stream.isatty()
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Sheet(width(stream), folds=terminal, styled=terminal and not plain)


def width(stream: TextIO) -> int:
    """Return how many columns a table may take: COLUMNS, else the terminal's."""
    given = os.environ.get("COLUMNS", "")
    if re.fullmatch("[1-9][0-9]{0,5}", given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH_WITHOUT_TERMINAL
    except OSError:
        return WIDTH_WITHOUT_TERMINAL


def say(text: str, indent: str = "  ", *, command: str = "", stream: TextIO | None = None) -> None:
    """Print text on stderr, or elsewhere; in a terminal broken between words, which stay whole.

    Args:
        text: of one line or several.
        indent: what a line begins with that another goes on in.
        command: to type, after the text.
        stream: where else.
    """
    stream = stream or sys.stderr
    sheet = sheet_of(stream)
    if command:
        print(*command_lines(text, command, sheet), sep="\n", file=stream, flush=True)
        return
    for line in text.split("\n"):
        parts = folded(line, sheet.width, indent, cuts=False) if sheet.folds else [line]
        print(*parts, sep="\n", file=stream, flush=True)


def folded(text: str, width: int, indent: str = "", *, cuts: bool = True) -> list[str]:
    """Return text in lines of at most a width, broken between words and nowhere else.

    A number stays with its unit, and what stands between two dots is one part, if it is short. A
    word that is too long for a line is cut in the middle.

    Args:
        text: one line of it.
        width: in columns.
        indent: what every line but the first begins with.
        cuts: whether words that are too long are cut.

    >>> folded("ranked: 3,655 kernels, 148.0 ms in all", 28, "  ")
    ['ranked: 3,655 kernels,', '  148.0 ms in all']
    """
    from rich.cells import cell_len

    lines, line = [], ""
    begun = False
    parts = [
        part.replace(" ", _GLUE) if cell_len(part) <= width // 2 else part
        for part in visible(text).split(_DOT)
    ]
    for word in _TOGETHER.sub(_GLUE, _DOT.join(parts)).split(" "):
        word = word.replace(_GLUE, " ")
        longer = f"{line} {word}" if begun else line + word
        if begun and cell_len(longer.rstrip()) > width:
            lines.append(line.rstrip())
            longer = indent + word
        begun = begun or bool(word)
        # Only the first word of a line can be too long for it.
        spare = len(longer) - len(word)
        is_too_long = cuts and cell_len(longer) > width
        line = longer[:spare] + cut(word, width - spare) if is_too_long else longer
    return [*lines, line.rstrip()]


_DOT: Final = " · "
_GLUE: Final = "\x00"
"""Between words that stay together while a text is broken into lines; in no text that is shown."""

_TOGETHER: Final = re.compile(
    r"(?<=\d) (?=(?:[nµm]?s|%|[kMGTP]?(?:FLOP|B)(?:/s)?|[KMGT]iB)(?![\w/]))|(?<=\S) (?=· )"
)
"""The blanks between a number and its unit, and before a dot between two parts."""


def command_lines(before: str, command: str, sheet: Sheet) -> list[str]:
    r"""Return a command to type, in lines that a shell takes as one where the sheet folds.

    Its words stay whole, however long they are: what is cut cannot be typed.

    Args:
        before: what stands in front of it in the first line.
        command: quoted for a shell.
        sheet: what it is written on.

    >>> command_lines("more: ", "spanlight kernels a-report.sqlite", Sheet(26, folds=True))
    ['more: spanlight kernels \\', '        a-report.sqlite']
    """
    lines = [before + visible(command)]
    while sheet.folds and widest(lines[-1]) > sheet.width:
        start = len(lines[-1]) - len(lines[-1].lstrip()) if len(lines) > 1 else len(before)
        room = lines[-1][: sheet.width - 1]
        at = room.rfind(" ", start)
        at = at if at > start else lines[-1].find(" ", start + 1)
        if at < 0:
            break
        lines[-1:] = [lines[-1][:at] + " \\", " " * (len(before) + 2) + lines[-1][at + 1 :]]
    return lines


def in_prose(name: str) -> str:
    """Return a name as it stands in a sentence: one line, and not longer than a name is.

    >>> in_prose("forward"), in_prose("{'layers': 12, 'hidden': 768, 'heads': 12, 'seed': 42}")
    ('forward', "{'layers': 12, 'hidd…s': 12, 'seed': 42}")
    """
    return cut(visible(name), COMFORTABLE_NAME)


def cut(name: str, width: int) -> str:
    """Return text of at most ``width`` columns, shortened in the middle.

    >>> cut("ampere_sgemm_128x64_nn", 11)
    'amper…64_nn'
    """
    from rich.cells import cell_len, set_cell_size

    if cell_len(name) <= width:
        return name
    room = max(width - 1, 0)
    front = set_cell_size(name[: room + 1], room - room // 2)
    back = set_cell_size(name[: -room - 1 : -1], room // 2)[::-1]
    return front + ELLIPSIS + back


def widest(*texts: str) -> int:
    """Return how many columns the widest of some texts takes."""
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)
