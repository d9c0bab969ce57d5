"""One prompt in detail: its times as JSONL and TSV, a trace, statistics, and a report.

The times are of a run that nothing records. A second run of the same prompt, of fewer tokens, is
recorded by the PyTorch profiler: its times are longer, its shares and its order are what it is for.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from analysis import Report
from analysis.kernels import ranking
from analysis.ranges.summary import summary
from analysis.show.errors import ReportError, reason
from analysis.source.json_files import as_line
from analysis.source.trace.convert import TraceError, convert
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.common.machine import facts
from profiling.generation.pipeline import DECODE_STEP, Generated
from profiling.generation.record import Prompt, content, ms
from profiling.generation.run import Generator
from profiling.generation.workload import GenerationSettings, record_once
from profiling.names import recordable
from profiling.recorders.capture import TRACE_NAME
from profiling.recorders.run_notes import add_run_facts

_TIMES: Final = "_timing_data"
"""Where the name of the JSONL ends in this, the other files leave it out of theirs."""


@dataclass(frozen=True, slots=True)
class ProfileFiles:
    """The files that ``profile`` writes, all beside its JSONL."""

    jsonl: Path

    @property
    def tsv(self) -> Path:
        """One line for each timed part."""
        return self.jsonl.with_suffix(".tsv")

    @property
    def trace(self) -> Path:
        """The trace of the PyTorch profiler, for chrome://tracing and Perfetto."""
        return self._beside("_profiler_trace.json")

    @property
    def stats(self) -> Path:
        """Ranges and operators or kernels, summed."""
        return self._beside("_profiler_stats.json")

    @property
    def report(self) -> Path:
        """The report, for `analysis`."""
        return self._beside("_report.sqlite")

    def all(self) -> tuple[Path, ...]:
        """All files of the profile."""
        return self.jsonl, self.tsv, self.trace, self.stats, self.report

    def _beside(self, ending: str) -> Path:
        return self.jsonl.with_name(self.jsonl.stem.removesuffix(_TIMES) + ending)


def check(files: ProfileFiles, overwrite: bool) -> None:
    """Refuse files that could not be written, before any work is done.

    Raises:
        LaunchError: one exists and is not to be replaced, or its folder does not take it.
    """
    for path in files.all():
        result_file.check_writable(path, overwrite)
    if len({*files.all()}) < len(files.all()):
        raise LaunchError(f"{files.jsonl}: its own .tsv would replace it; name a file .jsonl")


def profile(
    made: Generator, prompt: Prompt, files: ProfileFiles, *, trace_tokens: int, command: str
) -> None:
    """Time a prompt, record it, and write the files.

    Args:
        made: models that are warm.
        prompt: from what to generate.
        files: where everything goes; what is there is replaced.
        trace_tokens: most that the recorded run generates.
        command: as it was typed.

    Raises:
        LaunchError: the recording cannot be kept.
    """
    generated, failure = made.attempt(made.generate, prompt)
    if generated is None:
        raise LaunchError(f"the prompt failed: {failure}")
    record = content(made.record(prompt, generated))
    result_file.write_text(files.jsonl, as_line(record).decode())
    result_file.write_text(files.tsv, tsv(generated))
    with _scratch(files.jsonl) as folder:
        told = record_once(made, prompt, trace_tokens, folder)
        told["unprofiled_step_ns"] = unrecorded_time(generated, told["generated_tokens"])
        trace, report = folder / TRACE_NAME, folder / files.report.name
        try:
            convert(trace, report, strict=False)
        except TraceError as error:
            raise LaunchError(str(error).replace(str(trace), "the trace")) from None
        _describe(report, made, prompt, told, command)
        stats = statistics(report, made.models.device, command)
        # The report last: with it, everything is there.
        result_file.write(files.stats, stats)
        os.replace(trace, files.trace)
        os.replace(report, files.report)


def tsv(generated: Generated) -> str:
    """Return the parts of a run in order, a line each; parts of one name are counted from 0."""
    lines, seen, start = ["part\tindex\tstart_ms\ttime_ms"], dict[str, int](), 0
    for part, time in generated.parts_ns:
        index = seen[part] = seen.get(part, -1) + 1
        lines.append(f"{part}\t{index}\t{ms(start)}\t{ms(time)}")
        start += time
    return "\n".join(lines) + "\n"


def unrecorded_time(generated: Generated, tokens: int) -> list[int]:
    """Return the time of the unrecorded run for as many tokens as were recorded."""
    steps = generated.each_ns(DECODE_STEP)
    return [sum(time for _, time in generated.parts_ns) - sum(steps[tokens:])]


def _describe(
    report: Path, made: Generator, prompt: Prompt, told: dict[str, Any], command: str
) -> None:
    """Write what the run was into its report."""
    settings = GenerationSettings(
        models=made.models,
        prompt=prompt.text,
        max_new_tokens=told["generated_tokens"],
        steps=1,
        warmup=made.decoding.warmup,
    )
    known = {
        "recorder": "torch",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        **facts(made.models.device),
        **settings.facts(),
        "step_ns": told["step_ns"],
        "unprofiled_step_ns": told["unprofiled_step_ns"],
    }
    costs = [[recordable(name), *rest] for name, *rest in told["costs"]]
    add_run_facts(report, known, costs)


def statistics(path: Path, device: str, command: str) -> dict[str, Any]:
    """Return a report's ranges and its operators or kernels, summed, as `analysis` sums them.

    Raises:
        LaunchError: nothing was recorded.
    """
    try:
        with Report(path) as report:
            ranges, work = summary(report), ranking(report)
    except ReportError as error:
        raise LaunchError(f"the recording cannot be read ({error.problem})") from None
    about = result_file.header("generation", command, device)
    return {**about, "ranges": _plain(ranges.rows()), "work": _plain(work.rows())}


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without NaN, which JSON has no word for."""
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """Give a folder on the same disk as the results, gone afterwards."""
    try:
        with tempfile.TemporaryDirectory(prefix=".recording-", dir=beside.resolve().parent) as name:
            yield Path(name)
    except OSError as error:
        raise LaunchError(
            f"{beside.parent}: the recording cannot be written ({reason(error)}); "
            "make room, or name another --output"
        ) from None
