"""The command line of `profiling.benchmark`: the reference script's options, and ours beside."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from profiling.common.cli import Parser, count, count_or_zero, positive, seed
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.model_options import add_variants
from profiling.common.settings import (
    ATTENTIONS,
    COMPILE_MODES,
    COMPILE_SCOPES,
    DTYPES,
    OPTIMIZERS,
    SHAPE_FIELDS,
    Settings,
    shape,
)
from profiling.training.training import LEARNING_RATE

if TYPE_CHECKING:
    from model.config import ModelConfig

MODES: Final = ("forward", "forward_backward", "train")
REFERENCE: Final = {
    "vocab_size": 50_257,
    "d_model": 768,
    "num_layers": 12,
    "num_heads": 12,
    "d_ff": 3072,
    "rope_theta": 10_000.0,
}
"""The shape where no ``--size`` is given."""

BY_HAND: Final = "custom"
"""What a shape without ``--size`` is called."""

CONTEXT: Final = 1024
BATCH: Final = 8
CONTEXT_OF_A_SIZE: Final = 512
BATCH_OF_A_SIZE: Final = 4

VARIANTS: Final[dict[str, Any]] = {
    "dtype": DTYPES[0],
    "autocast": None,
    "tf32": False,
    "attention": ATTENTIONS[0],
    "compile": False,
    "compile_mode": COMPILE_MODES[0],
    "compile_scope": COMPILE_SCOPES[0],
    "optimizer": OPTIMIZERS[0],
    "checkpoint": 0,
}
"""The options of `profiling.common.model_options.add_variants`, with their defaults."""


@dataclass(frozen=True, slots=True)
class Request:
    """A benchmark as the command line asks for it.

    Attributes:
        learning_rate: of AdamW; None in the mode ``forward``, which has none.
        json: where the results go, besides the screen.
        on_cpu_for_want_of_cuda: no device was named, and there is no CUDA.
    """

    settings: Settings
    learning_rate: float | None
    json: Path | None
    on_cpu_for_want_of_cuda: bool


def parser(module: str, doc: str | None) -> Parser:
    """Return the parser of a run; what is not given is None, except counts of steps."""
    made = Parser(module, doc)
    add_model(made.add_argument_group("the model and its input"))
    add_variants(made.add_argument_group("how the model computes"))
    timed = made.add_argument_group("what is timed")
    add_steps(timed)
    timed.add_argument("--json", type=Path, metavar="FILE", help="write everything there, raw too")
    timed.add_argument(
        "--compare",
        nargs=2,
        metavar=("A.json", "B.json"),
        help="compare two such files instead; only with --format and --output",
    )
    return made


def add_model(what: argparse._ArgumentGroup) -> None:
    """Add the shape of the model, the batch and the seed."""
    what.add_argument(
        "--size",
        help="tiny, small, medium, large, xl, xl-2026, 2.7B or 10B: its shape and vocabulary, "
        f"batch {BATCH_OF_A_SIZE}, context {CONTEXT_OF_A_SIZE}; other options go before it",
    )
    for field in ("vocab_size", "d_model", "num_layers", "num_heads", "d_ff"):
        flag = "--" + field.replace("_", "-")
        default = f"(default: {REFERENCE[field]}, or the size's)"
        what.add_argument(flag, type=count, metavar="N", help=default)
    what.add_argument(
        "--rope-theta", type=positive, metavar="X", help="(default: 10000, or the size's)"
    )
    what.add_argument(
        "--context-length",
        type=count,
        metavar="N",
        help=f"positions (default: {CONTEXT}; with --size {CONTEXT_OF_A_SIZE})",
    )
    what.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help=f"sequences a step (default: {BATCH}; with --size {BATCH_OF_A_SIZE})",
    )
    what.add_argument("--seed", type=seed, default=0, metavar="N", help="(default: 0)")


def add_steps(group: argparse._ArgumentGroup) -> None:
    """Add what a step does, how many are run, and where."""
    group.add_argument(
        "--mode", choices=MODES, default="forward_backward", help="(default: forward_backward)"
    )
    group.add_argument(
        "--learning-rate", type=positive, metavar="X", help=f"of AdamW (default: {LEARNING_RATE})"
    )
    group.add_argument(
        "--warmup-steps", type=count_or_zero, default=5, metavar="N", help="(default: 5)"
    )
    group.add_argument("--num-steps", type=count, default=20, metavar="N", help="(default: 20)")
    group.add_argument(
        "--device", help="cpu, cuda or cuda:N (default: cuda, or cpu where there is none)"
    )


def config(arguments: argparse.Namespace) -> "ModelConfig":
    """Return the model's shape that the arguments ask for.

    Raises:
        UsageError: no such size, or an impossible shape.
    """
    from model.config import ModelConfig

    given = {field: getattr(arguments, field) for field in SHAPE_FIELDS}
    theta = arguments.rope_theta
    if arguments.size is not None:
        made = shape(arguments.size, **given)
        return made if theta is None else replace(made, rope_theta=theta)
    changed = {field: value for field, value in given.items() if value is not None}
    theta = REFERENCE["rope_theta"] if theta is None else theta
    try:
        return ModelConfig(**{**REFERENCE, **changed, "rope_theta": theta})
    except ValueError as error:
        raise UsageError(str(error)) from None


def request(arguments: argparse.Namespace) -> Request:
    """Return the benchmark that the arguments ask for, defaults filled in.

    Raises:
        UsageError: no such size or device, an impossible shape, or an option that would have no
            effect.
        LaunchError: there is no such CUDA device.
    """
    check_mode(arguments)
    sized = arguments.size is not None
    made = config(arguments)
    device = choose_device(arguments.device)
    chosen = {
        name: default if getattr(arguments, name, None) is None else getattr(arguments, name)
        for name, default in VARIANTS.items()
    }
    settings = Settings(
        size=arguments.size if sized else BY_HAND,
        config=made,
        mode=arguments.mode,
        batch=arguments.batch_size or (BATCH_OF_A_SIZE if sized else BATCH),
        context=arguments.context_length or (CONTEXT_OF_A_SIZE if sized else CONTEXT),
        device=device,
        steps=arguments.num_steps,
        warmup=arguments.warmup_steps,
        seed=arguments.seed,
        **chosen,
    )
    rate = None if arguments.mode == "forward" else arguments.learning_rate or LEARNING_RATE
    wanting = arguments.device is None and device == "cpu"
    return Request(settings, rate, getattr(arguments, "json", None), wanting)


def check_mode(arguments: argparse.Namespace) -> None:
    """Refuse options that a forward pass alone would ignore.

    Raises:
        UsageError: one was given.
    """
    if arguments.mode != "forward":
        return
    for option in ("learning_rate", "optimizer", "checkpoint"):
        if getattr(arguments, option) is not None:
            flag = option.replace("_", "-")
            raise UsageError(
                f"--{flag} has no effect in --mode forward; leave it out, or choose --mode train"
            )
