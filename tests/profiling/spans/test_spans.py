"""Spans open around the work, know its FLOPs, and balance whatever happens."""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model import SIZES, TransformerLM
from model.transformer import next_token_loss
from profiling.spans import costs, is_recording, recording, span
from profiling.spans.backward import _passes, open_range_stack
from tests.made.runs.recorded import Operators, Recorded

TINY = SIZES["tiny"]


def doubled(x: Tensor, name: str = "double") -> Tensor:
    with span(name) as mark:
        return mark.output(x * 2)


def step(model: nn.Module, tokens: Tensor) -> None:
    with span("step"):
        with span("forward"):
            loss = next_token_loss(model(tokens), tokens)
        with span("backward"):
            loss.backward()  # type: ignore[no-untyped-call]


def backward(tensor: Tensor) -> None:
    tensor.sum().backward()  # type: ignore[no-untyped-call]


def test_the_model_pushes_the_tree_the_design_promises(recorded: Recorded) -> None:
    step(TransformerLM(TINY), torch.randint(0, TINY.vocab_size, (2, 8)))
    parts = ["qkv_projection", "rope", "attention_scores", "softmax", "final_matmul"]
    block = ["norm", ("attention", [*parts, "output_projection"]), "norm", "ffn"]
    layers = TINY.num_layers * [("block", block)]
    forward_leaves = ["embedding"]
    for _ in range(TINY.num_layers):
        forward_leaves += ["norm", *parts, "output_projection", "norm", "ffn"]
    forward_leaves += ["final_norm", "lm_head", "loss"]
    assert recorded.trees() == [
        (
            "step",
            [
                (
                    "forward",
                    ["embedding", *layers, "final_norm", "lm_head", "loss"],
                ),
                ("backward", [f"{name}.backward" for name in reversed(forward_leaves)]),
            ],
        )
    ]


def test_an_operator_of_the_backward_pass_runs_inside_the_range_of_its_span() -> None:
    model = TransformerLM(TINY)
    tokens = torch.randint(0, TINY.vocab_size, (2, 8))
    with recording(Recorded()), Operators() as operators:
        step(model, tokens)
    seen: dict[str, list[str]] = {}
    for range_, operator in operators.calls:
        seen.setdefault(range_, []).append(operator)
    layers = TINY.num_layers
    assert seen["attention_scores.backward"].count("bmm") == 2 * layers
    assert "masked_fill" in seen["attention_scores.backward"]
    assert seen["softmax.backward"].count("_softmax_backward_data") == layers
    assert seen["final_matmul.backward"].count("bmm") == 2 * layers
    assert seen["ffn.backward"].count("mm") == 6 * layers
    assert seen["qkv_projection.backward"].count("mm") == 6 * layers
    assert "embedding_dense_backward" in seen["embedding.backward"]
    assert not {"mm", "bmm"} & set(seen["backward"])


def test_payloads_are_the_flops_and_the_costs_are_kept(recorded: Recorded) -> None:
    with span("part", 7, backward_flops=14, bytes=3, elements=2) as mark:
        result = mark.output(torch.ones(2, requires_grad=True) * 2)
    backward(result)
    assert [(range_.name, range_.flops) for range_ in recorded.roots] == [
        ("part", 7),
        ("part.backward", 14),
    ]
    assert ("part", 7, 3, 2) in costs()
    assert ("part.backward", 14, None, 2) in costs()


def test_nothing_is_recorded_when_nobody_asks() -> None:
    assert not is_recording()
    with span("part", cost=lambda: pytest.fail("the cost was computed for nobody")) as mark:
        one = torch.ones(1, requires_grad=True) * 1
        assert mark.output(one) is one
        assert mark.output(one, one) == (one, one)
    backward(one)
    assert open_range_stack() == []


def test_recording_can_be_turned_off_inside(recorded: Recorded) -> None:
    with recording(None), span("unseen"):
        pass
    with span("seen"):
        pass
    assert recorded.names() == ["seen"]


def test_an_exception_in_the_forward_closes_every_range(recorded: Recorded) -> None:
    with pytest.raises(RuntimeError, match="boom"), span("outer"), span("inner"):
        raise RuntimeError("boom")
    with span("after"):
        pass
    assert recorded.trees() == [("outer", ["inner"]), "after"]


