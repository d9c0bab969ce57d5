"""Shapes of tensors in NVTX payloads, and which operator a range with such a payload is.

``nsys profile --pytorch=functions-trace-shapes`` (2026.4 and later) puts the shapes that a function
of PyTorch was called with into the payload of its range. What the fields are called NVIDIA does not
document, and nobody had published a report with some by November 2026: no field name here was seen
in a real one. So they are known by what their labels speak of. An array of whole numbers whose
label, or one around it, speaks of a shape is a tensor's; of a type what stands beside it under the
same label. The order of the tensors is taken for that of the function's arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from analysis.knowledge.nvtx_payloads import Record, Value
from analysis.knowledge.operands import OF_TORCH, OF_TYPE

SHAPE: Final = frozenset(["shape", "shapes", "sizes", "size", "dims", "dimensions"])
TYPE: Final = frozenset(["dtype", "dtypes", "type", "types"])
RANK: Final = frozenset(["ndim", "ndims", "rank"])
RESULT: Final = frozenset(["output", "outputs", "out", "result", "results", "returned", "return"])

FUNCTIONS: Final = {
    "matmul": ("aten::matmul", 2, 2),
    "__matmul__": ("aten::matmul", 2, 2),
    "mm": ("aten::mm", 2, 2),
    "bmm": ("aten::bmm", 2, 2),
    "mv": ("aten::mv", 2, 2),
    "addmm": ("aten::addmm", 3, 3),
    "baddbmm": ("aten::baddbmm", 3, 3),
    "linear": ("aten::linear", 2, 3),
    "scaled_dot_product_attention": ("aten::scaled_dot_product_attention", 3, 4),
    "softmax": ("aten::softmax", 1, 1),
    "log_softmax": ("aten::log_softmax", 1, 1),
}
"""The operator of each function whose tensors come first and in the operator's order, and the
fewest and most tensors that it takes. A module's ``forward`` is none: its weights are no argument.
"""

_FUNCTION: Final = re.compile(
    r"(?:torch\.|F\.|aten::|aten\.)?(?:(?:ops\.aten|nn\.functional|functional|_C\._nn|_C|special"
    r"|Tensor|_tensor\.Tensor)\.)?(\w+)(?:\.default)?(?:\(\))?"
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def operator_of(name: str) -> tuple[str, int, int] | None:
    """Return the operator that a function of PyTorch is, with the fewest and most tensors it takes.

    Args:
        name: of the range.

    >>> operator_of("torch.nn.functional.linear"), operator_of("Linear.forward")
    (('aten::linear', 2, 3), None)
    """
    found = _FUNCTION.fullmatch(name)
    return FUNCTIONS.get(found[1]) if found else None


def speaks_of_shape(label: str) -> bool:
    """Return whether the label of an entry speaks of a shape.

    >>> speaks_of_shape("input_shape"), speaks_of_shape("Reshaped"), speaks_of_shape("stride")
    (True, False, False)
    """
    return not SHAPE.isdisjoint(_words(label))


def in_payload(name: str, payloads: list[Record]) -> tuple[str, str, str] | None:
    """Return an operator with the texts on its operands that the payload of its range tells.

    Args:
        name: of the range.
        payloads: of it.

    Returns:
        The operator's name, and shapes and types as `analysis.knowledge.operands.read` takes them;
        None where the range is of no operator that is known, or has not as many tensors.

    >>> shapes = (("input_shape", [4, 8]), ("input_dtype", "bfloat16"), ("weight_shape", [16, 8]))
    >>> in_payload("F.linear", [shapes])
    ('aten::linear', '[[4, 8], [16, 8]]', '')
    """
    known = operator_of(name)
    tensors = [tensor for record in payloads for tensor in _tensors(record)]
    if known is None or not known[1] <= len(tensors) <= known[2]:
        return None
    shapes, types = zip(*tensors, strict=True)
    if any(size <= 0 for shape in shapes for size in shape):
        return None  # what is not used of an array of a fixed length, most likely
    return known[0], json.dumps(shapes), json.dumps(types) if all(types) else ""


def _tensors(record: Record) -> list[tuple[list[int], str]]:
    """Return shape and type of each tensor in a payload, in order; "" for a type not known."""
    shapes: list[tuple[tuple[str, ...], list[int]]] = []
    types: dict[tuple[str, ...], str] = {}
    ranks: dict[tuple[str, ...], int] = {}
    for words, value in _leaves(record, ()):
        if not RESULT.isdisjoint(words):
            continue
        if isinstance(value, list) and not SHAPE.isdisjoint(words):
            sizes = [each for each in value if isinstance(each, int)]
            if len(sizes) == len(value):
                shapes.append((_without(words, SHAPE), sizes))
        elif isinstance(value, str) and not TYPE.isdisjoint(words):
            types[_without(words, TYPE)] = _type(value)
        elif isinstance(value, int) and not RANK.isdisjoint(words):
            ranks[_without(words, RANK)] = value
    return [(sizes[: ranks.get(key)], types.get(key, "")) for key, sizes in shapes]


def _leaves(value: Value, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value]]:
    """Yield the values inside one that are no structures, with the words of all labels around."""
    if isinstance(value, tuple):
        for label, part in value:
            yield from _leaves(part, (*words, *_words(label)))
    elif isinstance(value, list) and value and isinstance(value[0], tuple):
        for number, part in enumerate(value):
            yield from _leaves(part, (*words, str(number)))
    else:
        yield words, value


def _words(label: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(label)]


def _without(words: tuple[str, ...], some: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in some)


def _type(text: str) -> str:
    """Return what PyTorch's profiler calls a type, "" where it has no name for it."""
    bare = text.removeprefix("torch.")
    return OF_TORCH.get(bare, bare if bare in OF_TYPE else "")
