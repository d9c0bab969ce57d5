"""The file of layer times: a JSON list, one record a run, whole after every run.

The records are those of `analysis.layers.records`. Beside the file, under the same name and
``.about``, stands what a record has no room for: model, number format, device, versions and command
of each time the command ran.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from analysis.layers.records import ATTN, ATTN_FORWARD, FFN, ON_GPU, Layer, Run
from analysis.show.errors import ReportError
from analysis.source.json_files import ABOUT, read_json
from profiling import names
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.layers.layer_timer import DETAILS, PartTime, TimedForward

KIND: Final = "model_timing"
"""What the name of the file beside the records ends in."""

_SAME: Final = ("model", "dtype", "device", "attention")
"""What must not differ within one file: its records do not say it themselves."""


def run_record(run: TimedForward, batch_size: int, input_len: int) -> Run:
    """Return the record of a forward pass; what was not measured is None."""
    return Run(
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
        batch_size=batch_size,
        input_len=input_len,
        total_time=run.total_ns / 1e9,
        layer_details=[_layer(parts) for parts in run.layers],
    )


def _layer(parts: dict[str, PartTime]) -> Layer:
    seconds: dict[str, Any] = {}
    for name in (ATTN, FFN, ATTN_FORWARD, *DETAILS):
        part = parts.get(name)
        clocks = (part.host_ns, part.device_ns) if part else (None, None)
        for key, time_ns in zip((name, name + ON_GPU), clocks, strict=True):
            seconds[key] = None if time_ns is None else time_ns / 1e9
    halves = {name: seconds.pop(name) for name in (ATTN, ATTN + ON_GPU, FFN, FFN + ON_GPU)}
    return Layer(**halves, attn_details=seconds)


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
        about: what the records to come are of.
        append: whether to go on after the records that are there.
        overwrite: whether to replace them, once there is a first new one.

    Raises:
        CommandError: the file is there and neither was asked for, it holds something else or times
            of something else, or it cannot be written.
    """

    def __init__(
        self, path: Path, about: dict[str, Any], *, append: bool = False, overwrite: bool = False
    ) -> None:
        self._path, self._beside = path, path.with_name(path.name + ABOUT)
        self._keep = append or overwrite
        self._refuse_taken()
        result_file.check_writable(path)
        self._records = _read_list(path) if append else []
        earlier = _read_list(self._beside) if append else []
        for key, said in ((key, each[key]) for each in earlier for key in _SAME if key in each):
            if self._records and said != about[key]:
                raise LaunchError(
                    f"{path}: holds times of {key} {said}, not {about[key]}; "
                    "name another --output-file"
                )
        self._about = [*earlier, {**about, "first_record": len(self._records)}]
        self.added: list[Run] = []

    def _refuse_taken(self) -> None:
        if self._path.exists() and not self._keep:
            raise LaunchError(
                f"{self._path}: exists; give --append to add to it, --overwrite to replace it, "
                "or another name"
            )

    def add(self, new: Run) -> None:
        """Put a record on disk, after all that are there.

        Raises:
            LaunchError: it cannot be written, or another command has made the file meanwhile.
        """
        if not self.added:
            self._refuse_taken()
        self._records.append(asdict(new))
        result_file.write(self._path, self._records)
        if not self.added:
            result_file.write(self._beside, self._about)
        self.added.append(new)


def _read_list(path: Path) -> list[Any]:
    """Return the list that a file holds; of one that is not there, none."""
    content = read_json(path, "name another file") if path.exists() else []
    if not isinstance(content, list):
        raise ReportError(path, "no list of records, so none are added", "name another file")
    return content
