"""What the commands of this folder share: their options, and what is printed and kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.conditions import RESULTS, Conditions, conditions_text
from benchmarks.text import writable, write
from model import SIZES
from profiling.common.cli import Parser
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device


def parser(module: str, doc: str | None, device: str | None) -> Parser:
    """Return the parser of a command of this folder.

    Args:
        module: of the command; its data goes into the file of that name.
        doc: the docstring of its module.
        device: the default; None is a GPU where there is one, else the CPU.
    """
    default = RESULTS / f"{module.rpartition('.')[2]}.json"
    made = Parser(module, doc)
    made.add_argument("--sizes", default="tiny,small", help="models (default: tiny,small)")
    made.add_argument("--seconds", type=float, default=20.0, help="for each model (default: 20)")
    where = device or "cuda where there is one"
    made.add_argument("--device", default=device, help=f"cpu, cuda or cuda:N (default: {where})")
    made.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    return made


def read(made: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments: ``sizes`` are a list, ``device`` is there, ``json`` can be written.

    Raises:
        BenchmarkError: it cannot.
        LaunchError: there is no such device.
    """
    args = made.parse_args(argv)
    args.sizes = args.sizes.split(",")
    if not set(args.sizes) <= set(SIZES) or not args.seconds > 0:
        made.error(f"--sizes is some of {', '.join(SIZES)}, and --seconds above 0")
    try:
        args.device = choose_device(args.device)
    except UsageError as error:
        made.error(str(error))
    writable(args.json)
    return args


def show(path: Path, known: Conditions, tables: Sequence[str], data: dict[str, object]) -> None:
    """Print tables below the conditions they were measured under, and write all data."""
    print("\n\n".join(["\n".join(conditions_text(known)), *tables]))
    write(path, {"conditions": known, **data})
