"""What an operator was called with: the shapes, types and values of its arguments, as recorded.

The PyTorch profiler writes ``Input Dims``, ``Input type`` and ``Concrete Inputs``, an entry for an
argument; ``torch.autograd.profiler.emit_nvtx`` writes sizes alone, those of lists of tensors one
after another. What is not a tensor has the shape ``[]``, as a tensor of no dimension has.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Final

Shape = tuple[int, ...]
Argument = Shape | tuple[Shape, ...]

OF_TYPE: Final = {
    "float": (4, "fp32"),
    "double": (8, "fp64"),
    "c10::BFloat16": (2, "bf16"),
    "c10::Half": (2, "fp16"),
    "c10::Float8_e4m3fn": (1, "fp8"),
    "c10::Float8_e5m2": (1, "fp8"),
    "c10::Float8_e4m3fnuz": (1, "fp8"),
    "c10::Float8_e5m2fnuz": (1, "fp8"),
    "c10::Float8_e8m0fnu": (1, "fp8"),
    "c10::Float4_e2m1fn_x2": (1, "fp4"),
    "c10::complex<c10::Half>": (4, "fp16"),
    "c10::complex<float>": (8, "fp32"),
    "c10::complex<double>": (16, "fp64"),
    "long int": (8, ""),
    "long": (8, ""),
    "long unsigned int": (8, ""),
    "unsigned long": (8, ""),
    "int": (4, ""),
    "unsigned int": (4, ""),
    "short": (2, ""),
    "short int": (2, ""),
    "short unsigned int": (2, ""),
    "unsigned short": (2, ""),
    "signed char": (1, "int8"),
    "unsigned char": (1, "int8"),
    "char": (1, "int8"),
    "bool": (1, ""),
    "c10::qint8": (1, "int8"),
    "c10::quint8": (1, "int8"),
    "c10::qint32": (4, ""),
}
"""Bytes of an element and the number format, by what PyTorch's profiler calls a tensor's type."""

OF_TORCH: Final = {
    "float32": "float",
    "float64": "double",
    "bfloat16": "c10::BFloat16",
    "float16": "c10::Half",
    "float8_e4m3fn": "c10::Float8_e4m3fn",
    "float8_e5m2": "c10::Float8_e5m2",
    "complex64": "c10::complex<float>",
    "complex128": "c10::complex<double>",
    "float8_e8m0fnu": "c10::Float8_e8m0fnu",
    "complex32": "c10::complex<c10::Half>",
    "int64": "long int",
    "uint64": "long unsigned int",
    "int32": "int",
    "uint32": "unsigned int",
    "int16": "short",
    "uint16": "short unsigned int",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
}
"""The profiler's names of PyTorch's types."""

SIZE_OF_CODE: Final = {
    0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 8: 4, 9: 8, 10: 16, 11: 1, 12: 1, 13: 1, 14: 4,
    15: 2, 23: 1, 24: 1, 25: 1, 26: 1, 27: 2, 28: 4, 29: 8, 44: 1, 45: 1
}  # fmt: skip
"""Bytes of an element by the number of a type, which is what a dtype argument is recorded as."""

SIZE_OF_FORMAT: Final = {
    "fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1
}  # fmt: skip

LIST: Final = "TensorList"
MOST_DIMENSIONS: Final = 64
MOST_SIZE: Final = 1 << 48
"""Of one dimension: a greater number is no size, and a product of such no number of FLOPs."""

TIMES: Final = "×"
MOST_SHOWN: Final = 4
"""Shapes that the text on a call shows; of further ones it says how many they are."""


@dataclass(frozen=True)
class Tensor:
    """A tensor: its shape, and the bytes of an element, None where the type was not recorded."""

    shape: Shape
    itemsize: int | None

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def bytes(self) -> int | None:
        """How many bytes it holds."""
        return None if self.itemsize is None else self.elements * self.itemsize


@dataclass(frozen=True)
class Operands:
    """The arguments of one call, by position.

    Attributes:
        shapes: of each argument: of a tensor its shape, of a list of tensors theirs.
        types: of each argument as PyTorch's profiler calls it; empty where none were recorded.
        inputs: the values of arguments that are no tensors, as text; empty where not recorded.
        itemsize: bytes of an element where the type was not recorded; None if that is not known.
    """

    shapes: tuple[Argument, ...]
    types: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    itemsize: int | None = None

    def shape(self, place: int) -> Shape:
        """Return the shape of one argument, () where it is no tensor."""
        found = self.shapes[place] if place < len(self.shapes) else ()
        return tuple(size for size in found if isinstance(size, int))

    def size_at(self, place: int) -> int | None:
        """Return the bytes of an element of one argument, None where its type is not known."""
        known = self.types[place] if place < len(self.types) else ""
        return OF_TYPE[known][0] if known in OF_TYPE else self.itemsize

    def is_tensor(self, place: int) -> bool:
        """Return whether an argument is a tensor; without types, whether it has dimensions."""
        if place >= len(self.shapes) or is_list(self.shapes[place]):
            return False
        if self.types:
            return place < len(self.types) and self.types[place] in OF_TYPE
        return bool(self.shapes[place])

    def tensor(self, place: int) -> Tensor:
        """Return one argument as a tensor."""
        return Tensor(self.shape(place), self.size_at(place))

    def of_list(self, place: int) -> list[Tensor]:
        """Return the tensors of an argument that is a list of them, none where it is not."""
        found = self.shapes[place] if place < len(self.shapes) else ()
        return [Tensor(each, self.itemsize) for each in found if isinstance(each, tuple)]

    @cached_property
    def lists(self) -> list[list[Tensor]]:
        """The arguments that are lists of tensors."""
        return [part for place in range(len(self.shapes)) if (part := self.of_list(place))]

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensors, those of lists too."""
        found: list[Tensor] = []
        for place in range(len(self.shapes)):
            found += [self.tensor(place)] if self.is_tensor(place) else self.of_list(place)
        return found

    def value(self, place: int) -> str:
        """Return the value of an argument that is no tensor, as text; "" where not known."""
        return self.inputs[place] if place < len(self.inputs) else ""

    def truth(self, place: int) -> bool:
        """Return whether an argument is true, False where not known."""
        return self.value(place) in ("True", "true", "1")

    def whole(self, place: int) -> int | None:
        """Return an argument that is a whole number, None where not known."""
        text = self.value(place)
        return int(text) if re.fullmatch(r"-?\d{1,18}", text) else None

    def numbers(self, place: int) -> list[int] | None:
        """Return an argument that is a list of whole numbers, None where not known."""
        text = self.value(place)
        if not re.fullmatch(r"\[[-\d, ]{0,4000}\]", text):
            return None
        return [int(number) for number in re.findall(r"-?\d{1,18}", text)]

    def truths(self, place: int) -> list[bool] | None:
        """Return an argument that is a list of truth values, None where not known."""
        text = self.value(place)
        if not text.startswith("["):
            return None
        return [word in ("True", "true", "1") for word in re.findall(r"\w+", text)]

    @property
    def number_format(self) -> str:
        """The format of the first operand that is a tensor of floating point, "" if none is."""
        known = (OF_TYPE[name][1] for name in self.types if name in OF_TYPE)
        return next(filter(None, known), "")

    def sized(self, itemsize: int | None) -> Operands:
        """Return the same operands with another size for numbers of no recorded type."""
        return replace(self, itemsize=itemsize)

    def describe(self) -> str:
        """Return the shapes as text.

        >>> Operands(((4, 512, 768), (768,), ())).describe()
        '4×512×768, 768'
        """
        shown = [TIMES.join(map(str, each.shape)) for each in self.tensors if each.shape]
        if len(shown) > MOST_SHOWN:
            more = len(shown) - MOST_SHOWN + 1
            shown = [*shown[: MOST_SHOWN - 1], f"{more} more"]
        return ", ".join(shown)


