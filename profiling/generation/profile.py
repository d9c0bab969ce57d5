"""One prompt in detail: its times as JSONL and TSV, a trace, statistics, and a report.

The times are of a run that nothing records. A second run of the same prompt, of fewer tokens, is
recorded by the PyTorch profiler: its times are longer, its shares and its order are what it is for.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from analysis import Report
from analysis.kernels import ranking
from analysis.ranges.summary import summary
from analysis.show.errors import ReportError
from analysis.show.render import as_json
from analysis.source.json_files import as_line
from analysis.source.trace.convert import TraceError, convert
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.generation.pipeline import DECODE_STEP, Generated
from profiling.generation.record import Prompt, content, ms
from profiling.generation.recorded_generation import record_once
from profiling.generation.run import Generator
from profiling.generation.workload import GenerationSettings
from profiling.names import recordable
from profiling.recorders.run_notes import add_run_facts
from profiling.recorders.torch_recorder import TRACE_NAME

_TIMES: Final = "_timing_data"
"""Where the name of the JSONL ends in this, the other files leave it out of theirs."""


class ProfileFiles(NamedTuple):
    """The files that ``profile`` writes.

    Attributes:
        jsonl: the record.
        tsv: one line for each timed part.
        trace: of the PyTorch profiler, for chrome://tracing and Perfetto.
        stats: ranges and operators or kernels, summed.
        report: for `analysis`.
    """

    jsonl: Path
    tsv: Path
    trace: Path
    stats: Path
    report: Path

    @classmethod
    def beside(cls, jsonl: Path) -> Self:
        """Return the files that go with a JSONL."""
        stem = jsonl.stem.removesuffix(_TIMES)
        ends = ("_profiler_trace.json", "_profiler_stats.json", "_report.sqlite")
        return cls(jsonl, jsonl.with_suffix(".tsv"), *(jsonl.with_name(stem + end) for end in ends))

    def check(self, overwrite: bool) -> None:
        """Refuse files that could not be written, before any work is done.

        Raises:
            LaunchError: one exists and is not to be replaced, or its folder does not take it.
        """
        for path in self:
            result_file.check_writable(path, overwrite)
        if self.tsv == self.jsonl:
            raise LaunchError(f"{self.jsonl}: its own .tsv would replace it; name a file .jsonl")


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
    about = result_file.header("generation", command, made.models.device)
    beside = files.jsonl.resolve().parent  # on the same disk
    with tempfile.TemporaryDirectory(prefix=".recording-", dir=beside) as name:
        folder = Path(name)
        told = record_once(made, prompt, trace_tokens, folder)
        told["unprofiled_step_ns"] = unrecorded_time(generated, told["generated_tokens"])
        trace, report = folder / TRACE_NAME, folder / files.report.name
        try:
            convert(trace, report, strict=False)
        except TraceError as error:
            raise LaunchError(str(error).replace(str(trace), "the trace")) from None
        _describe(report, made, prompt, told, about)
        # The report last: with it, everything is there.
        result_file.write(files.stats, {**about, **statistics(report)})
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
    report: Path, made: Generator, prompt: Prompt, told: dict[str, Any], about: dict[str, Any]
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
        "date": about["date"],
        "command": about["command"],
        **about["facts"],
        **settings.facts(),
        "step_ns": told["step_ns"],
        "unprofiled_step_ns": told["unprofiled_step_ns"],
    }
    add_run_facts(report, known, [[recordable(name), *rest] for name, *rest in told["costs"]])


def statistics(path: Path) -> dict[str, Any]:
    """Return a report's ranges and its operators or kernels, summed, as `analysis` sums them.

    Raises:
        LaunchError: nothing was recorded.
    """
    try:
        with Report(path) as report:
            ranges, work = summary(report), ranking(report)
    except ReportError as error:
        raise LaunchError(f"the recording cannot be read ({error.problem})") from None
    return {"ranges": json.loads(as_json(ranges)), "work": json.loads(as_json(work))}
