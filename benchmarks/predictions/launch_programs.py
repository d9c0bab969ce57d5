"""Predict small programs from one another, and hold that against the time that each takes.

    python -m benchmarks.predictions.launch_programs --device cuda

A program launches one kernel over and over: short or long, on one stream or by turns on two, the
host waiting after each, after every hundred, or never. Each is timed unrecorded and recorded by the
embedded recorder. From each recording others are predicted: the kernel as long as in the other's,
the waits left out (what is not waited for cannot be made to wait). On a CPU, which has neither
streams nor waits, the lengths alone are changed. Goals are in benchmarks/gpu/runs.toml.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch

from analysis import Report
from analysis.measures.predictions.change import Change
from analysis.measures.predictions.device_predictions import DevicePredictions
from analysis.measures.predictions.predicting import predictions
from benchmarks.conditions import RESULTS, conditions
from benchmarks.cost import command
from benchmarks.text import writable
from profiling import names
from profiling.common import cli
from profiling.common.machine import choose_device, device_name
from profiling.recorders.recorded_steps import timed_ns
from profiling.recorders.torch_recorder import EmbeddedRecorder
from profiling.spans import recording, span

MODULE: Final = "benchmarks.predictions.launch_programs"
LAUNCHES: Final = 400
"""Of a step: fewer than a queue holds, so that a host that never waits runs ahead."""

WARMUP: Final = 3
STEPS: Final = 7
NUMBERS: Final = (1 << 14, 1 << 24)
"""How many a kernel multiplies: microseconds of launch latency, and far more than that."""

NEVER: Final = 0
WAITS: Final = (1, 100, NEVER)
CATEGORY: Final = "elementwise"
WAITING: Final = "cudaStreamSynchronize"
HEADER: Final = ("of", "predicted from", "predicted", "took", "predicted / took")


@dataclass(frozen=True)
class Program:
    """A kernel that is launched over and over.

    Attributes:
        numbers: how many it multiplies.
        wait_every: after so many launches the host waits for them; `NEVER` before the end.
        streams: on which it is launched by turns.
    """

    numbers: int
    wait_every: int
    streams: int

    @property
    def label(self) -> str:
        """The program in a few words."""
        waits = f"wait every {self.wait_every}" if self.wait_every else "no wait"
        return f"{self.numbers:,} numbers, {waits}, streams {self.streams}"

    def change_to(self, other: Program, factor: float) -> Change | None:
        """Return the change that makes another program of this one, or None where none does.

        Args:
            other: the program.
            factor: of the time of its kernel to that of this one's.
        """
        kept = other.wait_every == self.wait_every
        if other.streams != self.streams or not (kept or other.wait_every == NEVER):
            return None
        scale = {} if other.numbers == self.numbers else {CATEGORY: factor}
        return Change(scale, no_wait=() if kept else (WAITING,))


@dataclass(frozen=True)
class Ran:
    """A program that ran.

    Attributes:
        program: which.
        step_ns: each step, unrecorded.
        report: of its steps, recorded.
        kernel_ns: the mean time of its kernel, as recorded.
    """

    program: Program
    step_ns: list[int]
    report: Path
    kernel_ns: float


class Step:
    """One step of a program: its launches, with the waits between them."""

    def __init__(self, program: Program, device: str) -> None:
        self.program, self.on_gpu = program, device.startswith("cuda")
        count = range(program.streams)
        make: Any = torch.cuda.Stream  # torch leaves it untyped
        self.streams = [make(device) for _ in count] if self.on_gpu else []
        self.numbers = [torch.ones(program.numbers, device=device) for _ in count]

    def __call__(self) -> None:
        """Launch them all."""
        every = self.program.wait_every
        for launch in range(1, LAUNCHES + 1):
            place = launch % self.program.streams
            with self._on(place):
                self.numbers[place].mul_(1.0)
            if every and launch % every == 0:
                for stream in self.streams:
                    stream.synchronize()

    def _on(self, place: int) -> AbstractContextManager[object]:
        return torch.cuda.stream(self.streams[place]) if self.on_gpu else nullcontext()


def ran(program: Program, device: str, folder: Path) -> Ran:
    """Time a program unrecorded, then record it."""
    step = Step(program, device)
    folder.mkdir()

    def stepped(name: str) -> None:
        with span(name):
            step()

    with recording(None):
        for _ in range(WARMUP):
            timed_ns(step, device)
        step_ns = [timed_ns(step, device) for _ in range(STEPS)]
    with EmbeddedRecorder.inside(device, folder) as ranges:
        for name, count in ((names.WARMUP, WARMUP), (names.STEP, STEPS)):
            for _ in range(count):
                timed_ns(lambda name=name: stepped(name), device)  # type: ignore[misc]
    report = EmbeddedRecorder().report(folder, ranges.pushed())
    with Report(report) as known:
        rows = known.kernels(by="category")
    mine = rows[rows["name"] == CATEGORY]
    return Ran(program, step_ns, report, float(mine["total_ns"].sum() / mine["calls"].sum()))


def predicted(one: Ran, others: Sequence[Ran]) -> Iterator[dict[str, Any]]:
    """Return what the recording of a program says of others: a row each, or why it says nothing."""
    with Report(one.report) as report:
        known = predictions(report)
        host = 1.0
        if not known.distrust and isinstance(known, DevicePredictions):
            host = known.host_factor(median(one.step_ns))
        for other in others:
            change = one.program.change_to(other.program, other.kernel_ns / one.kernel_ns)
            if change is None:
                continue
            row: dict[str, Any] = {"of": asdict(other.program), "from": asdict(one.program)}
            row["took_ns"] = took_ns = median(other.step_ns)
            if known.distrust:
                yield row | {"refused": known.distrust}
                continue
            after = known.predict(known.edits(change), host)
            told_ns = float(np.median(after.step_ns))
            if known.on_cpu:  # of what was recorded: its ratio is held against
                told_ns *= median(one.step_ns) / float(np.median(known.recorded.step_ns))
            error = abs(told_ns / took_ns - 1)
            yield row | {"change": change.label, "predicted_ns": told_ns, "error": error}


def cells(row: dict[str, Any]) -> list[str]:
    """Return the line of a prediction."""
    told = row.get("predicted_ns")
    return [
        *(Program(**row[key]).label for key in ("of", "from")),
        row["refused"] if told is None else f"{told / 1e6:.3f} ms",
        f"{row['took_ns'] / 1e6:.3f} ms",
        "" if told is None else f"{told / row['took_ns']:.3f}",
    ]


def run(argv: Sequence[str] | None) -> int:
    """Run all programs, predict them from one another, print the table and keep the data."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("--device", default=None, help=cli.DEVICE)
    default = RESULTS / "launch_programs.json"
    made.add_argument("--json", type=Path, default=default, metavar="FILE", help="the data")
    args = made.parse_args(argv)
    device = choose_device(args.device)
    writable(args.json)
    on_gpu = device.startswith("cuda")
    shapes = product(NUMBERS, WAITS if on_gpu else (NEVER,), (1, 2) if on_gpu else (1,))
    programs = [Program(*shape) for shape in shapes]
    known = conditions("torch", "numpy") | {"device": device_name(device)}
    with tempfile.TemporaryDirectory(prefix="launch-programs-") as folder:
        found = [ran(each, device, Path(folder) / str(n)) for n, each in enumerate(programs)]
        rows = [row for one in found for row in predicted(one, [x for x in found if x is not one])]
    errors = [row["error"] for row in rows if "error" in row]
    data = {"errors": errors, "refused": len(rows) - len(errors), "predictions": rows}
    command.show(args.json, known, HEADER, [cells(row) for row in rows], data)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
