"""The analytic FLOPs against torch's own counter, the reference notes, and the sizes' counts."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from model import SIZES, ModelConfig, TransformerLM, flops
from model.transformer import next_token_loss
from profiling import names
from profiling.spans import recording
from tests.made.runs.recorded import Operators, Recorded

PARAMETERS = {
    "small": 128_625_408,
    "medium": 423_183_360,
    "large": 969_411_840,
    "xl": 1_998_235_200,
    "2.7B": 3_406_809_600,
    "10B": 12_832_823_808,
    "xl-2026": 3_406_809_600,
}


def meta_model(config: ModelConfig) -> nn.Module:
    with torch.device("meta"):
        return TransformerLM(config)


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_counted_exactly(size: str) -> None:
    config = SIZES[size]
    built = sum(parameter.numel() for parameter in meta_model(config).parameters())
    assert config.parameter_count == built == PARAMETERS.get(size, built)


def test_small_at_the_vocabulary_of_gpt2() -> None:
    config = ModelConfig(d_model=768, d_ff=3072, num_layers=12, num_heads=12, vocab_size=50_257)
    assert config.parameter_count == 190_460_160


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_heads": 5}, "num_heads must divide d_model: 64 / 5 is 12.80"),
        ({"num_heads": 64}, "even head width"),
        ({"d_model": 0}, "d_model must be a positive whole number, not 0"),
        ({"num_layers": -1}, "num_layers must be a positive whole number, not -1"),
        ({"vocab_size": 2.5}, "vocab_size must be a positive whole number, not 2.5"),
        ({"rope_theta": 0.0}, "rope_theta must be positive"),
    ],
)
def test_impossible_shapes_are_refused(wrong: dict[str, int], message: str) -> None:
    shape = {"d_model": 64, "d_ff": 128, "num_layers": 2, "num_heads": 4, **wrong}
    with pytest.raises(ValueError, match=message):
        ModelConfig(**shape)


@pytest.mark.parametrize(
    ("size", "batch", "context"), [("tiny", 3, 24), ("small", 1, 32), ("small", 4, 128)]
)
def test_matrix_products_equal_torchs_own_count(size: str, batch: int, context: int) -> None:
    config = SIZES[size]
    model = meta_model(config)
    tokens = torch.zeros(batch, context, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as forward:
        loss = next_token_loss(model(tokens), tokens)
    with FlopCounterMode(display=False) as backward:
        loss.backward()  # type: ignore[no-untyped-call]
    products = flops.forward_products(config, batch, context)
    assert forward.get_total_flops() == products
    assert backward.get_total_flops() == 2 * products


def test_payloads_of_the_ranges_add_up_to_the_products_and_the_elementwise_work() -> None:
    config, batch, context = SIZES["small"], 2, 16
    recorded = Recorded()
    tokens = torch.zeros(batch, context, dtype=torch.long, device="meta")
    model = meta_model(config)
    with recording(recorded):
        next_token_loss(model(tokens), tokens).backward()  # type: ignore[no-untyped-call]
    payloads = Counter[str]()
    for root in recorded.roots:
        for range_ in root.walk():
            payloads[range_.name] += range_.flops or 0
    count, square = batch * context, batch * config.num_heads * context**2
    elementwise = {
        names.ATTENTION_SCORES: config.num_layers * square,
        names.FFN: config.num_layers * flops.SWIGLU_FLOPS * count * config.d_ff,
    }
    matrix = (
        names.QKV_PROJECTION,
        names.OUTPUT_PROJECTION,
        names.ATTENTION_SCORES,
        names.FINAL_MATMUL,
        names.FFN,
        names.LM_HEAD,
    )
    products = sum(payloads[name] - elementwise.get(name, 0) for name in matrix)
    assert products == flops.forward_products(config, batch, context)
    assert payloads[names.SOFTMAX] == config.num_layers * flops.SOFTMAX_FLOPS * square
    assert payloads[names.backward(names.FINAL_MATMUL)] == 2 * payloads[names.FINAL_MATMUL]


def test_the_reference_notes_come_out_exactly() -> None:
    """Batch 8, 12 heads, 256 positions, 64 per head."""
    scores = flops.attention_scores(8, 12, 256, 256, 64, 4)
    softmax = flops.softmax(8 * 12 * 256 * 256, 4)
    product = flops.final_matmul(8, 12, 256, 256, 64, 4)
    assert (scores.flops, softmax.flops, product.flops) == (811_597_824, 18_874_368, 805_306_368)
    assert round(product.flops / softmax.flops, 2) == 42.67


def test_one_forward_of_small_launches_85_linear_and_24_batched_products() -> None:
    model = meta_model(SIZES["small"])
    with Operators() as operators, torch.no_grad():
        model(torch.zeros(1, 8, dtype=torch.long, device="meta"))
    calls = Counter(operator for _, operator in operators.calls)
    assert (calls["mm"], calls["bmm"]) == (7 * 12 + 1, 24)


def test_mfu_counts_six_flops_a_weight_and_twelve_a_pair() -> None:
    small = SIZES["small"]
    weights = 128_625_408 - 10_000 * 768
    assert flops.training_flops_per_token(small, 512) == 6 * weights + 12 * 12 * 768 * 512
