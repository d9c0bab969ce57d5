"""What a PyTorch trace tells of the message of a collective, event by event.

PyTorch notes it on ``record_param_comms`` and Kineto on the kernels of NCCL launched inside
(``saveNcclMeta`` in ``torch/csrc/profiler/util.cpp``). The ranges of other backends
(``gloo:all_reduce``) have the shapes of their tensors alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

from analysis.source.trace import fields
from analysis.source.trace.fields import Event

NAME: Final = "Collective name"
OF_BACKEND: Final = re.compile(r"(?:gloo|mpi|ucc|xccl):\w")
"""How c10d calls the ranges of a backend that is not NCCL."""

TYPES: Final = {
    "float": "Float",
    "double": "Double",
    "c10::BFloat16": "BFloat16",
    "c10::Half": "Half",
    "long int": "Long",
    "long": "Long",
    "int": "Int",
    "short": "Short",
    "short int": "Short",
    "signed char": "Char",
    "unsigned char": "Byte",
    "bool": "Bool",
}
"""What ``Input type`` calls the types of tensors, and what ``dtype`` does."""


@dataclass(frozen=True)
class ToldMessage:
    """What is told of a message; None, or "" of a text, where it is not."""

    name: str = ""
    in_elements: int | None = None
    out_elements: int | None = None
    dtype: str = ""
    group: str = ""
    ranks: str = ""
    size: int | None = None
    sequence: int | None = None


def tells(event: Event, args: Event) -> bool:
    """Return whether an event tells of a message."""
    name = event.get("name")
    by_backend = isinstance(name, str) and OF_BACKEND.match(name) and "Input Dims" in args
    return isinstance(args.get(NAME), str) or bool(by_backend)


def message_of(event: Event, args: Event) -> ToldMessage:
    """Return what an event tells of its message."""
    if NAME not in args:
        elements, dtype = _of_tensors(args.get("Input Dims"), args.get("Input type"))
        return ToldMessage(fields.name(event), in_elements=elements, dtype=dtype)
    texts = {
        ours: fields.text(args.get(its) or "")
        for ours, its in {
            "name": NAME,
            "dtype": "dtype",
            "group": "Process Group Name",
            "ranks": "Process Group Ranks",
        }.items()
    }
    return ToldMessage(
        **texts,
        in_elements=fields.integer(args.get("In msg nelems")),
        out_elements=fields.integer(args.get("Out msg nelems")),
        size=fields.integer(args.get("Group size")),
        sequence=fields.integer(args.get("Seq")),
    )


def _of_tensors(shapes: object, types: object) -> tuple[int | None, str]:
    """Return how many elements tensors of one type have together, and that type's name."""
    if (
        not isinstance(shapes, list)
        or not isinstance(types, list)
        or len(set(map(str, types))) != 1
    ):
        return None, ""
    if not all(isinstance(shape, list) and all(map(is_size, shape)) for shape in shapes):
        return None, ""
    elements = fields.integer(sum(prod(shape) for shape in shapes))
    return elements, TYPES.get(str(types[0]), "")


def is_size(value: object) -> bool:
    """Return whether a value is a whole number of elements."""
    return isinstance(value, int) and value >= 0


def only_group(metadata: Mapping[str, object]) -> ToldMessage:
    """Return the process group of a run that has a single one, as a message that tells it alone."""
    run = metadata.get("distributedInfo")
    groups = run.get("pg_config") if isinstance(run, dict) else None
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        return ToldMessage()
    (group,) = groups
    ranks = group.get("ranks")
    return ToldMessage(
        group=fields.text(group.get("pg_name") or ""),
        ranks=fields.text(ranks) if isinstance(ranks, list) else "",
        size=fields.integer(group.get("pg_size")),
    )
