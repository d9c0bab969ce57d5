"""What a span costs: how it is timed, and what is refused before anything is."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cost import span_cost
from model import TransformerLM


def test_a_pass_with_spans_has_ended_before_the_next_is_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Pass(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> None:
            done.append("pass")

    monkeypatch.setattr(span_cost, "synchronize", done.append)
    span_cost.seconds(Pass(), torch.zeros(1), 2)
    assert done == ["pass", "cpu", "pass", "cpu"]


def test_what_spans_cost_is_timed_in_the_shape_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()
    forward = TransformerLM.forward

    def noted(self: Any, tokens: torch.Tensor) -> torch.Tensor:
        shapes.add(tuple(tokens.shape))
        return forward(self, tokens)

    monkeypatch.setattr(TransformerLM, "forward", noted)
    times, spans = span_cost.model_times("tiny", 0.01, (2, 8), "cpu")
    assert shapes == {(2, 8)}
    assert {*times} == {"with", "without", "with again"}
    assert spans > 10


def test_a_device_that_is_not_there_is_refused_before_anything_is_timed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["--json", str(tmp_path / "spans.json"), "--device"]
    with pytest.raises(SystemExit) as stop:
        span_cost.main([*command, "tpu"])
    assert stop.value.code == 2
    assert "no device is called 'tpu'" in capsys.readouterr().err
    assert span_cost.main([*command, "cuda:99"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not [*tmp_path.iterdir()]
