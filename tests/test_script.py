"""Somebody's own training script is recorded as it is, with its ranges."""

import textwrap
from pathlib import Path

import pytest

from tests.launched import find_nsys, launch, payloads, ranking, run_facts

SCRIPT = """
import sys
import torch
from profiling.spans import span

model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
assert __name__ == "__main__"
for _ in range(int(sys.argv[1])):
    with span("forward"):
        with span("my part", flops=2 * 4 * 8 * 8) as mark:
            loss = mark.output(model(torch.ones(4, 8))).sum()
    with span("backward"):
        loss.backward()
    with span("optimizer"):
        optimizer.step()
print("trained", len(sys.argv))
"""

QWEN = """
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from profiling.spans import annotate

config = Qwen3Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=64)
model = annotate(Qwen3ForCausalLM(config))
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(2):
    tokens = torch.randint(0, 64, (1, 6))
    model(tokens, labels=tokens).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""


def write(folder: Path, text: str) -> Path:
    script = folder / "train.py"
    script.write_text(textwrap.dedent(text))
    return script


@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_a_script_with_spans(recorder: str, tmp_path: Path) -> None:
    env = {"NSYS": find_nsys()} if recorder == "nsys" else {}
    script, reports = write(tmp_path, SCRIPT), tmp_path / "reports"
    done = launch("--script", script, "--recorder", recorder, "--", "3", reports=reports, env=env)
    assert done.returncode == 0, done.stderr
    report = reports / "train.sqlite"
    found = payloads(report)
    assert found["my part"] == 3 * [2 * 4 * 8 * 8]
    for name in ("forward", "backward", "optimizer", "my part.backward"):
        assert len(found[name]) == 3
    assert "trained 2" in done.stderr
    assert "forward" in done.stdout
    assert "trained" not in done.stdout
    assert run_facts(report)["script"] == "train.py"
    assert any(row["name"] == "aten::addmm" and row["calls"] == 3 for row in ranking(report))


def test_a_script_with_an_annotated_model_of_transformers(tmp_path: Path) -> None:
    script, reports = write(tmp_path, QWEN), tmp_path / "reports"
    done = launch("--script", script, "--name", "qwen", reports=reports)
    assert done.returncode == 0, done.stderr
    found = payloads(reports / "qwen.sqlite")
    for name in ("forward", "backward", "optimizer"):
        assert len(found[name]) == 2
        assert name in done.stdout
    assert len(found["attention"]) == len(found["ffn.backward"]) == 4


def test_arguments_without_a_script_are_wrong_usage(tmp_path: Path) -> None:
    done = launch("--size", "tiny", "--", "--epochs", reports=tmp_path / "reports")
    assert done.returncode == 2
    assert done.stderr == "error: '--epochs' is no option; arguments need a --script\n"
    assert not (tmp_path / "reports").exists()
