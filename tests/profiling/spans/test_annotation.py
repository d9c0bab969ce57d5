"""`annotate` gives a model that cannot be edited the ranges of our own, forward and backward."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from profiling.spans import annotate, recording, span
from profiling.spans.backward import open_range_stack
from tests.made.runs.recorded import Recorded


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.Linear(4, 4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.mlp(self.self_attn(x))
        return result


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(5, 4)
        self.layers = nn.ModuleList([Block(), Block()])
        self.head2 = nn.Linear(4, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x)
        result: Tensor = self.head2(x)
        return result


TOKENS = torch.tensor([[1, 2, 3]])
BLOCK = ("block", ["attention", ("ffn", ["Linear", "Linear"])])


def backward(tensor: Tensor) -> None:
    tensor.sum().backward()  # type: ignore[no-untyped-call]


def test_forward_and_backward_of_every_submodule_nest(recorded: Recorded) -> None:
    model = annotate(Model())
    backward(model(TOKENS))
    block = (
        "block.backward",
        [("ffn.backward", ["Linear.backward", "Linear.backward"]), "attention.backward"],
    )
    assert recorded.trees() == [
        ("forward", ["embedding", BLOCK, BLOCK, "head"]),
        ("backward", ["head.backward", block, block, "embedding.backward"]),
    ]


def test_linear_layers_know_their_flops(recorded: Recorded) -> None:
    model = annotate(Model())
    backward(model(TOKENS))
    assert recorded.all("head")[0].flops == 2 * 3 * 4 * 5
    assert recorded.all("head.backward")[0].flops == 2 * 2 * 3 * 4 * 5
    assert recorded.all("block")[0].flops is None


def test_a_frozen_layer_has_half_the_backward_flops(recorded: Recorded) -> None:
    model = annotate(Model())
    model.head2.requires_grad_(False)
    backward(model(TOKENS))
    assert recorded.all("head.backward")[0].flops == 2 * 3 * 4 * 5


def test_optimizer_steps_get_a_range(recorded: Recorded) -> None:
    model = annotate(Model())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        backward(model(TOKENS))
        optimizer.step()
        optimizer.zero_grad()
    assert [root.name for root in recorded.roots] == 2 * ["forward", "backward", "optimizer"]


def test_phases_that_are_open_already_are_not_opened_again(recorded: Recorded) -> None:
    model = annotate(Model())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with span("forward"):
        loss = model(TOKENS).sum()
    with span("backward"):
        backward(loss)
    with span("optimizer"):
        optimizer.step()
    assert recorded.names().count("forward") == 1
    assert recorded.names().count("backward") == 1
    assert recorded.names().count("optimizer") == 1


def test_annotating_twice_changes_nothing(recorded: Recorded) -> None:
    model = annotate(annotate(Model()))
    model(TOKENS)
    assert recorded.trees() == [("forward", ["embedding", BLOCK, BLOCK, "head"])]


def test_an_exception_inside_a_submodule_leaves_nothing_open(recorded: Recorded) -> None:
    model = annotate(Model())
    with pytest.raises(IndexError):
        model(torch.tensor([[99]]))
    model(TOKENS)
    assert [root.name for root in recorded.roots] == ["forward", "forward"]


def test_a_step_that_raises_leaves_nothing_open_after_the_next(recorded: Recorded) -> None:
    class Fails(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            raise RuntimeError("boom")

    model = annotate(Model())
    failing = Fails(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="boom"), span("around"):
        failing.step()
    with span("after"):
        pass
    assert [root.name for root in recorded.roots] == ["around", "after"]


def test_checkpointed_submodules_are_labelled_as_run_again(recorded: Recorded) -> None:
    model = annotate(Block())
    x = torch.ones(1, 4, requires_grad=True)
    backward(checkpoint(model.mlp, x, use_reentrant=False))
    assert recorded.names().count("Linear.recompute") == 2
    assert recorded.names().count("Linear.backward") == 2


def test_a_step_that_raised_and_was_caught_takes_no_later_range_along(recorded: Recorded) -> None:
    class Fails(torch.optim.SGD):
        fail = True

        def step(self, closure: object = None) -> None:  # type: ignore[override]
            if self.fail:
                raise RuntimeError("boom")

    optimizer = Fails(annotate(Model()).parameters(), lr=0.1)
    with span("step"), pytest.raises(RuntimeError, match="boom"):
        optimizer.step()
    optimizer.fail = False
    with span("next"), span("inner"), span("innermost"):
        optimizer.step()
        with span("after"):
            pass
    assert recorded.trees()[1:] == [("next", [("inner", [("innermost", ["optimizer", "after"])])])]


def test_a_part_annotated_before_its_model_is_counted_once(recorded: Recorded) -> None:
    model = Model()
    annotate(model.head2)
    annotate(model)(TOKENS)
    assert recorded.pushed()["Linear"] == 4
    assert len(recorded.all("forward")) == 1


def test_an_annotated_model_can_be_saved(recorded: Recorded, tmp_path: Path) -> None:
    torch.save(annotate(Model()), tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    loaded(TOKENS)
    assert recorded.trees() == [("forward", ["embedding", BLOCK, BLOCK, "head"])]


def test_nothing_is_recorded_when_nobody_asks() -> None:
    model = annotate(Model())
    backward(model(TOKENS))
    assert open_range_stack() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiling_an_annotated_model_breaks_no_graph() -> None:
    model = annotate(Model())
    torch._dynamo.reset()
    with recording(Recorded()):
        explained = torch._dynamo.explain(model)(TOKENS)
    torch._dynamo.reset()
    assert explained.graph_break_count == 0


@pytest.mark.filterwarnings("ignore")
def test_a_tiny_qwen3_of_transformers(recorded: Recorded) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=64,
    )
    model = annotate(Qwen3ForCausalLM(config))
    tokens = torch.randint(0, 64, (1, 6))
    backward(model(tokens, labels=tokens).loss)
    counted = recorded.pushed()
    for name, count in {
        "block": 2,
        "attention": 2,
        "ffn": 2,
        "norm": 8,
        "qkv_projection": 6,
    }.items():
        assert counted[name] == count
        assert counted[f"{name}.backward"] == count
    assert [root.name for root in recorded.roots] == ["forward", "backward"]
    assert counted["lm_head.backward"] == counted["embedding.backward"] == 1
