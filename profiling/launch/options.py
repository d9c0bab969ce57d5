"""The command line of `profiling.launch`."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from profiling.common.cli import Parser, count, count_or_zero, positive, seed
from profiling.common.errors import UsageError
from profiling.common.model_options import DEFAULT_SIZE, Adder, add_shape, add_variants
from profiling.common.settings import (
    ATTENTIONS,
    COMPILE_MODES,
    COMPILE_SCOPES,
    CUDA_GRAPHS,
    DTYPES,
    MODES,
    OPTIMIZERS,
    SHAPE_FIELDS,
    Settings,
    shape,
)
from profiling.launch.workloads import OF_RANKS, OWN, TRAINING, add_workload, refuse

if TYPE_CHECKING:
    from model.config import ModelConfig

OF_THE_MODEL: Final = {
    "size": DEFAULT_SIZE,
    **dict.fromkeys(SHAPE_FIELDS),
    "mode": MODES[0],
    "batch": None,
    "context": None,
    "dtype": DTYPES[0],
    "autocast": None,
    "tf32": False,
    "attention": ATTENTIONS[0],
    "compile": False,
    "compile_mode": COMPILE_MODES[0],
    "compile_scope": COMPILE_SCOPES[0],
    "optimizer": OPTIMIZERS[0],
    "checkpoint": 0,
    "steps": 3,
    "warmup": 1,
    "seed": 0,
}
"""The options that only our own model has, with their defaults; None depends on the others."""

FLASH_ATTENTION_2: Final = "flash_attention_2"
"""What transformers calls the flash-attn package's attention: of language models' workloads."""

LONGEST_NAME: Final = 100


def parser(description: str, reports: Path) -> argparse.ArgumentParser:
    """Return the parser; ``reports`` is the default folder."""
    made = Parser("profiling.launch", description)
    what = made.add_argument_group("what to run")
    add_workload(what)
    add_shape(what)
    what.add_argument("--mode", choices=MODES, help="(default: train)")
    what.add_argument(
        "--batch", type=count, metavar="N", help="sequences a step (default: 4; on a CPU 1)"
    )
    what.add_argument(
        "--context", type=count, metavar="N", help="positions (default: 512; on a CPU 128)"
    )
    add_variants(what, (*ATTENTIONS, FLASH_ATTENTION_2))
    what.add_argument("--steps", type=count, metavar="N", help="(default: 3)")
    what.add_argument("--warmup", type=count_or_zero, metavar="N", help="(default: 1)")
    what.add_argument("--seed", type=seed, metavar="N", help="(default: 0)")
    add_ranks(what)
    what.add_argument("--script", type=Path, help="record this instead; its ARGS after --")
    what.add_argument("arguments", nargs="*", metavar="ARGS", help="of the script")
    how = made.add_argument_group("how to record it")
    how.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    how.add_argument(
        "--recorder",
        choices=("auto", "nsys", "torch"),
        default="auto",
        help="auto: nsys where it is installed and the device is CUDA, else torch",
    )
    how.add_argument("--name", help="of the report (default: the size, or the script's name)")
    how.add_argument("--reports", type=Path, default=reports, help="folder (default: nsys_reports)")
    how.add_argument(
        "--memory", action="store_true", help="record what tensors hold, too; it takes longer"
    )
    how.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    return made


def add_ranks(parser: Adder) -> None:
    """Add the options for how many ranks train, and how together."""
    parser.add_argument(
        "--ranks", type=count, metavar="N", help="train on N ranks; --batch counts all of them"
    )
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="of ranks: naive, flat, overlapped, bucketed, sharded or fsdp (default: overlapped)",
    )
    parser.add_argument(
        "--bucket-mb", type=positive, metavar="MB", help="of bucketed, in 10^6 bytes (default: 25)"
    )
    parser.add_argument(
        "--timeout", type=positive, metavar="S", help="of ranks, in seconds (default: 600)"
    )


def report_name(arguments: argparse.Namespace) -> str:
    """Return the report's name.

    Raises:
        UsageError: it would be a path or a hidden file.
    """
    default = arguments.script.stem if arguments.script else arguments.size or DEFAULT_SIZE
    if arguments.workload not in {None, TRAINING}:
        default = "-".join(word for word in (arguments.workload, arguments.size) if word)
    chosen: str = default if arguments.name is None else arguments.name
    if len(chosen) > LONGEST_NAME:
        raise UsageError(f"a report's name has at most {LONGEST_NAME} characters")
    if not re.fullmatch(r"[\w][\w.+-]*", chosen):
        raise UsageError(f"a report cannot be called {chosen!r}; use letters, digits, and . _ + -")
    return chosen


def model_config(arguments: argparse.Namespace) -> "ModelConfig":
    """Return the model's shape that is asked for, and fill in the defaults.

    Raises:
        UsageError: no such size, an impossible shape, or arguments without a script.
    """
    refuse(arguments, OWN, "is of --workload layers and generation; name one, or leave it out")
    for option, default in OF_THE_MODEL.items():
        if getattr(arguments, option) is None:
            setattr(arguments, option, default)
    return shape(arguments.size, **{field: getattr(arguments, field) for field in SHAPE_FIELDS})


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse arguments that no script is there to take.

    Raises:
        UsageError: some were given.
    """
    if arguments.arguments and not arguments.script:
        raise UsageError(f"{arguments.arguments[0]!r} is no option; arguments need a --script")


def check_script(arguments: argparse.Namespace) -> None:
    """Refuse options that a script would ignore.

    Raises:
        UsageError: an option of our own model was given beside a script.
    """
    why = "is of our own model; a script takes its own arguments after --"
    refuse(arguments, ("workload", *OF_THE_MODEL, *OWN, *OF_RANKS), why)


def training_settings(
    arguments: argparse.Namespace, config: "ModelConfig", device: str
) -> Settings:
    """Return the settings of training; batch and context default to what the device can bear."""
    if arguments.attention not in ATTENTIONS:
        known = ", ".join(ATTENTIONS)
        raise UsageError(f"our model knows no {arguments.attention} attention; there are: {known}")
    if arguments.compile_mode == CUDA_GRAPHS:
        raise UsageError(
            f"--compile-mode {CUDA_GRAPHS} replays CUDA graphs, which stand in no range; "
            "time it with profiling.benchmark"
        )
    on_gpu = device.startswith("cuda")
    chosen = {option: getattr(arguments, option) for option in OF_THE_MODEL}
    chosen["batch"] = arguments.batch or (4 if on_gpu else 1)
    chosen["context"] = arguments.context or (512 if on_gpu else 128)
    for field in SHAPE_FIELDS:
        del chosen[field]
    return Settings(config=config, device=device, **chosen)