def is_list(shape: Argument) -> bool:
    """Return whether what stands for an argument are the shapes of a list of tensors."""
    return bool(shape) and isinstance(shape[0], tuple)


def read(shapes: str, types: str = "", inputs: str = "") -> Operands | None:
    """Return the operands that three texts tell, as the profiler and emit_nvtx write them.

    Args:
        shapes: a JSON list with an entry for each argument.
        types: a JSON list of names likewise, or "".
        inputs: a JSON list of texts likewise, or "".

    Returns:
        None where the shapes are none.

    >>> read("[[3, 4], [[4, 5], [6]], []]").shapes
    ((3, 4), ((4, 5), (6,)), ())
    """
    try:
        listed = json.loads(shapes)
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list):
        return None
    found = [one for part in listed if (one := _argument(part)) is not None]
    if len(found) < len(listed):
        return None
    return Operands(tuple(found), _texts(types), _texts(inputs))


def _argument(value: object) -> Argument | None:
    """Return the shape, or shapes, of an argument; None for what is neither."""
    alone = _shape(value)
    if alone is not None or not isinstance(value, list):
        return alone
    parts = [shape for part in value if (shape := _shape(part)) is not None]
    return tuple(parts) if len(parts) == len(value) else None


def _shape(value: object) -> Shape | None:
    if not isinstance(value, list) or len(value) > MOST_DIMENSIONS:
        return None
    whole = all(type(number) is int and 0 <= number <= MOST_SIZE for number in value)
    return tuple(value) if whole else None


def _texts(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


_SIZES: Final = re.compile(r", sizes = (\[[\[\]\d, ]*\])")
_TYPES: Final = re.compile(r", types = (\[[^\[\]]*\])")
_INPUTS: Final = re.compile(r", inputs = (\[.*\])$")


def in_name(name: str) -> tuple[str, str, str] | None:
    """Return the texts on shapes, types and values that stand in a range's name, or None.

    ``emit_nvtx`` writes sizes alone; our own ranges of operators have types and values behind them.

    >>> in_name("aten::mm, seq = 3, op_id = 9, sizes = [[4, 2], [2, 5]], input_op_ids = [(8,0)]")
    ('[[4, 2], [2, 5]]', '', '')
    >>> in_name("aten::mm, op_id = 3")
    """
    sizes = _SIZES.search(name)
    if sizes is None:
        return None
    types, inputs = _TYPES.search(name), _INPUTS.search(name)
    return sizes[1], types[1] if types else "", inputs[1] if inputs else ""
