"""What the tests of the evidence from a GPU share: steps of their own, and the state they leave."""

import json
import textwrap
from pathlib import Path

import pytest

from benchmarks.gpu import evidence
from benchmarks.gpu.stages import Step


def give(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> None:
    monkeypatch.setattr(evidence, "STAGES", {"first": steps})


def state(out: Path) -> dict[str, int | str]:
    steps = json.loads((out / "state.json").read_text())["steps"]
    return {name: each["status"] for name, each in steps.items()}


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[str, ...]:
    """Return the words of a step that runs some code."""
    (tmp_path / "modules").mkdir(exist_ok=True)
    (tmp_path / "modules" / "of_a_test.py").write_text(textwrap.dedent(text))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    return ("of_a_test",)


def without_nsys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no nsys be named, nor one be on the PATH but the system's own."""
    for variable in ("NSYS", "NSYS_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
