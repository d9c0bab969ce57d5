"""Memory of a report: peaks, holders and growth of small reports, added up by eye."""

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import Report
from analysis.measures.memory_changes import MemoryChanges
from analysis.memory import __main__ as memory
from analysis.memory.tables import memory as memory_table
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.source.trace import schema
from tests.made.reports.build_report import (
    PROCESS,
    THREAD,
    Call,
    Operator,
    Range,
    global_id,
    make_report,
)
from tests.made.runs.launched import ROOT
from tests.made.tools import shared

TID = global_id(PROCESS, THREAD)
AUTOGRAD = 101
OPERATORS = [Operator("aten::mm", 0, 1, 1)]
RANGES = [
    Range("warmup", 0, 100),
    Range("forward", 10, 50),
    Range("optimizer", 60, 90),
    Range("step", 100, 200),
    Range("forward", 110, 150),
    Range("softmax", 120, 130),
    Range("backward", 150, 180),
    Range("softmax.backward", 155, 170, thread=AUTOGRAD),
    Range("step", 200, 300),
]
CHANGES = [
    # time, address, bytes, and the thread where it is another
    (20, 1, 50),  # in warm-up's forward
    (70, 2, 500),  # the optimizer's state, which stays
    (80, 3, 1000),  # a peak, but in warm-up
    (85, 3, -1000),
    (90, 1, -50),
    (115, 4, 30),
    (125, 5, 100),  # in softmax
    (128, 6, 40),  # a workspace
    (129, 6, -40),
    (160, 7, 60, AUTOGRAD),  # in its backward: the peak, 500 + 30 + 100 + 60 + what was there
    (165, 5, -100, AUTOGRAD),
    (190, 4, -30),
    (195, 7, -60),
    (250, 8, 10),  # and this stays
]
BASE = 1000


def with_memory(
    path: Path,
    changes: Iterable[Sequence[int]] = CHANGES,
    base: int = BASE,
    ranges: Iterable[Range] = RANGES,
) -> Path:
    made = make_report(path, ranges=ranges, operators=OPERATORS, run={"memory_source": "allocator"})
    held, rows = base, []
    for time, address, delta, *thread in changes:
        held += delta
        tid = global_id(PROCESS, *thread) if thread else TID
        rows.append((time, -1, tid, address, delta, held, None, held))
    with closing(sqlite3.connect(made)) as connection, connection:
        schema.insert(connection, "TOOLKIT_MEMORY", rows)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return with_memory(tmp_path / "r.sqlite")


def rows(path: Path, show: str, **options: Any) -> list[dict[str, int | float | str]]:
    with Report(path) as report:
        return memory_table(report, show=show, **options).rows()


def test_the_peak_of_a_range_is_the_most_held_while_it_was_open(path: Path) -> None:
    found = {str(row["range"]): row for row in rows(path, "peaks")}
    assert {name: row["peak_bytes"] for name, row in found.items()} == {
        "step": 1690,
        "backward": 1690,
        "softmax.backward": 1690,
        "forward": 1670,
        "softmax": 1670,
    }
    assert {name: row["rise_bytes"] for name, row in found.items()} == {
        "step": 190,
        "backward": 60,
        "softmax.backward": 60,
        "forward": 170,
        "softmax": 140,
    }
    assert found["forward"]["growth_bytes"] == 130
    assert found["backward"]["growth_bytes"] == -40
    assert found["step"]["instances"] == 2
    assert next(iter(found)) == "step"


def test_warm_up_counts_only_where_it_is_asked_for(path: Path) -> None:
    found = {row["range"]: row for row in rows(path, "peaks", exclude=("none",))}
    assert found["warmup"]["peak_bytes"] == found["optimizer"]["peak_bytes"] == 2550
    assert found["forward"]["instances"] == 2


