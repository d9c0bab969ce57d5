"""Bytes kept for the backward pass: against the formulas, and against counting by hand."""

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model import ModelConfig, TransformerLM
from model import memory as formulas
from model.attention import attend
from model.transformer import next_token_loss
from profiling import names
from profiling.spans import span
from profiling.training import saved_tensors
from profiling.training.saved_tensors import SavedTensors, find_saved_tensors

SHAPES = {
    "plain": ModelConfig(d_model=32, d_ff=48, num_layers=2, num_heads=4, vocab_size=50),
    "one head": ModelConfig(d_model=16, d_ff=24, num_layers=1, num_heads=1, vocab_size=7),
    "wide heads": ModelConfig(d_model=48, d_ff=40, num_layers=3, num_heads=2, vocab_size=129),
}
BATCHES = [(1, 8), (2, 8), (3, 17), (2, 1)]
DTYPES = [torch.float32, torch.bfloat16]


def model_account(
    config: ModelConfig, batch: int, context: int, dtype: torch.dtype
) -> SavedTensors:
    torch.manual_seed(0)
    model = TransformerLM(config).to(dtype)
    tokens, targets = (torch.randint(0, config.vocab_size, (batch, context)) for _ in range(2))

    def forward() -> Tensor:
        with span(names.FORWARD):
            return next_token_loss(model(tokens), targets)

    return find_saved_tensors(forward, model.parameters(), (tokens, targets))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("batch", "context"), BATCHES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_range_keeps_exactly_what_its_formula_says(
    shape: str, batch: int, context: int, dtype: torch.dtype
) -> None:
    config = SHAPES[shape]
    found = model_account(config, batch, context, dtype)
    computed = formulas.saved_for_backward(config, batch, context, dtype.itemsize)
    assert {row.span: row.saved_bytes for row in found.by_span()} == computed
    assert found.total_bytes() == computed[names.FORWARD]


def test_the_square_of_the_attention_weights_is_kept_once_a_layer() -> None:
    config, batch, context = SHAPES["plain"], 2, 8
    found = model_account(config, batch, context, torch.float32)
    squares = [
        each for each in found.kept if each.shape[-2:] == (8, 8) and "Softmax" in each.operator
    ]
    assert [each.storage_bytes for each in squares] == [4 * batch * 4 * 8 * 8] * config.num_layers
    again = [each for each in found.kept if each.span == names.FINAL_MATMUL and not each.first]
    assert {each.storage for each in again} == {each.storage for each in squares}
    assert {each.operator for each in again} == {"BmmBackward0.self"}


def test_every_kept_tensor_has_its_operator_and_its_kind() -> None:
    found = model_account(SHAPES["plain"], 2, 8, torch.float32)
    assert found.unasked == 0
    assert all("Backward" in each.operator for each in found.kept)
    kinds = {each.operator: each.kind for each in found.kept if each.span == names.ATTENTION_SCORES}
    assert kinds["MaskedFillBackward0.mask"] == saved_tensors.CONSTANT
    rows = {row.span: row for row in found.by_span()}
    assert rows[names.EMBEDDING].input_bytes == 2 * 8 * 8
    assert rows[names.LOSS].input_bytes == 2 * 8 * 8
    assert rows[names.QKV_PROJECTION].parameter_bytes == 2 * 3 * 4 * 32 * 32
    assert rows[names.ROPE].constant_bytes > 0
    assert rows[names.BLOCK].instances == 2
    assert rows[names.BLOCK].saved_bytes == 2 * rows[names.BLOCK].instance_bytes


def test_what_is_kept_is_what_the_loss_keeps_alive() -> None:
    """Counted another way: the storages behind the loss, read from the nodes themselves."""
    config = SHAPES["plain"]
    torch.manual_seed(0)
    model = TransformerLM(config)
    tokens, targets = torch.randint(0, 50, (2, 2, 8))
    next_token_loss(model(tokens), targets)  # the tables are made
    loss = next_token_loss(model(tokens), targets)
    alive = {storage.data_ptr(): storage.nbytes() for storage in behind(loss)}
    parameters = {each.data_ptr() for each in model.parameters()}
    computed = formulas.saved_for_backward(config, 2, 8, 4)[names.FORWARD]
    tables = lasting(model) | parameters | {tokens.untyped_storage().data_ptr()}
    assert sum(size for where, size in alive.items() if where not in tables) == computed


