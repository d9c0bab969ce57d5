"""FlashAttention in PyTorch's operators, what both versions refuse, which tiles they compute."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from model.flash import (
    FlashAttentionReference,
    FlashAttentionTriton,
    FlashUnavailable,
    check_available,
    computed_pairs,
    tuning,
)
from model.flash.function import check
from model.flash.tiles import (
    ONE_PASS,
    PADDED_QUERIES,
    REFERENCE,
    TWO_PASSES,
    Pass,
    Tiling,
    candidates,
)
from model.flash.tuning import MOST_CANDIDATES, NoTiling, fastest, kinds
from model.flops import fused_attention
from tests.made.models import flash_cases
from tests.made.models.flash_cases import Case

LENGTHS = (1, 7, 17, 64, 100, 128, 129, 1000)
WIDTHS = (16, 32, 64, 80, 128)
DTYPES = ("float32", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_output_lse_and_gradients_are_those_of_plain_attention(
    length: int, is_causal: bool, dtype: str
) -> None:
    for width in WIDTHS:
        flash_cases.agrees("reference", "cpu", Case(length, length, width, is_causal, dtype))


@pytest.mark.parametrize(("queries", "keys"), [(5, 300), (300, 5), (1, 129), (129, 128)])
def test_queries_may_be_more_or_fewer_than_keys(queries: int, keys: int) -> None:
    flash_cases.agrees("reference", "cpu", Case(queries, keys, 24, False, "float32"))


@pytest.mark.parametrize("is_causal", [False, True])
def test_any_strides_are_taken(is_causal: bool) -> None:
    flash_cases.takes_any_strides("reference", "cpu", is_causal)


def test_batch_and_heads_may_stand_apart() -> None:
    flash_cases.takes_four_axes("reference", "cpu")


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e15), ("bfloat16", 1e15), ("float16", 1e3)]
)
def test_extreme_logits_give_finite_numbers(dtype: str, scale: float) -> None:
    flash_cases.survives_extreme_logits("reference", "cpu", dtype, scale)


def test_without_queries_there_is_nothing() -> None:
    flash_cases.is_empty_where_nothing_is_asked("reference", "cpu")


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_gradients_are_those_of_finite_differences(is_causal: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda q, k, v: reference(q, k, v, is_causal), (q, k, v))


def test_autocast_does_not_reach_inside() -> None:
    q, k, v, _ = flash_cases.inputs(Case(20, 20, 16, True, "float32"), "cpu")
    with torch.autocast("cpu", torch.bfloat16):
        inside = reference(q, k, v, True)
    assert torch.equal(inside, reference(q, k, v, True))


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, is_causal: bool) -> torch.Tensor:
    output: torch.Tensor = FlashAttentionReference.apply(q, k, v, is_causal)  # type: ignore[no-untyped-call]
    return output


def of(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda apply: apply(of(3, 4), of(3, 4), of(3, 4), False), ValueError, "must be"),
        (
            lambda apply: apply(of(1, 3, 4), of(1, 3, 5), of(1, 3, 5), False),
            ValueError,
            "one shape",
        ),
        (
            lambda apply: apply(of(1, 3, 4), of(2, 3, 4), of(2, 3, 4), False),
            ValueError,
            "one shape",
        ),
        (
            lambda apply: apply(of(1, 3, 4), of(1, 3, 4), of(1, 2, 4), False),
            ValueError,
            "one shape",
        ),
        (lambda apply: apply(of(1, 3, 4), of(1, 0, 4), of(1, 0, 4), False), ValueError, "one key"),
        (
            lambda apply: apply(of(1, 3, 4), of(1, 5, 4), of(1, 5, 4), True),
            ValueError,
            "as many keys as queries, not 5 keys for 3 queries",
        ),
        (
            lambda apply: apply(of(1, 3, 4), of(1, 3, 4), of(1, 3, 4, dtype=torch.half), False),
            TypeError,
            "one floating-point dtype",
        ),
        (
            lambda apply: apply(*(of(1, 3, 4, dtype=torch.int32) for _ in range(3)), False),
            TypeError,
            "one floating-point dtype",
        ),
    ],
)
@pytest.mark.parametrize("function", [FlashAttentionReference, FlashAttentionTriton])
def test_what_has_no_meaning_is_refused_in_one_line(
    function: type[torch.autograd.Function],
    call: Callable[[object], object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        call(function.apply)
    assert "\n" not in str(caught.value)


def test_the_kernels_refuse_wide_heads_and_double_precision() -> None:
    wide = of(1, 3, 129)
    with pytest.raises(ValueError, match="up to 128 wide, not 129; use attention sdpa"):
        check(wide, wide, wide, False)
    double = of(1, 3, 16, dtype=torch.float64)
    with pytest.raises(TypeError, match="float32, float16 and bfloat16, not"):
        check(double, double, double, False)


def test_without_a_gpu_or_the_interpreter_the_kernels_are_refused_in_one_line() -> None:
    q = of(1, 3, 16)
    with pytest.raises(
        FlashUnavailable, match="these tensors are on cpu; set TRITON_INTERPRET=1"
    ) as caught:
        FlashAttentionTriton.apply(q, q, q, True)  # type: ignore[no-untyped-call]
    assert "\n" not in str(caught.value)


def test_importing_needs_no_triton_and_using_it_says_what_is_missing() -> None:
    program = (
        "import sys; sys.modules['triton'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'triton' else find(name, *rest)\n"
        "import torch; from model.flash import *\n"
        "q = torch.ones(1, 3, 16); FlashAttentionReference.apply(q, q, q, True)\n"
        "try: FlashAttentionTriton.apply(q, q, q, True)\n"
        "except FlashUnavailable as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("flash attention needs Triton, which is not installed; pip"), done


def test_an_old_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(FlashUnavailable, match="or more, and Tesla T4 has less"):
        check_available(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    check_available(torch.device("cuda"))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("tile", [(128, 64), (64, 128), (32, 32), (16, 128)])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (130, 130), (300, 300), (70, 200)])
def test_pairs_are_those_of_tiles_with_a_pair_that_counts(
    queries: int, keys: int, tile: tuple[int, int], is_causal: bool
) -> None:
    if is_causal and queries != keys:
        return
    i, j = torch.arange(queries)[:, None], torch.arange(keys)[None, :]
    visible = (j <= i) if is_causal else (j <= j + i)
    squares = [
        square
        for rows in torch.split(visible, tile[0], 0)
        for square in torch.split(rows, tile[1], 1)
    ]
    computed = sum(square.numel() for square in squares if square.any())
    assert computed_pairs(queries, keys, is_causal, *tile) == computed


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("length", [100, 300, 512])
def test_torch_counts_the_flops_the_cost_says(length: int, is_causal: bool) -> None:
    pairs = computed_pairs(length, length, is_causal, REFERENCE.queries, REFERENCE.keys)
    cost = fused_attention(6, length, length, 16, 4, pairs)
    q, k, v, above = flash_cases.inputs(Case(length, length, 16, is_causal, "float32"), "cpu", 6)
    for tensor in (q, k, v):
        tensor.requires_grad_()
    with FlopCounterMode(display=False) as forward:
        output = reference(q, k, v, is_causal)
    with FlopCounterMode(display=False) as backward:
        output.backward(above)  # type: ignore[no-untyped-call]
    assert forward.get_total_flops() == cost.flops
    assert backward.get_total_flops() == cost.backward_flops


def test_the_fastest_tiling_that_fits_is_chosen() -> None:
    from triton.runtime.errors import OutOfResources

    of_kind = candidates("forward", 64, 2, "tf32")
    times = dict(zip(of_kind, (3.0, 1.0, 0.5, 2.0, 4.0), strict=True))
    ran: list[Tiling] = []

    def run(chosen: Tiling) -> None:
        if chosen == of_kind[2]:
            raise OutOfResources(300_000, 232_448, "shared memory")
        ran.append(chosen)

    def time(call: Callable[[], object]) -> float:
        call()
        return times[ran[-1]]

    assert fastest(of_kind, run, time) == (of_kind[1], 1.0)
    with pytest.raises(NoTiling, match="takes none of the tilings"):
        fastest(of_kind[2:3], run, time)
    with pytest.raises(ZeroDivisionError):
        fastest(of_kind, lambda _: 1 / 0, time)


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
@pytest.mark.parametrize("itemsize", [2, 4])
@pytest.mark.parametrize("width", [16, 64, 80, 128])
def test_a_handful_of_tilings_is_tried(width: int, itemsize: int, precision: str) -> None:
    for which in ("forward", "dq", "dkdv", "one_pass"):
        of_kind = candidates(which, width, itemsize, precision)
        if which == "one_pass" and itemsize == 4:
            assert not of_kind
            continue
        assert 2 <= len(set(of_kind)) == len(of_kind) <= MOST_CANDIDATES
        assert all(one.queries <= PADDED_QUERIES for one in of_kind)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Milliseconds that each pass takes; nothing else is timed."""
    times: dict[str, float] = {"dq": 2.0, "dkdv": 3.0}
    monkeypatch.setattr(tuning, "_tuned", {})
    monkeypatch.setattr(tuning, "_time", lambda call: call())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return times


