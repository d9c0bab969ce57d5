"""What runs in the recorded process: training steps of our model, or a script of yours.

    python -m profiling.workload FOLDER            settings.json in FOLDER says what
    python -m profiling.workload FOLDER -- ARGS    the script that plan.json names

Started by `profiling.launch`; it leaves in FOLDER what only this process knows: step times, the
ranges it pushed and their costs, or how it failed.
"""

import json
import runpy
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor, nn

from model import TransformerLM
from model.flops import adamw
from model.transformer import next_token_loss
from profiling import names
from profiling.capture import capture
from profiling.machine import facts
from profiling.progress import steps_bar
from profiling.recorders import Recorder
from profiling.settings import Settings
from profiling.spans import costs, recording, span

PLAN_NAME: Final = "plan.json"
SETTINGS_NAME: Final = "settings.json"
RESULT_NAME: Final = "result.json"
FAILURE_NAME: Final = "failure.json"


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
    start = time.perf_counter_ns()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter_ns() - start


def run_steps(settings: Settings, recorder: str, folder: Path) -> dict[str, Any]:
    """Record warm-up and steps, then time as many steps with nothing recording.

    Returns:
        Step times in nanoseconds, and what was pushed.
    """
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
    return {"step_ns": profiled, "unprofiled_step_ns": unprofiled, **_pushed(ranges)}


def run_script(script: Path, arguments: list[str], recorder: str, folder: Path) -> dict[str, Any]:
    """Run somebody's script as ``python SCRIPT ARGS`` would, recorded from start to end."""
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.parent)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with capture(recorder, device, folder) as ranges:
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:
            if stop.code not in {None, 0}:
                raise
    return _pushed(ranges)


def _pushed(ranges: Recorder) -> dict[str, Any]:
    return {"pushed": ranges.pushed(), "costs": costs()}


def _leave_failure(folder: Path) -> None:
    """Make an uncaught exception leave a note for the launcher instead of a traceback."""

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        frames = traceback.extract_tb(trace)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        text = str(error).strip().splitlines()
        told = {"kind": kind.__name__, "message": text[0] if text else "", "place": place}
        (folder / FAILURE_NAME).write_text(json.dumps(told))

    sys.excepthook = note


def main(argv: list[str]) -> int:
    """Run what the folder's plan says, and leave the result there."""
    folder, arguments = Path(argv[0]), argv[2:]
    _leave_failure(folder)
    plan = json.loads((folder / PLAN_NAME).read_text())
    if plan["script"]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        result = run_script(Path(plan["script"]), arguments, plan["recorder"], folder)
    else:
        settings = Settings.load(folder / SETTINGS_NAME)
        device = settings.device
        result = run_steps(settings, plan["recorder"], folder)
    (folder / RESULT_NAME).write_text(json.dumps({**result, "facts": facts(device)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