class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        raise RuntimeError("boom")


def failing(x: Tensor) -> Tensor:
    with span("fails") as mark:
        result: Tensor = Fails.apply(x)  # type: ignore[no-untyped-call]
        return mark.output(result * 2)


def test_an_exception_in_backward_is_closed_by_the_range_around_it(recorded: Recorded) -> None:
    result = failing(torch.ones(2, requires_grad=True))
    with pytest.raises(RuntimeError, match="boom"), span("backward"):
        backward(result)
    with span("after"):
        pass
    assert recorded.trees() == ["fails", ("backward", ["fails.backward"]), "after"]


def test_an_exception_in_backward_without_a_range_around_it_is_closed_by_the_next_pass() -> None:
    recorder = Recorded()
    with recording(recorder):
        with pytest.raises(RuntimeError, match="boom"):
            backward(failing(torch.ones(2, requires_grad=True)))
        assert not _passes  # the engine has let go of the failed pass
        backward(doubled(torch.ones(2, requires_grad=True)))
    assert recorder.balanced
    assert recorder.trees() == ["fails", "fails.backward", "double", "double.backward"]


def test_inputs_without_grad_get_a_backward_range_that_closes(recorded: Recorded) -> None:
    layer = nn.Linear(3, 3)
    with span("first") as mark:  # its input is data: no gradient leaves the range
        hidden = mark.output(layer(torch.ones(2, 3)).relu())
    backward(doubled(hidden))
    assert recorded.trees() == ["first", "double", "double.backward", "first.backward"]


def test_a_span_that_needs_no_gradient_at_all_has_no_backward_range(recorded: Recorded) -> None:
    frozen = doubled(torch.ones(2))
    backward(doubled(torch.ones(2, requires_grad=True) * frozen, "later"))
    assert recorded.trees() == ["double", "later", "later.backward"]


def test_no_grad_has_no_backward_range(recorded: Recorded) -> None:
    with torch.no_grad():
        doubled(torch.ones(2, requires_grad=True))
    assert recorded.trees() == ["double"]


def test_gradients_of_some_inputs_only_leave_no_range_open(recorded: Recorded) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    x = torch.ones(2, 3, requires_grad=True)
    with span("first") as mark:
        hidden = mark.output(first(x))
    with span("second") as mark:
        result = mark.output(second(hidden))
    result.sum().backward(inputs=[second.weight])
    assert recorded.trees() == ["first", "second", "second.backward"]
    torch.autograd.grad(second(first(x)).sum(), [x])
    assert open_range_stack() == []


def test_an_embedding_has_a_backward_range(recorded: Recorded) -> None:
    table = nn.Embedding(5, 3)
    with span("embedding") as mark:
        rows = mark.output(table(torch.tensor([1, 2])))
    backward(doubled(rows))
    assert recorded.trees()[2:] == ["double.backward", "embedding.backward"]


def test_a_result_may_be_modified_in_place(recorded: Recorded) -> None:
    result = doubled(torch.ones(2, requires_grad=True))
    result += 1
    result.mul_(3)
    backward(result)
    assert recorded.trees() == ["double", "double.backward"]


def test_a_span_that_returns_its_input_has_no_backward_of_its_own(recorded: Recorded) -> None:
    x = torch.ones(2, requires_grad=True) * 1
    with span("nothing") as mark:
        mark.output(x)
    backward(x)
    assert recorded.trees() == ["nothing"]


def test_nested_spans_with_the_same_result_nest_backward(recorded: Recorded) -> None:
    with span("outer") as outer:
        inside = doubled(torch.ones(2, requires_grad=True) + 1, "inner")
        outer.output(inside)
    backward(inside)
    assert recorded.trees() == [
        ("outer", ["inner"]),
        ("outer.backward", ["inner.backward"]),
    ]


def test_several_results_share_one_backward_range(recorded: Recorded) -> None:
    x = torch.ones(2, requires_grad=True)
    with span("three") as mark:
        a, b, c = mark.output(x * 2, x * 3, x * 4)
    backward(a * b + c)
    assert recorded.trees() == ["three", "three.backward"]


