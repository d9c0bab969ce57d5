"""FlashAttention in Triton: on a CPU under Triton's interpreter, and on a GPU where there is one.

The interpreter must be chosen before Triton is imported, so these cases run in a process of their
own, which keeps every other test free of it.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import pytest
import torch

from model.flash.tiles import INTERPRETED, ONE_PASS, TWO_PASSES, Pass, computed_pairs
from model.flops import fused_attention
from tests.made.models import flash_cases
from tests.made.models.flash_cases import Case

pytest.importorskip("triton")

LENGTHS: Final = (1, 7, 17, 64, 100, 128, 129, 1000)
WIDTHS: Final = (16, 32, 64, 80, 128)
DTYPES: Final = ("float32", "float16", "bfloat16")

Run = Callable[..., Any]
"""Runs a case: ``run(case_function, ..., device, ...)`` with the device filled in."""


@pytest.fixture(scope="module")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(torch.set_num_threads, 1).result()
            yield pool
    finally:
        if before is None:
            del os.environ["TRITON_INTERPRET"]
        else:
            os.environ["TRITON_INTERPRET"] = before


@pytest.fixture(params=["interpreted", pytest.param("gpu", marks=pytest.mark.gpu)])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "gpu":
        if not torch.cuda.is_available():
            pytest.skip("no GPU here")
        return lambda case, *arguments: case(*arguments, device="cuda")
    pool: ProcessPoolExecutor = request.getfixturevalue("interpreter")
    return lambda case, *arguments: pool.submit(case, *arguments, device="cpu").result()


def quick(length: int, width: int, dtype: str) -> bool:
    """Return whether a case is among those of every test run: each length, width and dtype is."""
    return (length < 1000 and (width, dtype) == (64, "float32")) or length == 17


def interpreted(length: int, width: int, dtype: str) -> bool:
    """Return whether the interpreter, which takes seconds a case, runs a case; a GPU runs all.

    Every length, width and dtype is there, and short lengths with every width and in turn with
    float32 and bfloat16.
    """
    if length == 1000:
        return (width, dtype) == (64, "float32")
    turn = (LENGTHS.index(length) + WIDTHS.index(width)) % 2
    if length in {1, 7, 64, 129} and width != 80 and dtype == ("float32", "bfloat16")[turn]:
        return True
    return quick(length, width, dtype)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    ("length", "width", "dtype"),
    [
        pytest.param(n, d, t, marks=() if quick(n, d, t) else pytest.mark.slow)
        for n in LENGTHS
        for d in WIDTHS
        for t in DTYPES
    ],
)
def test_output_lse_and_gradients_are_those_of_plain_attention(
    length: int, width: int, dtype: str, is_causal: bool, run: Run, request: pytest.FixtureRequest
) -> None:
    on_gpu = "gpu" in request.node.callspec.id
    if not on_gpu and not interpreted(length, width, dtype):
        pytest.skip("one of the cases that only a GPU is quick enough for")
    run(agrees, Case(length, length, width, is_causal, dtype))


def agrees(case: Case, device: str) -> None:
    flash_cases.agrees("triton", device, case)


@pytest.mark.parametrize(("queries", "keys"), [(5, 150), (150, 5), (129, 128)])
def test_queries_may_be_more_or_fewer_than_keys(queries: int, keys: int, run: Run) -> None:
    run(agrees, Case(queries, keys, 24, False, "float32"))


def agrees_in_one_pass(case: Case, device: str) -> None:
    flash_cases.agrees_in_one_pass(device, case)


@pytest.mark.parametrize(
    "case",
    [
        Case(129, 129, 64, True, "float32"),
        Case(100, 100, 80, True, "bfloat16"),
        Case(17, 17, 128, True, "float16"),
        Case(5, 150, 24, False, "float32"),
        Case(150, 5, 24, False, "float32"),
        pytest.param(Case(1000, 1000, 64, True, "bfloat16"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_one_backward_pass_gives_the_gradients_too(case: Case, run: Run) -> None:
    run(agrees_in_one_pass, case)


def strides(device: str) -> None:
    for passes in flash_cases.BACKWARD_PASSES:
        with flash_cases.chosen(passes):
            flash_cases.takes_any_strides("triton", device, True)
            flash_cases.takes_any_strides("triton", device, False)


@pytest.mark.slow
def test_any_strides_are_taken(run: Run) -> None:
    run(strides)


def four_axes(device: str) -> None:
    flash_cases.takes_four_axes("triton", device)


def test_batch_and_heads_may_stand_apart(run: Run) -> None:
    run(four_axes)


def extreme(dtype: str, scale: float, device: str) -> None:
    for passes in flash_cases.BACKWARD_PASSES:
        with flash_cases.chosen(passes):
            flash_cases.survives_extreme_logits("triton", device, dtype, scale)


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e15), ("bfloat16", 1e15), ("float16", 1e3)]
)
def test_extreme_logits_give_finite_numbers(dtype: str, scale: float, run: Run) -> None:
    run(extreme, dtype, scale)


def empty(device: str) -> None:
    flash_cases.is_empty_where_nothing_is_asked("triton", device)


def test_without_queries_there_is_nothing(run: Run) -> None:
    run(empty)


def tiles(queries: int, keys: int, device: str) -> None:
    flash_cases.cuts_tiles_of_any_shape(device, queries, keys)


@pytest.mark.parametrize(
    ("queries", "keys"), [(64, 128), (64, 64), pytest.param(128, 32, marks=pytest.mark.slow)]
)
def test_tiles_may_have_any_shape(queries: int, keys: int, run: Run) -> None:
    run(tiles, queries, keys)


def model(device: str) -> None:
    flash_cases.model_agrees("flash", device)


def test_a_model_has_eagers_logits_and_gradients(run: Run) -> None:
    run(model)


def spans(length: int, passes: tuple[Pass, ...], device: str) -> list[tuple[str, int | None]]:
    with flash_cases.chosen(passes):
        return flash_cases.spans_of("flash", device, length)


@pytest.mark.parametrize(("passes", "products"), [(TWO_PASSES, 7), (ONE_PASS, 5)])
def test_payloads_count_the_tiles_of_all_products(
    passes: tuple[Pass, ...], products: int, interpreter: ProcessPoolExecutor
) -> None:
    found = interpreter.submit(spans, 200, passes, "cpu").result()
    pairs = computed_pairs(200, 200, True, INTERPRETED.queries, INTERPRETED.keys)
    cost = fused_attention(4, 200, 200, 16, 4, pairs, products * pairs)
    assert found == 2 * [("fused_attention", cost.flops)] + 2 * [
        ("fused_attention.backward", cost.backward_flops)
    ]


def repeats(device: str) -> None:
    flash_cases.repeats_exactly("triton", device)


def test_where_only_deterministic_algorithms_are_allowed_gradients_repeat_exactly(
    run: Run,
) -> None:
    run(repeats)


def compiled(device: str) -> None:
    flash_cases.compiles("flash", device)


def test_it_compiles_as_one_graph(run: Run) -> None:
    run(compiled)