def chosen(times: dict[str, float], dtype: torch.dtype = torch.bfloat16) -> tuple[Pass, ...]:
    """Return the passes that are chosen where they take so long; what is missing does not fit."""
    from triton.runtime.errors import OutOfResources

    def run_of(which: Pass) -> Callable[[Tiling], object]:
        def run(_: Tiling) -> float:
            if which not in times:
                raise OutOfResources(300_000, 232_448, "shared memory")
            return times[which]

        return run

    works = kinds(torch.zeros(1, 1, 8, 64, dtype=dtype), 8, True)
    made = tuning.backward_tilings(works, {which: run_of(which) for which in works})
    for which, tiling in made:
        assert tiling in candidates(which, 64, dtype.itemsize, "ieee")
    return tuple(which for which, _ in made)


@pytest.mark.parametrize(
    ("one", "passes"), [(4.9, ONE_PASS), (5.1, TWO_PASSES), (None, TWO_PASSES)]
)
def test_the_backward_pass_takes_one_pass_where_that_is_faster_than_both(
    one: float | None, passes: tuple[Pass, ...], timed: dict[str, float]
) -> None:
    if one is not None:
        timed["one_pass"] = one
    assert chosen(timed) == passes
    assert chosen({}) == passes  # and nothing is timed again


def test_nothing_that_depends_on_an_order_is_chosen_where_it_must_not_be(
    timed: dict[str, float],
) -> None:
    timed["one_pass"] = 1.0
    torch.use_deterministic_algorithms(True)
    try:
        assert chosen(timed) == TWO_PASSES
    finally:
        torch.use_deterministic_algorithms(False)
    assert chosen(timed) == ONE_PASS
    assert chosen(timed, torch.float32) == TWO_PASSES


