"""Time a model in several shapes, run by run: what `profiling.model_timing` measures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from analysis.layers import tables as layers
from analysis.show import cli as tables
from analysis.show.errors import one_line, reason
from profiling import names
from profiling.common import cli, result_file
from profiling.common.errors import LaunchError
from profiling.common.progress import StepsBar, steps_bar
from profiling.layers import timing_records
from profiling.layers.layer_timer import LayerTimer
from profiling.layers.timing_records import TimingRecords, run_record, unmeasured_parts
from profiling.models.input_shapes import SMALLER, InputShape
from profiling.models.pretrained import load_model
from profiling.models.request import ModelRequest
from profiling.spans import annotate, is_recording, span

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder of the results; if nothing came into it, it goes again."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(
            f"{path}: cannot be made ({reason(error)}); name another folder"
        ) from None
    try:
        yield
    finally:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()


class ModelTiming:
    """The timing of one model in several shapes.

    Args:
        model: in eval mode, on its device.
        device: it is on.
        records: where its runs go.
        timer: has its hooks in place.
    """

    def __init__(
        self, model: PreTrainedModel, device: str, records: TimingRecords, timer: LayerTimer
    ) -> None:
        self._model = model
        self._device = device
        self._records = records
        self._timer = timer
        self._told = False

    def run(self, shape: InputShape, warmup: int, runs: int, seed: int, bar: StepsBar) -> bool:
        """Time one shape; return whether there was memory enough for it."""
        try:
            self._run(shape, warmup, runs, seed, bar)
        except (MemoryError, RuntimeError) as error:
            if not cli.is_out_of_memory(error):
                raise
            cli.failed(f"{shape}: {_reason(error)}; {SMALLER}")
        else:
            return True
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()  # what the error's frames held is free by now
        return False

    def _run(self, shape: InputShape, warmup: int, runs: int, seed: int, bar: StepsBar) -> None:
        shape.check_memory(self._model.config, self._model.dtype, self._device)
        forward = one_forward(self._model, shape, self._device, seed)
        for _ in range(warmup):
            with span(names.WARMUP):
                bar.done(f"{shape}: warm-up", self._timer.time(forward).total_ns)
        for _ in range(runs):
            with span(names.STEP):
                run = self._timer.time(forward)
            bar.done(str(shape), run.total_ns)
            if not self._told and (hidden := unmeasured_parts(run)):
                tables.print_notes(
                    f"this model does not show {', '.join(hidden)}: null in the records"
                )
                self._told = True
            self._records.add(run_record(run, shape.batch_size, shape.input_len))


def _reason(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return said[0] if said and "out of memory" in said[0].lower() else "out of memory"


def check_positions(model: PreTrainedModel, shape: InputShape) -> None:
    """Refuse a length the model is not made for.

    Raises:
        LaunchError: the model has fewer positions.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or shape.input_len
    if shape.input_len > positions:
        raise LaunchError(f"{shape}: the model has {positions} positions; lower the length")


def one_forward(
    model: PreTrainedModel, shape: InputShape, device: str, seed: int
) -> Callable[[], None]:
    """Return a call that runs the model over a batch of random tokens, the same ones each time."""
    generator = torch.Generator().manual_seed(seed)
    size = (shape.batch_size, shape.input_len)
    tokens = torch.randint(0, model.config.vocab_size, size, generator=generator).to(device)

    def forward() -> None:
        with torch.inference_mode():
            model(input_ids=tokens, use_cache=False)

    return forward


def time_all(
    arguments: argparse.Namespace,
    request: ModelRequest,
    wanted: Sequence[InputShape],
    command: str,
) -> int:
    """Time a model in every shape that is wanted; return the exit status.

    Args:
        arguments: how often, and where the records go.
        request: the model.
        wanted: the shapes.
        command: as it was typed.

    Raises:
        UsageError, LaunchError: it cannot be done.
    """
    device = request.device
    with _folder(arguments.output_dir):
        path = arguments.output_dir / arguments.output_file
        records = TimingRecords(path, append=arguments.append, overwrite=arguments.overwrite)
        records.begin(
            {
                **result_file.header(timing_records.KIND, command, device),
                "model": request.label,
                "dtype": request.dtype,
                "device": device,
                "attention": request.attention,
                "warmup_runs": arguments.warmup_runs,
            }
        )
        model = load_model(request)
        for shape in wanted:
            check_positions(model, shape)
        try:
            done = _time_shapes(arguments, model, device, records, wanted)
        finally:
            _summarize(path, records)
    return 0 if done else 1


def _time_shapes(
    arguments: argparse.Namespace,
    model: PreTrainedModel,
    device: str,
    records: TimingRecords,
    wanted: Sequence[InputShape],
) -> bool:
    warmup, runs = arguments.warmup_runs, arguments.num_runs
    if is_recording():
        annotate(model)
    timer = LayerTimer(model, device)
    with timer, steps_bar(len(wanted) * (warmup + runs)) as bar:
        timing = ModelTiming(model, device, records, timer)
        done = [timing.run(shape, warmup, runs, arguments.seed, bar) for shape in wanted]
    return all(done)


def _summarize(path: Path, records: TimingRecords) -> None:
    """Say what was measured, however the command ends."""
    if not records.added:
        return
    runs = records.added
    tables.write_table(layers.answer("configuration", {"": runs}), "table", sys.stdout)
    sys.stdout.flush()
    print(f"{len(runs)} records are in {one_line(str(path))}", file=sys.stderr)
