"""What can be recorded besides training steps: a language model's layers, and generation by two.

A workload is a module with ``run(settings_file, recorder, folder)``, and settings that can be saved
for the process which runs it, describe themselves, and give the facts for the report.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from profiling.common.cli import count
from profiling.common.errors import UsageError
from profiling.common.model_options import Adder
from profiling.common.settings import SHAPE_FIELDS

TRAINING: Final = "training"
LAYERS: Final = "layers"
GENERATION: Final = "generation"
MODULES: Final = {
    TRAINING: "profiling.training.model_steps",
    LAYERS: "profiling.layers.workload",
    GENERATION: "profiling.generation.workload",
}
"""The module that runs each workload."""

SIZES: Final = {"tiny": "qwen3-tiny", "0.6b": "qwen3-0.6b", "4b": "qwen3-4b"}
"""What ``--size`` means for a language model: its shape, with random weights."""

_MODELS: Final = ("model", "random_init")
_OF_GENERATION: Final = (
    "teacher_model",
    "teacher_random_init",
    "max_new_tokens",
    "prompt",
    "open_gates",
)
OWN: Final = (*_MODELS, *_OF_GENERATION)
"""The options that training has not."""

OF_RANKS: Final = ("ranks", "strategy", "bucket_mb", "timeout")
"""The options of training on several ranks, that which asks for it first."""

_OF_TRAINING: Final = (
    *OF_RANKS,
    *SHAPE_FIELDS,
    "mode",
    "autocast",
    "tf32",
    "compile",
    "compile_mode",
    "compile_scope",
    "optimizer",
    "checkpoint",
)


class RunSettings(Protocol):
    """Settings of a run that can be recorded."""

    def save(self, path: Path) -> None:
        """Write the settings for the process that runs them."""

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""

    def facts(self) -> dict[str, str]:
        """Return what a report must tell of the run."""


def add_workload(parser: Adder) -> None:
    """Add the options for the workload, and for the models of those besides training."""
    parser.add_argument("--workload", choices=tuple(MODULES), help=f"(default: {TRAINING})")
    parser.add_argument("--model", metavar="NAME", help="of layers or generation: name or folder")
    parser.add_argument(
        "--random-init", metavar="SHAPE", help="or random weights: qwen3-0.6b, CONFIG.json, …"
    )
    parser.add_argument(
        "--teacher-model", metavar="NAME", help="of generation; none for no teacher"
    )
    parser.add_argument("--teacher-random-init", metavar="SHAPE", help="or random weights")
    parser.add_argument("--max-new-tokens", type=count, metavar="N", help="of generation (32)")
    parser.add_argument("--prompt", metavar="TEXT", help="of generation (default: a built-in one)")
    parser.add_argument(
        "--open-gates", action="store_true", default=None, help="let random projectors act"
    )


def refuse(arguments: argparse.Namespace, options: Iterable[str], why: str) -> None:
    """Refuse options that would have no effect.

    Raises:
        UsageError: one was given.
    """
    for option in options:
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} {why}")


def workload_settings(arguments: argparse.Namespace, device: str) -> RunSettings:
    """Return the settings of a workload other than training.

    Raises:
        UsageError: an option of another workload was given, or a size that does not exist.
    """
    workload = arguments.workload
    refuse(arguments, _OF_TRAINING, f"is of training, not of {workload}")
    if arguments.memory:
        raise UsageError(f"--memory is of training, not of {workload}; leave it out")
    random_init = _random_init(arguments)
    common = {
        name: getattr(arguments, name)
        for name in ("dtype", "attention", "seed")
        if getattr(arguments, name) is not None
    }
    counts = {
        name: getattr(arguments, name)
        for name in ("steps", "warmup", "batch", "context", "max_new_tokens", "prompt")
        if getattr(arguments, name) is not None
    }
    _check_attention(common.get("attention"), workload)
    if workload == LAYERS:
        from profiling.layers.workload import LayersSettings

        refuse(arguments, _OF_GENERATION, f"is of {GENERATION}, not of {LAYERS}")
        named = {"model_name": arguments.model} if arguments.model else {}
        return LayersSettings(random_init=random_init, device=device, **named, **common, **counts)
    from profiling.generation.selection import ModelSelection
    from profiling.generation.workload import GenerationSettings

    refuse(arguments, ("batch", "context"), f"is of {LAYERS}; {GENERATION} takes one prompt")
    named = {"base": arguments.model} if arguments.model else {}
    if arguments.teacher_model:
        named["teacher"] = arguments.teacher_model
    models = ModelSelection(
        random_init=random_init,
        teacher_random_init=_teacher(arguments),
        open_gates=bool(arguments.open_gates),
        device=device,
        **named,
        **common,
    )
    return GenerationSettings(models=models, **counts)


def _random_init(arguments: argparse.Namespace) -> str | None:
    given = [option for option in ("size", *_MODELS) if getattr(arguments, option) is not None]
    if len(given) > 1:
        flags = " and ".join(f"--{option.replace('_', '-')}" for option in given)
        raise UsageError(f"{flags} say the same thing twice; give one")
    if arguments.size is None:
        random_init: str | None = arguments.random_init
        return random_init
    if arguments.size.lower() not in SIZES:
        known = ", ".join(SIZES)
        raise UsageError(f"no language model is called {arguments.size!r}; there are: {known}")
    return SIZES[arguments.size.lower()]


def _teacher(arguments: argparse.Namespace) -> str | None:
    """Return the teacher's shape: with a size, the same, unless another teacher was named."""
    if arguments.teacher_random_init is not None or arguments.teacher_model is not None:
        shape: str | None = arguments.teacher_random_init
        return shape
    return SIZES[arguments.size.lower()] if arguments.size is not None else None


def _check_attention(attention: str | None, workload: str) -> None:
    from profiling.models.request import ATTENTIONS

    if attention is not None and attention not in ATTENTIONS:
        known = ", ".join(ATTENTIONS)
        raise UsageError(f"{workload} knows no {attention} attention; there are: {known}")