def test_what_was_chosen_can_be_written_down(timed: dict[str, float]) -> None:
    assert chosen(timed) == TWO_PASSES
    rows = json.loads(json.dumps(tuning.described_choices(), allow_nan=False))
    assert [(row["which"], row["time_ms"]) for row in rows] == [
        ("dq", 2.0),
        ("dkdv", 3.0),
        ("one_pass", None),
    ]
    best = candidates("dq", 64, 2, "ieee")[0]
    assert rows[0] | {"queries": best.queries, "keys": best.keys, "dtype": "bfloat16"} == rows[0]
    assert tuning.described_choices(()) == []


def test_a_gpu_that_takes_neither_of_the_two_passes_is_told_so(timed: dict[str, float]) -> None:
    del timed["dkdv"]
    with pytest.raises(NoTiling, match="takes none"):
        chosen(timed)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches how large the tensors are that operators make."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, torch.Tensor):
                self.numbers = max(self.numbers, made.untyped_storage().nbytes() // 4)
        return result


def test_memory_does_not_grow_with_the_square_of_the_length() -> None:
    width, seen = 16, {}
    for length in (1024, 4096):
        q, k, v = (torch.randn(1, length, width) for _ in range(3))
        with torch.no_grad(), Largest() as largest:
            FlashAttentionReference.apply(q, k, v, True)  # type: ignore[no-untyped-call]
        seen[length] = largest.numbers
    assert seen[4096] <= 4 * seen[1024]
    assert seen[4096] < 4096**2 // 16
