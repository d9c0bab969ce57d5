"""Steps of our own model: warm-up and measured ones recorded, then as many without a recorder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model import TransformerLM
from model.flops import adamw
from model.transformer import next_token_loss
from profiling import fit, names
from profiling.capture import capture
from profiling.progress import steps_bar
from profiling.settings import Settings
from profiling.spans import recording, span
from profiling.workload import told


class Workload:
    """The model, its optimizer and a random batch, ready to step."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        device, dtype = torch.device(settings.device), getattr(torch, settings.dtype)
        with device:
            self.model: nn.Module = TransformerLM(settings.config).to(dtype)
            shape = (settings.batch, settings.context + 1)
            tokens = torch.randint(0, settings.config.vocab_size, shape)
        self.inputs, self.targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        self.optimizer = None
        if settings.mode == "train":
            self.optimizer = torch.optim.AdamW(self.model.parameters())

    def step(self) -> None:
        """Do what the mode says once: forward, then backward, then the optimizer."""
        if self.settings.mode == "forward":
            with span(names.FORWARD), torch.no_grad():
                self.model(self.inputs)
            return
        with span(names.FORWARD):
            loss = next_token_loss(self.model(self.inputs), self.targets)
        with span(names.BACKWARD):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.optimizer is None:
            self.model.zero_grad(set_to_none=True)
        else:
            self._update(self.optimizer)

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        weight: Tensor = next(self.model.parameters())
        count = self.settings.config.parameter_count
        with span(names.OPTIMIZER, cost=lambda: adamw(count, weight.itemsize)):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def timed_ns(step: Callable[[], None], device: str) -> int:
    """Return how long one step takes, from an idle device to an idle device."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize(device)
    start = time.perf_counter_ns()
    step()
    if on_gpu:
        torch.cuda.synchronize(device)
    return time.perf_counter_ns() - start


def run(settings_file: Path, recorder: str, folder: Path) -> dict[str, Any]:
    """Record warm-up and steps, then time as many steps with nothing recording.

    Returns:
        Step times in nanoseconds, and what was pushed.

    Raises:
        LaunchError: the GPU has too little memory free.
    """
    settings = Settings.load(settings_file)
    if settings.device.startswith("cuda"):
        fit.check(settings)  # asking takes memory on the GPU, so this process asks
    workload = Workload(settings)

    def named(name: str) -> Callable[[], None]:
        def step() -> None:
            with span(name):
                workload.step()

        return step

    warmup, measured = settings.warmup, settings.steps
    with steps_bar(warmup + 2 * measured) as bar:

        def repeat(count: int, step: Callable[[], None], what: str) -> list[int]:
            return [bar.done(what, timed_ns(step, settings.device)) for _ in range(count)]

        with capture(recorder, settings.device, folder) as ranges:
            repeat(warmup, named(names.WARMUP), "warm-up")
            profiled = repeat(measured, named(names.STEP), "recorded")
        with recording(None):  # under nsys spans are on by themselves
            unprofiled = repeat(measured, workload.step, "unrecorded")
    return {"step_ns": profiled, "unprofiled_step_ns": unprofiled, **told(ranges)}
