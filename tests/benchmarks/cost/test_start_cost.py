"""What starting a command costs, on made-up times; nothing here is timed."""

from benchmarks.cost.start_cost import LIST, PYTHON, names_in, row
from spanlight.__main__ import parser
from spanlight.commands import COMMANDS


def test_every_command_of_the_list_is_measured() -> None:
    assert names_in(parser().format_help()) == list(COMMANDS)


def test_a_row_has_the_time_and_whether_it_is_short_enough() -> None:
    assert row("kernels", [0.1, 0.2, 0.3]) == ("kernels", "0.20 s (0.10-0.30)", "<= 0.6 s", "met")
    assert row(LIST, [0.4])[-1] == "missed"
    assert row(PYTHON, [0.02])[2:] == ("", "")
