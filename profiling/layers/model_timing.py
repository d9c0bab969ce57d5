"""Time a Qwen3-like model layer by layer: attention, MLP, and the parts of attention.

    python -m profiling.model_timing --model-name Qwen/Qwen3-0.6B
    python -m profiling.model_timing --random-init qwen3-0.6b --device cpu
    python -m profiling.model_timing --configs benchmark_configs.json --append

Every measured run is a record in timing_results/timing_records.json, on disk as soon as it is done;
python -m analysis.layers reads them. Times of the host and of the GPU are measured apart; on a CPU
those of the GPU are null.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from analysis.layers import tables as layers
from analysis.show import cli as tables
from analysis.show.errors import one_line, reason
from profiling import names
from profiling.common import cli, result_file
from profiling.common.errors import LaunchError, UsageError
from profiling.common.machine import choose_device
from profiling.common.progress import StepsBar, steps_bar
from profiling.layers import timing_records
from profiling.layers.layer_timer import LayerTimer
from profiling.layers.timing_records import TimingRecords, run_record, unmeasured_parts
from profiling.models.input_shapes import InputShape, read_shapes
from profiling.models.pretrained import load_model
from profiling.models.request import ATTENTIONS, DTYPES, ModelRequest
from profiling.spans import annotate, is_recording, span

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODULE: Final = "profiling.model_timing"
DEFAULT_MODEL: Final = "Qwen/Qwen3-0.6B"
SMALLER: Final = "lower the batch or the length"


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    what = made.add_argument_group("what to time")
    what.add_argument(
        "--model-name",
        default=DEFAULT_MODEL,
        metavar="NAME",
        help="a folder, or a name on the model hub (default %(default)s)",
    )
    what.add_argument(
        "--random-init",
        metavar="SHAPE",
        help="random weights instead: qwen3-0.6b, qwen3-4b or a transformers config.json",
    )
    what.add_argument("--batch-size", type=cli.count, metavar="N", help="sequences (default 1)")
    what.add_argument("--input-len", type=cli.count, metavar="N", help="tokens each (default 128)")
    what.add_argument("--configs", type=Path, metavar="FILE", help="several of these two, as JSON")
    what.add_argument("--device", default="cuda", help="cpu, cuda or cuda:N (default %(default)s)")
    what.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="(default %(default)s)")
    what.add_argument(
        "--attention", choices=ATTENTIONS, default="sdpa", help="(default %(default)s)"
    )
    what.add_argument("--seed", type=cli.seed, default=0, metavar="N", help="(default 0)")
    how = made.add_argument_group("how often, and where it goes")
    how.add_argument("--num-runs", type=cli.count, default=3, metavar="N", help="(default 3)")
    how.add_argument(
        "--warmup-runs", type=cli.count_or_zero, default=1, metavar="N", help="(default 1)"
    )
    how.add_argument(
        "--output-dir", type=Path, default=Path("timing_results"), help="(default %(default)s)"
    )
    how.add_argument("--output-file", default="timing_records.json", help="(default %(default)s)")
    how.add_argument("--append", action="store_true", help="add to the records that are there")
    how.add_argument("--overwrite", action="store_true", help="replace the records that are there")
    return made


def shapes(arguments: argparse.Namespace) -> list[InputShape]:
    """Return the input shapes to time.

    Raises:
        UsageError: a shape was given twice over.
        LaunchError: the file holds none.
    """
    if arguments.configs is None:
        return [InputShape(arguments.batch_size or 1, arguments.input_len or 128)]
    if arguments.batch_size or arguments.input_len:
        raise UsageError("--configs gives the shapes; leave out --batch-size and --input-len")
    return read_shapes(arguments.configs)


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
        self, model: "PreTrainedModel", device: str, records: TimingRecords, timer: LayerTimer
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


def check_positions(model: "PreTrainedModel", shape: InputShape) -> None:
    """Refuse a length the model is not made for.

    Raises:
        LaunchError: the model has fewer positions.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or shape.input_len
    if shape.input_len > positions:
        raise LaunchError(f"{shape}: the model has {positions} positions; lower the length")


def one_forward(
    model: "PreTrainedModel", shape: InputShape, device: str, seed: int
) -> Callable[[], None]:
    """Return a call that runs the model over a batch of random tokens, the same ones each time."""
    generator = torch.Generator().manual_seed(seed)
    size = (shape.batch_size, shape.input_len)
    tokens = torch.randint(0, model.config.vocab_size, size, generator=generator).to(device)

    def forward() -> None:
        with torch.inference_mode():
            model(input_ids=tokens, use_cache=False)

    return forward


def time_all(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Time every shape that the command line asks for; return the exit status.

    Raises:
        UsageError, LaunchError: it cannot be done.
    """
    if arguments.append and arguments.overwrite:
        raise UsageError("--append keeps the records and --overwrite replaces them; give one")
    if Path(arguments.output_file).name != arguments.output_file:
        raise UsageError("--output-file is a name; its folder is --output-dir")
    wanted = shapes(arguments)
    device = choose_device(arguments.device)
    with _folder(arguments.output_dir):
        path = arguments.output_dir / arguments.output_file
        records = TimingRecords(path, append=arguments.append, overwrite=arguments.overwrite)
        request = ModelRequest(
            name=arguments.model_name,
            random_init=arguments.random_init,
            device=device,
            dtype=arguments.dtype,
            attention=arguments.attention,
            seed=arguments.seed,
        )
        command = cli.command_line(MODULE, argv)
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
    model: "PreTrainedModel",
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


@cli.memory_advice(SMALLER)
def main(argv: Sequence[str] | None = None) -> int:
    """Time, print the summary, and return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    return time_all(arguments, given)