def test_who_holds_memory_at_the_peak(path: Path) -> None:
    found = rows(path, "holders")
    held = {(row["outer"], row["phase"], row["range"]): row["held_bytes"] for row in found}
    assert held == {
        ("", "", "(before the recording)"): BASE,
        ("warmup", "optimizer", "optimizer"): 500,
        ("step", "forward", "softmax"): 100,
        ("step", "backward", "softmax.backward"): 60,
        ("step", "forward", "forward"): 30,
    }
    assert sum(float(row["share"]) for row in found) == pytest.approx(1)
    assert found[0]["held_bytes"] == BASE


def test_growth_is_told_step_by_step_and_a_leak_is_named(tmp_path: Path, path: Path) -> None:
    first, second = rows(path, "steps")
    assert (first["start_bytes"], first["peak_bytes"], first["end_bytes"]) == (1500, 1690, 1500)
    assert (second["end_bytes"], second["growth_bytes"]) == (1510, 10)
    with Report(path) as report:
        assert "(a leak?)" in memory_table(report, show="steps").notes[0]
    steady = with_memory(tmp_path / "steady.sqlite", CHANGES[:-1])
    with Report(steady) as report:
        assert memory_table(report, show="steps").notes == ()


def test_a_report_gives_the_same_as_a_frame(path: Path) -> None:
    with Report(path) as report:
        frame = report.memory(show="holders")
    assert frame["held_bytes"].sum() == 1690


def test_windows_are_what_looking_at_every_change_gives() -> None:
    draw = random.Random(1)
    for _ in range(60):
        count = draw.randint(1, 40)
        time = np.sort(np.array([draw.randint(0, 30) for _ in range(count)]))
        delta = np.array([draw.randint(-9, 9) for _ in range(count)])
        held = np.cumsum(delta)
        none = np.full(count, -1)
        changes = MemoryChanges(1, -1, time, none, none, delta, held, held)
        start = np.array([draw.randint(-2, 32) for _ in range(20)])
        end = start + np.array([draw.randint(0, 20) for _ in range(20)])
        level = [int(delta[time <= at].sum()) for at in start]
        assert changes.held_at(start).tolist() == level
        expected = [
            max([now, *held[(time > low) & (time <= high)].tolist()])
            for now, low, high in zip(level, start, end, strict=True)
        ]
        assert changes.most_held(start, end).tolist() == expected


def test_samples_have_a_peak_of_their_own_and_no_holders(tmp_path: Path) -> None:
    made = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100), Range("forward", 10, 50)],
        operators=OPERATORS,
        run={"memory_source": "allocator at the borders of ranges"},
    )
    samples = [(0, 5, 9), (10, 6, 7), (50, 20, 90), (100, 8, 30)]
    with closing(sqlite3.connect(made)) as connection, connection:
        schema.insert(
            connection,
            "TOOLKIT_MEMORY",
            [(at, 0, TID, None, 0, held, 100, most) for at, held, most in samples],
        )
    found = {row["range"]: row for row in rows(made, "peaks")}
    assert (found["forward"]["device"], found["forward"]["peak_bytes"]) == ("cuda:0", 90)
    assert found["forward"]["growth_bytes"] == 14
    with pytest.raises(ReportError, match="samples of memory do not tell who holds it"):
        rows(made, "holders")
    assert cli.run(lambda: memory.main([str(made)])) == 0


def nsys_events(path: Path, events: Iterable[Sequence[int]]) -> Path:
    calls = [Call("cudaMalloc", 120, 126, 1), Call("cudaMalloc", 160, 162, 2)]
    made = make_report(path, ranges=RANGES, operators=OPERATORS, calls=calls)
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute(
            "CREATE TABLE CUDA_GPU_MEMORY_USAGE_EVENTS (start INTEGER NOT NULL, globalPid INTEGER "
            "NOT NULL, deviceId INTEGER NOT NULL, contextId INTEGER NOT NULL, address INTEGER NOT "
            "NULL, pc INTEGER NOT NULL, bytes INTEGER NOT NULL, memKind INTEGER NOT NULL, "
            "memoryOperationType INTEGER NOT NULL, name TEXT, correlationId INTEGER)"
        )
        connection.executemany(
            "INSERT INTO CUDA_GPU_MEMORY_USAGE_EVENTS VALUES (?, ?, ?, 1, ?, 0, ?, ?, ?, NULL, ?)",
            [(time, global_id(PROCESS), *rest) for time, *rest in events],
        )
    return made