def test_what_is_no_tensor_passes_through(recorded: Recorded) -> None:
    with span("pair") as mark:
        result = mark.output(torch.ones(1), None)  # type: ignore[call-overload]
    assert result[1] is None


def test_a_span_closed_late_closes_only_itself(recorded: Recorded) -> None:
    stale = span("stale")
    with span("outer"):
        stale.__enter__()
    with span("next"), span("inner"):
        stale.__exit__(None, None, None)
        with span("innermost"):
            pass
    assert recorded.trees() == [("outer", ["stale"]), ("next", [("inner", ["innermost"])])]


def test_a_graph_whose_first_pass_failed_gets_a_range_in_the_second(recorded: Recorded) -> None:
    fails = [True]

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *gradients: Tensor) -> Tensor:
            if fails.pop():
                raise RuntimeError("boom")
            return gradients[0]

    with span("once") as mark:
        result = mark.output(Once.apply(torch.ones(1, requires_grad=True)) * 2)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="boom"):
        result.backward(retain_graph=True)
    fails.append(False)
    result.backward()
    assert recorded.pushed()["once.backward"] == 2


def test_a_graph_may_be_walked_twice(recorded: Recorded) -> None:
    result = doubled(torch.ones(2, requires_grad=True)).sum()
    result.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    result.backward()  # type: ignore[no-untyped-call]
    assert recorded.trees() == ["double", "double.backward", "double.backward"]


@pytest.mark.parametrize("reentrant", [False, True])
def test_work_that_checkpointing_runs_again_is_no_forward(reentrant: bool) -> None:
    recorder = Recorded()
    x = torch.ones(2, requires_grad=True)
    with recording(recorder):

        def inside(x: Tensor) -> Tensor:
            return doubled(doubled(x, "first").sin(), "second")

        hidden: Tensor = checkpoint(inside, x, use_reentrant=reentrant)
        last = doubled(hidden, "last")
        with span("backward"):
            backward(last)
    assert recorder.balanced
    assert recorder.names().count("first") == 1
    assert recorder.names().count("first.recompute") == 1
    assert len(recorder.all("first.backward")) == 1
    assert len(recorder.all("second.backward")) == 1
    assert {range_.name for range_ in recorder.roots} == {"first", "second", "last", "backward"}


def test_a_pass_inside_a_pass_leaves_the_outer_ranges_open(recorded: Recorded) -> None:
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *gradients: Tensor) -> Tensor:
            with torch.enable_grad():
                backward(doubled(torch.ones(2, requires_grad=True), "inner"))
            return gradients[0]

    with span("outer") as mark:
        result: Tensor = Inner.apply(torch.ones(2, requires_grad=True) * 1)  # type: ignore[no-untyped-call]
        mark.output(result)
    backward(result)
    assert recorded.trees() == [
        "outer",
        ("outer.backward", ["inner.recompute", "inner.backward"]),
    ]


def test_every_thread_has_its_own_ranges(recorded: Recorded) -> None:
    def work() -> None:
        with span("thread"):
            backward(doubled(torch.ones(2, requires_grad=True)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    with span("main"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(str, recorded.trees())) == sorted(
        map(str, ["main", *4 * [("thread", ["double", "double.backward"])]])
    )


def test_spans_change_no_gradient() -> None:
    torch.manual_seed(0)
    model = TransformerLM(TINY)
    twin = copy.deepcopy(model)
    tokens = torch.randint(0, TINY.vocab_size, (2, 8))
    step(model, tokens)
    with recording(Recorded()):
        step(twin, tokens)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad)


def test_a_span_keeps_no_graph_alive(recorded: Recorded) -> None:
    import weakref

    result = doubled(torch.ones(2, requires_grad=True))
    node = weakref.ref(result)
    del result
    assert node() is None


@contextmanager
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
def test_compiling_the_model_breaks_no_graph(on: bool) -> None:
    model = TransformerLM(TINY)
    tokens = torch.randint(0, TINY.vocab_size, (2, 8))
    with fresh_compiler(), recording(Recorded() if on else None):
        explained: Callable[..., object] = torch._dynamo.explain(model)
        assert vars(explained(tokens))["graph_break_count"] == 0
