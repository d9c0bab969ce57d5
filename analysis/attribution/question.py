"""The command line of a question: its options, those of what counts, and where the answer goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.attribution import selection
from analysis.show import cli
from analysis.show.table import Table
from analysis.source.report import Report

Namespace = argparse.Namespace


def answer(
    ask: Callable[..., Table],
    doc: str | None,
    module: str,
    argv: Sequence[str] | None,
    add_options: Callable[[argparse.ArgumentParser], None] = lambda _: None,
    *,
    more: Callable[[Namespace], Mapping[str, Any]] = lambda _: {},
    finish: Callable[[Table, Report, Namespace], Table] = lambda table, *_: table,
    most: int | None = cli.TOP_OF_A_TABLE,
) -> int:
    """Answer a question about one report, as its command line asks for it.

    Args:
        ask: the question; it takes the report, its own options by their names, and `Options`.
        doc: the docstring of its module; it is the help.
        module: its module; the command is called by it.
        argv: its arguments; None for those of the process.
        add_options: adds the question's own options, each with ``dest`` as ``ask`` names it.
        more: further keyword arguments of ``ask``, from the arguments.
        finish: makes of the answer what is shown of it.
        most: how many rows a table has where ``--top`` does not say; None for all.

    Returns:
        The exit status.
    """
    parser = cli.parser(doc, module)
    common = {action.dest for action in parser._actions}  # argparse has no public list of them
    add_options(parser)
    own = [action.dest for action in parser._actions if action.dest not in common]
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    given = {name: getattr(args, name) for name in own}
    with Report(args.report) as report:
        table = ask(report, **given, **more(args), **selection.options_of(args))
        table = finish(table, report, args)
    cli.write_answer(table, args, most)
    return 0
