"""FLOPs from the shapes in NVTX payloads, of reports whose payloads are as programs write them."""

import struct
from pathlib import Path

import pytest

from analysis import Report, roofline
from analysis.knowledge.nvtx_payloads import DYNAMIC, FIXED, LENGTH_INDEX, STATIC, Entry, Schema
from analysis.recorded.operator_calls import may_have_shapes, operator_calls
from analysis.show.errors import ReportError
from tests.made.reports.build_payloads import add_payloads, framed
from tests.made.reports.build_report import Kernel, Range, make_report

INT, INT64, UINT64, TEXT = 5, 17, 18, 76
CALL, TENSOR, ARRAY, DTYPE = 1 << 24, (1 << 24) + 1, 1 << 32, 1 << 25
GEMM = "ampere_bf16_s16816gemm_bf16_128x64_nn"

IN_ONE = Schema(
    DYNAMIC,
    (
        Entry("input_ndim", UINT64),
        Entry("input_shape", INT64, LENGTH_INDEX, 0),
        Entry("input_dtype", TEXT, detail=8),
        Entry("weight_ndim", UINT64),
        Entry("weight_shape", INT64, LENGTH_INDEX, 3),
        Entry("weight_dtype", TEXT, detail=8),
    ),
)
"""Two tensors, each field with a label of its own."""

NESTED = [
    (TENSOR, Schema(STATIC, (Entry("dims", INT64, FIXED, 4), Entry("ndim", INT)), 40)),
    (
        CALL,
        Schema(
            DYNAMIC,
            (
                Entry("num", UINT64),
                Entry("inputs", TENSOR, LENGTH_INDEX, 0),
                Entry("output", TENSOR),
            ),
        ),
    ),
]
"""So many tensors, and the one that was returned, each with room for four dimensions."""

AS_PYTHON = [
    (ARRAY + 1, Schema(STATIC, (Entry("int64", INT64),), 8)),
    (ARRAY, Schema(DYNAMIC, (Entry("size", UINT64), Entry("data", ARRAY + 1, LENGTH_INDEX, 0)))),
    (CALL, Schema(DYNAMIC, (Entry("self.shape", ARRAY), Entry("other.shape", ARRAY)))),
]
"""A schema for every number and array, as the Python package nvtx declares them."""


def in_one(*shapes: list[int], dtype: bytes = b"bfloat16") -> bytes:
    parts = (struct.pack(f"<Q{len(each)}q", len(each), *each) + dtype for each in shapes)
    return framed(CALL, b"".join(parts))


def nested(*shapes: list[int]) -> bytes:
    inputs = shapes[:-1]
    tensors = (struct.pack("<4qi4x", *each, *[0] * (4 - len(each)), len(each)) for each in shapes)
    return framed(CALL, struct.pack("<Q", len(inputs)) + b"".join(tensors))


def as_python(*shapes: list[int]) -> bytes:
    parts = (struct.pack(f"<Q{len(each)}q", len(each), *each) for each in shapes)
    return framed(CALL, b"".join(parts))


def a_call(tmp_path: Path, name: str) -> Path:
    """Write a kernel that a function launched, in a domain 1."""
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[Range(name, 10, 20, domain="PyTorch")],
        kernels=[Kernel(GEMM, 100, 130, launch=11)],
    )


def found(path: Path) -> list[tuple[object, ...]]:
    """Return operator, shapes, FLOPs and bytes of each row of the roofline by operator."""
    with Report(path) as report:
        assert may_have_shapes(report)
        rows = roofline.roofline(report, by="operator").rows()
    return [(row["operator"], row["shapes"], row["flops"], row["bytes"]) for row in rows]


@pytest.mark.parametrize(
    ("name", "schemas", "data"),
    [
        ("torch.nn.functional.linear", [(CALL, IN_ONE)], in_one([4, 8], [16, 8])),
        ("linear", NESTED, nested([4, 8], [16, 8], [4, 16])),
        ("F.linear", AS_PYTHON, as_python([4, 8], [16, 8])),
        ("torch.nn.functional.linear", AS_PYTHON, as_python([4, 8], [16, 8]).hex()),
    ],
)
def test_flops_follow_from_shapes_in_a_payload(
    tmp_path: Path,
    name: str,
    schemas: list[tuple[int, Schema]],
    data: bytes | str,
) -> None:
    path = add_payloads(a_call(tmp_path, name), schemas, {name: data})
    assert found(path) == [("aten::linear", "4×8×16", 2 * 4 * 8 * 16, 2 * (32 + 128 + 64))]


