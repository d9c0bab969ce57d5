"""The steps of a GPU's evidence as a CPU can run them: the same commands, as small as they go."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.conditions import ROOT
from benchmarks.gpu.stages import STAGES, Step

SMALLER: Final = {
    "--device": "cpu",
    "--size": "tiny",
    "--sizes": "tiny",
    "--contexts": "16",
    "--context": "16",
    "--lengths": "32",
    "--batch": "1",
    "--batches": "1",
    "--heads": "1",
    "--seconds": "0.1",
    "--steps": "2",
    "--num-runs": "2",
    "--max_new_tokens": "4",
    "--random-init": "qwen3-tiny",
    "--teacher-random-init": "qwen3-tiny",
}
"""What stands after an option instead."""

INSTEAD: Final = {"tf32,bfloat16-autocast": "bfloat16-autocast"}
"""Words that mean nothing on a CPU."""

WHERE_ABSENT: Final = {
    "profiling.benchmark": {"--context-length": "16", "--num-steps": "3"},
    "profiling.sweep": {
        "--sizes": "tiny",
        "--contexts": "16",
        "--num-steps": "2",
        "--batches": "1",
    },
    "profiling.launch": {"--context": "16", "--batch": "1"},
    "benchmarks.flash_tuning": {"--shapes": "1x1x16x32", "--most": "1", "--repeat-ms": "1"},
}
"""What is added where it is not there, for its default is of a GPU's size."""


def on_cpu(step: Step) -> tuple[str, ...]:
    """Return the words of a step with what a CPU of two cores can do in a second."""
    words = []
    before = ""
    for word in step.words:
        words.append(SMALLER.get(before, INSTEAD.get(word, word)))
        before = word
    absent = WHERE_ABSENT.get(step.words[0], {})
    added = [each for pair in absent.items() if pair[0] not in words for each in pair]
    return (*words[:1], *added, *words[1:])


def needs_nsys(step: Step) -> bool:
    """Return whether nsys records it."""
    return step.words[-1].endswith("-nsys")


def every_step() -> list[Step]:
    """Return the steps of all stages."""
    return [step for steps in STAGES.values() for step in steps]


def write_state(out: Path, status: Mapping[str, int | str]) -> None:
    """Write how steps ended as `benchmarks.gpu.evidence` does."""
    steps = {name: {"status": each, "seconds": 1.0} for name, each in status.items()}
    (out / "state.json").write_text(json.dumps({"steps": steps, "left_out": []}))


def run(steps: Iterable[Step], out: Path) -> dict[str, int]:
    """Run steps one after another, as `benchmarks.gpu.evidence` does, and return how they ended."""
    # Triton's interpreter stands in for the GPU; one thread, for the machine may be busy.
    how = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    status = {}
    for step in steps:
        words = [word.replace("{out}", str(out)) for word in on_cpu(step)]
        command = [sys.executable, "-m", *words]
        with (out / f"{step.name}.log").open("wb") as log:
            log.write((" ".join(command) + "\n").encode())
            log.flush()
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **how}, stdout=log, stderr=log, check=False
            )
        status[step.name] = done.returncode
        write_state(out, status)
    return status
