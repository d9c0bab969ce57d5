"""The command line of `profiling.generation`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from profiling.common.cli import Parser, add_device, count
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import add_options, chosen, option, options_of
from profiling.common.workload import together
from profiling.generation.prompts import BATCH, DATASET, PROFILE, PromptSource
from profiling.generation.selection import (
    ALONE,
    PARTNER,
    TEACHER,
    TINY,
    Decoding,
    ModelSelection,
)
from profiling.models.request import PRESETS

TRACE_TOKENS: Final = 32

OUTPUTS: Final = {
    PROFILE: "demo_timing_data.jsonl",
    BATCH: "batch_timing_results.jsonl",
    DATASET: "dataset_timing_results.jsonl",
}
"""Where the records of each mode go unless ``--output`` says otherwise."""

MODES: Final = tuple(OUTPUTS)

ONLY: Final = {
    **dict.fromkeys(("prompt", "trace_tokens"), (PROFILE,)),
    **dict.fromkeys(("dataset", "dataset_file", "split", "num_samples"), (DATASET,)),
    **dict.fromkeys(("shard", "resume"), (BATCH, DATASET)),
}
"""Options that some modes have and the others refuse."""

OF_PROJECTORS: Final = ("projector", "projector_hidden", "layer_mapping", "open_gates")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the records go."""

    output: str | None = option(
        None, f"(default: {', '.join(OUTPUTS.values())})", metavar="FILE.jsonl"
    )
    resume: bool = option(False, "go on with the file; failed prompts are tried again")
    overwrite: bool = option(False, "replace the file")
    trace_tokens: int | None = option(
        None,
        f"most that the recorded run of profile generates (default: {TRACE_TOKENS})",
        read=count,
    )


def parser(description: str | None) -> Parser:
    """Return the parser."""
    made = Parser("profiling.generation", description)
    made.add_argument("mode", choices=MODES, help="what to run")
    models = made.add_argument_group("models")
    add_options(models, ModelSelection, "base")
    models.add_argument(
        "--teacher-model",
        dest="teacher",
        help=f"likewise; {ALONE}: the base alone (default: {TEACHER})",
    )
    further = [name for name in options_of(ModelSelection) if name != "base"]
    add_options(models, ModelSelection, *further)
    add_device(models)
    add_options(made.add_argument_group("decoding"), Decoding)
    add_options(made.add_argument_group("what to generate from"), PromptSource)
    add_options(made.add_argument_group("where the records go"), OutputOptions)
    return made


def parse(made: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments.

    Raises:
        UsageError: some do not go together.
    """
    given = made.parse_args(argv)
    for name, modes in ONLY.items():
        if getattr(given, name) not in {None, False} and given.mode not in modes:
            raise UsageError(f"{together([name])} is of {' and '.join(modes)}, not of {given.mode}")
    usual = ModelSelection()
    changed = [name for name in OF_PROJECTORS if getattr(given, name) != getattr(usual, name)]
    refused = {
        "give dataset one of --dataset NAME and --dataset-file FILE.jsonl": (
            given.mode == DATASET and bool(given.dataset) == bool(given.dataset_file)
        ),
        "--split is of --dataset; a file has none": given.split and not given.dataset,
        "--resume keeps what --overwrite replaces; give one of them": (
            given.resume and given.overwrite
        ),
        "trained projectors have their own width and mapping; leave those out": (
            given.projector and {"projector_hidden", "layer_mapping"} & set(changed)
        ),
        "the teacher is --teacher-model or --teacher-random-init, not both": (
            given.teacher_random_init and given.teacher
        ),
        f"{together(changed[:1])} wants a teacher; --teacher-model {ALONE} has no projectors": (
            changed and (given.teacher or "").lower() == ALONE
        ),
    }
    for message, wrong in refused.items():
        if wrong:
            raise UsageError(message)
    return given


def implied(given: argparse.Namespace) -> tuple[str, ...]:
    """Return a line on the teacher that comes with ``--random-init`` where none is named."""
    partner = _partner(given)
    named = given.random_init or ""
    if not partner or not (named in PRESETS or Path(named).is_file()):
        return ()  # where there is no such base, that is an error of its own
    return (
        f"no teacher is named: one of the shape of {partner} comes with it, with random "
        f"weights too (--teacher-model {ALONE} for the base alone, --teacher-random-init for "
        "another shape)",
    )


def _partner(given: argparse.Namespace) -> str | None:
    """Return the shape of the teacher of a base with random weights, where none is named."""
    if not given.random_init or given.teacher_random_init or given.teacher:
        return None
    return TINY if given.random_init == TINY else PARTNER


def models(given: argparse.Namespace) -> ModelSelection:
    """Return which models the arguments ask for.

    Raises:
        UsageError: no device is called so.
        LaunchError: there is no such device here.
    """
    return chosen(
        ModelSelection,
        given,
        teacher=given.teacher or TEACHER,
        teacher_random_init=given.teacher_random_init or _partner(given),
        device=choose_device(given.device),
    )


def output(given: argparse.Namespace) -> Path:
    """Return where the records go; every shard has a file of its own.

    >>> output(argparse.Namespace(mode="batch", output=None, shard=(1, 4)))
    PosixPath('batch_timing_results.shard1of4.jsonl')
    """
    if given.output is not None:
        return Path(given.output)
    default = Path(OUTPUTS[given.mode])
    if given.shard:
        part = f".shard{given.shard[0]}of{given.shard[1]}"
        return default.with_suffix(part + default.suffix)
    return default
