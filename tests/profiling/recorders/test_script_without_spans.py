"""A training loop without spans: its inferred phases against the tree of torch's own events."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from analysis import Report, phases
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from profiling import names

STEPS, MICRO = 3, 2


def train() -> None:
    """Train as people do: micro-batches, a checkpoint, clipping, two optimizers."""
    torch.manual_seed(0)
    encoder = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    head = torch.nn.Linear(16, 4)
    optimizers = [torch.optim.AdamW(encoder.parameters()), torch.optim.SGD(head.parameters(), 0.1)]
    for _ in range(STEPS):
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=False)
        for _ in range(MICRO):
            inputs = torch.randn(2, 8, 16, requires_grad=True)
            head(checkpoint(encoder, inputs, use_reentrant=False)).pow(2).mean().backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()


def around(event: Any) -> Iterator[str]:
    """Yield the names of the events that an event lies in, from itself outwards."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def phase_of(event: Any) -> str:
    for name in around(event):
        if name.startswith("autograd::engine::evaluate_function"):
            return names.BACKWARD
        if name.startswith("Optimizer."):
            return names.OPTIMIZER
    return "rest"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """A trace, and how many aten:: operators of each phase torch's events have."""
    path = tmp_path_factory.mktemp("trace") / "train.pt.trace.json"
    train()  # what is done once
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train()
    profiler.export_chrome_trace(str(path))
    events: Any = profiler.events()
    return path, Counter(phase_of(each) for each in events if each.name.startswith("aten::"))


def test_its_phases_are_those_of_torchs_own_events(recorded: tuple[Path, Counter[str]]) -> None:
    path, wanted = recorded
    found: Counter[str] = Counter()
    with Report(path) as report:
        for row in phases.by_category(report, exclude=["none"]).rows():
            found[str(row["phase"])] += int(row["calls"])
    assert found[names.BACKWARD] == wanted[names.BACKWARD] > 0
    assert found[names.OPTIMIZER] == wanted[names.OPTIMIZER] > 0
    clipped = found["other"]
    assert found[names.FORWARD] == wanted["rest"] - clipped
    assert 0 < clipped < found[names.FORWARD]


def test_its_steps_are_those_of_the_loop(recorded: tuple[Path, Counter[str]]) -> None:
    path, _ = recorded
    with Report(path) as report:
        chosen = Selected.of(report, Selection(exclude=["none"]))
        ranges = chosen.attribution.ranges.take(chosen.ranges)
    assert chosen.steps is not None
    assert chosen.steps.count == STEPS
    counts = {name: int(ranges.called(name).sum()) for name in (names.FORWARD, names.BACKWARD)}
    assert counts == dict.fromkeys(counts, STEPS * MICRO)
