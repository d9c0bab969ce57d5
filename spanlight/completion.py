"""What a shell completes after ``spanlight``: commands, their options, choices and files.

shtab writes a script of the shell's own from the parsers of all commands, once; no Python runs
while somebody types.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from analysis.show.command import parser_of
from spanlight.commands import COMMANDS

FOLDERS = ("DIR", "FOLDER")


def script(top: argparse.ArgumentParser, shell: str) -> str:
    """Return the script that a shell evaluates to complete the commands.

    Args:
        top: the parser of the command line, without the commands.
        shell: one of `shtab.SUPPORTED_SHELLS`.
    """
    whole = argparse.ArgumentParser(top.prog, parents=[top], add_help=False)
    commands = whole.add_subparsers()
    for name, command in COMMANDS.items():
        made = parser_of(command.main)
        for kind in command.kinds:
            for action in parser_of(command.main, kind)._actions:
                if action.option_strings and action.option_strings[0] not in known(made):
                    made._add_action(action)
        if command.kinds:
            made.add_argument("kind", nargs="?", choices=command.kinds)
        for action in made._actions:  # argparse has no public list of them
            if what := completed(action):
                action.complete = what  # type: ignore[attr-defined]  # where shtab looks
        commands.add_parser(name, help=command.summary, parents=[made], add_help=False)
    return shtab.complete(whole, shell)


def known(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a parser."""
    return set(parser._option_string_actions)


def completed(action: argparse.Action) -> object:
    """Return what kind of path an argument is, as shtab has it; None for other arguments."""
    if action.choices is not None or action.nargs == 0:
        return None
    shown = action.metavar if isinstance(action.metavar, str) else ""
    if shown in FOLDERS or action.dest in {"reports", "output_dir"}:
        return shtab.DIRECTORY
    is_path = action.type is Path or not action.option_strings or "FILE" in shown
    return shtab.FILE if is_path else None
