"""The command line of `profiling.generation`."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.c2c import MAPPINGS
from profiling.common.cli import Parser, count, count_or_zero, positive, seed
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.generation.pair import ALIGNMENTS, ALONE, BASE, TEACHER, ModelSelection
from profiling.generation.prompts import BUILT_IN
from profiling.generation.run import Decoding
from profiling.models.request import ATTENTIONS, DTYPES, PRESETS

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

TRACE_TOKENS: Final = 32

PARTNER: Final = "qwen3-4b"
"""The teacher of a base with random weights where none is named: nothing is downloaded then."""

TINY: Final = "qwen3-tiny"
"""A base that has itself for a partner."""


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


def temperature(text: str) -> float:
    """Read 0 or a positive number."""
    return 0.0 if re.fullmatch(r"0+(\.0*)?", text) else positive(text)


def parser(description: str | None) -> Parser:
    """Return the parser."""
    made = Parser("profiling.generation", description)
    made.add_argument("mode", choices=MODES, help="what to run")
    _add_models(made)
    _add_decoding(made)
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


def _add_models(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("models")
    known = "|".join((*PRESETS, "CONFIG.json"))
    group.add_argument("--base_model", default=BASE, help="folder or name (default: %(default)s)")
    group.add_argument(
        "--teacher_model",
        default=None,
        help=f"likewise; {ALONE}: the base alone (default: {TEACHER})",
    )
    group.add_argument("--random_init", metavar=known, help="the base's shape, random weights")
    group.add_argument(
        "--teacher_random_init",
        metavar=known,
        help=f"likewise, the teacher's (default with --random_init: {PARTNER}; of tiny, tiny)",
    )
    group.add_argument("--projector", metavar="DIR", help="of trained ones (default: fresh ones)")
    group.add_argument(
        "--projector_hidden", type=count, metavar="N", help="width of fresh ones (default: 1024)"
    )
    group.add_argument(
        "--layer_mapping",
        choices=MAPPINGS,
        help=f"teacher layer of each base layer, for fresh projectors (default: {MAPPINGS[0]})",
    )
    group.add_argument(
        "--open_gates", action="store_true", help="let projectors act whatever their gates say"
    )
    group.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        default=ALIGNMENTS[0],
        help="where the tokenizers differ: which of several tokens (default: %(default)s)",
    )
    group.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    group.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="(default: %(default)s)")
    group.add_argument(
        "--attention", choices=ATTENTIONS, default="sdpa", help="(default: %(default)s)"
    )


def _add_decoding(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("decoding")
    group.add_argument(
        "--max_new_tokens", type=count, default=256, metavar="N", help="(default: %(default)s)"
    )
    group.add_argument(
        "--temperature",
        type=temperature,
        default=0.0,
        metavar="T",
        help="0 takes the most likely token (default: 0)",
    )
    group.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of draws and random weights (default: 0)"
    )
    group.add_argument(
        "--warmup",
        type=count_or_zero,
        default=1,
        metavar="N",
        help="short generations before the first that counts (default: %(default)s)",
    )


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
    if given.projector and (given.projector_hidden or given.layer_mapping):
        raise UsageError("trained projectors have their own width and mapping; leave those out")
    _check_alone(given)
    return given


def _check_alone(given: argparse.Namespace) -> None:
    """Refuse options of projectors where there are none."""
    if given.teacher_random_init and given.teacher_model:
        raise UsageError("the teacher is --teacher_model or --teacher_random_init, not both")
    of_projectors = ("projector", "projector_hidden", "layer_mapping", "open_gates")
    wrong = [option for option in of_projectors if getattr(given, option)]
    if wrong and (given.teacher_model or "").lower() == ALONE:
        raise UsageError(f"--{wrong[0]} wants a teacher; --teacher_model {ALONE} has no projectors")


def implied(given: argparse.Namespace) -> tuple[str, ...]:
    """Return a line on the teacher that comes with ``--random_init`` where none is named."""
    if not given.random_init or given.teacher_random_init or given.teacher_model:
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
    if given.random_init and not partner and not given.teacher_model:
        partner = _partner(given)
    return ModelSelection(
        base=given.base_model,
        teacher=given.teacher_model or TEACHER,
        random_init=given.random_init,
        teacher_random_init=partner,
        projector=given.projector,
        projector_hidden=given.projector_hidden or 1024,
        layer_mapping=given.layer_mapping or MAPPINGS[0],
        open_gates=given.open_gates,
        alignment=given.alignment,
        device=choose_device(given.device),
        dtype=given.dtype,
        attention=given.attention,
        seed=given.seed,
    )


def decoding(given: argparse.Namespace) -> Decoding:
    """Return how the arguments ask to generate."""
    return Decoding(
        max_new_tokens=given.max_new_tokens,
        temperature=given.temperature,
        seed=given.seed,
        warmup=given.warmup,
    )


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
