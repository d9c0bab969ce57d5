"""Record training on several ranks: a report for each, NAME.rank0.sqlite and so on, or none.

What is asked for is looked at here, the ranks are started by `profiling.processes.ranks`, and each
records itself (`profiling.training.rank_steps`), or is recorded by an nsys of its own.
"""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from profiling.common.errors import UsageError
from profiling.common.progress import steps_bar
from profiling.common.settings import MODES, OPTIMIZERS, Settings
from profiling.launch import report
from profiling.launch.plan import Launch, Ranks, report_of
from profiling.launch.workloads import OF_RANKS, refuse
from profiling.processes import ranks
from profiling.processes.notes import RankMessage, rank_folder
from profiling.recorders.nsys import Nsys
from profiling.recorders.report_files import SUFFIXES, check_free, publish_all, scratch_folder

FUNCTION: Final = "profiling.training.rank_steps:record"
DEFAULT_STRATEGY: Final = "overlapped"
TIMEOUT_S: Final = 600.0


def choose_ranks(arguments: argparse.Namespace, device: str) -> Ranks | None:
    """Return the ranks that the command line asks for, and leave a rank's batch in it.

    Raises:
        UsageError: it does not go together, or there is no such strategy.
        LaunchError: there are fewer GPUs than ranks.
    """
    if arguments.ranks is None:
        refuse(arguments, OF_RANKS[1:], "is of --ranks N; give that too, or leave it out")
        return None
    # Here: beside a script a `model` of its own may stand.
    from profiling.parallel.options import choose_backend

    strategy = _strategy(arguments)
    _check_settings(arguments, strategy)
    asked = argparse.Namespace(ranks=arguments.ranks, device=device)
    chosen = Ranks(
        count=arguments.ranks,
        strategy=strategy,
        bucket_mb=arguments.bucket_mb,
        backend=choose_backend(asked, torch.cuda.device_count()),
        timeout_s=arguments.timeout or TIMEOUT_S,
    )
    if arguments.batch is not None:
        if arguments.batch % chosen.count:
            raise UsageError(
                f"--batch {arguments.batch}: {chosen.count} ranks cannot share it evenly; it "
                "counts the sequences of all"
            )
        arguments.batch //= chosen.count
    return chosen


def _strategy(arguments: argparse.Namespace) -> str:
    from model.parallel.strategies import ALL_STRATEGIES, BUCKET_SIZE_MB, NONE

    strategy: str = arguments.strategy or DEFAULT_STRATEGY
    known = [each for each in ALL_STRATEGIES if each != NONE]
    if strategy not in known:
        raise UsageError(f"no strategy is called {strategy!r}; there are: {', '.join(known)}")
    if strategy == "bucketed":
        arguments.bucket_mb = arguments.bucket_mb or BUCKET_SIZE_MB
    elif arguments.bucket_mb is not None:
        raise UsageError(f"--bucket-mb is of --strategy bucketed, not of {strategy}")
    return strategy


def _check_settings(arguments: argparse.Namespace, strategy: str) -> None:
    """Refuse what several ranks do not do, or not by this strategy."""
    for option in ("memory", "compile"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} is of one process; leave it out, or --ranks")
    if arguments.mode not in {None, MODES[0]}:
        raise UsageError(f"--mode {arguments.mode}: ranks train; leave it out, or --ranks")
    if strategy == "fsdp" and arguments.autocast:
        raise UsageError("fsdp casts by itself; give --dtype instead of --autocast")
    if strategy == "sharded" and arguments.optimizer not in {None, OPTIMIZERS[0]}:
        raise UsageError("--optimizer: sharded runs AdamW as torch does by default; leave it out")


def check_memory(settings: Settings, chosen: Ranks) -> None:
    """Refuse ranks that together need more memory than there is; on GPUs each asks its own.

    Raises:
        LaunchError: they do.
    """
    from profiling.parallel import options

    if chosen.backend == "gloo":
        options.check_memory(settings, chosen.count)


def earlier_reports(launch: Launch) -> list[Path]:
    """Return the files of an earlier set of this name; it may have had more ranks."""
    suffixes = "|".join(map(re.escape, SUFFIXES))
    pattern = re.compile(rf"{re.escape(launch.name)}\.rank[0-9]+({suffixes})")
    if not launch.reports.is_dir():
        return []
    return sorted(path for path in launch.reports.iterdir() if pattern.fullmatch(path.name))


def record(launch: Launch) -> list[Path]:
    """Make the reports of all ranks, or leave everything as it was.

    Returns:
        The reports, in order of rank, or recordings that wait to be completed.

    Raises:
        LaunchError: a rank failed, was not done in time, or its report cannot be kept.
    """
    assert launch.ranks, "asked of ranks only"
    with scratch_folder(launch.reports) as folder:
        for rank in range(launch.ranks.count):
            rank_folder(folder, rank).mkdir()
        results = _run(launch, launch.ranks, folder)
        reports: list[Path] = []
        names: dict[Path, Path] = {}
        for rank, result in enumerate(results):
            made = _make(launch, rank, folder, result)
            own = report.destinations(made, report_of(launch, rank).with_suffix(""))
            reports.append(own[made])
            names |= own
        with _set_aside(launch, folder):
            publish_all(names, overwrite=False)
        return reports


def _run(launch: Launch, chosen: Ranks, folder: Path) -> list[dict[str, Any]]:
    settings = launch.settings
    assert isinstance(settings, Settings), "ranks train"

    def under_nsys(rank: int, command: list[str]) -> list[str]:
        nsys: Nsys | None = launch.nsys
        if nsys is None:
            return command
        output = rank_folder(folder, rank) / report.RECORDING
        return nsys.profile_command(output, launch.device, command)

    with steps_bar(settings.warmup + 2 * settings.steps) as bar:

        def on_told(rank: int, told: RankMessage) -> None:
            if rank == 0:
                bar.done(told["step"], told["duration_ns"])

        arguments = {
            "settings": asdict(settings),
            "strategy": {"name": chosen.strategy, "bucket_mb": chosen.bucket_mb},
            "backend": chosen.backend,
            "timeout_s": chosen.timeout_s,
            "recorder": launch.recorder,
            "folder": str(folder.resolve()),
        }
        return ranks.run(
            FUNCTION,
            chosen.count,
            arguments,
            timeout_s=chosen.timeout_s,
            on_told=on_told,
            command=under_nsys,
        )


def _make(launch: Launch, rank: int, folder: Path, result: dict[str, Any]) -> Path:
    """Make the report of a rank, in its folder, or what is needed to make it elsewhere."""
    own = rank_folder(folder, rank)
    report.warn(result)
    if launch.nsys:
        made = report.exported(launch.nsys, own)
    else:
        made = report.converted(own, result["pushed"])
    assert launch.ranks
    assert isinstance(launch.settings, Settings)
    of_rank = launch.ranks.facts(rank, launch.settings)
    report.finish(made, report.notes(launch, result, own, of_rank))
    return made


@contextmanager
def _set_aside(launch: Launch, folder: Path) -> Iterator[None]:
    """Take an earlier set away, which comes back if what is inside fails.

    Raises:
        LaunchError: one has come meanwhile, and is not to be replaced.
    """
    found = earlier_reports(launch)
    check_free(*found, overwrite=launch.overwrite)
    aside = folder / "earlier"
    aside.mkdir()
    try:
        for path in found:
            os.replace(path, aside / path.name)
        yield
    except BaseException:
        for path in aside.iterdir():
            os.replace(path, launch.reports / path.name)
        raise
