"""How a command was called, so that all it says of itself and of others can be typed as it stands.

A module that is a command is called ``python -m MODULE``, or by its name after ``spanlight``. The
one command line of the toolkit says so with `by_name` around what it runs; usage lines, hints and
what a file records as its command line ask `called`. The Makefile says so by `TYPED`: there options
of a recording are variables, which `option` and `switch` know.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from analysis.show.interrupts import PROGRAM

TYPED: Final = "SPANLIGHT_TYPED"
"""The variable of the environment that is ``make`` where a recording was asked for by make."""

_TYPED: Final = re.compile(r"python -m ((?:\w+\.)*\w+)")
_NAMES: ContextVar[Mapping[str, str] | None] = ContextVar("names of commands", default=None)


@contextmanager
def by_name(names: Mapping[str, str]) -> Iterator[None]:
    """Let commands inside call themselves ``spanlight NAME``.

    Args:
        names: the name of a command by its module.
    """
    before = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(before)


def words(module: str) -> list[str]:
    """Return what follows ``python -m`` to call a command as the one that runs was called.

    >>> words("analysis.gaps")
    ['analysis.gaps']
    >>> with by_name({"analysis.gaps": "gaps"}):
    ...     words("analysis.gaps")
    ['spanlight', 'gaps']
    """
    names = _NAMES.get() or {}
    return [PROGRAM, names[module]] if module in names else [module]


def called(module: str, *arguments: str) -> str:
    """Return how a command is typed, with arguments quoted where a shell wants it.

    >>> called("analysis.gaps", "my report.sqlite")
    "python -m analysis.gaps 'my report.sqlite'"
    >>> with by_name({"analysis.gaps": "gaps"}):
    ...     called("analysis.gaps")
    'spanlight gaps'
    """
    found = words(module)
    python = [] if found[0] == PROGRAM else ["python", "-m"]
    return shlex.join([*python, *found, *arguments])


def option(flag: str, value: str = "") -> str:
    """Return how an option of a recording is typed, with a value or without one.

    >>> option("--recorder", "torch")
    '--recorder torch'
    """
    if _by_make():
        return f"{_variable(flag)}={value}"
    return f"{flag} {value}".rstrip()


def switch(flag: str) -> str:
    """Return how an option of a recording that takes no value is typed.

    >>> switch("--overwrite")
    '--overwrite'
    """
    return f"{_variable(flag)}=1" if _by_make() else flag


def _by_make() -> bool:
    return os.environ.get(TYPED) == "make"


def _variable(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_").upper()


def command_line(module: str, argv: Sequence[str]) -> str:
    """Return the command as it was typed, for the record."""
    return " ".join([called(module), *argv])


def as_called(text: str) -> str:
    """Return a text with every ``python -m MODULE`` in it as `called` writes it.

    >>> with by_name({"analysis.gaps": "gaps"}):
    ...     as_called("python -m analysis.gaps run.sqlite, python -m pip")
    'spanlight gaps run.sqlite, python -m pip'
    """
    return _TYPED.sub(lambda found: called(found[1]), text)
