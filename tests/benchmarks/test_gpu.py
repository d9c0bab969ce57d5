"""`make gpu`: what runs, what is kept, what is packed and unpacked, and how it is judged."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from analysis.questions import QUESTIONS
from benchmarks.conditions import ROOT
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import figures, goals
from benchmarks.gpu.runs import Figure, Goal, Run, read
from profiling.common import cli
from tests.made.commands.commands import command_module
from tests.made.runs.recording_half import half_of_nsys

RUNS: Final = {run.name: run for run in read()}
MACHINE: Final = {"device_name": "NVIDIA H100", "driver": "550", "torch": "2.9"}
HERE: Final = "nvidia-h100"

FAKE: Final = """
import os, signal, subprocess, sys, time
what, result = sys.argv[1:]
print(what)
with open(os.environ["ASKED"], "a") as asked:
    asked.write(what + " ")
open(result + ".json", "w").write('{"total_ns": [4e6]}')
if what == "fail":  # and leaves a process that the end of its group does not reach
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    left = subprocess.Popen(words, start_new_session=True)
    open(os.environ["ASKED"] + ".left", "w").write(str(left.pid))
    sys.exit("it broke")
if what == "interrupt":
    os.kill(os.getppid(), signal.SIGINT)
if what in ("hang", "interrupt"):
    time.sleep(60)
