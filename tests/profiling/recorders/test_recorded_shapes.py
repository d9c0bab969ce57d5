"""FLOPs by the shapes that both recorders keep, against torch's own counter; no span helps."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock, patch

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from analysis import Report
from analysis.attribution.launches import Attribution
from analysis.costs.costed_calls import KINDS, MATRIX, costed_calls
from analysis.knowledge.operator_costs import has_formula
from model import SIZES, TransformerLM
from model.flops import forward_products
from profiling.launch.options import parse, prepare
from profiling.recorders.nsys_recorder import NsysRecorder
from profiling.recorders.nvtx_operators import NvtxOperators, name_with_operands
from profiling.recorders.torch_recorder import EmbeddedRecorder
from tests.made.models.tiny_qwen import built, tiny_config
from tests.made.reports.build_report import Range, make_report
from tests.made.runs.launched import find_nsys, launch, rows
from tests.profiling.recorders.test_stacks import asked, stand_in

COUNTED: Final = (
    *("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    *("aten::convolution", "aten::convolution_backward"),
)


def matrix_flops(path: Path) -> dict[str, int]:
    """Return the FLOPs of each operator that multiplies matrices, by shapes alone."""
    with Report(path) as report:
        calls = costed_calls(Attribution.of(report), spans=False)
    found: dict[str, int] = {}
    for name, flops, kind in zip(calls.name, calls.flops.tolist(), calls.kind, strict=True):
        if kind == MATRIX:
            found[calls.names[name]] = found.get(calls.names[name], 0) + flops
    return found


def counted(run: Callable[[], Any]) -> dict[str, int]:
    with FlopCounterMode(display=False) as counter:
        run()
    every = counter.get_flop_counts()["Global"].items()
    return {f"aten::{str(name).rpartition('.')[2]}": flops for name, flops in every}


def embedded(folder: Path, run: Callable[[], Any]) -> Path:
    with EmbeddedRecorder.inside("cpu", folder):
        run()
    return EmbeddedRecorder().report(folder, {})


def our_model(step: bool) -> Callable[[], Any]:
    config = SIZES["tiny"]
    net = TransformerLM(config)
    ids = torch.randint(0, config.vocab_size, (2, 16))

    def run() -> None:
        logits = net(ids)
        if step:
            torch.autograd.backward(
                torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
            )

    return run


def qwen(step: bool) -> Callable[[], Any]:
    net = built(tiny_config(layers=2), attention="eager").train(step)
    ids = torch.randint(0, 320, (2, 12))

    def run() -> None:
        with torch.set_grad_enabled(step):
            loss = net(input_ids=ids, labels=ids).loss
        if step:
            torch.autograd.backward(loss)

    return run


def convolutions(step: bool) -> Callable[[], Any]:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, groups=4, dilation=2, padding="same"),
        torch.nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1, groups=2),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(10),
    )
    x = torch.randn(2, 3, 16, 16)
    net(x)

    def run() -> None:
        with torch.set_grad_enabled(step):
            y = net(x)
        if step:
            torch.autograd.backward(y.sum())

    return run


def checkpointed(step: bool) -> Callable[[], Any]:
    """Return blocks that are computed again in the backward pass, up to what is needed of them."""
    blocks = [torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)) for _ in "ab"]
    x = torch.randn(3, 8, requires_grad=True)

    def run() -> None:
        with torch.set_grad_enabled(step):
            y = x
            for block in blocks:
                y = checkpoint(block, y, use_reentrant=False)
        if step:
            torch.autograd.backward(y.sum())

    return run


def compiled(step: bool) -> Callable[[], Any]:
    """Return a compiled net, which is compiled while it is recorded."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 8)
    )
    x = torch.randn(2, 3, 8, 8)

    def run() -> None:
        torch._dynamo.reset()
        with torch.set_grad_enabled(step):
            y = torch.compile(lambda x: net(x), backend="aot_eager")(x)
        if step:
            torch.autograd.backward(y.sum())

    return run


RUNS: Final = {
    "ours": our_model,
    "qwen": qwen,
    "convolutions": convolutions,
    "checkpointed": checkpointed,
    "compiled": compiled,
}


