"""Of a large report what is asked for alone is read, steps or a process; the answer is the same."""

import random
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from analysis import Report
from analysis.attribution import selected
from analysis.attribution.selection import Selection
from analysis.recorded.device_work import device_work
from analysis.recorded.ranges import load
from analysis.source import column_cache, database, device_tables
from analysis.source.readers.folder_reader import ParquetTable
from analysis.source.readers.stretch import Stretch
from tests.made.commands.commands import command_module
from tests.made.reports import folders
from tests.made.reports.ask_everything import ask
from tests.made.reports.build_report import Call, Kernel, Memory, Range, make_report

MAIN, OTHER = 100, 200  # processes
PARTS = (
    ("--steps", "0:1"),
    ("--steps", "3:"),
    ("--process", str(OTHER), "--exclude", "none"),
    ("--process", str(MAIN), "--steps", "1:3"),
)
QUESTIONS = (
    ("analysis.kernels", "--by", "category"),
    ("analysis.kernels", "--within", "forward"),
    ("analysis.ranges", "--format", "csv"),
    ("analysis.ranges", "--tree"),
    ("analysis.ranges", "--instances", "--format", "csv"),
    ("analysis.phases",),
    ("analysis.attention",),
)
"""Every answer that depends on what counts alone, and not on what is around it."""

SOME_STEPS = Selection(steps=(1, 3))

Answer = tuple[int, str, str]


def random_run(path: Path, seed: int, *, flops: int | None = 2000) -> Path:
    """Write a report of five steps, of which much of the work runs long after it was launched.

    Two processes do it at the same time, and give their calls the same numbers.

    Args:
        path: where.
        seed: of what is random.
        flops: of some ranges; without them ranges elsewhere are not read.
    """
    drawn = random.Random(seed)
    ranges: list[Range] = []
    kernels: list[Kernel] = []
    memory, calls = [], []
    for process in (MAIN, OTHER):
        ranges.append(Range("warmup", 0, 900, process=process))
        for step in range(5):
            begin = 1000 * (step + 1)
            ranges.append(Range("step", begin, begin + drawn.randrange(800, 1000), process=process))
            for phase in range(drawn.randrange(1, 4)):
                name = drawn.choice(["forward", "backward", "optimizer"])
                first = begin + 250 * phase
                label = drawn.choice(["attention.scores", "ffn", "attention.softmax"])
                payload = drawn.choice([None, flops])
                here = Range(name, first, first + 240, drawn.choice([7, 7, 8]), process)
                inner = Range(label, first + 5, first + 200, here.thread, process, payload=payload)
                ranges += [here, inner]
        for number in range(1, 200):
            launch, lag = 32 * number + drawn.randrange(0, 40), drawn.choice([1, 20, 300, 2500])
            length = drawn.randrange(1, 200)
            ran = (launch + lag, launch + lag + length)
            if drawn.random() < 0.1:
                called = (launch, launch + 3, 1000 + number)
                calls.append(Call("cudaMemcpyAsync", *called, process=process))
                memory.append(Memory(*ran, 64, 1000 + number, process=process))
                continue
            kernels.append(
                Kernel(
                    drawn.choice(["sgemm", "softmax_kernel", "vectorized_add"]),
                    *ran,
                    stream=drawn.choice([7, 9]),
                    launch=drawn.choice([launch, launch, launch, None]),
                    thread=drawn.choice([7, 7, 8]),
                    process=process,
                    correlation=number,
                )
            )
    return make_report(path, kernels=kernels, ranges=ranges, memory=memory, calls=calls)


def answers(report: Path) -> list[Answer]:
    """Return what every question about every part is answered."""
    return [
        ask(command_module(module).main, [str(report), *options, *part])
        for part in PARTS
        for module, *options in QUESTIONS
    ]


def narrows(report: Path, asked: Selection) -> tuple[int, int] | None:
    """Return how much device work and how many ranges are read for a part; None where all are."""
    with Report(report) as whole:
        narrow = selected.narrowed(whole, asked)
        return None if narrow is whole else (len(device_work(narrow)), len(load(narrow)))


