"""The command line of `profiling.launch`."""

import argparse
import re
from pathlib import Path

from model.config import SIZES, ModelConfig
from profiling.errors import UsageError
from profiling.settings import ATTENTIONS, DTYPES, MODES, SHAPE_FIELDS, Settings, shape


def count(text: str) -> int:
    """Read a positive whole number."""
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive whole number, not {text!r}")
    return int(text)


def count_or_none(text: str) -> int:
    """Read a whole number that may be 0."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"must be 0 or a positive whole number, not {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> None:  # type: ignore[override]  # exits, as it must
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def parser(description: str, reports: Path) -> argparse.ArgumentParser:
    """Return the parser; ``reports`` is the default folder."""
    made = _Parser(
        prog="python -m profiling.launch",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = made.add_argument_group("what to run")
    what.add_argument("--size", default="small", help=f"{', '.join(SIZES)} (default: %(default)s)")
    for field in SHAPE_FIELDS:
        flag = "--" + field.replace("_", "-")
        what.add_argument(flag, type=count, metavar="N", help="instead of the size's own")
    what.add_argument("--mode", choices=MODES, default="train", help="(default: %(default)s)")
    what.add_argument(
        "--batch", type=count, metavar="N", help="sequences a step (default: 4; on a CPU 1)"
    )
    what.add_argument(
        "--context", type=count, metavar="N", help="positions (default: 512; on a CPU 128)"
    )
    what.add_argument("--dtype", choices=DTYPES, default="float32", help="(default: %(default)s)")
    what.add_argument("--attention", choices=ATTENTIONS, default="eager", help="(default: eager)")
    what.add_argument("--steps", type=count, default=3, metavar="N", help="(default: %(default)s)")
    what.add_argument(
        "--warmup", type=count_or_none, default=1, metavar="N", help="(default: %(default)s)"
    )
    what.add_argument("--seed", type=count_or_none, default=0, help="(default: %(default)s)")
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
    how.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    return made


def name(arguments: argparse.Namespace) -> str:
    """Return the report's name.

    Raises:
        UsageError: it would be a path or a hidden file.
    """
    default = arguments.script.stem if arguments.script else arguments.size
    chosen: str = default if arguments.name is None else arguments.name
    if not re.fullmatch(r"[\w][\w.+-]*", chosen):
        raise UsageError(f"a report cannot be called {chosen!r}; use letters, digits, and . _ + -")
    return chosen


def config(arguments: argparse.Namespace) -> ModelConfig:
    """Return the shape asked for.

    Raises:
        UsageError: no such size, an impossible shape, or arguments without a script.
    """
    if arguments.arguments:
        raise UsageError(f"{arguments.arguments[0]!r} is no option; arguments need a --script")
    return shape(arguments.size, **{field: getattr(arguments, field) for field in SHAPE_FIELDS})


def settings(arguments: argparse.Namespace, config: ModelConfig, device: str) -> Settings:
    """Return what is to be run; batch and context default to what the device can bear."""
    on_gpu = device.startswith("cuda")
    return Settings(
        size=arguments.size,
        config=config,
        mode=arguments.mode,
        batch=arguments.batch or (4 if on_gpu else 1),
        context=arguments.context or (512 if on_gpu else 128),
        dtype=arguments.dtype,
        device=device,
        attention=arguments.attention,
        steps=arguments.steps,
        warmup=arguments.warmup,
        seed=arguments.seed,
    )
