"""Many ranks as one: who was late, where, what that cost, and what happens to a rank unread."""

import csv
import json
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from analysis.fleet import __main__ as command
from analysis.fleet import engine, fleet
from analysis.fleet.named_reports import reports_of
from analysis.show import cli
from analysis.show.errors import CommandError, ReportError
from analysis.show.progress import Bar
from tests.made.reports.build_report import Kernel, make_report
from tests.made.reports.rank_reports import MICRO, STEP, rank_reports
from tests.made.tools import shared as shared_files

TABLES = ("ranks", "ranges", "steps", "collectives", "stragglers")
COLUMNS = {
    "ranks": "rank,report,steps,step_ns,compute_ns,communication_ns,copies_ns,idle_ns",
    "ranges": "range,ranks,median_ns,min_ns,max_ns,outlier_rank",
    "steps": "step,ranks,median_ns,slowest_rank,slowest_ns",
    "collectives": "kind,bytes,dtype,ranks,calls,mean_ns,algorithm_bytes_per_s,bus_bytes_per_s,"
    "transfer_ns,waiting_ns",
    "stragglers": "rank,last,collectives,cost_ns,range",
}


@pytest.fixture(scope="module")
def straggling(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the reports of 8 ranks; in step 3 the data loader of rank 5 is slow."""
    return rank_reports(tmp_path_factory.mktemp("ranks"), 8, loads={(5, 3): 500 * MICRO})


def run(*arguments: object) -> int:
    """Run the command in this process."""
    return cli.run(lambda: command.main([str(each) for each in (*arguments, "--workers", 1)]))


def rows(
    capsys: pytest.CaptureFixture[str], show: str, paths: Iterable[Path]
) -> list[dict[str, str]]:
    """Return the rows of a table in csv."""
    assert run(*paths, "--show", show, "--format", "csv") == 0
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


@pytest.mark.parametrize("show", TABLES)
def test_each_table_has_its_columns_first(
    straggling: list[Path], capsys: pytest.CaptureFixture[str], show: str
) -> None:
    assert run(*straggling, "--show", show, "--format", "csv") == 0
    header = capsys.readouterr().out.partition("\n")[0]
    assert header.startswith(COLUMNS[show])
    assert header.endswith(",group")


def test_the_straggler_its_step_the_cause_and_the_range_are_named(
    straggling: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = rows(capsys, "stragglers", straggling)
    told = ("rank", "last", "collectives", "step", "cause", "range")
    assert [first[name] for name in told] == ["5", "1", "5", "3", "host_busy", "load batch"]
    # Seven others wait half a millisecond each, but for the few ns that each rank is later.
    assert int(first["cost_ns"]) == pytest.approx(7 * 500 * MICRO, abs=100)
    assert int(first["step_cost_ns"]) == int(first["cost_ns"])
    assert all(int(each["cost_ns"]) < 200 for each in others)


def test_of_each_step_the_slowest_and_the_straggler_are_told(
    straggling: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    steps = rows(capsys, "steps", straggling)
    assert [row["ranks"] for row in steps] == ["8"] * 5
    assert (steps[3]["straggler"], steps[3]["cause"]) == ("5", "host_busy")
    assert int(steps[3]["median_ns"]) == STEP + 500 * MICRO - 10


def test_what_a_ranks_median_step_went_into_adds_up_to_it(
    straggling: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for row in rows(capsys, "ranks", straggling):
        parts = ("compute_ns", "communication_ns", "copies_ns", "idle_ns")
        assert sum(int(row[name]) for name in parts) == int(row["step_ns"])


def test_the_rank_whose_range_takes_longer_is_its_outlier(
    straggling: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = {row["range"]: row for row in rows(capsys, "ranges", straggling)}
    assert found["load batch"]["wall_outlier_rank"] == "5"
    assert found["forward"]["outlier_rank"] == ""
    assert found["forward"]["ranks"] == "8"


def test_all_tables_stand_on_a_page(
    straggling: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*straggling) == 0
    out = capsys.readouterr().out
    assert out.startswith("8 ranks\nclocks: by the ends of 5 shared collectives")
    assert [line[:-1] for line in out.splitlines() if line[:-1] in TABLES] == list(TABLES)
    assert run(*straggling, "--format", "json") == 0
    assert list(json.loads(capsys.readouterr().out)) == list(TABLES)
    with pytest.raises(SystemExit, match="2"):
        run(*straggling, "--format", "csv")


def test_all_tables_go_into_a_database(straggling: list[Path], tmp_path: Path) -> None:
    database = tmp_path / "summary.db"
    assert run(*straggling, "--format", "sqlite", "--output", database) == 0
    with closing(sqlite3.connect(database)) as connection:
        worst = connection.execute(
            'SELECT rank, step, "range" FROM fleet_stragglers ORDER BY cost_ns DESC'
        ).fetchone()
    assert worst == ("5", 3, "load batch")


def answers(paths: Iterable[Path], **how: str | int) -> str:
    """Return all tables in csv."""
    made = fleet(*paths, **how)  # type: ignore[arg-type]  # options by their names
    return "".join(made.table(show).frame().to_csv() for show in TABLES)


def test_processes_give_the_same_bytes(straggling: list[Path]) -> None:
    alone = answers(straggling, workers=1)
    assert answers(straggling, workers=2) == alone
    assert answers(reversed(straggling), workers=3) != ""


def test_a_process_that_is_killed_keeps_no_rank_out_of_the_answer(
    straggling: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    class Killing(Bar):
        def __call__(self, done: int, total: int) -> None:
            if killed:
                return
            workers = [
                each
                for each in psutil.Process().children()
                if each.status() != psutil.STATUS_ZOMBIE
                and "spawn_main" in " ".join(each.cmdline())
            ]
            if workers:
                killed.append(workers[0].pid)
                workers[0].kill()

    alone = answers(straggling, workers=1)
    monkeypatch.setattr(engine, "Bar", Killing)
    assert answers(straggling, workers=2) == alone
    assert killed


def test_a_rank_that_cannot_be_read_is_named_and_the_rest_answered(
    straggling: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.rank8.sqlite"
    cut.write_bytes(straggling[0].read_bytes()[:9000])
    arguments = (*straggling, cut, tmp_path / "gone.sqlite", "--show", "ranks", "--format", "csv")
    assert run(*arguments) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 9
    first, second = (line for line in err.splitlines() if line.startswith("left out: "))
    assert f"{cut}: truncated: 9,000 of " in first
    assert "gone.sqlite: no such file" in second
    assert run(*arguments, "--strict") == 1
    assert "error: 2 of 10 reports cannot be read" in capsys.readouterr().err


def test_where_none_can_be_read_it_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "a.sqlite", tmp_path / "b.sqlite") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "a.sqlite: no such file" in err
    assert "(and 1 more cannot be read either)" in err


def test_a_report_given_twice_is_refused(
    straggling: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*straggling, straggling[0]) == 1
    assert "given twice; name each report once" in capsys.readouterr().err


def test_two_reports_of_one_rank_are_refused(tmp_path: Path) -> None:
    first, second = rank_reports(tmp_path, 2, run={1: {"rank": "0"}})
    with pytest.raises(ReportError, match=r"of rank 0, as .*rank0\.sqlite is"):
        fleet(first, second, workers=1)


def test_ranks_of_different_work_are_not_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = rank_reports(tmp_path, 5, run={rank: {"batch": "8"} for rank in (3, 4)})
    found = rows(capsys, "ranks", paths)
    assert [row["group"] for row in found] == ["0", "0", "0", "1", "1"]
    assert run(*paths, "--show", "steps") == 0
    out, err = capsys.readouterr()
    assert out.startswith("5 ranks, in 2 groups of different work\n")
    assert "group 1: ranks 3, 4 did other work (batch 8, not said)" in err


def test_a_folder_stands_for_the_reports_in_it(tmp_path: Path) -> None:
    rank_reports(tmp_path, 11, steps=1)
    (tmp_path / "run.rank0.nsys-rep").touch()  # of which there is an export
    (tmp_path / "notes.txt").touch()
    names = [Path(path).name for path in reports_of([str(tmp_path)])]
    assert names == [f"run.rank{rank}.sqlite" for rank in range(11)]
    columns = tmp_path / "one_pqtdir"
    columns.mkdir()
    (columns / "StringIds.parquet").touch()
    assert reports_of([str(columns)]) == [str(columns)]
    (tmp_path / "none").mkdir()
    with pytest.raises(ReportError, match="a folder without reports"):
        reports_of([str(tmp_path / "none")])


def test_a_rank_is_called_as_the_report_says_else_by_its_name_else_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = [Kernel("gemm", 0, 9)]
    paths = [
        make_report(tmp_path / "a.rank7.sqlite", kernels=kernels, run={"rank": "3"}),
        make_report(tmp_path / "b_rank12.sqlite", kernels=kernels),
        make_report(tmp_path / "c.sqlite", kernels=kernels),
    ]
    found = rows(capsys, "ranks", paths)
    assert {row["rank"]: Path(row["report"]).name for row in found} == {
        "2": "c.sqlite",
        "3": "a.rank7.sqlite",
        "12": "b_rank12.sqlite",
    }


def test_without_dask_the_extra_is_named(
    straggling: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(CommandError, match=r"dask is not installed; pip install 'spanlight\[fl"):
        fleet(*straggling, workers=2)


def test_no_such_scheduler_file(straggling: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such file; name what dask scheduler wrote there"):
        fleet(*straggling, scheduler_file=str(tmp_path / "none.json"))


@pytest.mark.slow
def test_two_real_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_files.trace("gpt-8xh100-rank0").parent
    first, second = rows(capsys, "stragglers", [folder])
    assert (first["rank"], first["last"], first["collectives"]) == ("1", "37", "76")
    assert int(first["cost_ns"]) == pytest.approx(30.16e6, rel=1e-3)
    assert int(second["cost_ns"]) == pytest.approx(4.746e6, rel=1e-3)


def test_ranks_without_collectives_have_the_other_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        make_report(tmp_path / f"rank{rank}.sqlite", kernels=[Kernel("gemm", 0, 90 + rank)])
        for rank in range(2)
    ]
    assert run(*paths) == 0
    out = capsys.readouterr().out
    assert "\nranks:\n" in out
    assert "\ncollectives:\n" not in out
    assert run(*paths, "--show", "collectives") == 1
    assert "no collectives in these reports; record a parallel run" in capsys.readouterr().err
