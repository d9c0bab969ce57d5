"""Compiled models: ranges around the kernels of Inductor, by the spans they come from."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._inductor import debug

from model import SIZES, TransformerLM
from model.flops import forward_products
from model.transformer import next_token_loss
from profiling import names
from profiling.spans import compiled, recording, span

BATCH, CONTEXT = 2, 32

# What torch says while it compiles, of itself and of the cached mask (`profiling.training`).
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:(?s).*lru_cache:UserWarning"
)


class Pushed:
    """A recorder that keeps what is pushed."""

    def __init__(self) -> None:
        self.ranges: list[tuple[str, int | None]] = []
        self.open = 0

    def push(self, name: str, payload: int | None) -> None:
        self.ranges.append((name, payload))
        self.open += 1

    def pop(self) -> None:
        self.open -= 1

    def pushed(self) -> dict[str, int]:
        return {}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class TwoParts(nn.Module):
    """Two products in spans of their own, with work between that fuses."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16, bias=False)
        self.second = nn.Linear(16, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with span("block"):
            with span("first") as mark:
                x = mark.output(torch.relu(self.first(x)))
            with span("second") as mark:
                total: torch.Tensor = mark.output(self.second(x * 2).sum())
                return total


def test_launches_stand_in_the_ranges_of_their_spans() -> None:
    torch.manual_seed(0)
    plain, x = TwoParts(), torch.randn(4, 16)
    expected = plain(x)
    ranges = Pushed()
    with compiled.kernel_ranges():
        model = torch.compile(plain, fullgraph=True)
        compiled.run_until_compiled(lambda: model(x).backward())
        with recording(ranges):
            result = model(x)
            result.backward()
        seen = compiled.launch_counts()
    assert torch.allclose(result, expected)
    assert ranges.open == 0
    product = 2 * 4 * 16 * 16
    assert ranges.ranges.count(("first", product)) == 1
    assert ranges.ranges.count(("second", product)) == 1
    # x needs no gradient, so the first product has one backward product, the second has two.
    assert ranges.ranges.count(("first.backward", product)) == 1
    assert ranges.ranges.count(("second.backward", product)) == 2
    assert any(name == "first+second" for name, _ in ranges.ranges)  # relu(...) * 2 is one kernel
    assert seen["none"] == 0
    assert seen["one"] >= 5
    assert seen["several"] >= 1


def test_nothing_is_pushed_while_nobody_records() -> None:
    ranges = Pushed()
    with compiled.kernel_ranges():
        model = torch.compile(TwoParts())
        with recording(None):
            model(torch.randn(4, 16))
    assert not ranges.ranges


CODE = """\
def call(args):
    # Topologically Sorted Source Nodes: [a]
    # [Provenance debug handles] triton_poi_fused_relu_0:1
    stream0 = get_raw_stream(0)
    triton_poi_fused_relu_0.run(buf0, 64, stream=stream0)
    # [Provenance debug handles] torch.ops.aten.sort.default:2
    buf2 = torch.ops.aten.sort.default(buf1)
    # [Provenance debug handles] gone:3
    return (buf2,)"""


def node(graph: torch.fx.Graph, name: str, of: str | None) -> torch.fx.Node:
    made = graph.create_node("call_function", torch.ops.aten.relu.default, (), {}, name)
    made.meta["custom"] = {"span": of} if of else {}
    return made


def test_what_is_written_into_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = torch.fx.Graph()
    nodes = {name: node(graph, name, of) for name, of in {"a": "ffn", "b": None, "c": "x"}.items()}
    known = {
        "triton_poi_fused_relu_0:1": ["a", "b", "elsewhere"],
        "torch.ops.aten.sort.default:2": ["c"],
        "gone:3": ["a"],
    }
    monkeypatch.setattr(debug, "_inductor_triton_kernel_to_post_grad_node_info", known)
    monkeypatch.setattr(compiled, "_kernels", [])
    monkeypatch.setattr(compiled, "_found", type(compiled._found)())
    first, *lines = compiled.with_ranges(CODE, nodes, backward=True).split("\n")
    assert first == "from profiling.spans.compiled import range_of_kernel as _range_of_kernel"
    plain = CODE.split("\n")
    changed = [line for line, before in zip(lines, plain, strict=True) if line != before]
    assert changed == [
        "    with _range_of_kernel(0): triton_poi_fused_relu_0.run(buf0, 64, stream=stream0)",
        "    with _range_of_kernel(1): buf2 = torch.ops.aten.sort.default(buf1)",
    ]
    assert compiled._kernels == [("ffn.backward", None), ("x.backward", None)]
    assert compiled.launch_counts() == {"one": 2, "several": 0, "none": 1}


def test_a_leaf_counts_before_what_is_around_it() -> None:
    graph = torch.fx.Graph()
    listed = [node(graph, f"n{place}", of) for place, of in enumerate(("block", "ffn", "norm"))]
    assert compiled.spans_of(listed) == ["ffn", "norm"]
    assert compiled.spans_of(listed[:1]) == ["block"]
    assert compiled.spans_of([]) == []


@pytest.mark.slow
def test_the_products_of_the_whole_model_are_all_there() -> None:
    config = SIZES["tiny"]
    torch.manual_seed(0)
    model = TransformerLM(config)
    tokens = torch.randint(0, config.vocab_size, (BATCH, CONTEXT))
    ranges = Pushed()

    def step() -> None:
        next_token_loss(fast(tokens), tokens).backward()  # type: ignore[no-untyped-call]

    with compiled.kernel_ranges():
        fast = torch.compile(model, fullgraph=True)
        compiled.run_until_compiled(step)
    with recording(ranges):
        step()
    counted = [each for each in ranges.ranges if not each[0].startswith(names.LOSS)]
    forward = [each for each in counted if not each[0].endswith(names.BACKWARD_SUFFIX)]
    backward = [each for each in counted if each[0].endswith(names.BACKWARD_SUFFIX)]
    products = forward_products(config, BATCH, CONTEXT)
    assert sum(flops or 0 for _, flops in forward) == products
    assert sum(flops or 0 for _, flops in backward) == 2 * products
    assert {name for name, _ in forward} >= {names.QKV_PROJECTION, names.FFN, names.LM_HEAD}
    assert compiled.launch_counts()["none"] == 0
