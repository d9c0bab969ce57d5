"""The sweep: a row a configuration, each in a process of its own, resumable."""

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiling.common.cli import run
from profiling.common.errors import LaunchError, OutOfMemory
from profiling.common.spread import Spread
from profiling.processes import isolated
from profiling.processes.starting import child_environment, python_command
from profiling.sweep import __main__ as sweep
from tests.made.commands.in_process import run_command

COLUMNS = (
    "Model,Total Mean (ms),Total Std (ms),Forward Mean (ms),Forward Std (ms),Backward Mean (ms),"
    "Backward Std (ms),Optimizer Mean (ms),Optimizer Std (ms),Context,Warm-up,Mode,Dtype,"
    "Backward/Forward,Status,Batch,MFU"
)
FOUR = ["--sizes", "tiny,small", "--contexts", "64", "--warmups", "0,2", "--device", "cpu"]


def result(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a benchmark would, whose steps take 10, 20, ... ms; the first one double."""
    forward = [2_000_000 * (place + 1) for place in range(settings["steps"])]
    times = {"forward": forward, "backward": [4 * each for each in forward]}
    times["total"] = [5 * each for each in forward]
    return {
        "mfu": settings["batch"] / 10 if settings["mode"] == "train" else None,
        **{f"{part}_ns": values for part, values in times.items()},
        "statistics": {
            part: {name: getattr(Spread.of_values(values), name) for name in Spread.__slots__}
            for part, values in times.items()
        },
    }


class Fake:
    """Stands in for the process of each row; what it was asked for stays in ``asked``."""

    def __init__(self, fails: Callable[[dict[str, Any]], BaseException | None]) -> None:
        self.fails = fails
        self.asked: list[tuple[str, int, int]] = []

    def __call__(
        self, module: str, spec: dict[str, Any], *, limit_bytes: int | None = None
    ) -> dict[str, Any]:
        assert module == "profiling.benchmark.isolated_run"
        settings = spec["settings"]
        self.asked.append((settings["size"], settings["context"], settings["warmup"]))
        if error := self.fails(settings):
            raise error
        return result(settings)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    made = Fake(lambda _: None)
    monkeypatch.setattr(isolated, "run", made)
    monkeypatch.chdir(tmp_path)
    return made


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def start(*arguments: str) -> int:
    return run(lambda: sweep.main(arguments))


def test_four_rows_in_the_promised_columns(fake: Fake, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert start(*FOUR, "--num-steps", "3", "--format", "csv", "--output", str(out)) == 0
    assert out.read_text().splitlines()[0] == COLUMNS
    rows = rows_of(out)
    assert [(row["Model"], row["Warm-up"]) for row in rows] == [
        ("tiny", "0"),
        ("tiny", "2"),
        ("small", "0"),
        ("small", "2"),
    ]
    assert rows[0]["Total Mean (ms)"] == "20.0"
    assert rows[0]["Total Std (ms)"] == "10.0"
    assert rows[0]["Optimizer Mean (ms)"] == ""
    assert rows[0]["Backward/Forward"] == "4.0"
    assert {row["Status"] for row in rows} == {"ok"}


def test_batches_are_rows_and_mfu_is_a_column(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--sizes", "tiny", "--modes", "train", "--batches", "4,8", "--num-steps", "3"]
    given += ["--device", "cpu"]
    assert start(*given, "--format", "csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["Batch"], row["MFU"]) for row in rows] == [("4", "0.4"), ("8", "0.8")]
    assert start(*given) == 0
    shown = capsys.readouterr().out
    assert "batches 4, 8, 3 steps a row" in shown
    assert {"Batch", "MFU", "0.400", "0.800"} <= set(shown.split())
    assert start("--sizes", "tiny", "--device", "cpu", "--batch", "2") == 0  # of one
    shown = capsys.readouterr().out
    assert "batch 2, 10 steps a row" in shown


def test_without_a_peak_the_table_shows_no_mfu(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(*FOUR) == 0
    heading, titles = capsys.readouterr().out.split("\n", 1)
    assert "batch 4" in heading
    assert "MFU" not in titles
    assert "Batch" not in titles


def test_how_to_compile_is_of_what_is_compiled(fake: Fake, tmp_path: Path) -> None:
    how = ("--compile", "--compile-scope", "block", "--compile-mode", "max-autotune-no-cudagraphs")
    assert start("--sizes", "tiny", "--device", "cpu", *how) == 0
    (line,) = (tmp_path / "sweep_results.jsonl").read_text().splitlines()
    settings = json.loads(line)["settings"]
    assert settings["compile_scope"] == "block"
    assert settings["compile_mode"] == "max-autotune-no-cudagraphs"
    assert start("--sizes", "tiny", "--device", "cpu", "--compile") == 0  # another row
    assert len(fake.asked) == 2


def test_rows_of_an_earlier_version_still_count(fake: Fake, tmp_path: Path) -> None:
    assert start(*FOUR) == 0
    kept = tmp_path / "sweep_results.jsonl"
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    for line in lines:
        del line["settings"]["compile_mode"], line["settings"]["compile_scope"]
    kept.write_text("".join(json.dumps(line) + "\n" for line in lines))
    fake.asked.clear()
    assert start(*FOUR) == 0
    assert fake.asked == []


def test_what_was_measured_is_not_measured_again(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = {"after": 2}

    def interrupt(_: dict[str, Any]) -> BaseException | None:
        stopped["after"] -= 1
        return KeyboardInterrupt() if stopped["after"] < 0 else None

    fake.fails = interrupt
    assert start(*FOUR) == 130
    fake.fails = lambda _: None
    fake.asked.clear()
    assert start(*FOUR) == 0
    assert fake.asked == [("small", 64, 0), ("small", 64, 2)]
    assert "2 of 4 rows were measured before" in capsys.readouterr().err
    fake.asked.clear()
    assert start(*FOUR, "--restart") == 0
    assert len(fake.asked) == 4
    assert start(*FOUR, "--num-steps", "7") == 0  # other settings, so other rows
    assert len(fake.asked) == 8


def test_out_of_memory_ends_one_row(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.fails = lambda settings: (
        OutOfMemory("out of memory; use less") if settings["size"] == "small" else None
    )
    assert start(*FOUR, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["Status"] for row in found] == ["ok", "ok", "OOM", "OOM"]
    assert found[2]["Total Mean (ms)"] is None
    fake.asked.clear()
    assert start(*FOUR) == 0
    assert fake.asked == []
    assert start(*FOUR, "--memory-limit", "1") == 0  # that may be less, or more, than there was
    assert fake.asked == [("small", 64, 0), ("small", 64, 2)]


def test_a_failed_row_is_told_and_tried_again(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails = lambda settings: LaunchError("no compiler") if settings["warmup"] else None
    assert start(*FOUR) == 1
    out, err = capsys.readouterr()
    assert out.count("failed") == 2
    assert "failed: no compiler" in err
    fake.fails = lambda _: None
    fake.asked.clear()
    assert start(*FOUR) == 0
    assert fake.asked == [("tiny", 64, 2), ("small", 64, 2)]


def test_a_line_that_was_cut_off_is_measured_again(fake: Fake, tmp_path: Path) -> None:
    assert start(*FOUR) == 0
    kept = tmp_path / "sweep_results.jsonl"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-40])
    fake.asked.clear()
    assert start(*FOUR) == 0
    assert fake.asked == [("small", 64, 2)]
    assert kept.read_bytes() == whole


def test_unsteady_rows_say_why(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert start("--sizes", "tiny", "--device", "cpu", "--num-steps", "12") == 0
    assert "of the mean: steps get longer as the run goes on" in capsys.readouterr().err


def test_explanation_has_the_figures_of_the_run(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(*FOUR, "--num-steps", "3", "--explain") == 0
    out = capsys.readouterr().out
    assert "forward 4.000 ± 2.000 ms (50.0%), backward 16.00 ± 8.000 ms (50.0%)" in out
    assert "backward is 4.00 times forward" in out
    assert "no warm-up: the first timed step took 10.00 ms, 0.5 times the median" in out
    assert "Why: " not in out
    assert start("--sizes", "tiny", "--device", "cpu", "--explain") == 0
    assert "give --warmups 0,1,2,5" in capsys.readouterr().out


def measuring(cold: list[int], warm: list[int]) -> Callable[..., dict[str, Any]]:
    """Return what stands in for a measurement: steps of so many milliseconds, by warm-up."""

    def measured(_: str, spec: dict[str, Any], **__: Any) -> dict[str, Any]:
        times = warm if spec["settings"]["warmup"] else cold
        total = [time * 1_000_000 for time in times]
        parts = {"forward": total, "backward": total, "total": total}
        spreads = {
            part: {name: getattr(Spread.of_values(values), name) for name in Spread.__slots__}
            for part, values in parts.items()
        }
        return {**{f"{part}_ns": total for part in parts}, "statistics": spreads}

    return measured


def test_a_note_blames_the_warm_up_only_where_the_explanation_does(
    fake: Fake,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said_of(cold: list[int], warm: list[int]) -> tuple[bool, bool]:
        monkeypatch.setattr(isolated, "run", measuring(cold, warm))
        results = tmp_path / f"{cold}{warm}.jsonl"
        arguments = ("--num-steps", str(len(cold)), "--results", str(results), "--explain")
        assert start("--sizes", "tiny", "--device", "cpu", "--warmups", "0,5", *arguments) == 0
        said = capsys.readouterr()
        return "warm up more" in said.err, "slower than warm steps" in said.out

    assert said_of([140, 1], [70, 30]) == (False, False)
    assert said_of([140, 1], [70, 71]) == (True, True)
    assert said_of([30, 11, 10, 12], [10, 11, 10, 12]) == (True, True)
    assert said_of([30, 11, 10, 12], [10, 40, 1, 12]) == (False, False)
    assert said_of([90, 11, 10, 12, 11, 10], [10, 40, 1, 12, 11, 80]) == (False, False)


@pytest.mark.parametrize(
    ("cold", "warm", "said"),
    [
        ([30, 11, 10, 12], [10, 11, 10, 12], "slower than warm steps differ among themselves"),
        ([5, 11, 10, 12], [10, 11, 10, 12], "faster than warm steps differ among themselves"),
        ([13, 11, 10, 12], [10, 11, 10, 12], "too noisy to tell (0.9 to 1.6 times their mean)"),
        ([30, 11, 10, 12], [10, 40, 1, 12], "too noisy to tell;"),
        ([30], [10], "too noisy to tell;"),
    ],
)
def test_only_a_cold_step_that_was_slower_is_explained(
    cold: list[int],
    warm: list[int],
    said: str,
    fake: Fake,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolated, "run", measuring(cold, warm))
    given = ["--sizes", "tiny", "--device", "cpu", "--warmups", "0,5"]
    assert start(*given, "--num-steps", str(len(cold)), "--explain") == 0
    out = capsys.readouterr().out
    assert said in out.replace(", the others", ";").replace("; the mean", ";")
    assert ("Why: a cold step pays" in out) == (said.startswith("slower"))
    assert ("nothing to explain" in out) == (not said.startswith("slower"))


def test_pictures(fake: Fake, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given = ["--sizes", "tiny", "--contexts", "64,128", "--device", "cpu", "--pictures", "p"]
    assert start(*given) == 0
    assert sorted(each.name for each in (tmp_path / "p").iterdir()) == [
        "sweep-contexts.png",
        "sweep-times.png",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--sizes", "huge"], 2, "no size is called 'huge'"),
        (["--contexts", "64,x"], 2, "must be a positive whole number, not 'x'"),
        (["--warmups", "-1"], 2, "must be 0 or a positive whole number"),
        (["--modes", "backward"], 2, "'backward' is none of: forward, forward_backward, train"),
        (["--dtypes", "int8"], 2, "'int8' is none of: float32"),
        (["--batches", "4,0"], 2, "must be a positive whole number, not '0'"),
        (["--compile-mode", "fast", "--compile"], 2, "invalid choice: 'fast'"),
        (["--compile-scope", "block", "--device", "cpu"], 2, "--compile-scope block is of --comp"),
        (["--num-steps", "0"], 2, "must be a positive whole number"),
        (["--device", "tpu"], 2, "no device is called 'tpu'"),
        (["--output", "no/such/file"], 1, "its folder does not exist"),
        (["--results", "no/such/file"], 1, "cannot be written (no such file or directory)"),
        (["--results", "."], 1, "cannot be written (is a directory); name another --results"),
        (["--memory-limit", "none"], 2, "must be a positive number"),
    ],
)
def test_bad_input_is_one_line(
    fake: Fake,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    try:
        got = start(*arguments)
    except SystemExit as stop:
        got = int(str(stop.code))
    out, err = capsys.readouterr()
    assert (got, out) == (status, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not fake.asked


def test_a_results_file_that_is_something_else_stays_as_it_is(fake: Fake, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not\nours\n")
    assert start("--sizes", "tiny", "--device", "cpu", "--results", str(notes)) == 1
    assert notes.read_text() == "not\nours\n"


WRONG_RESULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "none": lambda found: found.clear(),
    "times that are none": lambda found: found.update(total_ns=5),
    "no times": lambda found: found.update(total_ns=[]),
    "words": lambda found: found.update(total_ns=["5"]),
    "huge times": lambda found: found.update(total_ns=[10**30]),
    "a share in words": lambda found: found.update(mfu="half"),
    "no whole step": lambda found: found["statistics"].pop("total"),
    "no mean": lambda found: found["statistics"]["forward"].pop("mean"),
    "no time": lambda found: found["statistics"]["forward"].update(mean=0),
    "a list of figures": lambda found: found.update(statistics=[]),
}


@pytest.mark.parametrize("name", WRONG_RESULTS)
def test_a_kept_row_whose_result_is_none_is_told_by_its_line(
    fake: Fake, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(*FOUR) == 0
    kept = tmp_path / "sweep_results.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    WRONG_RESULTS[name](rows[1]["result"])
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = kept.read_bytes()
    capsys.readouterr()
    assert start(*FOUR, "--explain") == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("error: sweep_results.jsonl: line 2 is no record of this command")
    assert kept.read_bytes() == before


@pytest.mark.slow
def test_killed_halfway_and_started_again(tmp_path: Path) -> None:
    out, kept = tmp_path / "out.csv", tmp_path / "sweep_results.jsonl"
    given = ["--sizes", "tiny", "--contexts", "16", "--warmups", "0,1,2", "--device", "cpu"]
    given += ["--num-steps", "3", "--batch", "1", "--format", "csv", "--output", str(out)]
    process = subprocess.Popen(
        python_command("profiling.sweep", *given),
        cwd=tmp_path,
        env=child_environment(),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (kept.exists() and kept.read_bytes().count(b"\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = kept.read_bytes()
    assert 1 <= done.count(b"\n") < 3
    assert not out.exists()
    assert run_command("profiling.sweep", *given, cwd=tmp_path).returncode == 0
    assert kept.read_bytes().startswith(done)
    assert kept.read_bytes().count(b"\n") == 3
    rows = rows_of(out)
    assert [row["Warm-up"] for row in rows] == ["0", "1", "2"]
    raw = [json.loads(line)["result"] for line in kept.read_bytes().splitlines()]
    means = [Spread.of_values(each["total_ns"]).mean / 1e6 for each in raw]
    assert [float(row["Total Mean (ms)"]) for row in rows] == pytest.approx(means)


@pytest.mark.slow
def test_a_row_too_large_for_a_limit_reads_oom(tmp_path: Path) -> None:
    sizes = ("--sizes", "tiny,small", "--contexts", "64", "--warmups", "0", "--num-steps", "1")
    limited = ("--device", "cpu", "--memory-limit", "0.4", "--format", "csv")
    done = run_command("profiling.sweep", *sizes, *limited, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [row["Status"] for row in csv.DictReader(done.stdout.splitlines())] == ["ok", "OOM"]
