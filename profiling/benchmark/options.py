"""The command line of `profiling.benchmark`: the reference script's options, and ours beside."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from profiling.common.cli import DEVICE, Adder, Parser, count, count_or_zero, positive
from profiling.common.errors import UsageError
from profiling.common.machine import choose_device
from profiling.common.options import add_options, chosen, option
from profiling.common.settings import (
    IMPLEMENTATION,
    LEARNING_RATE,
    MODES,
    PRECISION,
    Settings,
    shape,
)

if TYPE_CHECKING:
    from model.config import ModelConfig

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


def _or_the_sizes(name: str) -> str:
    return f"(default: {REFERENCE[name]:g}, or the size's)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkInput:
    """The model and its input; a default depends on whether a size is named."""

    size: str | None = option(
        None,
        "tiny, small, medium, large, xl, xl-2026, 2.7B or 10B: its shape and vocabulary, "
        f"batch {BATCH_OF_A_SIZE}, context {CONTEXT_OF_A_SIZE}; other options go before it",
    )
    vocab_size: int | None = option(None, _or_the_sizes("vocab_size"), read=count)
    d_model: int | None = option(None, _or_the_sizes("d_model"), read=count)
    num_layers: int | None = option(None, _or_the_sizes("num_layers"), read=count)
    num_heads: int | None = option(None, _or_the_sizes("num_heads"), read=count)
    d_ff: int | None = option(None, _or_the_sizes("d_ff"), read=count)
    rope_theta: float | None = option(None, _or_the_sizes("rope_theta"), read=positive, metavar="X")
    context_length: int | None = option(
        None, f"positions (default: {CONTEXT}; with --size {CONTEXT_OF_A_SIZE})", read=count
    )
    batch_size: int | None = option(
        None, f"sequences a step (default: {BATCH}; with --size {BATCH_OF_A_SIZE})", read=count
    )

    @property
    def context(self) -> int:
        """Positions of a sequence."""
        return self.context_length or (CONTEXT_OF_A_SIZE if self.size else CONTEXT)

    @property
    def batch(self) -> int:
        """Sequences of a step."""
        return self.batch_size or (BATCH_OF_A_SIZE if self.size else BATCH)

    @property
    def config(self) -> ModelConfig:
        """The model's shape.

        Raises:
            UsageError: no such size, or an impossible shape.
        """
        from model.config import ModelConfig

        given = {name: getattr(self, name) for name in REFERENCE}
        given = {name: value for name, value in given.items() if value is not None}
        if self.size is not None:
            theta = given.pop("rope_theta", None)
            made = shape(self.size, **given)
            return made if theta is None else replace(made, rope_theta=theta)
        try:
            return ModelConfig(**{**REFERENCE, **given})
        except ValueError as error:
            raise UsageError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkSteps:
    """What a step does, how many are run, and where."""

    mode: str = option("forward_backward", "what a step does", choices=MODES)
    learning_rate: float | None = option(
        None, f"of AdamW (default: {LEARNING_RATE})", read=positive, metavar="X"
    )
    warmup_steps: int = option(5, "before the timed ones", read=count_or_zero)
    num_steps: int = option(20, "timed", read=count)
    device: str | None = option(None, DEVICE)


@dataclass(frozen=True, slots=True)
class Request:
    """A benchmark as the command line asks for it.

    Attributes:
        learning_rate: of AdamW; None in the mode ``forward``, which has none.
        on_cpu_for_want_of_cuda: no device was named, and there is no CUDA.
    """

    settings: Settings
    learning_rate: float | None
    on_cpu_for_want_of_cuda: bool


def parser(module: str, doc: str | None) -> Parser:
    """Return the parser of a run."""
    made = Parser(module, doc)
    add_model(made.add_argument_group("the model and its input"))
    how = made.add_argument_group("how the model computes")
    add_options(how, Settings, *PRECISION, *IMPLEMENTATION)
    timed = made.add_argument_group("what is timed")
    add_options(timed, BenchmarkSteps)
    timed.add_argument("--json", type=Path, metavar="FILE", help="write everything there, raw too")
    timed.add_argument(
        "--compare",
        nargs=2,
        metavar=("A.json", "B.json"),
        help="compare two such files instead; only with --format and --output",
    )
    return made


def add_model(what: Adder) -> None:
    """Add the shape of the model, the batch and the seed."""
    add_options(what, BenchmarkInput)
    add_options(what, Settings, "seed")


def request(arguments: argparse.Namespace) -> Request:
    """Return the benchmark that the arguments ask for.

    Raises:
        UsageError: no such size or device, an impossible shape, or an option that would have no
            effect.
        LaunchError: there is no such CUDA device.
    """
    check_mode(arguments)
    given, steps = chosen(BenchmarkInput, arguments), chosen(BenchmarkSteps, arguments)
    config = given.config
    device = choose_device(steps.device)
    settings = chosen(
        Settings,
        arguments,
        size=given.size or BY_HAND,
        config=config,
        batch=given.batch,
        context=given.context,
        device=device,
        steps=steps.num_steps,
        warmup=steps.warmup_steps,
    )
    rate = None if steps.mode == "forward" else steps.learning_rate or LEARNING_RATE
    return Request(settings, rate, steps.device is None and device == "cpu")


def check_mode(arguments: argparse.Namespace) -> None:
    """Refuse options that a forward pass alone would ignore.

    Raises:
        UsageError: one was given.
    """
    usual = {each.name: each.default for each in fields(Settings)} | {"learning_rate": None}
    for name in ("learning_rate", "optimizer", "checkpoint"):
        if arguments.mode == "forward" and getattr(arguments, name, usual[name]) != usual[name]:
            flag = name.replace("_", "-")
            raise UsageError(
                f"--{flag} has no effect in --mode forward; leave it out, or choose --mode train"
            )
