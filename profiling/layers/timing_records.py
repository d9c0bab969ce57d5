"""The file of layer times: a JSON list, one record a run, whole after every run.

Beside it, under the same name and ``.about``, stands what a record has no room for: model, number
format, device, versions and command of each time the command ran.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from profiling import names
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.layers.layer_timer import ATTN, ATTN_FORWARD, DETAILS, FFN, PartTime, TimedForward

KIND: Final = "model_timing"
ABOUT: Final = ".about"
"""What the name of the file beside the records ends in."""

_SAME: Final = ("model", "dtype", "device", "attention")
"""What must not differ within one file: its records do not say it themselves."""


def run_record(run: TimedForward, batch_size: int, input_len: int) -> dict[str, Any]:
    """Return the record of a forward pass, in seconds; what was not measured is null."""
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "batch_size": batch_size,
        "input_len": input_len,
        "total_time": run.total_ns / 1e9,
        "layer_details": [_layer(parts) for parts in run.layers],
    }


def _layer(parts: dict[str, PartTime]) -> dict[str, Any]:
    details: dict[str, float | None] = {}
    for name in (ATTN_FORWARD, *DETAILS):
        details |= _seconds(name, parts.get(name))
    halves = _seconds(ATTN, parts[ATTN]) | _seconds(FFN, parts[FFN])
    return {**halves, "attn_details": details}


def _seconds(name: str, part: PartTime | None) -> dict[str, float | None]:
    on_host = None if part is None else part.host_ns / 1e9
    on_device = None if part is None or part.device_ns is None else part.device_ns / 1e9
    return {name: on_host, f"{name}_cuda": on_device}


def unmeasured_parts(run: TimedForward) -> list[str]:
    """Return the parts that the model did not let us see, in any of its layers."""
    words = {names.ROPE: "rope (it calls no apply_rotary_pos_emb)"}
    return [
        words.get(name, name) for name in DETAILS if not all(name in parts for parts in run.layers)
    ]


class TimingRecords:
    """A file that records are added to, one by one.

    Args:
        path: of the file.
        append: whether to go on after the records that are there.
        overwrite: whether to replace them, once there is a first new one.

    Raises:
        LaunchError: the file is there and neither was asked for, it holds something else, or it
            cannot be written.
    """

    def __init__(self, path: Path, *, append: bool = False, overwrite: bool = False) -> None:
        self._path = path
        self._keep = append or overwrite
        self._records: list[Any] = []
        self._about: list[Any] = []
        self.added: list[dict[str, Any]] = []
        if path.exists() and not self._keep:
            raise LaunchError(_taken(path))
        result_file.check_writable(path)
        if append and path.exists():
            self._records = _read_list(path)
            self._about = _read_list(_beside(path)) if _beside(path).exists() else []

    def begin(self, about: dict[str, Any]) -> None:
        """Say what the records to come are of.

        Raises:
            LaunchError: those that are there are of something else.
        """
        for earlier in self._about if self._records else []:
            said = earlier if isinstance(earlier, dict) else {}
            for key in _SAME:
                if key in said and said[key] != about[key]:
                    raise LaunchError(
                        f"{self._path}: holds times of {key} {said[key]}, not {about[key]}; "
                        "name another --output-file"
                    )
        self._about.append({**about, "first_record": len(self._records)})

    def add(self, new: dict[str, Any]) -> None:
        """Put a record on disk, after all that are there.

        Raises:
            LaunchError: it cannot be written, or another command has made the file meanwhile.
        """
        if not self.added and not self._keep and self._path.exists():
            raise LaunchError(_taken(self._path))
        self._records.append(new)
        result_file.write(self._path, self._records)
        if not self.added:
            result_file.write(_beside(self._path), self._about)
        self.added.append(new)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ABOUT)


def _taken(path: Path) -> str:
    return f"{path}: exists; give --append to add to it, --overwrite to replace it, or another name"


def _read_list(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LaunchError(f"{path}: cannot be read ({reason}); name another file") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, list):
        raise LaunchError(f"{path}: no list of records, so none are added; name another file")
    return content
