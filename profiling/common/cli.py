"""What the commands of `profiling` share: readers of arguments, where results go, and memory.

Their parser, how they are called and how they end is what all commands share.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from analysis.show.called import command_line as command_line
from analysis.show.command import Parser as Parser
from analysis.show.command import count as count
from analysis.show.command import count_or_zero as count_or_zero
from analysis.show.command import failed as failed
from analysis.show.command import positive as positive
from analysis.show.command import run as run
from analysis.show.errors import first_line, one_line
from profiling.common.errors import OutOfMemory

if TYPE_CHECKING:
    from analysis.show.table import Table

T = TypeVar("T")

Adder = argparse.ArgumentParser | argparse._ArgumentGroup
"""What options are added to."""

PRINTED: Final = ("table", "csv", "json", "markdown")
"""The formats of a command that makes one table and no database (`analysis.show.cli.FORMATS`)."""

FOR_PEOPLE: Final = ("table", "markdown")
"""Those of them that round, and put things in words."""

OUT_OF_MEMORY: Final = re.compile(
    "out of memory|can't allocate memory|cannot allocate memory|unable to allocate|alloc_failed",
    re.IGNORECASE,
)
"""How torch and the system say that memory was wanting."""


def seed(text: str) -> int:
    """Read a whole number that torch takes as a seed."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"must be 0 or a positive whole number, not {text!r}")
    if len(text) > 19 or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"must be below 2**63, not {text!r}")
    return int(text)


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


DEVICE: Final = "cpu, cuda or cuda:N (default: cuda where there is one)"
"""The help of ``--device``; where none is named, `machine.choose_device` takes what is there."""


def add_device(parser: Adder) -> None:
    """Add the option for the device that is measured on."""
    parser.add_argument("--device", help=DEVICE)


def add_limit(parser: Adder) -> None:
    """Add the option for the memory that a measurement may take, in bytes once it is read."""
    parser.add_argument(
        "--limit",
        type=lambda text: count(text) * 2**20,
        metavar="MIB",
        help="memory each may take beyond its start, on a CPU (default: what is free)",
    )


def add_output(parser: argparse.ArgumentParser, json: str = "", pictures: str = "") -> None:
    """Add the options of a command that ends with a table: its format, and files for it.

    Args:
        parser: the command's.
        json: what a JSON file holds besides, where there is one.
        pictures: what pictures show, where there are some.
    """
    group = parser.add_argument_group("what comes out")
    group.add_argument(
        "--format", choices=PRINTED, default="table", help="how to write it (default table)"
    )
    group.add_argument("--output", metavar="FILE", help="write there, not to stdout")
    if json:
        group.add_argument("--json", type=Path, metavar="FILE", help=json)
    if pictures:
        group.add_argument("--pictures", type=Path, metavar="DIR", help=pictures)
    parser.set_defaults(top=None)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, files and folders that could not be written.

    Raises:
        LaunchError: a file cannot be.
        ReportError: the folder of pictures cannot be.
    """
    from analysis.show import pictures
    from profiling.common.result_file import check_writable

    for file in (arguments.output, getattr(arguments, "json", None)):
        check_writable(None if file is None else Path(file))
    if folder := getattr(arguments, "pictures", None):
        pictures.make_folder(folder)


def write(table: "Table", arguments: argparse.Namespace) -> None:
    """Write all of a table as `add_output`'s options ask for; its notes go to stderr.

    Raises:
        ReportError: the output cannot be written.
    """
    from analysis.show.cli import write_answer

    write_answer(table, arguments, most=None)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that the device or the machine has too little memory."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))


@contextmanager
def memory_advice(remedy: str = "use a smaller model or batch") -> Iterator[None]:
    """Say what to do where memory is wanting; a decorator of a command's ``main``.

    Raises:
        OutOfMemory: what was inside wanted more than there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        said = first_line(error)
        detail = f" ({said})" if said else ""
        raise OutOfMemory(f"out of memory{detail}; {remedy}") from error


def typed(path: Path) -> str:
    """Return a path in letters as a person would type it here, quoted where a shell wants it.

    >>> typed(Path.cwd() / "my reports" / "small.sqlite")
    "'my reports/small.sqlite'"
    """
    return one_line(shlex.quote(str(relative_to_here(path))))


def relative_to_here(path: Path) -> Path:
    """Return a path as a person would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
