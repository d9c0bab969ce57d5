"""CPU operators as NVTX ranges, for nsys, which knows nothing of them."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import nvtx
import torch
from torch._ops import OpOverload
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.knowledge.operands import LIST, OF_TORCH
from analysis.knowledge.operator_costs import has_formula
from profiling import names

LONGEST_NAME: Final = 8192
"""Of a range, in characters: an operator with longer shapes has its name alone."""

CODE_OF_DTYPE: Final = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.complex64: 9,
    torch.complex128: 10,
    torch.bool: 11,
    torch.bfloat16: 15,
    torch.float8_e5m2: 23,
    torch.float8_e4m3fn: 24,
}
"""PyTorch's own numbers of its types, as its profiler records an argument that is one."""


NO_DISPATCH: Final = torch.Tensor.__torch_dispatch__
"""What tensors have that leave operators on them to PyTorch, lazy parameters among them."""


class NvtxOperators(TorchDispatchMode):
    """Push a range in the domain ``aten`` around every operator dispatched, backward too.

    It costs some 7 microseconds an operator, so it is for runs without a GPU, where operators
    take the kernels' place. Annotations are made once per name: NVTX keeps every string.

    Args:
        shapes: whether the name tells what the operator was called with, if FLOPs follow from it.
    """

    supports_higher_order_operators = True

    def __init__(self, *, shapes: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._known: dict[str, nvtx.annotate] = {}
        self._shapes = shapes

    def __torch_dispatch__(
        self,
        func: Any,
        types: Collection[Any],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run one operator inside its range."""
        if not isinstance(func, OpOverload):
            # Control flow, or attention by a function of the user's: it has no schema, and what it
            # runs inside is not dispatched here.
            with self._range(func.name()):
                return func(*args, **(kwargs or {}))
        if FakeTensor in types:
            # It holds no numbers: only the shape of a result is asked for.
            return func(*args, **(kwargs or {}))
        if any(each.__torch_dispatch__ is not NO_DISPATCH for each in types):
            # Nested and distributed tensors are made of others: these are dispatched here next.
            return NotImplemented
        name = func._schema.name
        if self._shapes and torch.is_inference_mode_enabled():
            # Under inference_mode operators arrive that are made of others, as autograd else
            # takes them apart: `einsum`, `conv2d`. Of the others the FLOPs follow.
            with self:
                made = func.decompose(*args, **(kwargs or {}))
            if made is not NotImplemented:
                return made
        if self._shapes and has_formula(name):
            name = name_with_operands(name, func._schema.arguments, args, kwargs or {})
        with self._range(name):
            return func(*args, **(kwargs or {}))

    def _range(self, name: str) -> nvtx.annotate:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = nvtx.annotate(name, domain=names.OPERATOR_DOMAIN)
        return found


def name_with_operands(
    name: str, declared: Sequence[Any], args: Sequence[object], kwargs: Mapping[str, object]
) -> str:
    """Return an operator's name with the shapes, types and values of its arguments behind it.

    The sizes are spelled as ``emit_nvtx`` spells them; types and values as PyTorch's profiler does.
    Numbers with a fraction are left out: a learning rate would make names without end.

    Args:
        name: of the operator.
        declared: the arguments that its schema declares.
        args: those given by position.
        kwargs: those given by name.
    """
    given = [
        args[place] if place < len(args) else kwargs.get(each.name, each.default_value)
        for place, each in enumerate(declared)
    ]
    sizes = json.dumps([_shape(value) for value in given])
    kinds = json.dumps([_type(value) for value in given])
    values = json.dumps([_value(value) for value in given])
    whole = f"{name}, sizes = {sizes}, types = {kinds}, inputs = {values}"
    return whole if len(whole) <= LONGEST_NAME else name


def _is_tensors(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(each is None or isinstance(each, torch.Tensor) for each in value)
    )


def _shape(value: object) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [] if value.is_nested else list(value.shape)
    if isinstance(value, (list, tuple)) and _is_tensors(value):
        return [_shape(each) for each in value]
    return []


def _type(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return OF_TORCH.get(str(value.dtype).removeprefix("torch."), "")
    if _is_tensors(value):
        return LIST
    return "" if value is None else "Scalar"


def _value(value: object) -> str:
    if isinstance(value, torch.dtype):
        return str(CODE_OF_DTYPE.get(value, ""))
    if isinstance(value, (list, tuple)) and all(type(each) in (bool, int) for each in value):
        return str(list(value))
    return str(value) if type(value) in (bool, int) else ""