@pytest.mark.parametrize(
    ("seed", "kind"),
    [*((seed, "sqlite") for seed in range(2)), (4, folders.PARQUET), (5, folders.ARROW)],
)
def test_the_answer_is_that_of_the_whole_report(
    seed: int, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flops = None if seed % 2 else 2000
    run = random_run(tmp_path / "run.sqlite", seed, flops=flops)
    expected = answers(run)
    copy = run
    if kind != "sqlite":
        monkeypatch.setattr(folders, "ROWS_A_GROUP", 10)
        copy = folders.exported(run, kind, tmp_path / "copy" / "run.sqlite")
    monkeypatch.setattr(selected, "LARGE_BYTES", 0)
    some, other = narrows(copy, SOME_STEPS), narrows(copy, Selection(process=OTHER))
    both = narrows(copy, Selection(process=OTHER, steps=(1, 3)))
    assert some
    assert other
    assert both
    assert both[0] < other[0] == 199 < some[0] < 380
    if flops:
        assert both[1] == other[1] == some[1]
    else:
        assert both[1] < min(other[1], some[1])
    assert answers(copy) == [
        (status, out, err.replace(str(run), str(copy))) for status, out, err in expected
    ]


def test_what_is_kept_of_all_steps_serves_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = random_run(tmp_path / "run.sqlite", 7)
    expected = answers(run)
    monkeypatch.setattr(selected, "LARGE_BYTES", 0)
    monkeypatch.setenv(column_cache.VARIABLE, column_cache.ALL)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(column_cache, "SETTLED_NS", 0)
    assert answers(run) == expected
    assert ask(command_module("analysis.ranges").main, [str(run)])[0] == 0
    assert answers(run) == expected


def test_a_small_report_a_place_and_what_is_inferred_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = random_run(tmp_path / "run.sqlite", 3)
    assert narrows(run, SOME_STEPS) is None
    monkeypatch.setattr(selected, "LARGE_BYTES", 0)
    with Report(run) as whole:
        for asked in (Selection(), Selection(steps=(1, 3), device=0), Selection(process=3)):
            assert selected.narrowed(whole, asked) is whole
    work = [Kernel("f", 100 * turn, 100 * turn + 20, launch=100 * turn) for turn in range(9)]
    ends = [Range("Optimizer.step#SGD.step", 200, 290), Range("Optimizer.step#SGD.step", 500, 590)]
    inferred = make_report(tmp_path / "inferred.sqlite", kernels=work, ranges=ends)
    assert narrows(inferred, Selection(steps=(0, 1))) is None


@pytest.mark.parametrize(
    "question",
    [("analysis.ranges",), ("analysis",), ("analysis.nvidia", "--report", "nvtx_gpu_proj_sum")],
)
def test_a_report_that_surely_does_not_fit_is_refused_before_it_is_read(
    question: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = random_run(tmp_path / "run.sqlite", 3)
    module, *options = question
    asked = [str(run), *options]
    monkeypatch.setattr(database, "available_bytes", lambda: 30_000)
    assert ask(command_module(module).main, asked)[0] == 0  # small ones are not counted
    for where, name in ((device_tables, "LARGE_BYTES"), (database, "MANY_HELD")):
        monkeypatch.setattr(where, name, 0)
    status, out, said = ask(command_module(module).main, asked)
    assert (status, out) == (1, "")
    assert re.fullmatch(
        r"error: .*run.sqlite: \d+ rows of work, calls and ranges need 0 MB of memory, 0 MB is "
        r"free; cut some steps out of it with python -m analysis.trim, or ask kernels, ranges or "
        r"phases about some \(--steps\)\n",
        said,
    )


def test_some_steps_of_a_report_that_does_not_fit_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = random_run(tmp_path / "run.sqlite", 3)
    expected = ask(command_module("analysis.ranges").main, [str(run), "--steps", "1:2"])
    for where in (selected, device_tables):
        monkeypatch.setattr(where, "LARGE_BYTES", 0)
    monkeypatch.setattr(device_tables, "BYTES_A_ROW", 1 << 50)
    monkeypatch.setattr(database, "MANY_HELD", 500)  # there are more rows, but fewer names
    assert ask(command_module("analysis.ranges").main, [str(run)])[0] == 1
    assert ask(command_module("analysis.ranges").main, [str(run), "--steps", "1:2"]) == expected


def test_what_only_other_steps_have_is_not_said_to_be_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = [Range("step", 0, 90), Range("step", 100, 190)]
    kernels = [Kernel("flash_fwd_kernel", 10, 20, launch=5), Kernel("f", 110, 120, launch=105)]
    run = make_report(tmp_path / "run.sqlite", kernels=kernels, ranges=ranges)
    asked = [str(run), "--steps", "1:2"]
    expected = ask(command_module("analysis.attention").main, asked)
    assert "in the part that counts" in expected[2]
    monkeypatch.setattr(selected, "LARGE_BYTES", 0)
    assert ask(command_module("analysis.attention").main, asked) == expected


def test_row_groups_that_hold_nothing_of_a_stretch_are_not_read(tmp_path: Path) -> None:
    kernels = [Kernel("f", 100 * turn, 100 * turn + 20, launch=0) for turn in range(50)]
    run = make_report(tmp_path / "run.sqlite", kernels=kernels)
    folder = folders.exported(run, folders.PARQUET, tmp_path / "folder")
    path = folder / "CUPTI_ACTIVITY_KIND_KERNEL.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows, path, row_group_size=10)
    table = ParquetTable(path)
    assert table.row_groups(Stretch(1000, 1119)) == [1]
    assert table.row_groups(Stretch(1000, 1119, correlation=(45, 46))) == [1, 4]
    assert table.row_groups(Stretch(20, 20, correlation=(0, 0))) == [0]
    assert table.row_groups(Stretch(9000, 9001)) == []
    pq.write_table(rows, path, row_group_size=10, write_statistics=False)
    assert ParquetTable(path).row_groups(Stretch(1000, 1119)) == [0, 1, 2, 3, 4]
