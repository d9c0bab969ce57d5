"""How much memory there is: of the machine, of containers, by limits, and by word."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report, ReportError
from analysis.source import memory_limit, tables
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared

FREE = 8 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a machine with 8 GiB free, whose process is in no group and has no limit."""
    for name in ("proc/self", "cgroup/memory"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal:       33554432 kB\nMemAvailable:   {FREE >> 10} kB\n"
    )
    monkeypatch.setattr(memory_limit, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory_limit, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.delenv(memory_limit.VARIABLE, raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    """Write the files of a control group, dots for double underscores."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_it_is_what_the_machine_has(machine: Path) -> None:
    assert memory_limit.available_bytes() == FREE


def test_it_is_what_a_container_leaves_where_that_is_less(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/a/b\n")
    files = {"memory__current": "700", "memory__stat": "anon 9\ninactive_file 40\nactive_file 2\n"}
    write(machine / "cgroup/a/b", memory__max="max\n", memory__current="600\n")
    write(machine / "cgroup/a", memory__max="1000\n", **files)
    assert memory_limit.available_bytes() == 1000 - 700 + 42


def test_it_is_what_an_older_container_leaves(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("5:cpu:/x\n4:memory:/docker/1234\n")
    files = {"memory__limit_in_bytes": "1000\n", "memory__usage_in_bytes": "900\n"}
    # Its own group is seen as the top, under another name than the machine gives it.
    write(machine / "cgroup/memory", **files, memory__stat="total_inactive_file 50\n")
    assert memory_limit.available_bytes() == 150


def test_more_than_the_limit_in_use_leaves_nothing(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/\n")
    write(machine / "cgroup", memory__max="1000\n", memory__current="1400\n")
    assert memory_limit.available_bytes() == 0


@pytest.mark.parametrize(
    ("word", "size"),
    [("500M", 500 << 20), ("2g", 2 << 30), ("1.5 GiB", 3 << 29), ("64kB", 65536), ("12", 12)],
)
def test_it_is_what_is_asked_for(word: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory_limit.VARIABLE, word)
    assert memory_limit.available_bytes() == size


@pytest.mark.parametrize("word", ["lots", "-1", "1e9", "5 X", "G"])
def test_what_is_no_amount_is_one_line(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory_limit.VARIABLE, word)
    with pytest.raises(ReportError, match=r"^SPANLIGHT_MEMORY: '.*' is no amount of memory; give"):
        memory_limit.available_bytes()


def test_a_folder_in_memory_is_no_place_for_large_files(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, large = machine / "tmp", machine / "var"
    for place in (folder, large):
        place.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(folder))
    monkeypatch.setattr(memory_limit, "LARGE_FILES", large)
    assert memory_limit.disk_folder() == folder
    mounts = f"disk / ext4 rw 0 0\ntmpfs {folder} tmpfs rw 0 0\n"
    (machine / "proc/self/mounts").write_text(mounts)
    assert memory_limit.disk_folder() == large
    (machine / "proc/self/mounts").write_text(f"{mounts}tmpfs {large} tmpfs rw 0 0\n")
    assert memory_limit.disk_folder() is None


def test_without_a_disk_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 5)])
    monkeypatch.setenv(memory_limit.VARIABLE, "50M")
    monkeypatch.setattr(memory_limit, "disk_folder", lambda: None)
    with pytest.raises(ReportError, match=r"may need 104.9 MB of memory, 52.43 MB is free, .*TMP"):
        Report(path)


def test_what_is_needed_grows_with_the_rows_and_with_the_reports(tmp_path: Path) -> None:
    ranges = [Range("a", number, number + 1) for number in range(500)]
    one = make_report(tmp_path / "one.sqlite", ranges=ranges[:1])
    many = make_report(tmp_path / "many.sqlite", ranges=ranges)
    with Report(one) as first, Report(many) as second:
        difference = memory_limit.needed_bytes(second) - memory_limit.needed_bytes(first)
        assert difference == 499 * memory_limit.BYTES_A_ROW["NVTX_EVENTS"]
        assert sum(memory_limit._open) == memory_limit.needed_bytes(
            first
        ) + memory_limit.needed_bytes(second)
    assert not memory_limit._open


def test_the_rows_of_a_view_are_counted(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("a", 0, 5), Kernel("b", 5, 9)])
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE VIEW CUPTI_ACTIVITY_KIND_SEEN AS SELECT * FROM CUPTI_ACTIVITY_KIND_KERNEL;"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_FLAT (a INTEGER PRIMARY KEY) WITHOUT ROWID;"
            "INSERT INTO CUPTI_ACTIVITY_KIND_FLAT VALUES (3), (4), (5)"
        )
    with Report(path) as report:
        assert memory_limit.last_row(report, "CUPTI_ACTIVITY_KIND_SEEN") == 2
        assert memory_limit.last_row(report, "CUPTI_ACTIVITY_KIND_FLAT") == 3


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_no_table_has_more_rows_than_its_last_row_says(name: str) -> None:
    with Report(shared.report(name)) as report:
        for table in (table for table in report.schema if table.startswith(tables.ACTIVITY)):
            counted = int(report.columns(f"SELECT count(*) AS n FROM {table}")["n"][0])
            assert memory_limit.last_row(report, table) >= counted
