"""What operators cost: products as torch counts them, the rest by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from analysis.knowledge import memory_costs, operands
from analysis.knowledge.operands import Operands, in_name
from analysis.knowledge.operator_costs import MATRIX, has_formula, operator_cost
from analysis.knowledge.product_costs import ATTENTIONS, PRODUCTS, Convolution
from model.flops import SOFTMAX_BACKWARD_FLOPS, fused_attention, visible_pairs
from profiling.recorders.nvtx_operators import name_with_operands


class Costs(TorchDispatchMode):
    """Adds up what our table says of every operator that is dispatched."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: dict[str, int] = {}
        self.bytes: dict[str, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name
        told = in_name(name_with_operands(name, func._schema.arguments, args, kwargs or {}))
        found = operands.read(*told) if told else None
        cost = operator_cost(name, found) if found else None
        if cost is not None:
            if cost.kind == MATRIX:
                self.flops[name] = self.flops.get(name, 0) + (cost.flops or 0)
            self.bytes[name] = self.bytes.get(name, 0) + (cost.bytes or 0)
        return func(*args, **(kwargs or {}))


def train(*layers: torch.nn.Module, of: tuple[int, ...], grad: bool = True) -> Callable[[], None]:
    net = torch.nn.Sequential(*layers)

    def run() -> None:
        torch.autograd.backward(net(torch.randn(of, requires_grad=grad)).sum())

    return run


def products() -> None:
    a, b = (torch.randn(3, 5, requires_grad=True), torch.randn(5, 7, requires_grad=True))
    c, d = (torch.randn(2, 3, 5, requires_grad=True), torch.randn(2, 5, 4, requires_grad=True))
    everything = [
        a @ b,
        torch.addmm(torch.randn(7), a, b),
        torch.bmm(c, d),
        torch.baddbmm(torch.randn(2, 3, 4), c, d),
        c @ b,
        torch.nn.Linear(5, 9)(c),
        torch.einsum("bik,bkj->bij", c, d),
    ]
    torch.autograd.backward(torch.stack([each.sum() for each in everything]).sum())


CONV = torch.nn.Conv2d
UP = torch.nn.ConvTranspose2d
CASES: dict[str, Callable[[], None]] = {
    "products": products,
    "convolution": train(CONV(3, 8, 3), of=(2, 3, 9, 9)),
    "its input needs no gradient": train(CONV(3, 8, 3), of=(2, 3, 9, 9), grad=False),
    "stride, padding, dilation": train(
        CONV(4, 8, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(2, 1)), of=(2, 4, 12, 11)
    ),
    "groups": train(CONV(8, 16, 3, groups=4, padding="same"), of=(2, 8, 7, 7)),
    "depthwise": train(CONV(8, 8, 3, groups=8, bias=False), of=(1, 8, 7, 7)),
    "transposed": train(
        UP(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2), of=(2, 6, 5, 5)
    ),
    "one dimension": train(torch.nn.Conv1d(3, 5, 4, stride=3), of=(2, 3, 20)),
    "three": train(torch.nn.Conv3d(2, 3, 2), of=(1, 2, 4, 5, 6)),
    "two, one after another": train(CONV(3, 4, 3), torch.nn.ReLU(), UP(4, 3, 2), of=(1, 3, 8, 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_products_are_those_of_torchs_own_counter(case: str) -> None:
    ours, torchs = Costs(), FlopCounterMode(display=False)
    with torchs, ours:
        CASES[case]()
    counted = {
        f"aten::{str(name).rpartition('.')[2]}": flops
        for name, flops in torchs.get_flop_counts()["Global"].items()
    }
    assert ours.flops == counted
    assert sum(counted.values()) > 0


@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_has_two_products_forward_and_five_backward(causal: bool) -> None:
    """Torch counts it as nothing on a CPU; what is masked is not computed."""
    b, h, t, d = 2, 4, 32, 16
    q, k, v = (torch.randn(b, h, t, d, requires_grad=True) for _ in range(3))
    ours = Costs()
    with ours:
        torch.autograd.backward(F.scaled_dot_product_attention(q, k, v, is_causal=causal).sum())
    pairs = visible_pairs(t) if causal else t * t
    cost = fused_attention(b * h, t, t, d, 4, pairs)
    name = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert ours.flops[name] == cost.flops == 2 * (2 * b * h * pairs * d)
    assert ours.flops[f"{name}_backward"] == cost.backward_flops == 5 * (2 * b * h * pairs * d)
    assert ours.bytes[name] == cost.bytes


def test_heads_that_share_keys_and_a_wider_value_count_by_the_queries() -> None:
    shapes = ((2, 8, 16, 4), (2, 2, 24, 4), (2, 2, 24, 6))
    cost = operator_cost("aten::_scaled_dot_product_flash_attention", Operands(shapes))
    assert cost is not None
    assert cost.flops == 2 * 2 * 8 * 16 * 24 * (4 + 6)


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name.startswith("aten::")])
def test_the_arguments_of_fused_attention_stand_where_torch_declares_them(name: str) -> None:
    overload = getattr(torch.ops.aten, name.removeprefix("aten::")).default
    declared = [each.name for each in overload._schema.arguments]
    where = ATTENTIONS[name]
    assert declared[where.q] == "query"
    if where.causal is not None:
        assert declared[where.causal] == "is_causal"
    if where.mask is not None:
        assert declared[where.mask] == "custom_mask_type"
    if where.longest is not None:
        assert declared[where.longest] in ("max_q", "max_seqlen_q")
    if where.window is not None:
        assert declared[where.window : where.window + 2] == [
            "window_size_left",
            "window_size_right",
        ]


CONVOLUTIONS = {name: of for name, of in PRODUCTS.items() if isinstance(of, Convolution)}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_arguments_of_a_convolution_stand_where_torch_declares_them(name: str) -> None:
    packet = getattr(torch.ops.aten, name.removeprefix("aten::"))
    schema = getattr(packet, packet.overloads()[0])._schema
    declared = [each.name for each in schema.arguments]
    where = CONVOLUTIONS[name]
    assert declared[1] == "weight"
    for argument in ("stride", "padding", "dilation", "groups"):
        assert declared[getattr(where, argument)] == argument
    if where.bias is not None:
        assert declared[where.bias] == "bias"
    if not isinstance(where.transposed, bool):
        assert declared[where.transposed] == "transposed"
    if where.transposed:
        assert declared[where.added] == "output_padding"


def test_a_library_s_own_convolution_costs_as_much_as_torch_s() -> None:
    x, w, b = (2, 4, 9, 11), (6, 2, 3, 3), (6,)
    asked = ["[2]", "[1]", "[2]"]  # stride, padding, dilation
    whole = (x, w, b, *[()] * 6), ("", "", "", *asked, "False", "[0, 0]", "2")
    cudnn = (x, w, *[()] * 7), ("", "", asked[1], asked[0], asked[2], "2", "", "", "")
    onednn = (x, w, b, *[()] * 4), ("", "", "", asked[1], asked[0], asked[2], "2")
    costs = [
        operator_cost(name, Operands(shapes, (), inputs, 4))
        for name, (shapes, inputs) in {
            "aten::convolution": whole,
            "aten::cudnn_convolution": cudnn,
            "aten::mkldnn_convolution": onednn,
        }.items()
    ]
    out = 4 * 5  # (9 + 2 - 4 - 1) // 2 + 1 by (11 + 2 - 4 - 1) // 2 + 1
    assert [each and each.flops for each in costs] == [2 * 2 * 6 * out * 2 * 9] * 3


def test_products_in_place_and_of_many_are_counted() -> None:
    assert flops("aten::addmm_", (3, 5), (3, 4), (4, 5), (), ()) == 2 * 3 * 4 * 5
    assert flops("aten::baddbmm_", (2, 3, 5), (2, 3, 4), (2, 4, 5)) == 2 * 2 * 3 * 4 * 5
    assert flops("aten::addmv_", (3,), (3, 4), (4,)) == 2 * 3 * 4
    summed = operator_cost("aten::addbmm", Operands(((3, 5), (2, 3, 4), (2, 4, 5)), itemsize=4))
    assert summed is not None
    assert (summed.flops, summed.bytes) == (2 * 2 * 3 * 4 * 5, 4 * (15 + 24 + 40 + 15))
    lists = (((3, 4), (2, 2)), ((4, 5), (2, 1)))
    listed = operator_cost("aten::_foreach_mm", Operands(lists, itemsize=4))
    flat = operator_cost("aten::_foreach_mm", Operands((*lists[0], *lists[1]), itemsize=4))
    assert listed == flat
    assert listed is not None
    assert (listed.flops, listed.kind) == (2 * 3 * 4 * 5 + 2 * 2 * 2, MATRIX)


def test_a_recurrent_network_multiplies_each_matrix_at_every_step() -> None:
    layer = ((20, 4), (20, 5), (20,), (20,))
    second = ((20, 5), (20, 5), (20,), (20,))
    steps = 7 * 2
    one, both = 20 * (4 + 5), 20 * (4 + 5 + 5 + 5)
    x, hidden = (7, 2, 4), (2, 2, 5)
    listed = (x, (*layer, *second), (), (), hidden, hidden)
    flat = (x, *layer, *second, (), (), hidden, hidden)
    assert flops("aten::_cudnn_rnn", *listed) == flops("aten::_cudnn_rnn", *flat)
    assert flops("aten::_cudnn_rnn", *flat) == 2 * steps * both
    assert flops("aten::_cudnn_rnn_backward", *flat) == 2 * 2 * steps * both
    alone = (x, *layer, (2, 5), (2, 5))
    assert flops("aten::mkldnn_rnn_layer", *alone) == 2 * steps * one


def test_of_an_older_torch_s_attention_the_kind_of_mask_is_not_mistaken() -> None:
    """Before 2.4 there was one argument less: whether to keep the logarithms stands there."""
    shapes = ((2, 16, 4, 8),) * 3 + ((),) * 7

    def counted(ninth: str) -> int | None:
        inputs = ("",) * 9 + (ninth,)
        found = operator_cost("aten::_efficient_attention_forward", Operands(shapes, (), inputs))
        return found.flops if found else None

    assert counted("True") == counted("0") == 4 * 2 * 4 * 16 * 16 * 8
    assert counted("1") == 4 * 2 * 4 * visible_pairs(16) * 8


def test_packed_sequences_are_as_long_as_they_can_be_and_see_a_window() -> None:
    """The arguments of FlashAttention-3's operator in a public trace, smaller."""
    shapes = ((64, 6, 8),) * 3 + ((),) * 4 + ((5,), (5,)) + ((),) * 25
    inputs = [""] * 34
    inputs[12] = inputs[13] = "16"
    inputs[24] = "True"
    inputs[25], inputs[26] = "-1", "-1"

    def flops() -> int | None:
        found = operator_cost("flash_attn_3::fwd", Operands(shapes, (), tuple(inputs)))
        return found.flops if found else None

    assert flops() == 4 * 6 * 8 * 4 * visible_pairs(16)
    inputs[25], inputs[26] = "3", "0"
    seen = sum(min(query, 3) + 1 for query in range(16))
    assert flops() == 4 * 6 * 8 * 4 * seen


def test_what_has_no_product_is_counted_by_hand() -> None:
    ours = Costs()
    x = torch.randn(4, 6)
    with ours:
        x.softmax(-1)
        x + torch.randn(6)
        torch.gt(x, 0)
        x.to(torch.bfloat16)
        x.sum(0)
        F.embedding(torch.tensor([0, 3, 3]), torch.randn(9, 5))
        torch.cat([x, x], 1)
        torch.zeros(3, 4)
        x.add_(x)
        torch.where(x > 0, x, x)
        x[:, torch.tensor([1, 1, 2])]
    ours_by_hand = {
        "aten::_softmax": 2 * 96,
        "aten::add": 96 + 24 + 96,
        "aten::gt": 2 * (96 + 24),
        "aten::_to_copy": 96 + 48,
        "aten::sum": 96 + 24,
        "aten::embedding": 2 * 3 * 5 * 4 + 3 * 8,
        "aten::zeros": 48,
        "aten::add_": 3 * 96,
        "aten::where": 24 + 3 * 96,
        "aten::index": 2 * 4 * 3 * 4 + 3 * 8,
    }
    assert {name: ours.bytes[name] for name in ours_by_hand} == ours_by_hand


@pytest.mark.parametrize(
    "dtype",
    [torch.uint32, torch.uint64, torch.complex64, torch.float8_e8m0fnu, torch.bfloat16, torch.bool],
)
def test_of_numbers_of_any_type_the_size_is_known(dtype: torch.dtype) -> None:
    ours = Costs()
    x = torch.zeros(3, 4).to(dtype)
    with ours:
        x.clone()
    assert ours.bytes["aten::clone"] == 2 * 12 * dtype.itemsize


def flops(name: str, *shapes: Any) -> int | None:
    found = operator_cost(name, Operands(shapes, itemsize=4))
    return found.flops if found else None


def test_softmax_has_the_flops_asked_for_and_others_their_convention() -> None:
    assert flops("aten::_softmax", (2, 8)) == 3 * 16
    five = operator_cost("aten::_log_softmax", Operands(((2, 8),)), softmax_flops=5)
    assert five is not None
    assert (five.flops, five.bytes) == (80, None)
    assert flops("aten::_softmax_backward_data", (2, 8), (2, 8)) == SOFTMAX_BACKWARD_FLOPS * 16
    assert flops("aten::mul", (2, 1, 8), (3, 1)) == 2 * 3 * 8
    assert flops("aten::copy_", (2, 8), (2, 8)) == 0
    assert flops("aten::sum", (2, 8)) == 16
    assert flops("aten::view", (2, 8)) is None


def test_lists_of_tensors_are_read_as_a_whole() -> None:
    parameters = ((3, 4), (5,))
    lists = (parameters,) * 4 + ((), ((), ()))
    fused = operator_cost("aten::_fused_adamw_", Operands(lists, itemsize=4))
    assert fused is not None
    assert (fused.flops, fused.bytes) == (14 * 17, 7 * 17 * 4)
    assert fused.shapes == "2 tensors, 17 numbers"
    foreach = operator_cost("aten::_foreach_add_", Operands((parameters, parameters), itemsize=4))
    flat = operator_cost("aten::_foreach_add_", Operands((*parameters, *parameters), itemsize=4))
    assert foreach == flat
    assert foreach is not None
    assert (foreach.flops, foreach.bytes) == (17, 3 * 17 * 4)
    norm = operator_cost("aten::_foreach_norm", Operands((parameters, ()), itemsize=4))
    assert norm is not None
    assert (norm.flops, norm.bytes) == (17, 17 * 4)  # nothing as long is written


def test_fused_kernels_of_inductor_move_their_operands() -> None:
    of = Operands(((8, 4), (8, 4), ()), ("float", "c10::BFloat16", "Scalar"))
    cost = operator_cost("triton_poi_fused__to_copy_t_8", of)
    assert cost is not None
    assert (cost.flops, cost.bytes, cost.shapes) == (None, 32 * 6, "8×4, 8×4")
    assert not has_formula("triton_tem_fused_mm_0")


sizes = st.lists(st.integers(0, 5), max_size=5).map(tuple)
values = st.sampled_from(["", "True", "0", "-1", "3", "[1, 2]", "[]", "[-1]", "[True, False]", "x"])
names = st.sampled_from(
    [
        *PRODUCTS,
        *memory_costs.table(3),
        "aten::_foreach_lerp_",
        "aten::_foreach_mul",
        "triton_poi_x",
    ]
)


@given(
    names,
    st.lists(st.one_of(sizes, st.lists(sizes, max_size=3).map(tuple)), max_size=14).map(tuple),
    st.lists(values, max_size=14).map(tuple),
    st.sampled_from([None, 4]),
)
def test_whatever_the_operands_are_there_is_a_cost_or_none(
    name: str, shapes: Any, inputs: tuple[str, ...], itemsize: int | None
) -> None:
    cost = operator_cost(name, Operands(shapes, (), inputs, itemsize))
    if cost is not None:
        assert cost.flops is None or cost.flops >= 0
        assert cost.bytes is None or cost.bytes >= 0


@given(st.text())
def test_whatever_the_texts_are_they_are_read_or_not(text: str) -> None:
    operands.read(text, text, text)
    in_name(f"aten::mm, sizes = {text}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aten::mm, seq = 3, op_id = 9, sizes = [[4, 2], [2, 5]]", "[[4, 2], [2, 5]]"),
        ("aten::cat, op_id = 9, sizes = [[4], []], input_op_ids = [(1,0), (0,-1)]", "[[4], []]"),
        ("X, seq = 7, sizes = [[4, 512], []], input_op_ids = [(1,0), (0,-1)]", "[[4, 512], []]"),
    ],
)
def test_the_sizes_of_emit_nvtx_are_read(name: str, told: str) -> None:
    assert in_name(name) == (told, "", "")
    assert operands.read(told) is not None


def test_names_without_sizes_tell_none() -> None:
    assert in_name("aten::mul, op_id = 314339") is None
    assert in_name("FlashAttnFunc, seq = 47575, op_id = 999172") is None
