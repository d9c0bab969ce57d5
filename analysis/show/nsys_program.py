"""Which nsys the commands use: that of ``--nsys``, else that of ``NSYS=``, else that of the PATH.

The option puts its value into the environment, so that whoever looks for nsys looks in one place,
and processes that the command starts find the same one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from typing import Any, Final

VARIABLE: Final = "NSYS"

BY: Final = f"with --nsys PATH or {VARIABLE}="
"""How one names it, where there is none or another one is wanted."""

INCLUDE_BLOBS: Final = "--include-blobs"
"""Of ``nsys export`` of newer versions: with it the file has the payloads of NVTX ranges."""


def asked() -> str | None:
    """Return what ``--nsys`` or the variable names; None where neither does."""
    return os.environ.get(VARIABLE) or None


def found() -> str | None:
    """Return the nsys to run: what is `asked` for, else the first on the PATH; None without one."""
    return shutil.which(asked() or "nsys")


def long_options(told: str) -> frozenset[str]:
    """Return the long options of an nsys command by its help; they differ between versions."""
    return frozenset(re.findall(r"--[a-z][\w-]*", told))


class _Named(argparse.Action):
    """An option whose value is kept in the environment, and not among the arguments."""

    def __call__(self, parser: object, namespace: object, value: Any, flag: Any = None) -> None:
        """Put the value where `asked` looks."""
        if not value:
            raise argparse.ArgumentError(self, "is empty")
        os.environ[VARIABLE] = value


def add_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add ``--nsys`` to a command that may need the program."""
    parser.add_argument(
        "--nsys",
        action=_Named,
        default=argparse.SUPPRESS,
        metavar="PATH",
        help=f"the nsys program (default: ${VARIABLE}, else the one on the PATH)",
    )
