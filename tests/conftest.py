"""What all tests share: signals as in a terminal, a guard over the real reports, plain output."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.made.tools.shared import SHARED

if TYPE_CHECKING:
    from tests.made.runs.recorded import Recorded

# A busy machine is no failure: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Several processes that test share the cores; said before anything imports torch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts background jobs with interruptions ignored, which what we start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def fingerprint(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and time of every file under a folder."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session", autouse=True)
def _columns_are_kept_for_the_tests_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep none, or what SPANLIGHT_CACHE says, in a folder of this run."""
    os.environ.setdefault("SPANLIGHT_CACHE", "off")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that hold slow tests run first: as the last one, it would run alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _no_test_changes_a_real_report() -> Iterator[None]:
    before = fingerprint(SHARED / "reports")
    yield
    assert fingerprint(SHARED / "reports") == before


@pytest.fixture(autouse=True)
def _plain_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def recorded() -> "Iterator[Recorded]":
    """Every span of the test, all of which are closed at its end."""
    from profiling.spans import recording  # here: most tests need no torch
    from profiling.spans.backward import open_range_stack
    from tests.made.runs.recorded import Recorded

    recorder = Recorded()
    with recording(recorder):
        yield recorder
    assert recorder.balanced
    assert open_range_stack() == []
