"""What a span costs: off, into NVTX, into the PyTorch profiler; and the model with none recording.

    python -m benchmarks.cost.span_cost
    python -m benchmarks.cost.span_cost --seconds 60 --json spans.json
    python -m benchmarks.cost.span_cost --device cuda --sizes small --batch 4 --context 512

The model with spans that nobody records runs against the same model with its spans taken out of
the source, on the same weights, on one thread of the CPU or on a GPU with a synchronize after every
pass: forward only, no gradients. The two take turns; the ratio is of each turn's pair. `control` is
the model with spans against itself: what noise alone looks like. `expected` is what the spans of
one pass cost when timed by themselves, in a loop that keeps all of it in the processor's caches: a
lower bound. In brackets: of spans the least and the most of the repeats, of ratios the interval
that holds the true median in 95 % of cases. A missed goal is no failure: the exit status stays 0.
"""

from __future__ import annotations

import os
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Final

import nvtx
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.conditions import conditions
from benchmarks.cost import command
from benchmarks.cost.command import FEWEST, overhead
from benchmarks.cost.spanless import spanless
from benchmarks.samples import SideTimes, interleaved, median_and_range
from benchmarks.text import aligned
from model import SIZES, TransformerLM, flops
from profiling.common import cli
from profiling.common.cli import count
from profiling.common.machine import device_name
from profiling.common.timing import synchronize
from profiling.spans import recording, span
from profiling.spans.backends import NvtxSink, RangeSink, TorchSink

MODULE: Final = "benchmarks.cost.span_cost"
BATCH: Final = 1
CONTEXT: Final = 64
NAME: Final = "softmax"

AS_IN_MODEL: Final = "span off, as the model writes it"
BLOCK_S: Final = 0.005
"""How long one side runs before the other has its turn, at least one pass: what disturbs the
machine for longer then disturbs both."""

SPAN_REPEATS: Final = 20
SPAN_LOOPS: Final = 20_000
RECORDED_LOOPS: Final = 2_000
"""Fewer, as the profiler keeps every event."""


def bare_span() -> None:
    """Open and close a span."""
    with span(NAME):
        pass


def model_span(result: torch.Tensor) -> None:
    """Do what a part of the model does besides its work."""
    with span(NAME, cost=lambda: flops.softmax(64, 4)) as mark:
        mark.output(result)


def nothing() -> None:
    """Do what `bare_span` does besides its span."""


def new_annotation() -> None:
    """Open an NVTX range the way the package's README does."""
    with nvtx.annotate(NAME):
        pass


def torch_range() -> None:
    """Open a range of the PyTorch profiler by itself."""
    with record_function(NAME):
        pass


def repeated(work: Callable[[], None], repeats: int, loops: int) -> list[float]:
    """Return the nanoseconds of one call, less those of calling nothing, for each repeat."""
    found = []
    for _ in range(repeats):
        empty = timeit.timeit(nothing, number=loops)
        found.append((timeit.timeit(work, number=loops) - empty) / loops * 1e9)
    return found


def span_times(repeats: int) -> SideTimes:
    """Return the nanoseconds of one span of each kind, for each repeat."""
    part = partial(model_span, torch.zeros(1))
    kinds: list[tuple[str, Callable[[], None], RangeSink | None, bool]] = [
        ("span off", bare_span, None, False),
        (AS_IN_MODEL, part, None, False),
        ("span into NVTX, as the model writes it", part, NvtxSink(), False),
        ("nvtx.annotate alone, made anew", new_annotation, None, False),
        ("span into record_function, not profiled", part, TorchSink(), False),
        ("span into record_function, profiled", part, TorchSink(), True),
        ("record_function alone, profiled", torch_range, None, True),
    ]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes its own log to stderr
    found: SideTimes = {}
    for name, work, recorder, profiled in kinds:
        profiler = profile(activities=[ProfilerActivity.CPU]) if profiled else nullcontext()
        with recording(recorder), profiler:
            repeated(work, 1, RECORDED_LOOPS)
            found[name] = repeated(work, repeats, RECORDED_LOOPS if profiled else SPAN_LOOPS)
    return found


