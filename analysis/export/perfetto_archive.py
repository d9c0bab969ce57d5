"""Several traces of Perfetto in one file, a rank each, with what relates their clocks.

The file is an archive (TAR) with a ``perfetto_manifest``: each trace is of a machine of its own, so
that processes and GPUs of one number stay apart, and its clock differs from the first one's by a
fixed offset (https://perfetto.dev/docs/reference/perfetto-manifest, from Perfetto 58 on).
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

from analysis.export.perfetto_trace import PerfettoTrace

if TYPE_CHECKING:
    from analysis.export.ranks import Ranks

MANIFEST: Final = "perfetto_manifest.json"
CLOCK: Final = "BOOTTIME"
"""The clock that times of a trace are of where it does not say."""


def write(stream: IO[bytes], ranks: Ranks, progress: Callable[[int], None]) -> None:
    """Write one report as a trace, several as an archive of traces.

    Args:
        stream: where to.
        ranks: the reports.
        progress: is told how many slices have been written.
    """
    if len(ranks.timelines) == 1:
        [timeline] = ranks.timelines
        PerfettoTrace(stream, timeline, shift_ns=ranks.base_ns, progress=progress).write()
        return
    names = [f"{number}.pftrace" for number in range(len(ranks.timelines))]
    done = 0
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        content = json.dumps(manifest(ranks, names)).encode()
        archive.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
        for number, (name, timeline, label) in enumerate(
            zip(names, ranks.timelines, ranks.labels, strict=True)
        ):
            # The size stands before the content.
            with tempfile.TemporaryFile() as part:
                PerfettoTrace(
                    part,
                    timeline,
                    shift_ns=ranks.base_ns,
                    number=number,
                    label=label,
                    progress=partial(_from, progress, done),
                ).write()
                size = part.tell()
                part.seek(0)
                archive.addfile(_member(name, size), part)
            done += len(timeline)


def _from(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def _member(name: str, size: int) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    return made


def manifest(ranks: Ranks, names: list[str]) -> dict[str, Any]:
    """Return what tells Perfetto how the traces of an archive belong together.

    Args:
        ranks: the reports.
        names: of the traces in the archive.
    """
    files: list[dict[str, Any]] = []
    for name, machine, offset in zip(names, ranks.labels, ranks.offset_ns, strict=True):
        files.append({"path": name, "machine": {"name": machine}})
        if len(files) > 1:
            reference = {"file": names[0], "clock": CLOCK}
            files[-1]["clocks"] = {"clock": CLOCK, "sync_to": reference, "offset_ns": offset}
    trace_time = {"clock": CLOCK, "file": names[0]}
    return {"perfetto_manifest": {"version": 1, "trace_time": trace_time, "files": files}}
