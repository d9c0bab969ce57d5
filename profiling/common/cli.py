"""What the commands of `profiling` share: arguments, where results go, and how they end.

Data goes to stdout and all else to stderr. The exit status is 0 done, 1 could not be done, 2 wrong
usage, 130 interrupted; a pipe closed early is no error. Tables are written by `analysis.show.cli`.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from analysis.show.errors import one_line
from analysis.show.interrupts import Interruptible
from profiling.common.errors import LaunchError, UsageError

if TYPE_CHECKING:
    from analysis.show.table import Table

T = TypeVar("T")

PRINTED: Final = ("table", "csv", "json", "markdown")
"""The formats of a command that makes one table and no database (`analysis.show.cli.FORMATS`)."""

FOR_PEOPLE: Final = ("table", "markdown")
"""Those of them that round, and put things in words."""

OUT_OF_MEMORY: Final = re.compile(
    "out of memory|can't allocate memory|cannot allocate memory|unable to allocate|alloc_failed",
    re.IGNORECASE,
)
"""How torch and the system say that memory was wanting."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help is the module's docstring."""

    def __init__(self, module: str, doc: str | None) -> None:
        super().__init__(
            prog=f"python -m {module}",
            description=(doc or "").strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:  # type: ignore[override]  # exits, as it must
        """End with status 2 and one line."""
        self.exit(2, f"error: {one_line(message)}; see {self.prog} --help\n")


def count(text: str) -> int:
    """Read a positive whole number."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, not {text!r}")
    return int(text)


def count_or_zero(text: str) -> int:
    """Read a whole number that may be 0."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"must be 0 or a positive whole number, not {text!r}")
    return int(text)


def seed(text: str) -> int:
    """Read a whole number that torch takes as a seed."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"must be 0 or a positive whole number, not {text!r}")
    if len(text) > 19 or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"must be below 2**63, not {text!r}")
    return int(text)


def positive(text: str) -> float:
    """Read a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return number


def comma_separated(read: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Return a reader of comma-separated values; a repeated value counts once.

    >>> comma_separated(count)("128,256,128")
    (128, 256)
    """

    def read_all(text: str) -> tuple[T, ...]:
        return tuple(dict.fromkeys(read(word.strip()) for word in text.split(",")))

    return read_all


def one_of(*known: str) -> Callable[[str], str]:
    """Return a reader that takes one of the known words."""

    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(known)}")
        return text

    return read


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that ends with a table: its format, and a file for it."""
    parser.add_argument(
        "--format", choices=PRINTED, default="table", help="how to write it (default table)"
    )
    parser.add_argument("--output", metavar="FILE", help="write there, not to stdout")
    parser.set_defaults(top=None)


def write(table: "Table", arguments: argparse.Namespace) -> None:
    """Write all of a table as `add_output`'s options ask for; its notes go to stderr.

    Raises:
        ReportError: the output cannot be written.
    """
    from analysis.show.cli import write_answer

    write_answer(table, arguments, most=None)


def command_line(module: str, argv: Sequence[str]) -> str:
    """Return the command as it was typed, for the record."""
    return " ".join(["python -m", module, *argv])


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that the device or the machine has too little memory."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))


def run(main: Callable[[], int], out_of_memory: str = "use a smaller model or batch") -> int:
    """Return the exit status of a command, with one line on stderr if it fails.

    An error that is not the user's keeps its traceback.

    Args:
        main: the command; returns 0, or the status of a failed gate.
        out_of_memory: what to do when memory is wanting.
    """
    # Here, not above: beside somebody's script a module called `analysis` may be theirs.
    from analysis.show.cli import escape_unwritable
    from analysis.show.errors import ReportError

    escape_unwritable()
    try:
        with Interruptible():
            status = main()
            sys.stdout.flush()
    except UsageError as error:
        return failed(str(error), 2)
    except (LaunchError, ReportError) as error:
        return failed(str(error))
    except KeyboardInterrupt:
        return failed("interrupted", 130)
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = str(error).strip().splitlines()
        detail = f" ({said[0]})" if said else ""
        return failed(f"out of memory{detail}; {out_of_memory}")
    return status


def failed(message: str, status: int = 1) -> int:
    """Print one line on stderr and return the exit status."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    return status


def relative_to_here(path: Path) -> Path:
    """Return a path as a person would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
