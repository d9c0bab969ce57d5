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
from analysis.show.errors import first_line, one_line, reason
from analysis.show.render import plural
from analysis.show.sheet import say
from profiling import names
from profiling.common import cli, result_file
from profiling.common.errors import LaunchError
from profiling.common.progress import steps_bar
from profiling.layers import timing_records
from profiling.layers.layer_timer import LayerTimer
from profiling.layers.timing_records import TimingRecords, run_record, unmeasured_parts
from profiling.models.input_shapes import SMALLER, InputShape
from profiling.models.pretrained import load_model, positions_of
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


def check_positions(model: PreTrainedModel, shape: InputShape) -> None:
    """Refuse a length the model is not made for.

    Raises:
        LaunchError: the model has fewer positions.
    """
    positions = positions_of(model)
    if positions and shape.input_len > positions:
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
    """Time a model in every shape that is wanted, as the command says; return the exit status.

    Raises:
        UsageError, LaunchError: it cannot be done.
    """
    device = request.device
    with _folder(arguments.output_dir):
        path = arguments.output_dir / arguments.output_file
        about = {
            **result_file.header(timing_records.KIND, command, device),
            "model": request.label,
            "dtype": request.dtype,
            "device": device,
            "attention": request.attention,
            "warmup_runs": arguments.warmup_runs,
        }
        how = {"append": arguments.append, "overwrite": arguments.overwrite}
        records = TimingRecords(path, about, **how)
        model = load_model(request)
        for shape in wanted:
            check_positions(model, shape)
        if is_recording():
            annotate(model)
        steps = len(wanted) * (arguments.warmup_runs + arguments.num_runs)
        try:
            with LayerTimer(model, device) as timer, steps_bar(steps) as bar:

                def time_shape(shape: InputShape) -> None:
                    shape.check_memory(model.config, model.dtype, device)
                    forward = one_forward(model, shape, device, request.seed)
                    for _ in range(arguments.warmup_runs):
                        with span(names.WARMUP):
                            bar.done(f"{shape}: warm-up", timer.time(forward).total_ns)
                    for _ in range(arguments.num_runs):
                        with span(names.STEP):
                            run = timer.time(forward)
                        bar.done(str(shape), run.total_ns)
                        if not records.added and (hidden := ", ".join(unmeasured_parts(run))):
                            tables.print_notes(
                                f"this model does not show {hidden}: null in the records"
                            )
                        records.add(run_record(run, shape.batch_size, shape.input_len))

                fits = [_has_memory(time_shape, shape, device) for shape in wanted]
        finally:
            _summarize(path, records)
    return 0 if all(fits) else 1


def _has_memory(time_shape: Callable[[InputShape], None], shape: InputShape, device: str) -> bool:
    """Time one shape; return whether there was memory enough for it."""
    try:
        time_shape(shape)
    except (MemoryError, RuntimeError) as error:
        if not cli.is_out_of_memory(error):
            raise
        said = first_line(error)
        why = said if "out of memory" in said.lower() else "out of memory"
        cli.failed(f"{shape}: {why}; {SMALLER}")
    else:
        return True
    if device.startswith("cuda"):
        torch.cuda.empty_cache()  # what the error's frames held is free by now
    return False


def _summarize(path: Path, records: TimingRecords) -> None:
    """Say what was measured, however the command ends."""
    if runs := records.added:
        tables.write_table(layers.summary({"": runs}), "table", sys.stdout)
        sys.stdout.flush()
        say(f"{plural(len(runs), 'record is', 'records are')} in {one_line(str(path))}")
