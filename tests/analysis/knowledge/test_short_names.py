"""Names in brief: short, and as many different ones as there are names."""

import csv
import io
import re

import pytest

from analysis.kernels import main
from analysis.knowledge.short_names import distinct_short_names, short_name
from analysis.show.render import cut_apart
from tests.made.tools import shared

AT = "void at::native::vectorized_elementwise_kernel<(int){size}, at::native::{functor}>(int, T2)"
MUL = "{operands}<{kind}, {kind}, at::native::binary_internal::MulFunctor<float>>"


def mul(kind: str, operands: str, size: int = 4) -> str:
    return AT.format(size=size, functor=MUL.format(kind=kind, operands=operands))


def test_what_tells_instances_of_one_template_apart_is_added_and_no_more() -> None:
    names = [mul("float", "AUnaryFunctor"), mul("float", "BinaryFunctor"), "ampere_sgemm"]
    assert len({short_name(name) for name in names}) == 2
    assert distinct_short_names(names) == [
        "vectorized_elementwise_kernel<MulFunctor, AUnary>",
        "vectorized_elementwise_kernel<MulFunctor, Binary>",
        "ampere_sgemm",
    ]
    assert distinct_short_names(
        [mul("float", "BinaryFunctor"), mul("c10::BFloat16", "BinaryFunctor")]
    ) == [
        "vectorized_elementwise_kernel<MulFunctor, float>",
        "vectorized_elementwise_kernel<MulFunctor, BFloat16>",
    ]
    assert distinct_short_names(
        [mul("float", "BinaryFunctor", 2), mul("float", "BinaryFunctor", 4)]
    ) == [
        "vectorized_elementwise_kernel<MulFunctor, 2>",
        "vectorized_elementwise_kernel<MulFunctor, 4>",
    ]


def test_what_nothing_tells_apart_is_numbered_and_a_name_alone_is_left() -> None:
    one = mul("float", "BinaryFunctor")
    other = one.replace("(int, T2)", "(long, T2)")
    assert distinct_short_names([one, other, one]) == [
        f"vectorized_elementwise_kernel<MulFunctor> #{number}" for number in (1, 2, 1)
    ]
    assert distinct_short_names([one, one]) == ["vectorized_elementwise_kernel<MulFunctor>"] * 2


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_no_two_kernels_of_a_real_report_look_the_same(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(shared.report(name))
    assert main([path, "--format", "csv"]) == 0
    names = [row["name"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert len(set(distinct_short_names(names))) == len(names)
    monkeypatch.setenv("COLUMNS", "80")
    assert main([path, "--top", "1000"]) == 0
    rows = capsys.readouterr().out.split("─\n")[1].splitlines()
    assert len({re.split(r"  +", row)[0] for row in rows}) == len(names)


def test_names_that_are_cut_to_the_same_are_numbered() -> None:
    assert cut_apart(["layer.10.weight", "layer.11.weight", "layer.10.weight"], 12) == [
        "laye…ight #1",
        "laye…ight #2",
        "laye…ight #1",
    ]
