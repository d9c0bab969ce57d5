"""Records of generation whose figures can be added up by eye, and what is asked of them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.generation import __main__ as generation

Record = dict[str, Any]
PAIR = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B-Base")


def record(
    number: int,
    steps: tuple[float, ...] = (30.0, 10.0, 20.0),
    *,
    prompt: str = "",
    pair: tuple[str, str | None] = PAIR,
    **changes: Any,
) -> Record:
    """Return a record whose figures can be added up by eye, in ms."""
    alone = pair[1] is None
    times: dict[str, float | int | None] = {
        "base_embedding_ms": 1.0,
        "base_prefill_ms": 9.0,
        "teacher_embedding_ms": None if alone else 2.0,
        "teacher_prefill_ms": None if alone else 18.0,
        "projector_total_ms": None if alone else 28.0,
        "projector_avg_ms": None if alone else 1.0,
        "projector_calls": 0 if alone else 28,
        "decode_total_ms": sum(steps),
        "decode_avg_ms": sum(steps) / len(steps),
        "num_generated_tokens": len(steps),
        "tokens_per_second": 1000 * len(steps) / sum(steps),
    }
    return {
        "id": number,
        "prompt": prompt or f"prompt {number}",
        "response": "",
        "model_config": {"base_model": pair[0], "teacher_model": pair[1]},
        "timing": times | changes,
        "decode_step_times_ms": list(steps),
    }


def failed(number: int) -> Record:
    return {"id": number, "prompt": f"prompt {number}", "error": "out of memory"}


def write(path: Path, *records: Record | str) -> str:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """Return the rows of an answer in csv."""
    assert generation.main([*arguments, "--format", "csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
