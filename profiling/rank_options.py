"""The options of the commands that time steps on several ranks of this machine."""

from typing import TYPE_CHECKING

from profiling import cli

if TYPE_CHECKING:
    from profiling.options import Adder


def add_timing(parser: "Adder", timeout_s: float, each: str) -> None:
    """Add how many steps are timed, how long they may take, and where the ranks meet.

    Args:
        parser: the parser, or a group of it.
        timeout_s: the time limit where none is given, in seconds.
        each: what the limit is for.
    """
    parser.add_argument("--steps", type=cli.count, default=10, metavar="N", help="timed (10)")
    parser.add_argument("--warmup", type=cli.count_or_none, default=5, metavar="N", help="(5)")
    parser.add_argument(
        "--timeout",
        type=cli.positive,
        default=timeout_s,
        metavar="S",
        help=f"for {each}, in seconds ({timeout_s:.0f})",
    )
    parser.add_argument("--port", type=cli.count, default=0, help="where ranks meet (a free one)")