@pytest.mark.parametrize("step", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("run", RUNS)
def test_the_embedded_recorder_keeps_what_flops_follow_from(
    run: str, step: bool, tmp_path: Path
) -> None:
    chosen = RUNS[run](step)
    wanted = counted(chosen)
    found = matrix_flops(embedded(tmp_path, chosen))
    assert {name: found.get(name, 0) for name in wanted} == wanted
    assert set(wanted) <= set(COUNTED)
    assert sum(found.values()) == sum(wanted.values()) > 0


def test_our_own_models_formulas_say_the_same(tmp_path: Path) -> None:
    found = matrix_flops(embedded(tmp_path, our_model(True)))
    assert sum(found.values()) == 3 * forward_products(SIZES["tiny"], 2, 16)


def test_fused_attention_counts_its_products(tmp_path: Path) -> None:
    q, k, v = (torch.randn(2, 4, 32, 16, requires_grad=True) for _ in range(3))

    def run() -> None:
        torch.autograd.backward(torch.nn.functional.scaled_dot_product_attention(q, k, v).sum())

    product = 2 * 2 * 4 * 32 * 32 * 16
    name = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert matrix_flops(embedded(tmp_path, run)) == {
        name: 2 * product,
        f"{name}_backward": 5 * product,
    }


MOVE_NOTHING: Final = {
    "_local_scalar_dense",
    "_reshape_alias",
    "_unsafe_view",
    "alias",
    "as_strided",
    "chunk",
    "detach",
    "detach_",
    "empty",
    "empty_like",
    "empty_strided",
    "expand",
    "expand_as",
    "flatten",
    "is_nonzero",
    "is_same_size",
    "item",
    "lift_fresh",
    "narrow",
    "new_empty",
    "new_empty_strided",
    "nll_loss_nd",
    "outer",
    "permute",
    "reshape",
    "resize_",
    "resolve_conj",
    "result_type",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view",
}
"""Operators that make views, allocate, or leave all their work to others."""


def test_of_a_training_step_only_what_moves_nothing_is_not_modelled(tmp_path: Path) -> None:
    """That, and what operators that leave their work to others do themselves."""
    with Report(embedded(tmp_path, our_model(True))) as report:
        attribution = Attribution.of(report)
        calls = costed_calls(attribution, spans=False)
    work = attribution.work
    left = {work.names[kind].removeprefix("aten::") for kind in work.kind[calls.owner == -1]}
    assert {name for name in left if not has_formula(f"aten::{name}")} <= MOVE_NOTHING
    assert {KINDS[kind] for kind in np.unique(calls.kind)} == {"matrix", "memory"}


SCRIPT: Final = textwrap.dedent(
    """
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1),
        torch.nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 17 * 17, 10),
    )
    batched = torch.randn(2, 3, 5, requires_grad=True)
    q = torch.randn(1, 2, 8, 4, requires_grad=True)

    def run():
        net(torch.ones(2, 3, 16, 16)).sum().backward()
        torch.baddbmm(torch.ones(2, 3, 4), batched, torch.ones(2, 5, 4)).sum().backward()
        torch.nn.functional.scaled_dot_product_attention(q, q, q).sum().backward()

    if __name__ == "__main__":
        run()
    """
)


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_a_script_recorded_by_either_recorder_has_the_same_flops(
    recorder: str, tmp_path: Path
) -> None:
    env = {"NSYS": find_nsys()} if recorder == "nsys" else {}
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    asked = ("--recorder", recorder, "--shapes", "--device", "cpu", "--name", "r")
    done = launch("--script", script, *asked, reports=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    within: dict[str, Any] = {"__name__": "train"}
    exec(SCRIPT, within)
    wanted = counted(within["run"])
    product = 2 * 2 * 8 * 8 * 4
    name = "aten::_scaled_dot_product_flash_attention_for_cpu"
    wanted |= {name: 2 * product, f"{name}_backward": 5 * product}
    assert matrix_flops(tmp_path / "r.sqlite") == wanted


def test_nsys_records_no_shapes_unless_asked(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import torch\ntorch.ones(2, 3) @ torch.ones(3, 4)\n")
    asked = ("--recorder", "nsys", "--device", "cpu", "--name", "r")
    done = launch("--script", script, *asked, reports=tmp_path, env={"NSYS": find_nsys()})
    assert done.returncode == 0, done.stderr
    sql = "SELECT count(*) FROM StringIds WHERE value LIKE '%sizes =%'"
    assert rows(tmp_path / "r.sqlite", sql) == [(0,)]
    assert matrix_flops(tmp_path / "r.sqlite") == {}


@pytest.mark.parametrize("shapes", [False, True])
def test_on_a_gpu_nsys_has_torch_name_the_operators(shapes: bool, tmp_path: Path) -> None:
    emitting = MagicMock()
    with (
        patch.object(torch.cuda, "profiler"),
        patch.object(torch.cuda, "synchronize"),
        patch.object(torch.autograd.profiler, "emit_nvtx", emitting),
        NsysRecorder.inside("cuda", tmp_path, shapes=shapes),
    ):
        pass
    emitting.assert_called_once_with(enabled=shapes, record_shapes=True)


def pushed(run: Callable[[], Any], *, shapes: bool = True) -> list[str]:
    """Return the names of the ranges that a run's operators are put into under nsys."""
    names: list[str] = []

    def annotate(name: str, domain: str) -> MagicMock:
        opened = MagicMock()
        opened.__enter__.side_effect = lambda: names.append(name)
        return opened

    with patch("nvtx.annotate", annotate), NvtxOperators(shapes=shapes):
        run()
    return names


def jagged() -> None:
    rows = [torch.randn(3, 8), torch.randn(5, 8)]
    nested = torch.nested.nested_tensor(rows, layout=torch.jagged)
    torch.nn.functional.linear(nested, torch.randn(4, 8))


def padded() -> None:
    one = torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)])
    torch.matmul(one, torch.nested.nested_tensor([torch.randn(8, 3), torch.randn(8, 5)]))


