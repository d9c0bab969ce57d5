"""The records of prompts: made of what was generated, and kept in a file that a run goes on with.

Their keys are those of `analysis.generation.records`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.generation.records import Failure, Generation, Pair, Timing, record_of
from profiling import names
from profiling.common.json_lines import JsonLines, open_json_lines

if TYPE_CHECKING:
    from profiling.generation.pipeline import Generated

Record = Generation | Failure


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt to generate from.

    Attributes:
        id: its place in the whole data set, whatever part of it is run here.
        text: as it was given.
    """

    id: int
    text: str


def timing(made: "Generated", *, has_teacher: bool) -> Timing:
    """Return the times of a generation."""
    calls = len(made.each_ns(names.PROJECTOR))
    projectors = made.total_ns(names.PROJECTOR)
    decode, tokens = made.total_ns(names.DECODE_STEP), len(made.tokens)

    def of_teacher(nanoseconds: float) -> float | None:
        return ms(nanoseconds) if has_teacher else None

    return Timing(
        base_embedding_ms=ms(made.total_ns(names.BASE_EMBEDDING)),
        base_prefill_ms=ms(made.total_ns(names.BASE_PREFILL)),
        teacher_embedding_ms=of_teacher(made.total_ns(names.TEACHER_EMBEDDING)),
        teacher_prefill_ms=of_teacher(made.total_ns(names.TEACHER_PREFILL)),
        projector_total_ms=of_teacher(projectors),
        projector_avg_ms=of_teacher(projectors / calls if calls else 0),
        projector_calls=calls,
        decode_total_ms=ms(decode),
        decode_avg_ms=ms(decode / tokens if tokens else 0),
        num_generated_tokens=tokens,
        tokens_per_second=tokens * 1e9 / decode if decode else 0.0,
    )


def ms(nanoseconds: float) -> float:
    """Return nanoseconds as milliseconds, no digit lost."""
    return nanoseconds / 1e6


def content(made: Record) -> dict[str, object]:
    """Return the content of a record's line."""
    return {key: value for key, value in asdict(made).items() if key != "file"}


@dataclass(slots=True)
class EarlierRecords:
    """What an earlier run left in a file.

    Attributes:
        done: ids of the prompts that need not be run again.
        failed: ids of prompts that failed, which are tried again.
        torn: whether the last line was cut short.
    """

    done: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    torn: bool = False


@contextmanager
def open_record_file(
    path: Path,
    prompts: Iterable[Prompt],
    models: Pair,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[tuple[JsonLines[Record], EarlierRecords]]:
    """Open a file for records; what was done before stays, a torn line and failures go.

    The prompts are all of the data set; the rest is as `open_json_lines` has it.

    Raises:
        LaunchError: as there, or the file is of another data set or of other models.
    """
    texts = {prompt.id: prompt.text for prompt in prompts}
    with open_json_lines(path, record_of, resume=resume, overwrite=overwrite) as file:
        earlier = EarlierRecords(torn=file.torn)
        kept = []
        for number, line, known in file.lines:
            if texts.get(known.id, known.prompt) != known.prompt:
                raise file.refusal(number, f"has another prompt for id {known.id}")
            if isinstance(known, Failure):
                earlier.failed.add(known.id)
            elif known.model_config != models:
                raise file.refusal(number, f"is of {known.model_config}, not of {models}")
            elif known.id not in earlier.done:
                earlier.done.add(known.id)
                kept.append(line)
        earlier.failed -= earlier.done
        file.keep(kept)
        yield file, earlier
