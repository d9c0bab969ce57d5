"""Options of our own model that several commands have: its shape, and how it computes."""

import argparse
from collections.abc import Sequence
from typing import Final

from profiling.common.cli import count, count_or_zero
from profiling.common.settings import (
    ATTENTIONS,
    COMPILE_MODES,
    COMPILE_SCOPES,
    DTYPES,
    OPTIMIZERS,
    SHAPE_FIELDS,
)

DEFAULT_SIZE: Final = "small"


Adder = argparse.ArgumentParser | argparse._ArgumentGroup
"""What options are added to."""


def add_shape(parser: Adder) -> None:
    """Add the options for a model's size and the hyperparameters that may differ from it."""
    parser.add_argument(
        "--size", help="tiny, small, medium, large, xl, xl-2026, 2.7B or 10B (default: small)"
    )
    for field in SHAPE_FIELDS:
        flag = "--" + field.replace("_", "-")
        parser.add_argument(flag, type=count, metavar="N", help="instead of the size's own")


def add_variants(parser: Adder, attentions: Sequence[str] = ATTENTIONS) -> None:
    """Add the options for precision, attention, compiler, optimizer and checkpoints."""
    add_precision(parser)
    add_implementation(parser, attentions)


def add_precision(parser: Adder) -> None:
    """Add the options for the precision that the model computes in."""
    parser.add_argument("--dtype", choices=DTYPES, help="of the weights (default: float32)")
    parser.add_argument(
        "--autocast", choices=DTYPES[1:], help="cast matrix products; the weights keep their dtype"
    )
    parser.add_argument(
        "--tf32", action="store_true", default=None, help="float32 products in TF32 (GPU)"
    )


def add_implementation(parser: Adder, attentions: Sequence[str] = ATTENTIONS) -> None:
    """Add the options for attention, compiler, optimizer and checkpoints."""
    parser.add_argument("--attention", choices=attentions, help="(default: eager)")
    parser.add_argument(
        "--compile", action="store_true", default=None, help="by torch.compile; its ranges go"
    )
    add_compiler(parser)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="how AdamW runs (torch's default)")
    parser.add_argument(
        "--checkpoint",
        type=count_or_zero,
        metavar="N",
        help="keep the input of every N blocks only, and run them again (default: 0, keep all)",
    )


def add_compiler(parser: Adder) -> None:
    """Add the options for torch.compile."""
    parser.add_argument(
        "--compile-mode", choices=COMPILE_MODES, help="of torch.compile (default: default)"
    )
    parser.add_argument(
        "--compile-scope",
        choices=COMPILE_SCOPES,
        help="one graph of the model, or one for all blocks, in a fraction of the time to compile "
        "(default: model)",
    )
