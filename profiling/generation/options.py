"""The command line of `profiling.generation`."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from profiling.common.cli import Parser, add_device, count
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import add_options, chosen
from profiling.generation.selection import (
    ALONE,
    BUILT_IN,
    PARTNER,
    TEACHER,
    TINY,
    Decoding,
    ModelSelection,
)
from profiling.models.request import PRESETS

PROFILE, BATCH, DATASET = MODES = ("profile", "batch", "dataset")

OUTPUTS: Final = {
    PROFILE: "demo_timing_data.jsonl",
    BATCH: "batch_timing_results.jsonl",
    DATASET: "dataset_timing_results.jsonl",
}
"""Where the records go unless ``--output`` says otherwise."""

ONLY: Final = {
    "prompt": (PROFILE,),
    "trace_tokens": (PROFILE,),
    "dataset": (DATASET,),
    "dataset_file": (DATASET,),
    "split": (DATASET,),
    "num_samples": (DATASET,),
    "shard": (BATCH, DATASET),
    "resume": (BATCH, DATASET),
}
"""Options that some modes have and the others refuse."""

OF_MODELS: Final = (
    *("random_init", "teacher_random_init", "projector", "projector_hidden", "layer_mapping"),
    *("open_gates", "alignment", "dtype", "attention", "seed"),
)
"""The options of a `ModelSelection` that need no more than their default."""

TRACE_TOKENS: Final = 32


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the shards that a run is divided into, counted from 1."""

    index: int
    count: int


def shard(text: str) -> Shard:
    """Read ``I/N``."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/4, not {text}")
    return Shard(int(found[1]), int(found[2]))


def parser(description: str | None) -> Parser:
    """Return the parser."""
    made = Parser("profiling.generation", description)
    made.add_argument("mode", choices=MODES, help="what to run")
    models = made.add_argument_group("models")
    add_options(models, ModelSelection, "base")
    models.add_argument(
        "--teacher_model",
        dest="teacher",
        help=f"likewise; {ALONE}: the base alone (default: {TEACHER})",
    )
    add_options(models, ModelSelection, *OF_MODELS)
    add_device(models)
    add_options(made.add_argument_group("decoding"), Decoding)
    what = made.add_argument_group("what to generate from")
    what.add_argument("--prompt", metavar="TEXT", help=f"of profile (default: {BUILT_IN[0]!r})")
    what.add_argument("--dataset", metavar="NAME[:CONFIG]", help="of the hub, by `datasets`")
    what.add_argument("--split", help="of --dataset (default: test)")
    what.add_argument(
        "--dataset_file", type=Path, metavar="FILE.jsonl", help="lines with prompt or question"
    )
    what.add_argument(
        "--num_samples", type=count, metavar="N", help="only the first N (default: all)"
    )
    what.add_argument(
        "--shard", type=shard, metavar="I/N", help="run part I of N, every N-th prompt; ids stay"
    )
    output = made.add_argument_group("where the records go")
    output.add_argument(
        "--output",
        type=Path,
        metavar="FILE.jsonl",
        help=f"(default: {', '.join(OUTPUTS.values())})",
    )
    output.add_argument(
        "--resume", action="store_true", help="go on with the file; failed prompts are tried again"
    )
    output.add_argument("--overwrite", action="store_true", help="replace the file")
    output.add_argument(
        "--trace_tokens",
        type=count,
        metavar="N",
        help=f"most that the recorded run of profile generates (default: {TRACE_TOKENS})",
    )
    return made


def underscored(argv: Sequence[str]) -> list[str]:
    """Return the words with underscores in the options' names; dashes are as good.

    >>> underscored(["dataset", "--dataset-file=a-b.jsonl", "--open-gates"])
    ['dataset', '--dataset_file=a-b.jsonl', '--open_gates']
    """
    words = []
    for word in argv:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            word = "--" + name[2:].replace("-", "_") + equals + value
        words.append(word)
    return words


def parse(made: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments.

    Raises:
        UsageError: some do not go together.
    """
    given = made.parse_args(underscored(argv))
    for option, modes in ONLY.items():
        if getattr(given, option) not in {None, False} and given.mode not in modes:
            raise UsageError(f"--{option} is of {' and '.join(modes)}, not of {given.mode}")
    if given.mode == DATASET and bool(given.dataset) == bool(given.dataset_file):
        raise UsageError("give dataset one of --dataset NAME and --dataset_file FILE.jsonl")
    if given.split and not given.dataset:
        raise UsageError("--split is of --dataset; a file has none")
    if given.resume and given.overwrite:
        raise UsageError("--resume keeps what --overwrite replaces; give one of them")
    usual = ModelSelection()
    if given.projector and (
        given.projector_hidden != usual.projector_hidden
        or given.layer_mapping != usual.layer_mapping
    ):
        raise UsageError("trained projectors have their own width and mapping; leave those out")
    _check_alone(given)
    return given


def _check_alone(given: argparse.Namespace) -> None:
    """Refuse options of projectors where there are none."""
    if given.teacher_random_init and given.teacher:
        raise UsageError("the teacher is --teacher_model or --teacher_random_init, not both")
    usual = ModelSelection()
    of_projectors = ("projector", "projector_hidden", "layer_mapping", "open_gates")
    wrong = [name for name in of_projectors if getattr(given, name) != getattr(usual, name)]
    if wrong and (given.teacher or "").lower() == ALONE:
        raise UsageError(f"--{wrong[0]} wants a teacher; --teacher_model {ALONE} has no projectors")


def implied(given: argparse.Namespace) -> tuple[str, ...]:
    """Return a line on the teacher that comes with ``--random_init`` where none is named."""
    if not given.random_init or given.teacher_random_init or given.teacher:
        return ()
    if given.random_init.lower() not in PRESETS and not Path(given.random_init).is_file():
        return ()  # there is no such base, which is an error of its own
    return (
        f"no teacher is named: one of the shape of {_partner(given)} comes with it, with random "
        f"weights too (--teacher_model {ALONE} for the base alone, --teacher_random_init for "
        "another shape)",
    )


def _partner(given: argparse.Namespace) -> str:
    """Return the shape of a teacher for a base with random weights."""
    return TINY if given.random_init.lower() == TINY else PARTNER


def models(given: argparse.Namespace) -> ModelSelection:
    """Return which models the arguments ask for.

    Raises:
        UsageError: no device is called so.
        LaunchError: there is no such device here.
    """
    partner = given.teacher_random_init
    if given.random_init and not partner and not given.teacher:
        partner = _partner(given)
    return chosen(
        ModelSelection,
        given,
        teacher=given.teacher or TEACHER,
        teacher_random_init=partner,
        device=choose_device(given.device),
    )


def decoding(given: argparse.Namespace) -> Decoding:
    """Return how the arguments ask to generate."""
    return chosen(Decoding, given)


def output(given: argparse.Namespace) -> Path:
    """Return where the records go; every shard has a file of its own.

    >>> output(argparse.Namespace(mode="batch", output=None, shard=Shard(1, 4)))
    PosixPath('batch_timing_results.shard1of4.jsonl')
    """
    if given.output:
        chosen: Path = given.output
        return chosen
    default = Path(OUTPUTS[given.mode])
    if given.shard:
        part = f".shard{given.shard.index}of{given.shard.count}"
        return default.with_suffix(part + default.suffix)
    return default
