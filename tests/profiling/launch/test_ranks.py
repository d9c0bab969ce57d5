"""A report of each rank, or none: what two ranks leave, and how a failure ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import torch.distributed as dist

from analysis import Report, overlap
from model import SIZES, flops
from model.parallel import process_group
from profiling import names
from profiling.common.errors import LaunchError
from profiling.launch import __main__ as launch
from profiling.launch import options
from profiling.launch.plan import Launch
from profiling.processes.notes import SendMessage
from profiling.recorders.run_notes import RunNotes
from profiling.recorders.scratch import Scratch
from profiling.recorders.torch_recorder import EmbeddedRecorder
from tests.made.runs.launched import ROOT, find_nsys, payloads, run_facts
from tests.made.runs.launched import launch as launched
from tests.profiling.launch.test_refusals import refused

CPU: Final = ("--size", "tiny", "--context", "16", "--device", "cpu")
PARAMETERS: Final = SIZES["tiny"].parameter_count


@pytest.fixture(scope="module", params=["torch", "nsys"])
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two reports of two ranks, recorded in place of three of an earlier run."""
    folder, recorder = tmp_path_factory.mktemp("ranks"), request.param
    for rank in range(3):
        (folder / f"tiny.rank{rank}.sqlite").write_bytes(b"earlier")
    arguments = ("--ranks", "2", "--strategy", "sharded", "--batch", "4", "--steps", "1")
    done = launched(
        *CPU,
        *arguments,
        *("--recorder", recorder, "--overwrite"),
        reports=folder,
        env={"NSYS": find_nsys()} if recorder == "nsys" else {},
    )
    assert done.returncode == 0, done.stderr
    suffixes = ["nsys-rep", "sqlite"] if recorder == "nsys" else ["sqlite"]
    reports = [f"tiny.rank{rank}.{suffix}" for rank in (0, 1) for suffix in suffixes]
    names_left = ["tiny.rank0.html", *reports]
    assert sorted(path.name for path in folder.iterdir()) == names_left
    page, _, table = done.stdout.rpartition("\nclocks: ")
    assert "Phases" in page
    assert "hidden share" in table
    assert "on each of 2 ranks, sharded, gloo" in done.stderr
    return [folder / f"tiny.rank{rank}.sqlite" for rank in (0, 1)]


def recorder_of(report: Path) -> str:
    return "nsys" if report.with_suffix(".nsys-rep").exists() else "torch"


def test_each_report_says_whose_it_is(reports: list[Path]) -> None:
    for rank, path in enumerate(reports):
        facts = run_facts(path)
        known = {
            "rank": str(rank),
            "world_size": "2",
            "strategy": "sharded",
            "backend": "gloo",
            "batch": "2",
            "global_batch": "4",
            "recorder": recorder_of(path),
            "size": "tiny",
            "device": "cpu",
        }
        assert {key: facts[key] for key in known} == known
        for key in ("step_ns", "unprofiled_step_ns"):
            assert [time > 0 for time in json.loads(facts[key])] == [True]


def test_the_ranges_of_each_rank_arrived(reports: list[Path]) -> None:
    updated: list[int] = []
    for path in reports:
        found = payloads(path)
        layers, tensors = SIZES["tiny"].num_layers, 3 + 9 * SIZES["tiny"].num_layers
        counted = {
            names.WARMUP: 1,
            names.STEP: 1,
            names.FORWARD: 2,
            names.BACKWARD: 2,
            names.OPTIMIZER: 2,
            names.backward(names.FFN): 2 * layers,
            names.ALL_REDUCE: 2 * tensors,
            names.BROADCAST: 2 * tensors,
            names.COMMUNICATION: 2 * 2 * 2 * tensors,  # the launch and the wait of each
        }
        if recorder_of(path) == "torch":  # nsys hears nothing of gloo's own threads
            counted |= {"gloo:all_reduce": 2 * tensors, "gloo:broadcast": 2 * tensors}
        assert {name: len(found[name]) for name in counted} == counted
        (each,) = set(found[names.OPTIMIZER])
        assert each is not None
        updated.append(each)
    # Each rank's share, and together every parameter once.
    assert sum(updated) == flops.adamw(PARAMETERS, 4).flops
    assert max(updated) < 0.6 * sum(updated)


def test_the_overlap_of_both_ranks_is_known(reports: list[Path]) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(Report(path)) for path in reports]
        rows = overlap.overlap(*opened).rows()
    tensors = 3 + 9 * SIZES["tiny"].num_layers
    assert [(row["rank"], row["calls"]) for row in rows] == [("0", 2 * tensors), ("1", 2 * tensors)]
    for row in rows:
        times = {name: int(value) for name, value in row.items() if name.endswith("_ns")}
        assert times["collective_ns"] == times["hidden_ns"] + times["exposed_ns"] > 0
        assert 0 < times["compute_ns"] < times["span_ns"]


