"""How much memory there is: of the machine, of containers and by limits."""

from pathlib import Path

import pytest

from analysis.source import free_memory

FREE = 8 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a machine with 8 GiB free, whose process is in no group and has no limit."""
    for name in ("proc/self", "cgroup/memory"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal:       33554432 kB\nMemAvailable:   {FREE >> 10} kB\n"
    )
    monkeypatch.setattr(free_memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(free_memory, "CGROUPS", tmp_path / "cgroup")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    """Write the files of a control group, dots for double underscores."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_it_is_what_the_machine_has(machine: Path) -> None:
    assert free_memory.available_bytes() == FREE


def test_it_is_what_a_container_leaves_where_that_is_less(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/a/b\n")
    files = {"memory__current": "700", "memory__stat": "anon 9\ninactive_file 40\nactive_file 2\n"}
    write(machine / "cgroup/a/b", memory__max="max\n", memory__current="600\n")
    write(machine / "cgroup/a", memory__max="1000\n", **files)
    assert free_memory.available_bytes() == 1000 - 700 + 42


def test_it_is_what_an_older_container_leaves(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("5:cpu:/x\n4:memory:/docker/1234\n")
    files = {"memory__limit_in_bytes": "1000\n", "memory__usage_in_bytes": "900\n"}
    # Its own group is seen as the top, under another name than the machine gives it.
    write(machine / "cgroup/memory", **files, memory__stat="total_inactive_file 50\n")
    assert free_memory.available_bytes() == 150


def test_more_than_the_limit_in_use_leaves_nothing(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/\n")
    write(machine / "cgroup", memory__max="1000\n", memory__current="1400\n")
    assert free_memory.available_bytes() == 0
