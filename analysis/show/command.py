"""What all commands share, whether they read, measure or record: their parser, and how they end.

Data goes to stdout and everything else to stderr. The exit status is 0 done, 1 could not be done,
2 wrong usage, 130 interrupted; a pipe that is closed early is no error.
"""

from __future__ import annotations

import argparse
import errno
import io
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final, NoReturn, TypeVar

from analysis.show.called import as_called, called
from analysis.show.errors import CommandError, NotInstalled, one_line
from analysis.show.interrupts import STATUS as INTERRUPTED
from analysis.show.interrupts import Interruptible
from analysis.show.sheet import Sheet, command_lines, folded, say

N = TypeVar("N", int, float)

WRONG_USAGE: Final = 2

ESCAPED: Final = "backslashreplace"
"""What becomes of a letter that cannot be written, such as half of a file name's; json reads it."""

_MORE_MEMORY: Final = "close other programs, or use a machine with more"
_ONLY_MAKING: ContextVar[bool] = ContextVar("parsers are made and not used", default=False)


class ParserMade(Exception):
    """A command has made its parser, where nothing else of it is wanted: `parser_of`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


LONG_CHOICES: Final = 20
"""Of a usage line, in columns: longer lists of choices would not fit beside a command's name."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help whose description stands as it was written; in a terminal all of it fits the width."""

    _of_usage = False

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Return the help of an option in lines; in a terminal they break at blanks alone."""
        if not sys.stdout.isatty():
            return super()._split_lines(text, width)
        return folded(" ".join(text.split()), width)

    def _format_usage(self, *given: Any) -> str:
        """Return the usage; in a terminal a long list of choices stands below it alone."""
        self._of_usage = sys.stdout.isatty()
        try:
            return super()._format_usage(*given)
        finally:
            self._of_usage = False

    def _metavar_formatter(
        self, action: argparse.Action, default_metavar: str
    ) -> Callable[[int], tuple[str, ...]]:
        """Return what names the values of an option."""
        made = super()._metavar_formatter(action, default_metavar)
        if not self._of_usage or action.choices is None or len(made(1)[0]) <= LONG_CHOICES:
            return made
        return lambda count: (default_metavar,) * count

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Return the description: what is indented are examples, whose lines stay lines."""
        if not sys.stdout.isatty():
            return super()._fill_text(text, width, indent)
        lines: list[str] = []
        for paragraph in text.split("\n\n"):
            written = paragraph.split("\n")
            if any(line.startswith(" ") for line in written):
                for line in written:
                    # A blank column sets apart what a command does.
                    first = line[: line.rfind("  ") + 2] if "  " in line else ""
                    if first.isspace():
                        what = line.removeprefix(first)
                        lines += command_lines(first, what, Sheet(width, folds=True))
                    else:
                        lines += folded(line, width, " " * len(first))
            else:
                lines += folded(" ".join(written), width)
            lines.append("")
        return "\n".join(indent + line for line in lines[:-1])


class Parser(argparse.ArgumentParser):
    """A parser whose help is the module's docstring, and whose errors are one line.

    Args:
        module: of the command; the parser's name is how that is called.
        doc: the module's docstring; a command in it is shown as it would be called now.
        options: of `argparse.ArgumentParser`, which has the last word.
    """

    def __init__(self, module: str = "", doc: str | None = None, **options: Any) -> None:
        self.question = module.rpartition(".")[2]
        super().__init__(
            **{
                "prog": called(module),
                "description": as_called((doc or "").strip()),
                "formatter_class": HelpFormatter,
                "allow_abbrev": False,
                **options,
            }
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments, or hand out this parser where only that is wanted.

        The name of an option may be typed with underscores for its dashes.
        """
        if _ONLY_MAKING.get():
            raise ParserMade(self)
        given = list(sys.argv[1:] if args is None else args)
        end = given.index("--") if "--" in given else len(given)
        words = [*map(self.dashed, given[:end]), *given[end:]]
        return super().parse_known_args(words, namespace)

    def dashed(self, word: str) -> str:
        """Return a word with dashes in its option's name, where it is one of this parser's.

        >>> parser = Parser("some")
        >>> _ = parser.add_argument("--max-new-tokens")
        >>> parser.dashed("--max_new_tokens=5"), parser.dashed("--no_such")
        ('--max-new-tokens=5', '--no_such')
        """
        name, equals, value = word.partition("=")
        dashed = name.replace("_", "-")
        return dashed + equals + value if dashed in self._option_string_actions else word

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        self.exit(failed(f"{message}; see {self.prog} --help", WRONG_USAGE))


def parser_of(main: Callable[[Sequence[str]], int], *words: str) -> argparse.ArgumentParser:
    """Return the parser of a command, which does nothing before it reads its arguments.

    Args:
        main: runs the command.
        words: that choose one of several parsers.
    """
    before = _ONLY_MAKING.set(True)
    try:
        main(list(words))
    except ParserMade as made:
        return made.parser
    finally:
        _ONLY_MAKING.reset(before)
    raise ValueError(f"{main.__module__}.main reads no arguments")


def whole(text: str) -> int:
    """Return the number that digits alone say.

    Raises:
        ValueError: there is something else, or far too many of them.
    """
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def number_type(
    what: str, kind: Callable[[str], N], least: float = 0, *, above: bool = False
) -> Callable[[str], N]:
    """Return what reads a finite number of an argument; all else is wrong usage.

    Args:
        what: in words, for the error: ``a rate above 0``.
        kind: float, or `whole`.
        least: the smallest there may be.
        above: whether it must be larger than ``least``.
    """

    def read(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value < math.inf or (above and value == least):
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
        return value

    return read


count: Final = number_type("a positive whole number", whole, 1)
count_or_zero: Final = number_type("0 or a positive whole number", whole)
positive: Final = number_type("a positive number", float, above=True)
"""What reads the numbers that most options are."""


def run(main: Callable[[], int]) -> int:
    """Return the exit status of a command, with one line on stderr if it fails.

    An error that is not the user's keeps its traceback.
    """
    replace_closed_streams()
    escape_unwritable()
    try:
        with Interruptible():
            status = main()
            sys.stdout.flush()
    except CommandError as error:
        return failed(str(error), error.status)
    except KeyboardInterrupt:
        return failed("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in NotInstalled.EXTRAS:
            raise
        return failed(str(NotInstalled(package)))
    except MemoryError:
        return failed(f"not enough memory; {_MORE_MEMORY}")
    except OSError as error:
        if error.errno not in _OF_WRITING:
            raise
        where, reason = error.filename or "output", (error.strerror or str(error)).lower()
        return failed(f"{where}: cannot be written ({reason}); write elsewhere")
    return status


_OF_WRITING: Final = {
    *(errno.EACCES, errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EINVAL),
    *(errno.ENOSPC, errno.EPERM, errno.EROFS),
}
"""What may go wrong with a file that is written."""


def failed(message: str, status: int = CommandError.status) -> int:
    """Print one line on stderr and return the exit status."""
    say(f"error: {one_line(message)}", 7 * " ")
    return status


class Closed(io.TextIOBase):
    """A stdout that the shell had closed (``>&-``): writing to it fails."""

    def write(self, text: str, /) -> int:
        """Raise the error of writing to a closed file."""
        raise OSError(errno.EBADF, "it is closed")


def replace_closed_streams() -> None:
    """Put null devices in the place of standard streams that the caller has closed.

    Python has None for these. Their numbers are taken too, or the next file to be opened would get
    one, and whatever is printed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (until the end)


def escape_unwritable() -> None:
    """Let stdout and stderr write letters that they cannot show as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ESCAPED)
