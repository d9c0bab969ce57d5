"""What number format each part of the model really runs in, found by watching a small one run.

Every operator that PyTorch dispatches below autocast is seen with the types of its operands, in the
range (`profiling.names`) that was open; gradients, parameters and the optimizer's state are looked
at after a step. Nothing is taken from a table of rules.

TF32 is no type: a float32 product counts as tf32 where torch was told to use it and a GPU runs it.
What a product adds up in is the library's affair, and not seen.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis.knowledge.number_formats import OF_DTYPE
from profiling import names
from profiling.common.settings import Settings, shape
from profiling.spans import recording
from profiling.spans.backends import SilentSink
from profiling.spans.backward import open_range_stack
from profiling.training.training import Training

BATCH: Final = 2
CONTEXT: Final = 16
SIZE: Final = "tiny"

BACKWARD_PRODUCTS: Final = "backward products"
PARAMETERS, GRADIENTS, STATE = "parameters", "gradients", "optimizer state"

PRODUCTS: Final = ("mm", "bmm", "addmm", "baddbmm", "linear")
CASTS: Final = ("_to_copy", "copy_", "clone", "detach", "empty_like", "zeros_like", "fill_")
"""What moves or converts numbers and computes none."""

MOST_STEPS: Final = 32
"""A gradient scaler begins too high and skips steps until it has come down."""


class FormatWatch(TorchDispatchMode):
    """Number formats of operands and results, by the innermost range that was open.

    Attributes:
        computed: formats of the operands of what computes, in order of appearance.
        result: format of what came last.
        backward: whether the backward pass is running.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.computed: dict[str, dict[str, None]] = {}
        self.result: dict[str, str] = {}
        self.backward = False

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run one operator, and note its types."""
        result = func(*args, **(kwargs or {}))
        operator = func.overloadpacket.__name__
        open_ranges = open_range_stack()
        where = open_ranges[-1].name if open_ranges and not self.backward else ""
        if self.backward and operator in PRODUCTS:
            where = BACKWARD_PRODUCTS
        if where:
            self._note(where, operator, func.is_view, args, result)
        return result

    def _note(self, where: str, operator: str, is_view: bool, args: object, result: object) -> None:
        if not is_view and operator not in CASTS:
            product = operator in PRODUCTS
            seen = dict.fromkeys(format_of(tensor, product) for tensor in floating(args))
            self.computed.setdefault(where, {}).update(seen)
        for tensor in floating(result):
            self.result[where] = format_of(tensor)

    def formats_in(self, where: str) -> str:
        """Return the formats seen in a range: of its operands, and of its result if that differs.

        What computes nothing, as a copy, has its result's alone.

        A dash stands where nothing was seen.
        """
        computed = "+".join(self.computed.get(where, {}))
        result = self.result.get(where, "")
        kept = {computed, "fp32"} if computed == "tf32" else {computed}
        return (computed if result in kept else f"{computed}→{result}") or "-"


def floating(values: object) -> Iterator[Tensor]:
    """Yield the tensors of real numbers among some values, however nested."""
    for value in tree_leaves(values):
        if isinstance(value, Tensor) and value.is_floating_point():
            yield value


def format_of(tensor: Tensor, product: bool = False) -> str:
    """Return a tensor's number format, as `analysis.knowledge.peaks` calls it.

    Args:
        tensor: of real numbers.
        product: whether it is multiplied as a matrix: then float32 may be tf32.
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    reduced = torch.get_float32_matmul_precision() != "highest"
    if product and reduced and dtype == "float32" and tensor.is_cuda:
        return "tf32"
    return OF_DTYPE.get(dtype, dtype)


def formats(tensors: Iterable[Tensor]) -> str:
    """Return the distinct formats of some tensors; a dash where there are none."""
    return "+".join(dict.fromkeys(format_of(tensor) for tensor in tensors)) or "-"


@contextmanager
def matmul_precision_kept() -> Iterator[None]:
    """Put back what torch was told of float32 products."""
    before = torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def components(settings: Settings) -> dict[str, str]:
    """Return the number formats by component, of a training step of a small model.

    Args:
        settings: precision, device and attention count; the model is `SIZE`, not compiled.

    Raises:
        LaunchError: the device cannot do it.
    """
    small = replace(
        settings,
        size=SIZE,
        config=shape(SIZE),
        batch=BATCH,
        context=CONTEXT,
        mode="train",
        compile=False,
        checkpoint=0,
    )
    with matmul_precision_kept():
        return _watched(Training(small))


def _watched(training: Training) -> dict[str, str]:
    assert training.optimizer is not None
    watch = FormatWatch()
    training.forward()  # what is made once, such as tables of cosines, is no part of a step
    training.clear()
    with recording(SilentSink()), watch:
        training.forward()
        watch.backward = True
        training.backward()
    parameters = list(training.model.parameters())
    gradients = formats(each.grad for each in parameters if each.grad is not None)
    state: list[Tensor] = []
    for _ in range(MOST_STEPS):
        training.update()
        # One number a parameter counts its steps: no state to speak of.
        kept = (value for each in training.optimizer.state.values() for value in each.values())
        state = [value for value in floating(list(kept)) if value.dim()]
        if state:
            break
        training.forward()
        training.backward()
    return {
        **{name: watch.formats_in(name) for name in names.LEAVES if name in watch.result},
        BACKWARD_PRODUCTS: watch.formats_in(BACKWARD_PRODUCTS),
        GRADIENTS: gradients,
        PARAMETERS: formats(parameters),
        STATE: formats(state),
    }


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """Return `components` of the settings in ``spec``, for `profiling.processes.isolated`."""
    return components(Settings.from_fields(spec["settings"]))
