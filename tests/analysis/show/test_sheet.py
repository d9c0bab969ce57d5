"""Text for people: lines break between words, fit a terminal, and stay lines elsewhere."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from analysis.show.command import failed
from analysis.show.sheet import Sheet, command_lines, folded, say

WORDS = st.lists(st.text("abc:/_核.,-", min_size=1, max_size=12), min_size=1, max_size=30)


class Terminal(io.StringIO):
    """What believes itself to be a terminal."""

    def isatty(self) -> bool:
        return True


@given(words=WORDS, width=st.integers(30, 90), indent=st.sampled_from(["", "  ", " " * 6]))
def test_every_word_is_there_whole_and_no_line_too_wide(
    words: list[str], width: int, indent: str
) -> None:
    lines = folded(" ".join(words), width, indent)
    assert [word for line in lines for word in line.split()] == words
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith(indent) for line in lines[1:])


@pytest.mark.parametrize("width", [1, 5, 20, 60])
def test_a_word_wider_than_the_line_is_cut_in_the_middle(width: int) -> None:
    (line,) = folded("x" * 200, width)
    assert len(line) == width
    assert "…" in line


def test_a_number_stays_with_its_unit_and_a_part_in_one_line() -> None:
    text = "idle 86.23 ms · forward 21.65 ms · backward 17.20 ms · optimizer 47.34 ms"
    assert folded(text, 40, "  ") == [
        "idle 86.23 ms · forward 21.65 ms ·",
        "  backward 17.20 ms · optimizer 47.34 ms",
    ]
    assert folded("it took 148.0 ms", 13) == ["it took", "148.0 ms"]


def test_a_command_can_be_typed_as_it_stands_however_narrow_the_terminal() -> None:
    command = "spanlight kernels nsys_reports/a-run-with-a-long-name.sqlite --within optimizer"
    lines = command_lines("   more: ", command, Sheet(40, folds=True))
    assert " ".join(line.rstrip("\\").strip() for line in lines) == f"more: {command}"
    assert [line.endswith(" \\") for line in lines] == [True] * (len(lines) - 1) + [False]
    assert command_lines("more: ", command, Sheet(40)) == [f"more: {command}"]


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_is_one_line_that_a_terminal_folds(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    err = Terminal() if terminal else io.StringIO()
    with contextlib.redirect_stderr(err):
        assert failed("run.sqlite: no NVTX ranges in this report; record with --trace=nvtx") == 1
    assert err.getvalue().splitlines() == (
        [
            "error: run.sqlite: no NVTX ranges in",
            "       this report; record with",
            "       --trace=nvtx",
        ]
        if terminal
        else ["error: run.sqlite: no NVTX ranges in this report; record with --trace=nvtx"]
    )


def test_a_path_that_is_said_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    err = Terminal()
    say("written to " + "folder/" * 10, stream=err)
    assert err.getvalue().split()[-1] == "folder/" * 10


@pytest.mark.parametrize("given", ["0", "-5", "wide", "", "9" * 20])
def test_columns_that_are_none_are_not_heeded(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", given)
    err = Terminal()
    say("word " * 30, stream=err)
    assert max(map(len, err.getvalue().splitlines())) in range(90, 101)