def behind(loss: Tensor) -> Iterator[torch.UntypedStorage]:
    """Yield the storages that the nodes behind a loss keep; sqrt(D), a bare number, is none."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for name in dir(node):
            value = getattr(node, name) if name.startswith("_saved_") else None
            if isinstance(value, Tensor) and value.dtype != torch.float64:
                yield value.untyped_storage()
        waiting.extend(following for following, _ in node.next_functions)


def lasting(model: TransformerLM) -> set[int]:
    from model.attention import causal_mask

    found = {causal_mask(8, torch.device("cpu")).untyped_storage().data_ptr()}
    for block in model.blocks:
        tables = block.attention.rope.tables(8, torch.empty(0))  # type: ignore[union-attr, operator]
        found |= {table.untyped_storage().data_ptr() for table in tables}
    return found


@pytest.mark.parametrize(("batch", "heads", "context", "width"), [(2, 3, 8, 4), (1, 1, 16, 2)])
def test_attention_alone_keeps_its_square_and_its_inputs(
    batch: int, heads: int, context: int, width: int
) -> None:
    q, k, v = torch.randn(3, batch, heads, context, width).unbind()
    leaves = [part.clone().requires_grad_() for part in (q, k, v)]
    found = find_saved_tensors(lambda: attend(*leaves), (), leaves)
    assert found.total_bytes() == formulas.softmax(batch * heads * context**2, 4)
    assert found.total_bytes(saved_tensors.INPUT) == 3 * 4 * batch * heads * context * width


def test_largest_groups_what_layers_have_in_common() -> None:
    found = model_account(SHAPES["plain"], 2, 8, torch.float32)
    largest = found.largest(5)
    assert len(largest) == 5
    assert [row.saved_bytes for row in largest] == sorted(
        (r.saved_bytes for r in largest), reverse=True
    )
    assert largest[0].count == 4  # the norms: two a layer, read by the square
    assert {row.count for row in largest} <= {2, 4}
    every = found.largest(1000)
    assert sum(row.saved_bytes for row in every) == found.total_bytes()


def test_views_share_their_storage_and_a_slice_keeps_all_of_it() -> None:
    weight = torch.ones(4, requires_grad=True)

    def forward() -> Tensor:
        base = weight * torch.ones(100, 4)
        return (base[0].exp() + base[1].square() + base.sin()[0]).sum()

    found = find_saved_tensors(forward, [weight], ())
    kept = {each.operator: each for each in found.kept}
    assert kept["PowBackward0.self"].storage_bytes == 1600
    assert found.total_bytes() == 1600 + 16 + 1600  # base, exp's result; and the factor


def test_a_function_written_in_python_and_a_module_without_spans() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x, x + 1)
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            return 2 * gradient

    layer = nn.Linear(4, 4, bias=False)
    x = torch.ones(3, 4)
    twice: Any = Twice
    found = find_saved_tensors(lambda: twice.apply(layer(x)).sum(), layer.parameters(), [x])
    operators = [each.operator for each in found.kept if each.kind == saved_tensors.ACTIVATION]
    assert operators == ["TwiceBackward.saved_tensors"] * 2
    (row,) = found.by_span()
    assert (row.span, row.saved_bytes) == (saved_tensors.NO_SPAN, 96)
    assert row.input_bytes == 48
    assert found.kept[0].operator == "MmBackward0.self"


def test_nothing_is_held_once_the_account_is_made() -> None:
    made: list[weakref.ref[Tensor]] = []

    def forward() -> Tensor:
        x = torch.ones(2, 4, requires_grad=True)
        middle = x.exp()
        made.append(weakref.ref(middle))
        return middle.square().sum()

    found = find_saved_tensors(forward, (), ())
    assert found.total_bytes() == 32
    assert [each() for each in made] == [None, None]
