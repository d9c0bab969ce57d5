"""Generation times: first token, output tokens, prefill, projectors, decoding, slowest prompts.

    python -m analysis.generation dataset_timing_results.jsonl
    python -m analysis.generation results.shard*.jsonl --by slowest --format csv
    python -m analysis.generation run.jsonl --pictures pictures

It reads what python -m profiling.generation writes; several files, such as shards, are merged by
prompt. Without --by a table answers everything, and the other formats give the measures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.generation.merge import read
from analysis.generation.pictures import draw
from analysis.generation.records import Records
from analysis.generation.tables import QUESTIONS
from analysis.show import cli
from analysis.show.called import called
from analysis.show.render import plural
from analysis.source.json_files import about_all


def main(argv: Sequence[str] | None = None) -> int:
    """Print the generation times; see the module's docstring."""
    parser = cli.parser(
        __doc__,
        "analysis.generation",
        reads=f"records of {called('profiling.generation')} (.jsonl)",
    )
    parser.add_argument("more", nargs="*", metavar="REPORT", help="further ones, merged")
    parser.add_argument("--by", choices=QUESTIONS, help="one answer only")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw them there too")
    args = cli.parse(parser, argv)
    records = read((args.report, *args.more))
    cli.print_notes(*records.notes)
    if args.pictures:
        for picture in draw(
            records, args.pictures, about_all(map(Path, (args.report, *args.more)))
        ):
            cli.print_notes(f"drawn: {picture}")
    _answer(args, records)
    return 0


def _answer(args: argparse.Namespace, records: Records) -> None:
    if args.by or args.format not in {"table", "markdown"}:
        cli.write_answer(QUESTIONS[args.by or "measure"](records), args, most=None)
        return
    tables = [ask(records) for question, ask in QUESTIONS.items() if question != "growth"]
    shown = [table for table in tables if len(table)]
    shown[0] = replace(shown[0], heading=f"{_about(records)}\n{shown[0].heading}")
    cli.write_tables([cli.first_rows(table, args.top)[0] for table in shown], args)


def _about(records: Records) -> str:
    """Say what generated, and from how many prompts."""
    lines = [
        f"{pair} · {plural(len(made), 'prompt')} · "
        f"{plural(sum(each.tokens for each in made), 'token')}"
        for pair, made in records.pairs()
    ]
    if records.failures:
        lines.append(f"{plural(len(records.failures), 'prompt')} failed")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run(main))