def test_nsys_own_events_are_read_where_they_are(tmp_path: Path) -> None:
    events = [
        (125, 1, 0xA, 64, 2, 0, 1),  # device 1, taken in softmax
        (130, 0, 0xB, 7, 1, 0, 3),  # pinned: in the machine
        (161, 1, 0xC, 32, 2, 0, 2),
        (170, 1, 0xA, 64, 2, 1, 4),
    ]
    made = nsys_events(tmp_path / "r.sqlite", events)
    found = rows(made, "peaks")
    of_softmax = [row for row in found if row["range"] == "softmax"]
    assert {row["device"]: row["peak_bytes"] for row in of_softmax} == {"cuda:1": 64, "cpu": 7}
    held = {(row["device"], row["range"]): row["held_bytes"] for row in rows(made, "holders")}
    assert held == {
        ("cuda:1", "softmax"): 64,
        ("cuda:1", "backward"): 32,
        ("cpu", "(no range)"): 7,
    }
    with Report(made) as report:
        assert "as nsys saw them" in memory_table(report).heading


def test_a_report_without_memory_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mpi-saxpy-2022.2", "train-step-small-a100"):  # the first has the table, empty
        path = shared.report(name)
        assert cli.run(lambda path=path: memory.main([str(path)])) == 1  # type: ignore[misc]
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "no memory was recorded by nsys 2" in said
        assert "; record it: make profile MEMORY=1" in said


def test_the_command_prints_all_tables_and_one_in_csv(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(lambda: memory.main([str(path)])) == 0
    said = capsys.readouterr()
    for heading in ("Most held while", "Held at the peak", "Step by step"):
        assert heading in said.out
    assert "cpu: peak 1.650 KiB at 160 ns, in step / backward / softmax.backward" in said.out
    assert "kept for the backward pass was not recorded" in said.err
    assert cli.run(lambda: memory.main([str(path), "--show", "steps", "--format", "csv"])) == 0
    assert capsys.readouterr().out.splitlines() == [
        "step,device,start_bytes,peak_bytes,end_bytes,growth_bytes,process",
        f"0,cpu,1500,1690,1500,0,{PROCESS}",
        f"1,cpu,1500,1510,1510,10,{PROCESS}",
    ]
    assert cli.run(lambda: memory.main([str(path), "--format", "json"])) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5
    with pytest.raises(SystemExit) as stopped:
        memory.main([str(path), "--format", "json", "--show", "all"])
    assert stopped.value.code == 2


def test_a_picture_is_written_and_sqlite_takes_the_peaks(path: Path, tmp_path: Path) -> None:
    folder, database = tmp_path / "pictures", tmp_path / "summary.db"
    assert cli.run(lambda: memory.main([str(path), "--pictures", str(folder)])) == 0
    assert (folder / "memory-cpu.png").read_bytes().startswith(b"\x89PNG")
    arguments = [str(path), "--format", "sqlite", "--output", str(database)]
    assert cli.run(lambda: memory.main(arguments)) == 0
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM memory_peaks").fetchone()
    assert count == 5


def test_hostile_names_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranges = [Range("\x1b[31mred|[b]\n", 110, 150), Range("step", 100, 200)]
    path = with_memory(tmp_path / "r.sqlite", ranges=ranges)
    for form in ("table", "markdown", "csv", "json"):
        assert cli.run(lambda form=form: memory.main([str(path), "--format", form])) == 0  # type: ignore[misc]
        said = capsys.readouterr()
        assert "\x1b" not in said.err
        assert form == "csv" or "\x1b" not in said.out


def test_it_starts_without_torch_and_matplotlib(path: Path) -> None:
    code = (
        "import sys; from analysis.memory import __main__ as memory\n"
        f"memory.main([{str(path)!r}, '--format', 'csv'])\n"
        "print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
