"""One forward pass of a language model as a workload for a recorder, all its layers under spans.

    run(settings_file, recorder, folder)         as `profiling.training.model_steps.run` is

Each step is ``step`` > ``forward`` > ``block`` (one a layer) > ``norm``, ``attention``, ``norm``,
``ffn``; in ``attention`` stand the projections, ``rope`` and ``attention_core``, where the model
shows them.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from profiling import names
from profiling.common.errors import LaunchError
from profiling.common.progress import steps_bar
from profiling.common.settings import runs
from profiling.layers.layer_parts import find_layers
from profiling.layers.model_timing import DEFAULT_MODEL
from profiling.layers.timing_run import check_positions, one_forward
from profiling.models.input_shapes import SMALLER, InputShape
from profiling.models.pretrained import load_model
from profiling.models.request import ModelRequest, model_label
from profiling.recorders.capture import capture, range_facts
from profiling.spans import annotate, recording, span
from profiling.spans.attention_wraps import spans_only, watching_attention
from profiling.training.model_steps import timed_ns

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersSettings:
    """A run of forward passes to record.

    Attributes:
        model_name: a folder or a name on the hub; not looked at where ``random_init`` is given.
        random_init: as `profiling.models.request.ModelRequest` has it.
        steps: forward passes that count, recorded; as many are timed before, unrecorded.
        warmup: passes before them, recorded under a name of their own.
    """

    model_name: str = DEFAULT_MODEL
    random_init: str | None = None
    batch: int = 1
    context: int = 128
    dtype: str = "bfloat16"
    device: str = "cuda"
    attention: str = "sdpa"
    steps: int = 3
    warmup: int = 1
    seed: int = 0

    def save(self, path: Path) -> None:
        """Write the settings for the process that runs them."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read settings that `save` wrote."""
        return cls(**json.loads(path.read_text()))

    def describe(self) -> str:
        """Return every setting in one line, defaults too."""
        return (
            f"layers of {model_label(self.model_name, self.random_init)}, batch {self.batch}, "
            f"context {self.context}, {self.dtype} on {self.device}, {self.attention} attention, "
            f"{runs(self.warmup, self.steps)}"
        )

    def facts(self) -> dict[str, str]:
        """Return what a report must tell of the run."""
        return {
            "workload": "layers",
            "model": model_label(self.model_name, self.random_init),
            "mode": "forward",
            "batch": str(self.batch),
            "context": str(self.context),
            "dtype": self.dtype,
            "attention": self.attention,
            "steps": str(self.steps),
            "warmup": str(self.warmup),
            "seed": str(self.seed),
        }


def run(settings_file: Path, recorder: str, folder: Path) -> dict[str, Any]:
    """Time the steps with nothing recording, then record warm-up and as many steps.

    Args:
        settings_file: `LayersSettings.save` wrote it.
        recorder: ``torch`` or ``nsys``.
        folder: of this run; the trace goes there.

    Returns:
        Step times in nanoseconds, recorded and not, how many layers there are, and what was pushed.

    Raises:
        UsageError: something asked for does not exist.
        LaunchError: the model cannot be had, has other layers, or does not fit.
    """
    settings = LayersSettings.load(settings_file)
    device, shape = settings.device, InputShape(settings.batch, settings.context)
    model = _loaded(settings, shape)
    layers = find_layers(model)
    forward = one_forward(model, shape, device, settings.seed)
    warmup, steps = settings.warmup, settings.steps
    with steps_bar(2 * (warmup + steps)) as bar:

        def repeat(count: int, step: Callable[[], None], what: str) -> list[int]:
            return [bar.done(what, timed_ns(step, device)) for _ in range(count)]

        with recording(None):  # under nsys spans are on by themselves
            repeat(warmup, forward, "warm-up")
            unprofiled = repeat(steps, forward, "unrecorded")
        with ExitStack() as inside:
            annotate(model)
            inside.enter_context(
                watching_attention((layer.attention for layer in layers), spans_only)
            )
            ranges = inside.enter_context(capture(recorder, device, folder))
            repeat(warmup, _within(names.WARMUP, forward), "warm-up")
            profiled = repeat(steps, _within(names.STEP, forward), "recorded")
    return {
        "step_ns": profiled,
        "unprofiled_step_ns": unprofiled,
        "layers": len(layers),
        **range_facts(ranges),
    }


def _loaded(settings: LayersSettings, shape: InputShape) -> "PreTrainedModel":
    """Return the model, where a pass of this shape is possible and fits."""
    model = load_model(
        ModelRequest(
            name=settings.model_name,
            random_init=settings.random_init,
            device=settings.device,
            dtype=settings.dtype,
            attention=settings.attention,
            seed=settings.seed,
        )
    )
    find_layers(model)  # a model without any is refused for that, whatever its shape
    check_positions(model, shape)
    try:
        shape.check_memory(model.config, model.dtype, settings.device)
    except MemoryError as error:
        raise LaunchError(f"{shape}: {error}; {SMALLER}") from None
    return model


def _within(name: str, step: Callable[[], None]) -> Callable[[], None]:
    def ranged() -> None:
        with span(name):
            step()

    return ranged
