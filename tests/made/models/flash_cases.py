"""What both versions of FlashAttention must do, as functions that any process can run.

Everything is compared with plain attention in float64 on the same inputs.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import pytest
import torch
from torch import Tensor

from model.flash import FlashAttentionReference, FlashAttentionTriton
from model.flash.tiles import ONE_PASS, TWO_PASSES, Pass, Tiling

BACKWARD_PASSES: Final = (TWO_PASSES, ONE_PASS)

VERSIONS: Final[dict[str, Any]] = {
    "reference": FlashAttentionReference,
    "triton": FlashAttentionTriton,
}

TOLERANCE: Final = {"float32": 2e-6, "float16": 1e-3, "bfloat16": 1.5e-2}
"""Of the error's norm to the result's.

float32 rounds to 6e-8, and sums of up to a thousand products let that grow to some 5e-7. The
weights and the gradients of the scores are rounded to the inputs' format before they are
multiplied: float16 rounds to 5e-4, bfloat16 to 4e-3, and the interpreter cuts bfloat16 off, which
is twice that.
"""

ZERO: Final = 1e-9
"""What is less than this in float64 is 0, as the gradients of one query and one key are, and is
compared with the inputs, which are of size 1."""


class Case(NamedTuple):
    """One problem."""

    queries: int
    keys: int
    width: int
    is_causal: bool
    dtype: str


def plain(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Return attention and the log-sum-exp of its scores, written out."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if is_causal:
        above = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(above, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v, torch.logsumexp(scores, dim=-1)


def inputs(case: Case, device: str, *leading: int) -> list[Tensor]:
    """Return q, k, v and the gradient of the output."""
    torch.manual_seed(sum(case[:4]))
    dtype = getattr(torch, case.dtype)
    lengths = (case.queries, case.keys, case.keys, case.queries)
    shapes = [(*(leading or (2,)), length, case.width) for length in lengths]
    return [torch.randn(shape).to(device, dtype) for shape in shapes]


def assert_near(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    ones = math.sqrt(expected.numel())
    size = expected.norm().item()
    error = (found.double() - expected).norm().item() / (size if size > ZERO * ones else ones)
    assert error < tolerance, f"{what}: off by {error:.1e} of its size, more than {tolerance:.0e}"


def compare(version: str, q: Tensor, k: Tensor, v: Tensor, above: Tensor, is_causal: bool) -> None:
    """Compare output, log-sum-exp and gradients with plain attention in float64."""
    tolerance = TOLERANCE[str(q.dtype).removeprefix("torch.")]
    exact = [tensor.detach().double().requires_grad_() for tensor in (q, k, v)]
    expected, lse = plain(exact[0], exact[1], exact[2], is_causal)
    expected.backward(above.double())  # type: ignore[no-untyped-call]
    leaves = [tensor.detach().requires_grad_() for tensor in (q, k, v)]
    output = VERSIONS[version].apply(*leaves, is_causal)
    saved = [kept for kept in output.grad_fn.saved_tensors if kept.shape == q.shape[:-1]]
    assert len(saved) == 1
    output.backward(above)
    assert output.dtype == q.dtype
    assert_near(output, expected, tolerance, "output")
    assert_near(saved[0], lse, 2e-6, "log-sum-exp")
    for name, leaf, there in zip("qkv", leaves, exact, strict=True):
        found, wanted = gradient(leaf), gradient(there)
        assert found.shape == leaf.shape
        assert found.dtype == leaf.dtype
        assert_near(found, wanted, tolerance, f"gradient of {name}")


def gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


def agrees(version: str, device: str, case: Case) -> None:
    q, k, v, above = inputs(case, device)
    compare(version, q, k, v, above, case.is_causal)


def takes_any_strides(version: str, device: str, is_causal: bool) -> None:
    """Heads between positions and channels, channels apart, one batch for all, rows with gaps."""
    case = Case(20, 20, 16, is_causal, "float32")
    q, k, v, above = inputs(case, device, 2, 2)

    def swapped(tensor: Tensor, first: int, second: int) -> Tensor:
        return tensor.transpose(first, second).contiguous().transpose(first, second)

    layouts: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda tensor: swapped(tensor, 1, 2),
        lambda tensor: swapped(tensor, 2, 3),
        lambda tensor: tensor[:1].expand_as(tensor),
        lambda tensor: torch.cat((tensor, tensor), -1)[..., : tensor.shape[-1]],
    )
    for layout in layouts:
        compare(version, layout(q), layout(k), layout(v), above, is_causal)
    compare(version, q, k, v, above[..., :1].expand_as(above), is_causal)


def takes_four_axes(version: str, device: str) -> None:
    """Batch and heads apart, or together: the same numbers."""
    q, k, v, above = inputs(Case(33, 33, 16, True, "float32"), device, 2, 3)
    compare(version, q, k, v, above, True)
    function = VERSIONS[version]
    together = function.apply(*(tensor.flatten(0, 1) for tensor in (q, k, v)), True)
    assert torch.equal(function.apply(q, k, v, True).flatten(0, 1), together)


def survives_extreme_logits(version: str, device: str, dtype: str, scale: float) -> None:
    """Scores far beyond what exp takes, and all of them equal: finite numbers, rows that add up."""
    q, k, v, above = inputs(Case(130, 130, 16, True, dtype), device)
    for factor in (scale, -scale, 0.0):
        leaves = [(q * factor).requires_grad_(), k.clone().requires_grad_()]
        ones = torch.ones_like(v).requires_grad_()
        output = VERSIONS[version].apply(*leaves, ones, True)
        output.backward(above)
        assert (output - 1).abs().max() < 1e-2
        assert all(gradient(leaf).isfinite().all() for leaf in (*leaves, ones))


def is_empty_where_nothing_is_asked(version: str, device: str) -> None:
    q = torch.zeros(2, 0, 16, device=device, requires_grad=True)
    k = torch.ones(2, 5, 16, device=device, requires_grad=True)
    output = VERSIONS[version].apply(q, k, k, False)
    assert output.shape == q.shape
    output.sum().backward()
    assert k.grad is not None
    assert not k.grad.any()


def cuts_tiles_of_any_shape(device: str, queries: int, keys: int) -> None:
    """The kernels at a tiling that is not the one they would choose, in two passes and in one."""
    for passes in BACKWARD_PASSES:
        with chosen(passes, Tiling(queries, keys, 4, 1)):
            for is_causal in (False, True):
                for length in (17, 128, 150):
                    agrees("triton", device, Case(length, length, 16, is_causal, "float32"))


@contextmanager
def chosen(passes: tuple[Pass, ...], tiling: Tiling | None = None) -> Iterator[None]:
    """Let the backward pass be done in these passes, and everything at this tiling if any."""
    from model.flash import tuning

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "backward_passes", lambda _: passes)
        if tiling:
            patch.setattr(tuning, "known_tiling", lambda _: tiling)
        yield


def agrees_in_one_pass(device: str, case: Case) -> None:
    with chosen(ONE_PASS):
        agrees("triton", device, case)


def repeats_exactly(version: str, device: str) -> None:
    """With deterministic algorithms alone: the same bits in every run."""
    q, k, v, above = inputs(Case(300, 300, 32, True, "bfloat16"), device)
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    torch.use_deterministic_algorithms(True)
    try:
        runs = [
            torch.autograd.grad(VERSIONS[version].apply(*leaves, True), leaves, above)
            for _ in range(3)
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    for again in runs[1:]:
        assert all(map(torch.equal, runs[0], again))


def model_agrees(choice: str, device: str) -> None:
    """A model with this attention has eager's logits and gradients."""
    from model import SIZES, TransformerLM
    from model.transformer import next_token_loss

    torch.manual_seed(0)
    config = SIZES["tiny"]
    eager, other = TransformerLM(config), TransformerLM(config, attention=choice)
    other.load_state_dict(eager.state_dict())
    tokens = torch.randint(0, config.vocab_size, (2, 40), device=device)
    results = []
    for model in (eager.to(device), other.to(device)):
        logits = model(tokens)
        next_token_loss(logits, tokens).backward()  # type: ignore[no-untyped-call]
        results.append([logits, *(parameter.grad for parameter in model.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)


def spans_of(choice: str, device: str, length: int) -> list[tuple[str, int | None]]:
    """Return the fused ranges of one training step of a small model, with their FLOPs."""
    from model import SIZES, TransformerLM
    from model.transformer import next_token_loss
    from profiling.spans import recording
    from tests.made.runs.recorded import Recorded

    config = SIZES["tiny"]
    model = TransformerLM(config, attention=choice).to(device)
    tokens = torch.zeros(1, length, dtype=torch.long, device=device)
    recorded = Recorded()
    with recording(recorded):
        next_token_loss(model(tokens), tokens).backward()  # type: ignore[no-untyped-call]
    assert recorded.balanced
    ranges = [inner for root in recorded.roots for inner in root.walk()]
    assert not {"attention_scores", "softmax", "final_matmul"} & {range_.name for range_ in ranges}
    return [(range_.name, range_.flops) for range_ in ranges if "fused" in range_.name]


def compiles(choice: str, device: str) -> None:
    """A whole graph, without breaks, with eager's numbers."""
    from model import SIZES, TransformerLM

    torch.manual_seed(0)
    model = TransformerLM(SIZES["tiny"], attention=choice).to(device)
    tokens = torch.randint(0, 256, (1, 20), device=device)
    expected = model(tokens)
    found = torch.compile(model, fullgraph=True, backend="aot_eager")(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
