"""How a model is compiled: as a whole or block by block, once, and to the same results."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from profiling.common import memory_fit
from profiling.common.errors import LaunchError, UsageError
from profiling.common.settings import COMPILE_MODES, COMPILE_SCOPES, CUDA_GRAPHS, Settings, shape
from profiling.launch import options
from profiling.training.training import Training, check, compiled, mark_step
from profiling.training.workload import TrainingRun
from tests.profiling.training.test_training import weights

# What torch says while it compiles; of gradients, where it only looks whether there are any.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore:(?s).*lru_cache:UserWarning",
    "ignore:The .grad attribute:UserWarning",
)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    counters.clear()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.compile trace, forward and backward, without Inductor and its C++ compiler."""
    original = torch.compile

    def trace(what: object, **how: object) -> object:
        how.pop("mode", None)
        return original(what, backend="aot_eager", **how)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "compile", trace)


def settings(**changes: object) -> Settings:
    config = shape("tiny", num_layers=2)
    plain = {"size": "tiny", "config": config, "batch": 2, "context": 8, "device": "cpu"}
    return Settings(**{**plain, "compile": True, **changes})  # type: ignore[arg-type]


def graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


GRAPHS = {"model": 2, "block": 3}
"""The model, or a block and the final norm; and the loss."""


@pytest.mark.parametrize("scope", COMPILE_SCOPES)
@pytest.mark.parametrize("how", [{}, {"autocast": "bfloat16"}, {"dtype": "bfloat16"}])
def test_everything_is_compiled_once(traced: None, scope: str, how: dict[str, str]) -> None:
    training = Training(settings(compile_scope=scope, attention="sdpa", **how))
    training.step()
    assert graphs() == GRAPHS[scope]
    training.step()  # finds the rotary tables there, as the first did
    assert graphs() == GRAPHS[scope]
    assert not counters["graph_break"]


@pytest.mark.parametrize("layers", [1, 4])
def test_blocks_share_one_graph_however_many_they_are(traced: None, layers: int) -> None:
    config = shape("tiny", num_layers=layers)
    Training(settings(compile_scope="block", config=config)).step()
    assert graphs() == GRAPHS["block"]


@pytest.mark.parametrize("scope", COMPILE_SCOPES)
@pytest.mark.parametrize("checkpoint", [0, 1])
def test_three_steps_end_at_the_weights_of_the_plain_model(
    traced: None, scope: str, checkpoint: int
) -> None:
    compiled = Training(settings(compile_scope=scope, checkpoint=checkpoint))
    plain = Training(settings(compile=False, checkpoint=checkpoint))
    for _ in range(3):
        compiled.step()
        plain.step()
    for a, b in zip(weights(compiled), weights(plain), strict=True):
        # Decompositions sum in another order; a step is 3e-4 long.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_mode_is_what_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []

    def keep(what: object, **how: object) -> object:
        told.append(how)
        return what

    monkeypatch.setattr(torch, "compile", keep)
    for scope, parts in {"model": 2, "block": 4}.items():  # two blocks, norm and loss
        for mode in COMPILE_MODES[:2]:
            told.clear()
            Training(settings(compile_scope=scope, compile_mode=mode))
            assert told == [{} if mode == "default" else {"mode": mode}] * parts


def test_the_settings_tell_how_it_is_compiled() -> None:
    chosen = settings(compile_mode=COMPILE_MODES[1], compile_scope="block")
    assert chosen.variants == ["compiled block by block (max-autotune-no-cudagraphs)"]
    assert settings().variants == ["compiled"]
    facts = chosen.facts()
    assert (facts["compile"], facts["compile_mode"], facts["compile_scope"]) == (
        "true",
        "max-autotune-no-cudagraphs",
        "block",
    )
    assert settings(compile=False).facts()["compile_scope"] == "none"


@pytest.mark.parametrize(
    ("option", "chosen"), [("compile_mode", COMPILE_MODES[1]), ("compile_scope", "block")]
)
def test_how_to_compile_needs_something_to_compile(option: str, chosen: str) -> None:
    flag = option.replace("_", "-")
    with pytest.raises(UsageError, match=f"--{flag} {chosen} is of --compile; give that too"):
        settings(compile=False, **{option: chosen})


def test_cuda_graphs_are_refused_where_there_are_none_and_where_ranges_are_wanted() -> None:
    with pytest.raises(LaunchError, match="is of NVIDIA GPUs; leave it out on a CPU"):
        check(settings(compile_mode=CUDA_GRAPHS))
    words = ["--compile", "--compile-mode", CUDA_GRAPHS]
    _, arguments = options.parse(words)
    with pytest.raises(UsageError, match="replays CUDA graphs, which stand in no range"):
        TrainingRun.read(arguments, "cuda")


def test_a_step_of_cuda_graphs_says_that_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append("step"))
    for mode in COMPILE_MODES:
        mark_step(settings(compile_mode=mode))
    assert begun == ["step"]
    training = Training(settings(compile=False))
    training.settings = replace(settings(), compile_mode=CUDA_GRAPHS)
    training.step()
    training.infer()
    assert len(begun) == 3


def test_a_compiled_model_keeps_less_so_more_of_it_fits() -> None:
    large = {"size": "xl", "config": shape("xl"), "batch": 16, "context": 1024}
    chosen = settings(**large, dtype="bfloat16", attention="flash")
    # Weights, gradients and moments in bf16; 20 vectors of d_model a layer and token, as counted.
    expected = 8 * chosen.config.parameter_count + 48 * 16 * 1024 * 20 * 1600 * 2
    assert memory_fit.needed_bytes(chosen) == pytest.approx(expected, rel=0.06)
    assert memory_fit.needed_bytes(replace(chosen, compile=False)) > 1.5 * expected


def test_tables_are_made_ahead_in_the_format_of_queries() -> None:
    seen: dict[str | None, Tensor] = {}
    for autocast in (None, "bfloat16"):
        training = Training(settings(compile=False, autocast=autocast))
        made = training.model
        compiled(made, replace(training.settings, compile=True))  # type: ignore[arg-type]
        rope = made.blocks[0].attention.rope  # type: ignore[union-attr, index]
        ahead = rope._tables
        training.step()
        assert rope._tables is ahead
        seen[autocast] = ahead[0]
    assert {key: table.dtype for key, table in seen.items()} == {
        None: torch.float32,
        "bfloat16": torch.bfloat16,
    }
