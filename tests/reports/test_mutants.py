"""Whatever a file holds, a question ends in an answer or in one line, and the file is as it was.

Hundreds of reports, each a real one with one thing wrong.
"""

import fcntl
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.made.commands.commands import command_module
from tests.made.reports.ask_everything import ask, check_all_questions
from tests.made.reports.mutants import (
    BASE_BYTES,
    Mutation,
    cut,
    loosened,
    mutant,
    mutations,
    truncated,
    with_flipped_bytes,
)
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

SAMPLE: Final = "sample"
BY_TWO: Final = (
    (SAMPLE, *shared.WITH_KERNELS[:4], "cpu-samples-4060ti"),
    (*shared.WITH_KERNELS[4:], *shared.WITHOUT_KERNELS, "cpu-samples-cpp"),
)
"""The reports by file of tests: `test_mutants_of_others` has the second half, for another."""

OF_EACH: Final = 20
OF_SAMPLE: Final = 44
"""How many mutants are made of a report."""

LARGEST: Final = 1_000_000
"""Bytes of a report that is taken whole."""

pytestmark = pytest.mark.slow


@cache
def base(name: str, folder: Path) -> tuple[Path, list[Mutation]]:
    """Return the report that mutants are made of, and all mutations of it.

    It is made by whichever worker asks first.
    """
    path = folder / f"{name}.sqlite"
    with open(folder / "bases.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            source = ROOT / "nsys_reports" / f"{name}.sqlite" if name == SAMPLE else None
            source = source or shared.report(name)
            draft = path.with_suffix(".draft")
            if name == SAMPLE:
                trim = command_module("analysis.trim").main
                asked = [str(source), "--output", str(draft), "--max-size", f"{2 * BASE_BYTES}B"]
                assert ask(trim, asked)[0] == 0
            elif source.stat().st_size < LARGEST:
                shutil.copyfile(source, draft)
            else:
                cut(source, draft)
            loosened(draft)
            draft.rename(path)
    return path, list(mutations(path))


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports that mutants are made of."""
    return tmp_path_factory.mktemp("bases")


def numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the mutants of some reports: a report's name, and a number."""
    return [(name, at) for name in names for at in range(OF_SAMPLE if name == SAMPLE else OF_EACH)]


@pytest.mark.parametrize(("name", "number"), numbered(BY_TWO[0]))
def test_a_mutant_is_answered_or_refused_in_one_line(
    name: str, number: int, bases: Path, tmp_path: Path
) -> None:
    check_mutant(name, number, bases, tmp_path)


def check_mutant(name: str, number: int, bases: Path, tmp_path: Path) -> None:
    """Make a mutant of a report, and ask every question about it."""
    report, all_of_them = base(name, bases)
    path = tmp_path / "given.sqlite"
    if number == 0:
        what = "truncated"
        truncated(report, sum(map(ord, name)), path)
    elif number < 4:
        what = "bytes flipped"
        with_flipped_bytes(report, number, path)
    else:
        # Steps of a prime: neighbours are mutants of one column.
        mutation = all_of_them[(number * 7919 + sum(map(ord, name))) % len(all_of_them)]
        what = mutation.name
        mutant(report, mutation, path)
    check_all_questions(path, what)
