"""The gate of `analysis.compare`, and which reports cannot be compared."""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from analysis import cli, compare
from tests import shared
from tests.build_report import Kernel, Operator, Range, make_report

Said = tuple[int, str]


def a_step(
    path: Path,
    *kernels: Kernel,
    gpus: tuple[str, ...] = (),
    run: Mapping[str, str] | None = None,
) -> Path:
    """Write a report of one step, and of one kernel if no others are given."""
    work = kernels or (Kernel("sgemm", 200, 300, launch=1),)
    return make_report(path, ranges=[Range("step", 0, 100)], kernels=work, gpus=gpus, run=run)


def compared(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Said:
    """Return the exit status, and what was said on stderr."""
    status = cli.run(lambda: compare.main(list(map(str, arguments))))
    said = capsys.readouterr()
    assert bool(said.out) == (status != 1)
    return status, said.err


def slowed(path: Path, copy: Path) -> Path:
    """Write a copy of a report in which everything on the device takes 10 % longer.

    Start and end are stretched alike: stretched durations alone would make kernels that follow one
    another overlap, and the device hardly busier.
    """
    shutil.copyfile(path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        known = "SELECT name FROM sqlite_master WHERE name LIKE 'CUPTI_ACTIVITY_KIND_%'"
        there = {name for (name,) in connection.execute(known)}
        for table in ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE"):
            if f"CUPTI_ACTIVITY_KIND_{table}" in there:
                connection.execute(
                    f"UPDATE CUPTI_ACTIVITY_KIND_{table} "
                    'SET start = start * 11 / 10, "end" = "end" * 11 / 10'
                )
        connection.commit()
    return copy


def test_a_copy_slowed_by_a_tenth_fails_and_an_equal_one_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = [Kernel("a", 200, 300, launch=1), Kernel("b", 300, 400, launch=2)]
    one = a_step(tmp_path / "one.sqlite", *kernels)
    two = slowed(one, tmp_path / "two.sqlite")
    status, said = compared(capsys, one, two, "--fail-over", "5")
    assert status == 3
    assert said.splitlines()[-1] == (
        "gate failed: busy time 200 ns -> 220 ns, +10.0 % (unjudged), more than the 5 % allowed"
    )
    for path, percent in ((one, "0"), (two, "10"), (two, "10.5")):
        status, said = compared(capsys, one, path, "--fail-over", percent)
        assert status == 0
        assert "gate" not in said
    assert compared(capsys, two, one, "--fail-over", "0")[0] == 0


@pytest.mark.parametrize("name", ["fsdp-2xh100-before", "train-step-small-a100"])
def test_a_slowed_copy_of_a_real_report_fails(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared.report(name)
    slow = slowed(path, tmp_path / "slow.sqlite")
    status, said = compared(capsys, path, slow, "--fail-over", "5", "--kind", "total")
    assert status == 3
    assert "+10.0 %" in said.splitlines()[-1]
    assert compared(capsys, path, path, "--fail-over", "5", "--kind", "total")[0] == 0


def test_kernels_that_overlap_more_pass_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = a_step(tmp_path / "one.sqlite", Kernel("a", 0, 50, launch=1))
    both = Kernel("a", 0, 50, launch=1), Kernel("b", 0, 40, launch=2, stream=8)
    two = a_step(tmp_path / "two.sqlite", *both)
    status, said = compared(capsys, one, two, "--fail-over", "5")
    assert status == 0
    assert "note: kernels took +80.0 %, the GPU was busy +0.0 %: copies and overlap" in said


def test_a_gate_with_nothing_to_judge_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = a_step(tmp_path / "one.sqlite")
    lost = a_step(tmp_path / "lost.sqlite", Kernel("sgemm", 200, 300))
    assert compared(capsys, one, lost)[0] == 0
    assert cli.run(lambda: compare.main([str(one), str(lost), "--fail-over", "5"])) == 1
    said = capsys.readouterr().err
    assert "after: left out, in no step: 1 kernel, 100 ns (1 without a recorded launch)" in said
    assert f"error: {lost}: no busy time, so no gate" in said


@pytest.mark.parametrize("percent", ["-1", "nan", "inf", "much", ""])
def test_a_percentage_that_is_none_is_wrong_usage(
    percent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(["a.sqlite", "b.sqlite", f"--fail-over={percent}"])
    assert ended.value.code == 2
    assert "is not a percentage of 0 or more" in capsys.readouterr().err


def test_a_cpu_and_a_gpu_are_never_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = a_step(tmp_path / "gpu.sqlite")
    cpu = make_report(tmp_path / "cpu.sqlite", operators=[Operator("aten::mm", 0, 9, 9)])
    for arguments in ((gpu, cpu), (gpu, cpu, "--force")):
        assert compared(capsys, *arguments) == (
            1,
            f"error: {cpu}: a run on a CPU, while gpu.sqlite is one on a GPU; "
            "record both on the same device\n",
        )
    assert "a run on a GPU, while cpu.sqlite is one on a CPU" in compared(capsys, cpu, gpu)[1]


def refusals(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write pairs of reports that differ in one thing."""
    both = Kernel("a", 200, 300, launch=1), Kernel("a", 200, 300, launch=2, device=1)
    one = a_step(folder / "one.sqlite", gpus=("NVIDIA A100",), run={"mode": "train"})
    return {
        "GPUs: 1 before, 2 after": (
            a_step(folder / "1.sqlite"),
            a_step(folder / "2.sqlite", *both),
        ),
        "GPU is NVIDIA A100 before, NVIDIA H100 after": (
            one,
            a_step(folder / "h100.sqlite", gpus=("NVIDIA H100",)),
        ),
        "mode is train before, forward after": (
            one,
            a_step(folder / "forward.sqlite", gpus=("NVIDIA A100",), run={"mode": "forward"}),
        ),
    }


@pytest.mark.parametrize("place", range(3))
def test_other_gpus_and_modes_are_refused_unless_forced(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason, (one, two) = list(refusals(tmp_path).items())[place]
    assert compared(capsys, one, two) == (
        1,
        f"error: {two}: not comparable: {reason}; --force compares them all the same\n",
    )
    status, said = compared(capsys, one, two, "--force")
    assert status == 0
    assert f"note: {reason}\n" in said


def test_other_settings_are_said_with_both_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {"batch": "4", "dtype": "float32"}, {"batch": "8", "dtype": "bfloat16", "size": "small"}
    paths = [a_step(tmp_path / f"{place}.sqlite", run=run) for place, run in enumerate(runs)]
    status, said = compared(capsys, *paths)
    assert status == 0
    assert said.splitlines()[:2] == [
        "note: batch differs: 4 before, 8 after",
        "note: dtype differs: float32 before, bfloat16 after",
    ]
    assert "size" not in said
