"""Make the reports of recordings that nsys could not finish where it recorded them.

    python -m profiling.complete nsys_reports/small.qdstrm
    python -m profiling.complete *.qdstrm --nsys /opt/nvidia/nsight-systems/2023.4.4/bin/nsys

For machines that have only the half of nsys that records: profiling.launch leaves NAME.qdstrm
there, and NAME.qdstrm.json with what the report gets besides. Bring both here, where the whole
nsys is, of the version that recorded: --nsys or NSYS= names it, else it is the first on the PATH.
NAME.sqlite and NAME.nsys-rep are made, beside the recording or in --reports, and the page is
printed; of ranks together that of the first, and their overlap. A NAME.nsys-rep that could not be
exported is completed the same way. The recordings stay as they are.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analysis.show import nsys_program
from analysis.show.errors import CommandError, one_line
from analysis.show.sheet import say
from profiling.common import cli
from profiling.common.errors import LaunchError, UsageError
from profiling.processes.starting import ended_by_signals, show_page, write_page
from profiling.recorders import importer, report_files
from profiling.recorders.nsys import Nsys
from profiling.recorders.run_notes import MISSING, NSYS, RunNotes, notes_path
from profiling.recorders.scratch import scratch_folder

MODULE: Final = "profiling.complete"
STREAM: Final = ".qdstrm"
REPORT: Final = ".nsys-rep"

LACKS: Final = (
    "what the run was, its step times, the FLOPs and bytes of ranges beside their payloads, its "
    "memory, and the check that all ranges arrived: {} was not beside the recording"
)
_OTHER_FOLDER: Final = "give another folder with --reports"
_REPLACE: Final = f"{_OTHER_FOLDER}, or --overwrite to replace it"


def find_nsys() -> Nsys:
    """Return the nsys that completes recordings.

    Raises:
        LaunchError: there is none, or it does not work.
    """
    found = Nsys.find()
    if found is None:
        raise LaunchError(f"no nsys is on the PATH; name a whole one {nsys_program.BY}")
    return found


def check(recording: Path) -> None:
    """Refuse a file that is no recording.

    Raises:
        UsageError: it has another suffix.
        LaunchError: there is no such file.
    """
    if recording.suffix not in {STREAM, REPORT}:
        raise UsageError(f"{recording}: no recording; give a {STREAM} or {REPORT} file")
    if not recording.is_file():
        raise LaunchError(f"{recording}: no such file; give a recording of profiling.launch")


def check_names(recordings: Sequence[Path], reports: Path | None) -> None:
    """Refuse two recordings whose reports would have the same name.

    Raises:
        UsageError: there are two.
    """
    taken: dict[Path, Path] = {}
    for recording in recordings:
        stem = (reports or recording.parent).resolve() / recording.stem
        if stem in taken:
            raise UsageError(f"{taken[stem]} and {recording} would make the same report; give one")
        taken[stem] = recording


def complete(recording: Path, reports: Path, nsys: Nsys, overwrite: bool) -> Path:
    """Make the report of a recording, or leave everything as it was; return the report.

    Args:
        recording: a ``.qdstrm``, or a ``.nsys-rep``; its notes lie beside it, or are missing.
        reports: the folder for the report.
        nsys: exports, and has the importer beside it.
        overwrite: whether an earlier report is replaced.

    Raises:
        LaunchError: the recording or its notes are damaged, there is no importer, it failed, or
            the report cannot be kept.
    """
    is_stream = recording.suffix == STREAM
    stem = reports / recording.stem
    made = {".sqlite": stem.with_name(f"{stem.name}.sqlite")}
    if is_stream or reports.resolve() != recording.resolve().parent:
        made = {REPORT: stem.with_name(stem.name + REPORT)} | made
    report_files.check_free(*made.values(), overwrite=overwrite, remedy=_REPLACE)
    notes = RunNotes.read(recording)
    with scratch_folder(reports, _OTHER_FOLDER) as folder:
        copy = folder / f"recording{recording.suffix}"
        shutil.copyfile(recording, copy)
        if is_stream:
            _import(copy, copy.with_suffix(REPORT), nsys, recording, notes)
        report = copy.with_suffix(".sqlite")
        _export(copy.with_suffix(REPORT), report, nsys, recording)
        (notes or notes_of_a_bare_recording(recording)).add_of_file(report, recording)
        names = {copy.with_suffix(suffix): path for suffix, path in made.items()}
        report_files.publish_all(names, overwrite=overwrite, remedy=_REPLACE)
    return made[".sqlite"]


def _import(
    copy: Path, destination: Path, nsys: Nsys, recording: Path, notes: RunNotes | None
) -> None:
    found = importer.find(nsys)
    if found is None:
        raise LaunchError(
            f"{recording}: nsys {nsys.version} ({nsys.path}) has no {importer.NAME} beside it, it "
            f"only records; name a whole nsys {nsys_program.BY}"
        )
    recorded = str(notes.facts[NSYS]) if notes else importer.recorded_by(copy)
    ours = importer.version(found)
    other = f"it was recorded by nsys {recorded} and the importer is of {ours}"
    try:
        importer.make_report(found, copy, destination)
    except LaunchError as error:
        if not ours:
            advice = f"see that it runs: {found} --version"
        elif recorded and recorded != ours:
            advice = f"{other}; name that nsys {nsys_program.BY}"
        else:
            advice = "the recording is damaged, or nsys was ended before it was done; record again"
        raise LaunchError(f"{recording}: {error}; {advice}") from None
    if recorded and recorded != ours:
        say(f"note: {one_line(str(recording))}: {other}")


def _export(recording: Path, report: Path, nsys: Nsys, given: Path) -> None:
    try:
        nsys.export(recording, report)
    except LaunchError as error:
        raise LaunchError(str(error).replace(recording.name, str(given), 1)) from None


def notes_of_a_bare_recording(recording: Path) -> RunNotes:
    """Return the notes of a recording that lost them, and say on stderr what that means."""
    path = notes_path(recording)
    say(
        f"note: {one_line(str(path))} is not here: the report lacks what the run was and "
        "the costs of its ranges, and nobody checked that all ranges arrived"
    )
    version = importer.recorded_by(recording)
    facts = {"recorder": NSYS, NSYS: version or "unknown", MISSING: LACKS.format(path.name)}
    return RunNotes(facts=facts, costs=[], pushed={})


def in_order_of_rank(reports: Sequence[Path]) -> list[Path]:
    """Return the reports in order of rank, if they are the ranks of one run; else nothing."""
    found = [re.fullmatch(r"(.+)\.rank([0-9]+)", path.stem) for path in reports]
    whole = [each for each in found if each]
    if len(whole) < 2 or len(whole) < len(found) or len({each[1] for each in whole}) > 1:
        return []
    return [path for _, path in sorted(zip((int(each[2]) for each in whole), reports, strict=True))]


def show(reports: Sequence[Path]) -> int:
    """Show the page of each report, for a browser too; of ranks of one run that of the first."""
    runs = [ranks] if (ranks := in_order_of_rank(reports)) else [[each] for each in reports]
    return max((show_page(run) or write_page(run[0]) for run in runs), default=0)


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = cli.Parser(MODULE, __doc__)
    made.add_argument("recordings", nargs="+", type=Path, metavar="FILE", help="NAME.qdstrm")
    made.add_argument("--reports", type=Path, help="folder (default: that of each recording)")
    nsys_program.add_option(made)
    made.add_argument("--overwrite", action="store_true", help="replace an earlier report")
    made.add_argument("--no-page", action="store_true", help="neither print nor write the page")
    return made


def _run(given: argparse.Namespace) -> int:
    for recording in given.recordings:
        check(recording)
    check_names(given.recordings, given.reports)
    nsys, made = find_nsys(), []
    with ended_by_signals():
        for recording in given.recordings:
            try:
                reports = given.reports or recording.parent
                made.append(complete(recording, reports, nsys, given.overwrite))
            except CommandError as error:
                cli.failed(str(error))
                continue
            say(f"made {one_line(str(cli.relative_to_here(made[-1])))}")
    status = int(len(made) < len(given.recordings))
    return status if given.no_page else max(status, show(made))


def main(argv: Sequence[str] | None = None) -> int:
    """Complete the recordings, each for itself; return 1 if one could not be."""
    return _run(parser().parse_args(argv))
