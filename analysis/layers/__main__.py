"""Layer times of a language model: by configuration, by part, by layer, and how they grow.

    python -m analysis.layers timing_results/timing_records.json
    python -m analysis.layers run.json --by layer --format csv
    python -m analysis.layers before.json after.json --pictures pictures

It reads what python -m profiling.model_timing writes. Times are the GPU's where it was timed, else
the host's. Without --by a table has the configurations, the parts of the longest, and how the main
parts grow; the other formats give the configurations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from analysis.layers.groups import OTHER, TOTAL, Group, groups
from analysis.layers.pictures import MOST, draw
from analysis.layers.records import ATTN, FFN, read
from analysis.layers.tables import QUESTIONS, Files, by_part
from analysis.show import cli
from analysis.show.render import duration, percent
from analysis.show.table import Table
from profiling.names import ATTENTION_CORE

_MAIN: Final = (TOTAL, ATTN, ATTENTION_CORE, FFN, OTHER)
"""The parts whose growth is worth a look before all others."""

_HEADINGS: Final = {
    "configuration": "Configurations",
    "part": "Parts, all layers together",
    "growth": "Growth: time = c * size ** exponent, between the sizes named",
    "layer": "Layers",
}


def answer(question: str, files: Files) -> Table:
    """Return the answer to one question of `QUESTIONS`, with its heading."""
    heading = _HEADINGS[question]
    if question == "configuration":
        heading = "\n".join([heading, *_sentences(files)])
    return replace(QUESTIONS[question](files), heading=heading)


def _longest(files: Files) -> list[Group]:
    """Return the configuration of each file that takes longest."""
    known = groups(files)
    return [
        max(
            (group for group in known if group.file == file),
            key=lambda group: float(group.totals_ns.mean()),
        )
        for file in files
    ]


def _sentences(files: Files) -> list[str]:
    """Say which layer and which part to look at, of the longest configuration of each file."""
    lines = []
    for group in _longest(files):
        part, share = group.bottleneck()
        layer, layer_ns = group.slowest()
        where = f"{group.file}: " if len(files) > 1 else ""
        lines.append(
            f"{where}batch {group.batch_size}, length {group.input_len}: {part} takes "
            f"{percent(share)} of the run{_inside(group, part)}; layer {layer} is the slowest of "
            f"{group.layers} ({duration(layer_ns)}); times of the {group.source.upper()}"
        )
    return lines


def _inside(group: Group, part: str) -> str:
    """Say what of attention takes longest, where it is attention that does and it is divided."""
    longest = group.within_attention() if part == ATTN else None
    return f" ({longest[0]} {percent(longest[1])})" if longest else ""


def _in_brief(files: Files) -> list[Table]:
    """Return what a person sees first: of the parts and of their growth what matters most."""
    parts, grown = answer("part", files), answer("growth", files)
    longest = {group.file: group.runs for group in _longest(files)}
    parts = replace(
        by_part(longest), heading=f"{parts.heading}, of the configuration that takes longest"
    )
    main = np.array([row["part"] in _MAIN for row in grown.rows()], np.bool_)
    return [answer("configuration", files), parts, grown.take(np.flatnonzero(main))]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the layer times; see the module's docstring."""
    parser = cli.parser(
        __doc__, "python -m analysis.layers", reads="records of profiling.model_timing (.json)"
    )
    parser.add_argument("more", nargs="*", metavar="REPORT", help="further ones, kept apart")
    parser.add_argument("--by", choices=QUESTIONS, help="one answer only")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw them there too")
    args = cli.parse(parser, argv)
    files = {}
    for path in (args.report, *args.more):
        files[path], wrong = read(Path(path))
        cli.print_notes(*wrong)
    if args.pictures:
        drawn = groups(files if len(files) > 1 else {"": files[args.report]})
        for picture in draw(drawn, args.pictures):
            cli.print_notes(f"drawn: {picture}")
        if len(drawn) > MOST:
            cli.print_notes(
                f"the picture of parts has the first {MOST} of {len(drawn)} configurations"
            )
    _answer(args, files)
    return 0


def _answer(args: argparse.Namespace, files: Files) -> None:
    if args.by or args.format != "table":
        cli.write_answer(answer(args.by or "configuration", files), args, most=None)
        return
    answers = _in_brief(files)
    shown = [table for table in answers if len(table)]
    cli.write_tables([table.head(args.top) if args.top else table for table in shown], args)
    cli.print_notes(*(note for table in answers for note in table.notes))
    cli.print_notes("--by part, --by growth and --by layer show all of it")


if __name__ == "__main__":
    sys.exit(cli.run(main))