def fail(arguments: dict[str, Any], _: SendMessage) -> dict[str, Any]:
    """Leave something that looks like a trace, and fail on rank 1 as the environment says."""
    rank = int(os.environ["RANK"])
    Path(arguments["folder"], f"rank-{rank}", "trace.json").write_text("{}")
    with process_group("gloo", 60.0):
        dist.barrier()
        if rank == 1:
            raise ValueError("boom")
        dist.barrier()
    return {}


def test_a_rank_that_fails_leaves_no_report_and_the_earlier_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "FUNCTION", "tests.profiling.launch.test_ranks:fail")
    for rank in range(2):
        (tmp_path / f"tiny.rank{rank}.sqlite").write_bytes(b"earlier")
    status, line = refused(capsys, tmp_path, *CPU, "--ranks", "2", "--overwrite")
    assert status == 1
    assert re.fullmatch(
        r"error: rank 1 failed with ValueError: boom \(test_ranks.py:\d+\); "
        "the other ranks were ended",
        line,
    )
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interruption_ends_all_ranks(tmp_path: Path) -> None:
    arguments = [*CPU, "--ranks", "2", "--steps", "100000", "--reports", str(tmp_path / "made")]
    process = subprocess.Popen(
        [sys.executable, "-m", "profiling.launch", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end_s = time.monotonic() + 60
    while len(ranks := psutil.Process(process.pid).children()) < 2:
        assert time.monotonic() < end_s
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "error: interrupted"
    assert not any(rank.is_running() for rank in ranks)
    assert list(tmp_path.iterdir()) == []


def prepared(folder: Path, *arguments: str) -> Launch:
    words = [*CPU, "--ranks", "2", "--reports", str(folder), *arguments]
    return options.prepare(*options.parse(words), "")


class Word(EmbeddedRecorder):
    """Makes of each rank's recording a report that is a word, or none of the second rank's."""

    whole = True

    def report(self, folder: Path, pushed: dict[str, int], progress: object = None) -> Path:
        made = folder / "recording.sqlite"
        if self.whole or folder.name == "rank-0":
            made.write_bytes(b"new")
        return made


class WordUnderNsys(Word):
    """Leaves nsys's own file beside it."""

    def report(self, folder: Path, pushed: dict[str, int], progress: object = None) -> Path:
        made = super().report(folder, pushed)
        made.with_suffix(".nsys-rep").write_bytes(b"new")
        return made


def made_up(kept: Launch, monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
    """Record without ranks: each report is a word; if not ``whole``, the second is missing."""

    def run(asked: Launch, scratch: Scratch, _: object) -> list[dict[str, Any]]:
        for rank in range(2):
            (scratch.folder / f"rank-{rank}").mkdir()
        return [{"pushed": {}, "too_deep": {}, "costs": [], "facts": {}}] * 2

    monkeypatch.setattr(launch, "_run", run)
    monkeypatch.setattr(Word, "whole", whole)
    monkeypatch.setattr(RunNotes, "add", lambda *_: None)
    launch.record(kept)


def test_reports_get_their_names_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tiny.rank0.sqlite", "tiny.rank5.sqlite", "tiny.sqlite"):
        (tmp_path / name).write_bytes(b"earlier")
    asked = replace(prepared(tmp_path, "--overwrite"), recorder=Word())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(LaunchError, match="could not be written"):
        made_up(asked, monkeypatch, whole=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    under_nsys = replace(asked, recorder=WordUnderNsys())
    made_up(under_nsys, monkeypatch, whole=True)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    new = {
        f"tiny.rank{rank}{suffix}": b"new" for rank in (0, 1) for suffix in (".sqlite", ".nsys-rep")
    }
    assert left == {"tiny.sqlite": b"earlier", **new}


def test_one_that_came_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(prepared(tmp_path, "--name", "tiny"), recorder=Word())
    (tmp_path / "tiny.rank1.sqlite").write_bytes(b"of somebody")
    with pytest.raises(LaunchError, match=r"tiny.rank1.sqlite: exists; choose another --name"):
        made_up(asked, monkeypatch, whole=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.rank1.sqlite"]
    assert (tmp_path / "tiny.rank1.sqlite").read_bytes() == b"of somebody"


def test_one_that_came_meanwhile_is_replaced_where_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(prepared(tmp_path, "--overwrite"), recorder=Word())
    (tmp_path / "tiny.rank1.sqlite").write_bytes(b"of somebody")
    made_up(asked, monkeypatch, whole=True)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == {f"tiny.rank{rank}.sqlite": b"new" for rank in (0, 1)}
