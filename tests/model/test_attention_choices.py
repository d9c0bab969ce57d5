"""The attentions a model can be built with: the same numbers, spans that tell what is launched."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model import SIZES, TransformerLM, flops
from model.attention import ATTENTIONS, attend, sdpa_cost
from model.flash.tiles import REFERENCE, computed_pairs
from profiling import names
from profiling.common.settings import ATTENTIONS as CHOICES
from tests.made.models import flash_cases

TINY = SIZES["tiny"]


@pytest.mark.parametrize("choice", ["eager", "sdpa", "flash-reference"])
def test_every_choice_has_eagers_logits_and_gradients(choice: str) -> None:
    flash_cases.model_agrees(choice, "cpu")


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # Dynamo's own
@pytest.mark.parametrize("choice", ["sdpa", "flash-reference"])
def test_every_choice_compiles_as_one_graph(choice: str) -> None:
    flash_cases.compiles(choice, "cpu")


def test_the_launcher_offers_what_the_model_has() -> None:
    assert tuple(ATTENTIONS) == CHOICES


def test_an_unknown_choice_is_refused_and_eager_is_the_default() -> None:
    with pytest.raises(ValueError, match="no attention is called 'fast'; there are: eager, sdpa"):
        TransformerLM(TINY, attention="fast")
    block = TransformerLM(TINY).blocks[0]
    assert block.get_submodule("attention").attend is attend


def test_a_model_with_a_choice_can_be_copied_and_pickled() -> None:
    model = TransformerLM(TINY, attention="flash-reference")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        tokens = torch.arange(6)[None]
        assert torch.equal(other(tokens), model(tokens))


def fused(forward: int, backward: int) -> list[tuple[str, int | None]]:
    """Return one leaf for each of the model's two layers, forward and backward."""
    name = names.FUSED_ATTENTION
    found: list[tuple[str, int | None]] = [(name, forward), (names.backward(name), backward)]
    return 2 * found[:1] + 2 * found[1:]


@pytest.mark.parametrize("length", [40, 300])
def test_the_reference_pushes_one_leaf_that_knows_its_tiles(length: int) -> None:
    pairs = computed_pairs(length, length, True, REFERENCE.queries, REFERENCE.keys)
    products = 4 * 4 * 16 * pairs  # 2 products of 2 FLOPs, 4 heads of width 16
    found = flash_cases.spans_of("flash-reference", "cpu", length)
    assert found == fused(products, products * 5 // 2)


def test_pytorchs_attention_skips_what_the_mask_hides() -> None:
    products = 4 * 4 * 16 * (40 * 41 // 2)
    assert flash_cases.spans_of("sdpa", "cpu", 40) == fused(products, products * 5 // 2)


def test_pytorchs_plain_backend_computes_the_square() -> None:
    q = torch.randn(2, 3, 17, 16, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):
        cost = sdpa_cost(q, q, q)
        with FlopCounterMode(display=False) as forward:
            output = functional.scaled_dot_product_attention(q, q, q, is_causal=True)
        with FlopCounterMode(display=False) as backward:
            output.sum().backward()  # type: ignore[no-untyped-call]
    square = 2 * 3 * 17**2
    elementwise = square * (1 + flops.SOFTMAX_FLOPS)
    assert cost.flops - elementwise == forward.get_total_flops() == 4 * square * 16
    elementwise = square * (1 + flops.SOFTMAX_BACKWARD_FLOPS)
    assert cost.backward_flops - elementwise == backward.get_total_flops() == 8 * square * 16


def test_torchs_own_formula_counts_the_square_that_a_fused_kernel_halves() -> None:
    """It knows no mask, so at length T it counts 2T / (T + 1) times what is looked at."""
    q = torch.empty(2, 3, 64, 16, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        torch.ops.aten._scaled_dot_product_flash_attention(q, q, q, 0.0, True)
    cost = flops.fused_attention(6, 64, 64, 16, 2, flops.visible_pairs(64))
    assert counter.get_total_flops() * 65 == cost.flops * 2 * 64
    full = flops.fused_attention(6, 64, 64, 16, 2, 64 * 64)
    assert counter.get_total_flops() == full.flops


def test_the_scores_do_not_count_among_the_bytes() -> None:
    cost = flops.fused_attention(6, 64, 64, 16, 2, flops.visible_pairs(64))
    assert cost.bytes == 4 * 6 * 64 * 16 * 2 + 6 * 64 * 4
    assert cost.elements == 6 * 64 * 16


def test_torchs_counter_knows_our_kernels() -> None:
    """On meta tensors nothing runs; the counter asks for FLOPs by the shapes."""
    with torch.device("meta"):
        model = TransformerLM(TINY, attention="flash")
        other = TransformerLM(TINY)
        tokens = torch.zeros(2, 40, dtype=torch.long)
    totals = []
    for each in (model, other):
        with FlopCounterMode(display=False) as forward:
            logits = each(tokens)
        with FlopCounterMode(display=False) as backward:
            logits.sum().backward()
        totals.append((forward.get_total_flops(), backward.get_total_flops()))
    product = TINY.num_layers * 2 * 2 * 4 * 16  # FLOPs a pair: layers, batch, heads, width
    seen, square = 40 * 41 // 2, 40**2
    assert totals[0][0] == totals[1][0] - product * 2 * (square - seen)
    assert totals[0][1] == totals[1][1] - product * (4 * square - 7 * seen)
