"""Timing every tiling of FlashAttention: which there are, what is a row, what is done again."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import flash_tuning
from benchmarks.tuning import run as flash_tuning_run
from benchmarks.tuning.run import Problem, Shape, Trial, measure, relative
from benchmarks.tuning.space import (
    PASSES,
    REGISTERS,
    SHARED_BYTES,
    needed_bytes,
    needed_registers,
    tilings,
)
from model.flash.tiles import PADDED_QUERIES, Tiling, candidates
from profiling.common.cli import run
from profiling.common.errors import LaunchError

pytest.importorskip("triton")

SHAPE = Shape(1, 2, 16, 40, "float32", "cpu")
TILING = Tiling(16, 32, 8, 1)


@pytest.mark.parametrize("width", [64, 128])
@pytest.mark.parametrize("which", PASSES)
def test_what_is_shipped_comes_first_and_what_follows_fits(which: Any, width: int) -> None:
    of_kind = tilings(which, width, 2, "tf32")
    shipped = candidates(which, width, 2, "tf32")
    assert tuple(of_kind[: len(shipped)]) == shipped
    assert len(shipped) < len(of_kind) == len(set(of_kind)) <= 60
    for one in of_kind[len(shipped) :]:
        sides = (one.queries, one.keys, width)
        assert needed_registers(which, *sides, one.warps) <= REGISTERS
        assert needed_bytes(which, *sides, one.stages, 2) <= SHARED_BYTES
        assert one.queries <= PADDED_QUERIES


def call(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ("--device", "cpu", "--dtype", "bfloat16", "--shapes", "1x1x16x20,1x2x64x70")
    more = ("--most", "1", "--repeat-ms", "1", "--results", str(tmp_path / "results.json"))
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.flash_tuning", *words, *more, *arguments],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_rows_are_kept_the_fastest_first_and_not_timed_again(tmp_path: Path) -> None:
    nothing = call(tmp_path, "--budget-s", "0", "--format", "csv")
    assert nothing.returncode == 1
    assert "20 rows are not timed for want of time" in nothing.stderr
    done = call(tmp_path, "--format", "csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 2 * (len(PASSES) + 2 * 3)
    assert {row["outcome"] for row in rows} == {"done"}
    for shape in ("20", "70"):
        for part in ("forward", "backward", "both"):
            times = [
                float(row["median_ns"])
                for row in rows
                if (row["length"], row["part"]) == (shape, part)
            ]
            assert times == sorted(times)
    kept = (tmp_path / "results.json").read_bytes()
    again = call(tmp_path, "--format", "csv", "--budget-s", "0")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert (tmp_path / "results.json").read_bytes() == kept


def test_a_kernel_that_writes_nothing_or_the_wrong_numbers_is_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = Trial(SHAPE, "forward", TILING)
    given: list[Callable[[Problem], object]] = [
        lambda made: None,
        lambda made: (made.output.copy_(made.expected["output"]), made.lse.fill_(1.0)),
        lambda made: [getattr(made, name).copy_(made.expected[name]) for name in ("output", "lse")],
    ]
    found = []
    for write in given:
        monkeypatch.setattr(Problem, "run", lambda made, *_, write=write: lambda: write(made))
        found.append(measure(trial, 1))
    assert [one["outcome"] for one in found] == ["wrong", "wrong", "done"]
    assert found[0]["error"] == float("inf")
    assert found[2]["error"] == 0


def test_what_does_not_fit_and_what_does_not_compile_are_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from triton.runtime.errors import OutOfResources

    failures = [OutOfResources(300_000, 232_448, "shared memory"), ValueError("no such type\nat 3")]
    found = []
    for failure in failures:

        def refuse(*_: object, failure: Exception = failure) -> None:
            raise failure

        monkeypatch.setattr(Problem, "run", refuse)
        found.append(measure(Trial(SHAPE, "dq", TILING), 1))
    assert [one["outcome"] for one in found] == ["refused", "failed"]
    assert found[1]["message"] == "failed: ValueError: no such type"


def test_what_is_not_a_number_is_infinitely_wrong() -> None:
    ones = torch.ones(3)
    assert relative(ones, ones) == 0
    assert relative(torch.tensor([1.0, torch.nan, 1.0]), ones) == float("inf")


class Compiled:
    """Stands for processes that have compiled: the first trial was refused."""

    def ahead(self, trials: list[Trial]) -> dict[Trial, Future[str | None]]:
        made: dict[Trial, Future[str | None]] = {trial: Future() for trial in trials}
        for place, future in enumerate(made.values()):
            future.set_result(None if place else "refused: OutOfResources: too much")
        return made


def test_what_was_refused_when_it_was_compiled_is_not_run_and_what_failed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.json"
    words = ["--passes", "dkdv", "--dtype", "float32", "--results", str(path)]
    arguments = flash_tuning.parser().parse_args(words)
    about = {"kind": "flash_tuning", "facts": {"device_name": "a card"}}
    ran: list[Trial] = []
    outcomes = iter(["failed", "done"])

    def timed(trial: Trial, _: int) -> dict[str, Any]:
        ran.append(trial)
        return {"outcome": next(outcomes), "time_ns": [1, 1, 1]}

    monkeypatch.setattr(flash_tuning, "measure", timed)
    for _ in range(2):
        flash_tuning.Tuning(arguments, about).tune(SHAPE, Compiled())  # type: ignore[arg-type]
    assert [row["outcome"] for row in json.loads(path.read_text())["results"]] == [
        "refused",
        "refused",
    ]
    assert len(ran) == 1
    elsewhere = {"kind": "flash_tuning", "facts": {"device_name": "another card"}}
    with pytest.raises(LaunchError, match="measured on a card, not another card"):
        flash_tuning.Tuning(arguments, elsewhere)


def test_flops_are_those_of_the_products_of_a_pass() -> None:
    trial = Trial(Shape(2, 3, 64, 256, "bfloat16", "cpu"), "one_pass", Tiling(64, 128, 8, 2))
    assert trial.flops == 5 * 2 * 2 * 3 * 64 * (256 * 257 // 2)
    # Two tiles of queries see one tile of keys, two see both.
    assert trial.launched_flops == 5 * 2 * 2 * 3 * 64 * (2 * 64 * 128 + 2 * 64 * 256)


def test_without_a_gpu_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: flash_tuning.main(["--device", "cpu"])) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: flash attention in Triton needs a GPU")
    assert said.count("\n") == 1
    with pytest.raises(SystemExit) as stopped:
        flash_tuning.main(["--shapes", "1x2x3"])
    assert stopped.value.code == 2


def test_under_the_interpreter_nothing_is_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_tuning_run, "is_interpreted", lambda: True)
    compiler = flash_tuning_run.Compiler(4)
    assert compiler.ahead([Trial(SHAPE, "dq", TILING)]) == {}
    compiler.close()
