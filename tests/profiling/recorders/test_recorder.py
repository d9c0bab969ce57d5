"""A recorder is a type in a table: one more of them is one entry, and nothing else is touched."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import pytest

from analysis.source.trace import schema
from profiling.common.errors import LaunchError
from profiling.recorders.recorder import RECORDERS, Recorder, choose_recorder
from profiling.spans.backends import RangeSink, TorchSink
from spanlight.__main__ import main
from tests.made.runs.launched import run_facts


class EmptyRecorder(Recorder):
    """Records nothing, and writes an empty report."""

    name = "empty"

    @classmethod
    def find(cls) -> Self:
        return cls()

    def describe(self, device: str) -> str:
        return "nobody watching"

    @classmethod
    @contextmanager
    def inside(
        cls, device: str, folder: Path, *, memory: bool = False, shapes: bool = False
    ) -> Iterator[RangeSink]:
        (folder / "seen.txt").write_text(device)
        yield TorchSink()

    def report(self, folder: Path, pushed: dict[str, int], progress: object = None) -> Path:
        assert (folder / "seen.txt").read_text() == "cpu"
        made = folder / "recording.sqlite"
        with closing(sqlite3.connect(made)) as connection, connection:
            for table in ("StringIds", "NVTX_EVENTS", "TOOLKIT_OPERATOR"):
                schema.create(connection, table)
        return made


@pytest.mark.slow
def test_one_more_is_chosen_and_goes_through_all_of_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECORDERS, "empty", f"{__name__}:EmptyRecorder")
    words = ["--size", "tiny", "--context", "16", "--steps", "1", "--device", "cpu"]
    status = main(["profile", *words, "--recorder", "empty", "--reports", str(tmp_path)])
    said = capfd.readouterr()
    assert "with nobody watching, into" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.sqlite"]
    facts = run_facts(tmp_path / "tiny.sqlite")
    assert (facts["recorder"], facts["size"]) == ("empty", "tiny")
    # What was recorded is kept; the page of it says that there is nothing in it.
    assert status == 1
    assert "no CUDA kernels and no CPU operators in this report" in said.err.splitlines()[-1]


def test_the_first_that_is_here_and_suits_the_device_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NSYS", "")
    monkeypatch.setenv("PATH", "")
    assert choose_recorder("auto", "cuda").name == "torch"
    with pytest.raises(LaunchError, match="nsys was asked for and is not on the PATH"):
        choose_recorder("nsys", "cuda")
    monkeypatch.setitem(RECORDERS, "nsys", f"{__name__}:EmptyRecorder")
    assert choose_recorder("auto", "cpu").name == "empty"