"""


def fake(name: str, what: str = "write", **more: Any) -> Run:
    return Run(name=name, limit_s=30, command=f"fake {what} {{result}}", **more)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder, on a machine with a GPU and a command `fake` in PYTHONPATH."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "fake.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setattr(gpu, "facts", lambda device: MACHINE)
    yield tmp_path
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(place: Path, *runs: Run, archive: Path | None = None, to: str = "results") -> int:
    words = ["--from", str(archive)] if archive else ["--tar", str(place / "gpu.tar")]
    return gpu.main(words, list(runs), place / to, place / "reports")


def asked(place: Path) -> list[str]:
    return (place / "asked").read_text().split()


def packed(place: Path) -> set[str]:
    with tarfile.open(place / "gpu.tar") as archive:
        return {name.removeprefix(f"{HERE}/") for name in archive.getnames()}


def test_what_is_done_is_kept_and_what_failed_is_tried_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = replace(fake("slow", "hang"), limit_s=1)
    runs = fake("first"), fake("broken", "fail"), slow, fake("last")
    assert run(place, *runs) == 1
    said = capsys.readouterr().err
    assert "broken: failed, status 1 (it broke), after" in said
    assert "slow: failed, ended at its limit of 1 s, after" in said
    with suppress(psutil.NoSuchProcess):  # it ends soon: else this test never does
        left = psutil.Process(int((place / "asked.left").read_text()))
        while left.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    done = {f"{name}/{file}" for name in ("first", "last") for file in ("log.txt", "machine.json")}
    done |= {"first/first.json", "last/last.json", "broken.log", "slow.log"}
    assert packed(place) == done
    results = place / "results" / HERE
    assert (results / "broken.log").read_text() == "fail\nit broke\nstatus 1 (it broke)\n"
    assert json.loads((results / "last/machine.json").read_text()) == MACHINE
    assert run(place, *runs[:2], fake("slow"), runs[3]) == 1
    # Whether it was ended before it asked for anything depends on how busy the machine is.
    done_in_order = [what for what in asked(place) if what != "hang"]
    assert done_in_order == ["write", "fail", "write", "fail", "write"]
    assert not (results / "slow.log").exists()


def test_an_interruption_keeps_and_packs_what_is_finished(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, fake("first"), fake("second", "interrupt"), fake("third")) == 130
    assert capsys.readouterr().err.endswith("error: interrupted\n")
    assert asked(place) == ["write", "interrupt"]
    assert packed(place) == {
        *("first/first.json", "first/log.txt", "first/machine.json", "second.log")
    }


def test_an_archive_is_kept_beside_what_is_there(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = Figure(run="first", of="json", column="total_ns", unit="ns to ms")
    goal = Goal(what="a step", figure=figure, words="4 ms", least=4, most=4)
    other = replace(goal, figure=replace(figure, run="second", per={"run": "first"}))
    runs = fake("first", goals=(goal,)), fake("second", "fail", goals=(other,))
    assert run(place, *runs) == 1
    there = capsys.readouterr().out
    assert run(place, *runs, archive=place / "gpu.tar", to="kept") == 0
    here = capsys.readouterr()
    assert here.out == there
    assert "NVIDIA H100, driver 550, torch 2.9" in there
    assert "4 ms" in there
    assert "status 1 (it broke)" in there
    kept = place / "kept" / HERE
    held = [(row["verdict"], row["value"]) for row in json.loads((kept / "goals.json").read_text())]
    assert held == [("holds", 4.0), ("not measured", None)]
    assert (kept / "goals.csv").read_text().splitlines()[1].startswith("first,a step,4 ms,4 ms")
    # A file that is wanting comes back, another run's result stays.
    (kept / "first" / "first.json").unlink()
    run(place, *runs, archive=place / "gpu.tar", to="kept")
    assert (kept / "first" / "first.json").exists()
    (kept / "first" / "log.txt").write_text("another")
    (kept / "first" / "first.json").write_text('{"total_ns": [1]}')
    run(place, *runs, archive=place / "gpu.tar", to="kept")
    assert f"{kept / 'first'} is of another run and stays" in capsys.readouterr().err
    assert (kept / "first" / "first.json").read_text() == '{"total_ns": [1]}'


@pytest.mark.parametrize("name", ["../outside", f"{HERE}/../../outside"])
def test_nothing_is_taken_of_an_archive_that_leads_outside(
    place: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(place / "gpu.tar", "w") as archive:
        for each in (f"{HERE}/first/log.txt", name):
            archive.addfile(tarfile.TarInfo(each), io.BytesIO())
    assert run(place, archive=place / "gpu.tar") == 1
    assert capsys.readouterr().err.startswith(f"error: {place / 'gpu.tar'}: not taken (")
    assert not [*(place / "results").iterdir()]
    assert not (place / "outside").exists()


@pytest.mark.parametrize("content", [None, b"no archive", b"\xfd7zXZ\0cut"])
def test_an_archive_that_cannot_be_read_is_one_line(
    place: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (place / "gpu.tar").write_bytes(content)
    assert run(place, archive=place / "gpu.tar") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {place / 'gpu.tar'}: ")
    assert said.count("\n") == 1


def test_figures_of_tables_and_the_row_of_a_result_that_is_elsewhere(tmp_path: Path) -> None:
    texts = {
        "sweep/sweep.csv": "Model,Total Mean (ms),Status\nsmall,60,ok\n2.7B,,OOM\n",
        "flash/flash.csv": "implementation,width,part,median_ns,outcome\n"
        "flash,64,both,5500000,done\nflash,128,forward,900000,done\n"
        "sdpa-flash,128,forward,1000000,done\n",
        "mfu/mfu.csv": "Batch,Status,MFU\n8,ok,0.41\n16,ok,0.46\n4,OOM,\n",
        "tests/log.txt": "........\n======= 8 passed, 1 skipped in 3.21s =======\n",
        "span-cost/span-cost.json": '{"forward": {"small": {"ratio": 1.004}}}',
        "small-forward-timed/small-forward-timed.json": "{",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    (tmp_path / "tests-flash.log").write_text("1 failed\n")
    (tmp_path / "small-forward").mkdir()
    found = goals.rows(tmp_path, read())
    reached = [(row["run"], row["verdict"], row["reached"]) for row in found]
    for expected in (
        ("sweep", "beside", "60 ms"),
        ("sweep", "not measured", "no Total Mean (ms) 2.7B"),
        ("sweep", "not measured", "no Total Mean (ms) xl"),
        ("flash", "missed", "5.500 ms"),
        ("flash", "holds", "0.900"),
        ("mfu", "holds", "46 %"),
        ("tests", "holds", "8 tests"),
        ("tests-flash", "not measured", "1 failed"),
        ("span-cost", "holds", "1.004"),
        ("small-forward", "not measured", "its result is not here"),
        ("small-train", "not measured", "not run"),
    ):
        assert expected in reached
    (tmp_path / "goals.json").write_text(json.dumps(found).replace("NaN", "null"))
    (tmp_path / "mfu" / "mfu.csv").unlink()
    (tmp_path / "tests-flash.log").unlink()
    again = [(row["run"], row["verdict"], row["reached"]) for row in goals.rows(tmp_path, read())]
    assert ("mfu", "holds", "46 %") in again
    assert ("tests-flash", "not measured", "not run") in again


def test_predictions_are_figures_by_what_is_asked_and_by_advice(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    shutil.copy(ROOT / "nsys_reports" / "sample.sqlite", tmp_path / "it" / "it.sqlite")
    plain = Figure(run="it", of="whatif", column="after_ns", where={"step": ["0"]}, unit="ratio")
    less = replace(plain, asked={"remove": ["optimizer"]})
    half = replace(plain, asked={"scale": {"optimizer": 0.5}})
    step, without = (figures.value(tmp_path, each) for each in (half, less))
    assert 0 < without < step
    advice = Figure(
        run="it",
        of="advice",
        column="after_ns",
        where={"id": ["unfused-optimizer"]},
        per={"column": "before_ns"},
        unit="ratio",
    )
    assert 0 < figures.value(tmp_path, advice) < 1


def test_every_figure_is_of_a_run_and_is_asked_of_what_that_leaves() -> None:
    assert len(RUNS) == len(read())
    for each in RUNS.values():
        assert len({goal.what for goal in each.goals}) == len(each.goals) > 0
        for figure in (goal.figure for goal in each.goals):
            for one in (figure, replace(figure, **(figure.per or {}))):
                wanted = (
                    "profiling.launch"
                    if one.of in {*QUESTIONS, "run", "gemms", "advice"}
                    else one.of
                )
                wanted = {"log": "pytest", "csv": "{result}.csv", "json": "{result}.json"}.get(
                    wanted, wanted
                )
                assert wanted in RUNS[one.run].command


@pytest.mark.parametrize("each", RUNS.values(), ids=RUNS)
def test_every_command_takes_its_options_and_lacks_only_the_gpu(
    each: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *words = each.command.split()
    if module == "pytest":
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
        return
    filled = {"device": "cuda:99", "name": each.name, "folder": tmp_path, "result": tmp_path / "it"}
    words = [word.format_map(filled) for word in words]
    assert cli.run(lambda: int(command_module(module).main(words))) == 1
    assert "CUDA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 1, "error: nothing is measured: "),
        (("--only", "first"), 2, "error: no run is called 'first'; there are: tests, "),
    ],
)
def test_it_starts_without_any_package_and_says_so_where_no_gpu_is(
    words: tuple[str, ...], status: int, said: str
) -> None:
    command = [sys.executable, "-S", "-m", "benchmarks.gpu", *words]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=hidden, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert done.stderr.startswith(said)
    assert words or "make gpu FROM=gpu.tar keeps" in done.stderr


def smaller(each: Run, *more: str) -> Run:
    """Return a run of the table as a CPU can do it."""
    words = each.command.replace("small ", "tiny ").replace(" 512 ", " 16 ")
    return replace(each, command=" ".join([words, *more]))


@pytest.mark.slow
def test_on_a_cpu_recordings_of_half_an_nsys_are_completed_and_held_against_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, half = half_of_nsys(tmp_path)
    short = ("--batch", "1", "--context", "16")
    runs = [
        smaller(RUNS["small-forward"], *short, "--recorder", "torch"),
        smaller(RUNS["small-train"], *short, "--recorder", "nsys"),
        smaller(RUNS["small-forward-timed"], "--batch-size", "1", "--context-length", "16"),
    ]
    (reports := tmp_path / "reports").mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    verdicts = []
    for nsys, words, place in (
        (half, ["--device", "cpu", "--tar", str(tmp_path / "gpu.tar")], tmp_path / "there"),
        (whole, ["--from", str(tmp_path / "gpu.tar")], tmp_path / "here"),
    ):
        monkeypatch.setenv("NSYS", str(nsys))
        assert gpu.main(words, runs, place, reports) == 0
        (kept,) = place.glob("*/goals.json")
        rows = json.loads(kept.read_text())
        verdicts.append(
            [row["verdict"] for row in rows if row["run"] in {"small-forward", "small-train"}]
        )
    assert verdicts[0] == ["missed", "missed", "holds", "not measured"]
    assert verdicts[1] == ["missed", "missed", "holds", "holds"]
    assert [row["reached"] for row in rows[:3]] == ["15 calls", "4 calls", "100 %"]
    kept_reports = {path.name: path.stat().st_size for path in reports.iterdir()}
    assert {*kept_reports} == {"gpu-small-forward.sqlite", "gpu-small-train.sqlite"}
    assert max(kept_reports.values()) <= 2_000_000
