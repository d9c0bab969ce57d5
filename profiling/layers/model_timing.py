"""Time a Qwen3-like model layer by layer: attention, MLP, and the parts of attention.

    python -m profiling.model_timing --model-name Qwen/Qwen3-0.6B
    python -m profiling.model_timing --random-init qwen3-0.6b --device cpu
    python -m profiling.model_timing --configs benchmark_configs.json --append

Every measured run is a record in timing_results/timing_records.json, on disk as soon as it is done;
python -m analysis.layers reads them. Times of the host and of the GPU are measured apart; on a CPU
those of the GPU are null.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from profiling.common import cli
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import add_options, chosen
from profiling.models.input_shapes import SMALLER, InputShape, read_shapes
from profiling.models.request import ModelRequest

MODULE: Final = "profiling.model_timing"
DEFAULT_MODEL: Final = "Qwen/Qwen3-0.6B"


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    what = made.add_argument_group("what to time")
    add_options(what, ModelRequest, "name", "random_init", name=DEFAULT_MODEL)
    what.add_argument("--batch-size", type=cli.count, metavar="N", help="sequences (default 1)")
    what.add_argument("--input-len", type=cli.count, metavar="N", help="tokens each (default 128)")
    what.add_argument("--configs", type=Path, metavar="FILE", help="several of these two, as JSON")
    cli.add_device(what)
    add_options(what, ModelRequest, "dtype", "attention", "seed")
    how = made.add_argument_group("how often, and where it goes")
    how.add_argument("--num-runs", type=cli.count, default=3, metavar="N", help="(default 3)")
    how.add_argument(
        "--warmup-runs", type=cli.count_or_zero, default=1, metavar="N", help="(default 1)"
    )
    how.add_argument(
        "--output-dir", type=Path, default=Path("timing_results"), help="(default %(default)s)"
    )
    how.add_argument("--output-file", default="timing_records.json", help="(default %(default)s)")
    how.add_argument("--append", action="store_true", help="add to the records that are there")
    how.add_argument("--overwrite", action="store_true", help="replace the records that are there")
    return made


def shapes(arguments: argparse.Namespace) -> list[InputShape]:
    """Return the input shapes to time.

    Raises:
        UsageError: a shape was given twice over.
        LaunchError: the file holds none.
    """
    if arguments.configs is None:
        return [InputShape(arguments.batch_size or 1, arguments.input_len or 128)]
    if arguments.batch_size or arguments.input_len:
        raise UsageError("--configs gives the shapes; leave out --batch-size and --input-len")
    return read_shapes(arguments.configs)


@cli.memory_advice(SMALLER)
def main(argv: Sequence[str] | None = None) -> int:
    """Time, print the summary, and return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    if arguments.append and arguments.overwrite:
        raise UsageError("--append keeps the records and --overwrite replaces them; give one")
    if Path(arguments.output_file).name != arguments.output_file:
        raise UsageError("--output-file is a name; its folder is --output-dir")
    wanted = shapes(arguments)
    request = chosen(ModelRequest, arguments, device=choose_device(arguments.device))

    from profiling.layers.timing_run import time_all  # here: with torch

    return time_all(arguments, request, wanted, cli.command_line(MODULE, given))
