"""What can be recorded, and which of it a command line asks for: each workload has its own options.

profile                        training, as is `profile training`
profile layers --size 0.6b
profile --script train.py -- --epochs 1        as is `profile script train.py -- --epochs 1`
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analysis.show.called import option
from profiling.common.errors import UsageError
from profiling.common.named import named
from profiling.common.workload import Workload

TRAINING, LAYERS, GENERATION, SCRIPT = "training", "layers", "generation", "script"

WORKLOADS: Final[dict[str, tuple[str, str]]] = {
    TRAINING: ("profiling.training.workload:TrainingRun", "steps of our own model"),
    LAYERS: (
        "profiling.layers.workload:LayersSettings",
        "forward passes of a language model, layer by layer",
    ),
    GENERATION: (
        "profiling.generation.workload:GenerationSettings",
        "tokens that a base model generates with a teacher's help (C2C)",
    ),
    SCRIPT: ("profiling.launch.script:ScriptRun", "a script of yours, its arguments after --"),
}
"""Every workload by its name: ``module:class``, imported when it is used, and what it runs."""

OF_A_SCRIPT: Final = "a script takes its own arguments after --"


def split(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the workload that a command line names, and the rest of its words.

    Raises:
        UsageError: no such workload, or one is named beside a script.

    >>> split(["layers", "--batch", "2"])
    ('layers', ['--batch', '2'])
    >>> split(["--script", "train.py", "--", "--workload", "5"])
    ('script', ['--script', 'train.py', '--', '--workload', '5'])
    """
    end = words.index("--") if "--" in words else len(words)
    front = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    front.add_argument("--workload")
    try:
        asked, own = front.parse_known_args(words[:end])
    except argparse.ArgumentError as error:
        raise UsageError(str(error).removeprefix("argument ")) from None
    has_script = any(word.partition("=")[0] == "--script" for word in own)
    name, said = asked.workload, "--workload"
    if name is None and own and not own[0].startswith("-"):
        name = own.pop(0)
        said = name
    if name not in {None, *WORKLOADS}:
        if name.endswith(".py") or Path(name).is_file():
            hint = f"record a script with {option('--script', shlex.quote(name))}"
            raise UsageError(f"{name!r} is no workload; {hint}")
        raise UsageError(f"{name!r} is no workload; there are: {', '.join(WORKLOADS)}")
    if has_script and name not in {None, SCRIPT}:
        raise UsageError(f"{said} is of our own model; {OF_A_SCRIPT}")
    name = name or (SCRIPT if has_script else TRAINING)
    return name, [*own, *words[end:]]


def load(name: str) -> type[Workload]:
    """Return the class of a workload."""
    found: type[Workload] = named(WORKLOADS[name][0])
    return found
