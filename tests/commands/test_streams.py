"""What a measuring or recording command does where nobody can read what it prints."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.made.tools.shared import ROOT

SHAPE = "--size tiny --num-layers 1 --vocab-size 32 --device cpu"
STEPS = f"{SHAPE} --num-steps 1 --warmup-steps 0 --batch-size 1 --context-length 4"

MEASURING = {
    "profiling.benchmark": f"{STEPS} --json out.json",
    "profiling.precision": f"{STEPS} --precisions float32 --json out.json",
    "profiling.attention_benchmark": "--implementations eager --device cpu --widths 16 "
    "--lengths 16 --steps 1 --warmup 0 --json out.json",
    "profiling.sweep": "--sizes tiny --contexts 4 --batches 1 --warmups 0 --num-steps 1 "
    "--device cpu --modes forward --results out.json",
    "profiling.model_timing": "--random-init tiny --device cpu --input-len 4 --num-runs 1 "
    "--output-dir . --output-file out.json",
    "profiling.generation": "batch --random-init tiny --device cpu --projector-hidden 8 "
    "--max-new-tokens 1 --output out.json",
    "profiling.launch": f"{SHAPE} --batch 1 --context 4 --steps 1 --warmup 0 --recorder torch "
    "--name out --reports .",
}
"""By the module of a command, its arguments; each leaves a file called out."""

CLOSED, FULL, GONE = "closed", "full", "a pipe that nobody reads"


@contextmanager
def unreadable(how: str) -> Iterator[int | None]:
    """Yield a stdout to which nothing can be written, None for one that is closed."""
    if how == CLOSED:
        yield None
    elif how == FULL:
        with open("/dev/full", "w") as stream:
            yield stream.fileno()
    else:
        read, write = os.pipe()
        os.close(read)
        yield write
        os.close(write)


def run_into(how: str, module: str, folder: Path) -> tuple[int, str]:
    """Return the exit status and stderr of a command whose stdout takes nothing."""
    with unreadable(how) as stdout:
        done = subprocess.run(
            [sys.executable, "-m", module, *MEASURING[module].split()],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=(lambda: os.close(1)) if stdout is None else None,
        )
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "how"), list(zip(MEASURING, itertools.cycle([CLOSED, GONE, FULL]), strict=False))
)
def test_what_was_measured_is_kept_although_it_cannot_be_printed(
    how: str, module: str, tmp_path: Path
) -> None:
    status, said = run_into(how, module, tmp_path)
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if how == GONE:
        assert (status, errors) == (0, [])
    else:
        assert (status, len(errors)) == (1, 1)
        assert errors[0].startswith("error: output: cannot be written (")
    kept = [path for path in tmp_path.iterdir() if path.stem == "out"]
    # A benchmark says first what it is about to do, and does nothing where that cannot be said.
    assert kept or module == "profiling.benchmark"
    assert all(path.stat().st_size > 100 for path in kept)