def of_no_numbers() -> None:
    with FakeTensorMode():
        torch.mm(torch.randn(3, 4), torch.randn(4, 5))


def chosen() -> None:
    x = torch.randn(3, 4)
    torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("shapes", [False, True])
@pytest.mark.parametrize("run", [jagged, padded, of_no_numbers, chosen])
def test_tensors_made_of_others_and_control_flow_run_as_without_nsys(
    run: Callable[[], Any], shapes: bool
) -> None:
    names = pushed(run, shapes=shapes)
    assert any(name.startswith("aten::randn") for name in names)
    assert not any("mm" in name for name in names if run is of_no_numbers)
    if run is chosen:
        assert "cond" in names


def test_of_a_nested_tensor_the_products_inside_it_are_recorded() -> None:
    (product,) = (name for name in pushed(jagged) if name.startswith("aten::linear"))
    assert "sizes = [[8, 8], [4, 8], []]" in product


IN_HELP: Final = """
--pytorch=
    Possible values are autograd-nvtx, functions-trace, functions-trace-
    shapes and none.
"""


@pytest.mark.parametrize(
    ("told", "device", "shapes", "asked_for"),
    [
        (IN_HELP, "cuda:0", True, ["--pytorch=functions-trace-shapes"]),
        (IN_HELP, "cuda:0", False, []),
        (IN_HELP, "cpu", True, []),
        ("--pytorch= one of autograd-nvtx, functions-trace", "cuda:0", True, []),
        ("", "cuda:0", True, []),
    ],
)
def test_a_newer_nsys_traces_functions_with_their_shapes_too(
    told: str, device: str, shapes: bool, asked_for: list[str], tmp_path: Path
) -> None:
    found = stand_in(tmp_path, options=("--output=", told))
    words = asked(found, tmp_path, device, shapes=shapes)
    assert sorted(words) == [f"--output={tmp_path / 'r'}", *asked_for]


def test_shapes_are_asked_of_the_recorder_that_is_put_around_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSYS", stand_in(tmp_path).path)
    for words, wanted in (([], False), (["--shapes"], True)):
        tiny = ["--size", "tiny", "--device", "cpu", "--recorder", "nsys", *words]
        recorder = prepare(*parse(tiny), command="").recorder
        assert isinstance(recorder, NsysRecorder)
        assert recorder.shapes == wanted


def test_under_inference_mode_operators_are_taken_apart(tmp_path: Path) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding="same"), torch.nn.Flatten(), torch.nn.Linear(256, 5)
    )
    a, b = torch.randn(2, 3, 4), torch.randn(2, 4, 5)

    def run() -> None:
        with torch.inference_mode():
            net(torch.randn(2, 3, 8, 8))
            torch.einsum("bij,bjk->bik", a, b)
            torch.matmul(a, b)

    wanted = counted(run)
    names = pushed(run)
    ranges = [Range(name, 10 * at, 10 * at + 9, domain="aten") for at, name in enumerate(names)]
    assert matrix_flops(make_report(tmp_path / "r.sqlite", ranges=ranges)) == wanted


def test_a_name_tells_shapes_types_and_whole_numbers_alone() -> None:
    add = torch.ops.aten.add.Tensor._schema
    name = name_with_operands("aten::add", add.arguments, (torch.ones(2, 3), 0.5), {"alpha": 2})
    told = 'sizes = [[2, 3], [], []], types = ["float", "Scalar", "Scalar"], inputs = ["", "", "2"]'
    assert name == f"aten::add, {told}"
    many = torch.ops.aten._foreach_neg.default._schema
    long = ([torch.ones(1000, 1000)] * 1000,)
    assert (
        name_with_operands("aten::_foreach_neg", many.arguments, long, {}) == "aten::_foreach_neg"
    )


def test_the_shapes_of_a_trace_are_kept_as_texts(tmp_path: Path) -> None:
    path = embedded(tmp_path, lambda: torch.ones(2, 3) @ torch.ones(3, 4))
    texts = [
        f"(SELECT value FROM StringIds WHERE id = o.{column})" for column in ("shapes", "types")
    ]
    sql = (
        f"SELECT {', '.join(texts)} FROM TOOLKIT_OPERATOR o JOIN StringIds n ON n.id = o.name_id "
        "WHERE n.value = 'aten::mm'"
    )
    assert [tuple(map(json.loads, row)) for row in rows(path, sql)] == [
        ([[2, 3], [3, 4]], ["float", "float"])
    ]
