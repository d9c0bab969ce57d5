"""Where did the time go, what spent it, and was it worth the FLOPs?

    spanlight profile --size small   record a run, and see where its time went
    spanlight page report.sqlite     read a report that is there

`spanlight COMMAND --help` says what a command can do. Reading needs no more
than this; measuring and recording need torch: pip install 'spanlight[model]'.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from analysis.show.called import by_name
from analysis.show.command import WRONG_USAGE, Parser, failed, run
from analysis.show.errors import CommandError
from analysis.show.interrupts import PROGRAM
from spanlight import __version__
from spanlight.commands import COMMANDS, GROUPS, NAMES

SHELLS: Final = ("bash", "zsh", "tcsh")

EPILOG: Final = """\
To complete commands, options and files in bash, once:
  spanlight --print-completion bash \\
      > ~/.local/share/bash-completion/completions/spanlight
In zsh the file is _spanlight, in a folder of $fpath."""


class UnknownCommand(CommandError):
    """No command has the name that was typed."""

    status = WRONG_USAGE

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        remedy = f"the nearest is {near[0]}" if near else f"see {PROGRAM} --help"
        super().__init__(f"no command is called {name!r}; {remedy}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of what stands before a command's own arguments."""
    listed = [
        f"{group}:\n"
        + "\n".join(f"  {name:<15} {command.summary}" for name, command in commands.items())
        for group, commands in GROUPS.items()
    ]
    made = Parser(
        doc="\n\n".join([(__doc__ or "").strip(), *listed]),
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND …",
        epilog=EPILOG,
    )
    made.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    made.add_argument(
        "--print-completion", choices=SHELLS, help="print what completes the commands in a shell"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is named first, with the arguments after it; return its status."""
    given = list(sys.argv[1:] if argv is None else argv)
    with by_name(NAMES):
        return run(partial(_command, given))


def _command(given: list[str]) -> int:
    if given and not given[0].startswith("-"):
        if given[0] not in COMMANDS:
            raise UnknownCommand(given[0])
        return COMMANDS[given[0]].main(given[1:])
    made = parser()
    arguments = made.parse_args(given)
    if shell := arguments.print_completion:
        from spanlight.completion import script

        print(script(made, shell))
        return 0
    # Wrong usage, as for any command: a script whose command is empty must not go on as if done.
    print(made.format_help(), end="", file=sys.stderr)
    return failed("no command is given", WRONG_USAGE)


if __name__ == "__main__":
    sys.exit(main())
