"""Arguments of commands: given once each, and put into words again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, Final

GIVEN: Final = "_given"
"""Where the values given so far stand while arguments are read."""

OF_OUTPUT: Final = ("help", "format", "output", "table")
"""Options that say where an answer goes, and not which."""


class Once(argparse.Action):
    """An argument with one value: another, given later, is an error and does not win in silence."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Note the value, unless there is another already."""
        given = vars(namespace).setdefault(GIVEN, {})
        if self.option_strings and given.setdefault(self.dest, values) != values:
            raise argparse.ArgumentError(self, "given twice, with different values")
        setattr(namespace, self.dest, values)


def asked(made: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[str]:
    """Yield the options that make the answer another, in one order, without their defaults."""
    for action in made._actions:  # argparse has no public list of them
        name = action.dest
        if not action.option_strings or name in OF_OUTPUT:
            continue
        value, usual = getattr(args, name, action.default), action.default
        if isinstance(usual, str) and callable(action.type):
            usual = action.type(usual)
        if value != usual:
            for each in value if isinstance(value, list) else [value]:
                yield action.option_strings[-1]
                yield from () if action.nargs == 0 else (worded(each),)


def worded(value: object) -> str:
    """Return a value as it is typed.

    >>> worded((0, None)), worded(2.5)
    ('0:', '2.5')
    """
    if isinstance(value, tuple):  # of steps
        return ":".join("" if each is None else str(each) for each in value)
    return str(value)