def seconds(module: nn.Module, tokens: torch.Tensor, passes: int) -> float:
    """Return how long one of ``passes`` forward passes takes, one after the other has ended."""
    device = str(tokens.device)
    began = time.perf_counter()
    for _ in range(passes):
        module(tokens)
        synchronize(device)
    return (time.perf_counter() - began) / passes


def spans_of(module: nn.Module, tokens: torch.Tensor) -> int:
    """Return how many spans one forward pass opens."""
    recorder = NvtxSink()
    with recording(recorder):
        module(tokens)
    return sum(recorder.pushed().values())


def model_times(
    size: str, budget_s: float, shape: tuple[int, int] = (BATCH, CONTEXT), device: str = "cpu"
) -> tuple[SideTimes, int]:
    """Return the seconds of a forward pass of each side in each turn, and the spans in one.

    Args:
        size: of the table of sizes.
        budget_s: for all turns together.
        shape: ``(batch, context)``.
        device: where it runs.
    """
    config = SIZES[size]
    with torch.device(device):
        twin = TransformerLM(config)
        tokens = torch.randint(0, config.vocab_size, shape)
        sides: dict[str, nn.Module] = {
            "with": twin,
            "without": spanless(twin, config),
            "with again": twin,
        }
    with torch.no_grad(), recording(None):
        passing = {name: partial(seconds, module, tokens) for name, module in sides.items()}
        found = interleaved(passing, budget_s, block_s=BLOCK_S, fewest=FEWEST)
        return found, spans_of(twin, tokens)


def span_table(found: SideTimes) -> str:
    """Return a line for each kind of span."""
    rows = []
    for name, times_ns in found.items():
        sample = median_and_range(times_ns)
        rows.append([name, f"{sample.middle:.0f}", f"{sample.low:.0f}", f"{sample.high:.0f}"])
    return aligned(["one span, ns", "median", "least", "most"], rows)


MODEL_HEADER: Final = (
    *("forward", "with spans off", "without spans", *command.COMPARED, "expected"),
)


def model_row(size: str, found: SideTimes, spans: int, span_ns: float) -> list[str]:
    """Return the line of a model: its times, the ratio, the goal, and what to hold it against."""
    ratio, control = overhead(found, "with", "without"), overhead(found, "with again", "with")
    expected = spans * span_ns / (median_and_range(found["without"]).middle * 1e9)
    compared = command.compared(found, ("with", "without"), ratio, control)
    return [size, *compared, f"{spans} spans, {expected:+.2%}"]


def run(argv: Sequence[str] | None) -> int:
    """Measure, print the tables, write the data; see the module's docstring."""
    parser = command.parser(MODULE, __doc__, "cpu")
    parser.add_argument("--threads", type=count, default=1, help="of torch (default: 1)")
    parser.add_argument("--batch", type=count, default=BATCH, help="(default: %(default)s)")
    parser.add_argument("--context", type=count, default=CONTEXT, help="(default: %(default)s)")
    args = command.read(parser, argv)
    torch.set_num_threads(args.threads)
    device, shape = args.device, (args.batch, args.context)
    known = conditions("torch", "nvtx") | {"device": device, "device_name": device_name(device)}
    known |= {"threads": torch.get_num_threads(), "batch": args.batch, "context": args.context}
    spans = span_times(SPAN_REPEATS)
    models = {size: model_times(size, args.seconds, shape, device) for size in args.sizes}
    off_ns = median_and_range(spans[AS_IN_MODEL]).middle
    rows = [model_row(size, *found, off_ns) for size, found in models.items()]
    data: dict[str, object] = {}
    for size, (times, opened) in models.items():
        ratio = overhead(times, "with", "without").middle
        data[size] = {"seconds": times, "spans": opened, "ratio": ratio}
    everything: dict[str, object] = {"span_ns": spans, "forward": data}
    command.show(args.json, known, MODEL_HEADER, rows, everything, span_table(spans))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return cli.run(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
