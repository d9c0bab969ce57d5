"""Records of layer times with round numbers."""

import json
from pathlib import Path
from typing import Any


def layer(attn: float, ffn: float, forward: float = 0, **details: float | None) -> dict[str, Any]:
    """Return a layer as a CPU's record has it; times in milliseconds."""
    inside = {"attn_forward": forward or attn, **details}
    return {
        "attn": attn / 1e3,
        "attn_cuda": None,
        "ffn": ffn / 1e3,
        "ffn_cuda": None,
        "attn_details": {
            name + end: None if end or time is None else time / 1e3
            for name, time in inside.items()
            for end in ("", "_cuda")
        },
    }


def run(total: float, *made: dict[str, Any], batch: int = 1, length: int = 128) -> dict[str, Any]:
    """Return a record."""
    return {
        "timestamp": "2026-01-01T00:00:00.000+00:00",
        "batch_size": batch,
        "input_len": length,
        "total_time": total / 1e3,
        "layer_details": list(made),
    }


def written(path: Path, *records: object) -> Path:
    path.write_text(json.dumps(records))
    return path
