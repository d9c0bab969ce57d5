"""One prompt in detail: its times as JSONL and TSV, a trace, statistics, and a report.

The times are of a run that nothing records. A second run of the same prompt, of fewer tokens, is
recorded by the PyTorch profiler: its times are longer, its shares and its order are what it is for.
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from analysis import Report
from analysis.kernels import ranking
from analysis.ranges.summary import summary
from analysis.show.errors import ReportError
from analysis.show.render import as_json
from analysis.source.json_files import as_line
from profiling import names
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.generation.pipeline import Generated
from profiling.generation.record import Prompt, content, ms
from profiling.generation.recorded_generation import record_once
from profiling.generation.run import Generator
from profiling.generation.workload import GenerationSettings
from profiling.recorders.report_files import publish_all
from profiling.recorders.run_notes import RunNotes
from profiling.recorders.scratch import scratch_folder
from profiling.recorders.torch_recorder import EmbeddedRecorder
from profiling.recorders.trace_report import TRACE_NAME

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
            result_file.check_writable(path, overwrite, over_reports=path == self.report)
        if self.tsv == self.jsonl:
            raise LaunchError(f"{self.jsonl}: its own .tsv would replace it; name a file .jsonl")


def profile(
    made: Generator, prompt: Prompt, files: ProfileFiles, *, trace_tokens: int, command: str
) -> None:
    """Time a prompt by warm models, record it, and write the files, in place of those there.

    The recorded run generates ``trace_tokens`` at most.

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
    recorder = EmbeddedRecorder()
    with scratch_folder(files.jsonl.resolve().parent, "name another --output") as folder:
        result = {"facts": about["facts"], **record_once(made, prompt, trace_tokens, folder)}
        # The time of the unrecorded run for as many tokens as were recorded.
        further = generated.each_ns(names.DECODE_STEP)[result["generated_tokens"] :]
        whole = sum(time for _, time in generated.parts_ns)
        result["unprofiled_step_ns"] = [whole - sum(further)]
        settings = GenerationSettings(
            models=made.models,
            prompt=prompt.text,
            max_new_tokens=result["generated_tokens"],
            steps=1,
            warmup=made.decoding.warmup,
        )
        report = recorder.report(folder, result["pushed"])
        RunNotes.of_run(recorder, settings.facts(), result, command=command).add(report)
        result_file.write(files.stats, {**about, **statistics(report)})
        # The report last: with it, everything is there.
        named = {folder / TRACE_NAME: files.trace, report: files.report}
        publish_all(named, overwrite=True)


def tsv(generated: Generated) -> str:
    """Return the parts of a run in order, a line each; parts of one name are counted from 0."""
    lines, seen, start = ["part\tindex\tstart_ms\ttime_ms"], dict[str, int](), 0
    for part, time in generated.parts_ns:
        index = seen[part] = seen.get(part, -1) + 1
        lines.append(f"{part}\t{index}\t{ms(start)}\t{ms(time)}")
        start += time
    return "\n".join(lines) + "\n"


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