def test_types_of_the_payload_tell_the_bytes(tmp_path: Path) -> None:
    data = in_one([4, 8], [8, 2], dtype=b"float32\0")
    path = add_payloads(a_call(tmp_path, "torch.matmul"), [(CALL, IN_ONE)], {"torch.matmul": data})
    assert found(path) == [("aten::matmul", "4×8×2", 2 * 4 * 8 * 2, 4 * (32 + 16 + 8))]
    with Report(path) as report:
        ((_, operands),) = operator_calls(report).kinds
        assert (operands.types, operator_calls(report).unread) == (("float", "float"), "")


def test_of_an_enumeration_the_size_is_enough_to_read_on(tmp_path: Path) -> None:
    shape = Entry("shape", INT64, FIXED, 2)
    tensor = Schema(STATIC, (Entry("dtype", DTYPE), shape), 24)
    call = Schema(STATIC, (Entry("a", TENSOR), Entry("b", TENSOR)), 48)
    data = framed(CALL, struct.pack("<i4x2qi4x2q", 15, 4, 8, 15, 8, 2))
    path = add_payloads(
        a_call(tmp_path, "torch.mm"),
        [(TENSOR, tensor), (CALL, call)],
        {"torch.mm": data},
        enums={DTYPE: 4},
    )
    assert found(path) == [("aten::mm", "4×8×2", 128, 2 * (32 + 16 + 8))]


def test_two_processes_that_declare_the_same_are_no_contradiction(tmp_path: Path) -> None:
    path = a_call(tmp_path, "torch.mm")
    data = {"torch.mm": in_one([4, 8], [8, 2])}
    for _ in range(2):
        add_payloads(path, [(CALL, IN_ONE)], data)
    assert [row[0] for row in found(path)] == ["aten::mm"]


NO_SHAPES = "no operator in this report has its shapes recorded"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("Linear.forward", in_one([4, 8], [16, 8])),  # a module: its weights are no argument
        ("torch.mm", in_one([4, 8], [8, 0])),  # as what is not used of an array looks
        ("torch.addmm", in_one([4, 8], [8, 2])),  # takes three
        ("torch.mm", in_one([4, 8], [8, 2])[:-9]),
        ("torch.mm", framed(CALL + 9, b"")),
        ("torch.mm", "no digits"),
    ],
)
def test_payloads_without_shapes_of_an_operator_are_counted_and_said(
    tmp_path: Path, name: str, data: bytes | str
) -> None:
    path = add_payloads(a_call(tmp_path, name), [(CALL, IN_ONE)], {name: data})
    with Report(path) as report, pytest.raises(ReportError) as refused:
        roofline.roofline(report, by="operator")
    assert f"{NO_SHAPES}: 1 range has NVTX payloads that tell no shapes" in str(refused.value)


def test_what_two_programs_declared_differently_is_not_guessed(tmp_path: Path) -> None:
    path = a_call(tmp_path, "torch.mm")
    other = Schema(STATIC, (Entry("other_shape", INT64, FIXED, 2),), 16)
    for schema in (IN_ONE, other):
        add_payloads(path, [(CALL, schema)], {"torch.mm": in_one([4, 8], [8, 2])})
    with Report(path) as report:
        assert not len(operator_calls(report))
        assert operator_calls(report).unread.startswith("1 range has NVTX payloads")


def test_payloads_that_were_not_exported_are_asked_for(tmp_path: Path) -> None:
    path = add_payloads(a_call(tmp_path, "torch.mm"), [(CALL, IN_ONE)], {})
    with Report(path) as report:
        assert not may_have_shapes(report)
        with pytest.raises(ReportError, match="not exported: nsys export --include-blobs=true"):
            roofline.roofline(report, by="operator")


def test_payloads_of_nccl_are_none_of_it(tmp_path: Path) -> None:
    labels = ("NCCL communicator ID", "Message size [bytes]")
    size = Schema(STATIC, tuple(Entry(label, UINT64) for label in labels), 16)
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("ncclAllReduce", 10, 20, domain="NCCL")],
        kernels=[Kernel(GEMM, 100, 130, launch=11)],
    )
    add_payloads(path, [(CALL, size)], {"ncclAllReduce": framed(CALL, bytes(16))})
    with Report(path) as report:
        assert not may_have_shapes(report)
        assert operator_calls(report).unread == ""


def test_names_with_sizes_come_before_payloads(tmp_path: Path) -> None:
    """They are of the backward pass too, which functions are not."""
    name = "aten::mm, op_id = 1, sizes = [[4, 8], [8, 2]]"
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("torch.mm", 8, 21, domain="PyTorch"), Range(name, 10, 20)],
        kernels=[Kernel(GEMM, 100, 130, launch=11)],
    )
    add_payloads(path, [(CALL, IN_ONE)], {"torch.mm": in_one([400, 8], [8, 2])})
    assert [row[1] for row in found(path)] == ["4×8×2"]
