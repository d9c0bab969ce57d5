"""What a recorded process left, made into a report that explains itself."""

from pathlib import Path
from typing import Any

from analysis.show.errors import one_line
from analysis.show.render import plural
from analysis.show.sheet import say
from profiling.common.errors import LaunchError
from profiling.common.progress import RunBar
from profiling.launch import naming
from profiling.launch.plan import Launch, is_finished
from profiling.names import recordable
from profiling.processes.notes import rank_folder, read_note
from profiling.recorders import memory_samples
from profiling.recorders.report_files import Taken, check_free, files_of, publish_all
from profiling.recorders.run_notes import RunNotes
from profiling.recorders.scratch import Scratch
from profiling.spans.backward import MOST_NODES


def make(
    launch: Launch, scratch: Scratch, results: list[dict[str, Any]], bar: RunBar
) -> list[Path]:
    """Make the reports of a recording and give them their names, or leave everything as it was.

    Args:
        launch: what was asked for.
        scratch: the folder of the run.
        results: what each recorded process returned, in order of rank.
        bar: shows how far it is.

    Returns:
        The reports, in order of rank where there are several, or what is to be completed.

    Raises:
        LaunchError: a report cannot be made, or cannot be kept.
    """
    reports = []
    for rank, result in enumerate(results):
        own = rank_folder(scratch.folder, rank) if launch.workload.ranks else scratch.folder
        warn(result)
        of = f" of rank {rank}" if launch.workload.ranks else ""
        bar.phase(f"{launch.recorder.making}{of}")
        try:
            made = launch.recorder.report(own, result["pushed"], bar.part)
        except LaunchError as error:
            if launch.workload.ranks:
                raise LaunchError(f"rank {rank}: {error}") from None
            raise
        told = notes(launch, rank, result, own)
        if is_finished(made):
            told.add(made)
        else:
            scratch.check_disk()  # else the next machine cannot finish it either
            told.keep(made)
        reports.append(made)
    while True:
        try:
            return _keep(launch, reports)
        except Taken:  # one has come meanwhile, of somebody who asked nobody
            launch = naming.named(launch)
            say(f"note: kept in {launch.places()}: a report has come meanwhile")


def _keep(launch: Launch, made: list[Path]) -> list[Path]:
    """Give the reports of a launch their names; return them."""
    names: dict[Path, Path] = {}
    for path, stem in zip(made, launch.stems, strict=True):
        names |= destinations(path, stem)
    # Those of an earlier recording that had more files go last.
    earlier = launch.earlier()
    check_free(*earlier, overwrite=launch.overwrite)
    publish_all(names, overwrite=launch.overwrite)
    for path in earlier:
        if path not in names.values():
            path.unlink(missing_ok=True)
    return [names[path] for path in made]


def destinations(made: Path, stem: Path) -> dict[Path, Path]:
    """Return the files of a report, or of a recording, and where each goes; itself comes last.

    Args:
        made: it, in the folder of the run; what belongs to it lies beside it.
        stem: where it goes, without suffix.
    """
    beside = [path for path in files_of(made.with_suffix("")) if path != made and path.exists()]
    ends = {path: path.name.removeprefix(made.stem) for path in (*beside, made)}
    return {path: stem.with_name(stem.name + end) for path, end in ends.items()}


def warn(result: dict[str, Any]) -> None:
    """Say on stderr what of a run is not in its report."""
    for name, count in result["too_deep"].items():
        ranges = plural(count, "range")
        say(f"note: {ranges} {one_line(name)} left out: over {MOST_NODES:,} autograd nodes")
    if seen := result.get("compiled"):
        every, known = sum(seen.values()), seen["one"] + seen["several"]
        say(
            f"note: compiled: {known:,} of {plural(every, 'kernel launch', 'kernel launches')} "
            f"{'stands' if known == 1 else 'stand'} in the ranges of their spans, "
            f"{seen['several']:,} of them in ranges of several, joined by +"
        )


def notes(launch: Launch, rank: int, result: dict[str, Any], folder: Path) -> RunNotes:
    """Return the notes that the report of a rank gets besides what was recorded.

    Args:
        launch: what was asked for.
        rank: whose report it is.
        result: what the recorded process returned.
        folder: where it left what it noted of its memory.

    Raises:
        LaunchError: it noted no memory where that was asked for.
    """
    memory = None
    if launch.memory:
        ranges = [[recordable(name), *rest] for name, *rest in result.get("range_memory", ())]
        memory_note = read_note(folder / memory_samples.NOTE_NAME)
        if memory_note is None:
            raise LaunchError("the run left no note of its memory; see that its disk is not full")
        memory = {"note": memory_note, "ranges": ranges}
    return RunNotes.of_run(
        launch.recorder,
        launch.workload.facts(rank),
        result,
        command=launch.command,
        memory=memory,
    )
