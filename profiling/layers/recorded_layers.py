"""Inside the recorded process of layers: a language model's forward passes, timed and recorded.

Each step is ``step`` > ``forward`` > ``block`` (one a layer) > ``norm``, ``attention``, ``norm``,
``ffn``; in ``attention`` stand the projections, ``rope`` and ``attention_core``, where the model
shows them.
"""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from profiling.common.errors import LaunchError
from profiling.common.options import chosen
from profiling.layers.layer_parts import find_layers
from profiling.layers.timing_run import check_positions, one_forward
from profiling.layers.workload import LayersSettings
from profiling.models.input_shapes import SMALLER, InputShape
from profiling.models.pretrained import load_model
from profiling.models.request import ModelRequest
from profiling.recorders.recorded_steps import RecordedProcess
from profiling.spans import annotate
from profiling.spans.attention_wraps import spans_only, watching_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def run(settings: LayersSettings, process: RecordedProcess) -> dict[str, Any]:
    """Time the passes with nothing recording, then record warm-up and as many.

    Returns:
        Step times in nanoseconds, recorded and not, how many layers there are, and what was pushed.

    Raises:
        UsageError: something asked for does not exist.
        LaunchError: the model cannot be had, has other layers, or does not fit.
    """
    shape = InputShape(settings.batch, settings.context)
    model = _loaded(settings, shape)
    layers = find_layers(model)
    with ExitStack() as while_recording:

        def show_layers() -> None:
            annotate(model)
            attentions = (layer.attention for layer in layers)
            while_recording.enter_context(watching_attention(attentions, spans_only))

        found = process.steps(
            one_forward(model, shape, settings.device, settings.seed),
            warmup=settings.warmup,
            count=settings.steps,
            before_recording=show_layers,
        )
    return {**found, "layers": len(layers)}


def _loaded(settings: LayersSettings, shape: InputShape) -> "PreTrainedModel":
    """Return the model, where a pass of this shape is possible and fits."""
    model = load_model(chosen(ModelRequest, settings, name=settings.model_name))
    find_layers(model)  # a model without any is refused for that, whatever its shape
    check_positions(model, shape)
    try:
        shape.check_memory(model.config, model.dtype, settings.device)
    except MemoryError as error:
        raise LaunchError(f"{shape}: {error}; {SMALLER}") from None
    return model
