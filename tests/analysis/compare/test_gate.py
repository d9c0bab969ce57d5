"""The gate of `analysis.compare`, and which reports cannot be compared."""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from analysis.compare import __main__ as compare
from analysis.show import cli
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

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
        "gate failed: busy time 200 ns -> 220 ns, +10.0 %, more than the 5 % allowed; "
        "with fewer than two steps nobody knows whether by chance"
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
    assert "must be a percentage of 0 or more, not" in capsys.readouterr().err


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


def of_work(run: dict[str, str], folder: Path, name: str) -> Path:
    return a_step(folder / f"{name}.sqlite", gpus=("NVIDIA A100",), run=run)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("size", ("small", "tiny")),
        ("batch", ("4", "8")),
        ("context", ("128", "32")),
        ("dtype", ("float32", "bfloat16")),
        ("num_layers", ("6", "12")),
        ("world_size", ("1", "2")),
    ],
)
def test_other_work_is_compared_but_judged_only_if_forced(
    key: str, values: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (of_work({key: value}, tmp_path, value) for value in values)
    said = f"{key.replace('_', ' ')} differs: {values[0]} before, {values[1]} after"
    status, note = compared(capsys, one, two)
    assert (status, note.startswith(f"note: {said}\n")) == (0, True)
    assert compared(capsys, one, two, "--fail-over", "5") == (
        1,
        f"error: {two}: not comparable: {said}; --force compares them all the same\n",
    )
    status, note = compared(capsys, one, two, "--fail-over", "5", "--force")
    assert (status, note.count(said)) == (0, 1)


def test_a_size_stands_for_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = of_work({"size": "small", "d_model": "768"}, tmp_path, "one")
    two = of_work({"size": "tiny", "d_model": "64"}, tmp_path, "two")
    assert compared(capsys, one, two, "--fail-over", "5")[1] == (
        f"error: {two}: not comparable: size differs: small before, tiny after; "
        "--force compares them all the same\n"
    )


def window(path: Path, *ends: int) -> Path:
    """Write a report without steps: a kernel of 10 ns to each end, and one that ends at 1000."""
    kernels = [Kernel("gemm", end - 10, end) for end in ends]
    return make_report(path, kernels=[Kernel("first", 0, 1), *kernels, Kernel("last", 990, 1000)])


def test_less_work_in_the_same_time_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = window(tmp_path / "one.sqlite", *range(100, 980, 20))
    two = window(tmp_path / "two.sqlite", *range(100, 980, 40))
    assert cli.run(lambda: compare.main([str(one), str(two), "--fail-over", "5"])) == 1
    said = capsys.readouterr()
    # 440 + 11 ns of work before, 220 + 11 after.
    less = "48.8 % less work than before was done in the same time"
    reason = f"{less} (by the calls of what both recorded)"
    assert f"work     {reason}; a call took +0.0 %" in said.out
    assert "idle       54.9 % ->   76.9 %  of the wall time of the GPU\n" in said.out
    assert said.err.endswith(
        f"error: {two}: cannot be judged without steps: {reason}; record a range called step "
        "around each step, or give --force\n"
    )
    assert compared(capsys, one, two, "--fail-over", "5", "--force")[0] == 0
    assert compared(capsys, one, one, "--fail-over", "5")[0] == 0


def test_a_real_pair_of_fixed_windows_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    pair = [str(shared.report(f"fsdp-2xh100-{name}")) for name in ("before", "after")]
    assert cli.run(lambda: compare.main([*pair, "--fail-over", "5"])) == 1
    said = capsys.readouterr()
    # Calls of attention, once a block: 68 before and 60 after, 11.8 % fewer.
    reason = "10.8 % less work than before was done in the same time (by the calls of what both "
    assert said.out.startswith(f"verdict: other work: {reason}recorded)\n")
    assert f"work     {reason}" in said.out
    # As the page has it: of the windows of both GPUs, which are not of one length.
    assert "idle        9.6 % ->   17.4 %  of the wall time of the GPUs\n" in said.out
    assert "cannot be judged without steps: 10.8 % less" in said.err
    assert compare.main([*pair, "--format", "csv"]) == 0
    assert f"note: {reason}recorded): see call_ratio" in capsys.readouterr().err


def steps_of(path: Path, *durations: int, wall_ns: int = 10_000) -> Path:
    """Write a report of a step for each kernel."""
    return make_report(
        path,
        ranges=[Range("step", at * wall_ns, (at + 1) * wall_ns) for at in range(len(durations))],
        kernels=[
            Kernel("gemm", at * wall_ns + 5, at * wall_ns + 5 + each, launch=at * wall_ns + 1)
            for at, each in enumerate(durations)
        ],
    )


def test_a_gate_that_fails_on_noise_says_that_it_may_be_chance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = steps_of(tmp_path / "one.sqlite", 100, 900)
    two = steps_of(tmp_path / "two.sqlite", 300, 1700)
    status, said = compared(capsys, one, two, "--fail-over", "5")
    assert status == 3
    assert said.splitlines()[-1] == (
        "gate failed: busy time 500 ns -> 1.000 µs, 2.00×, more than the 5 % allowed; the steps "
        "differ among themselves by so much that it may be chance: record more"
    )


def test_a_longer_step_of_an_idler_gpu_passes_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = steps_of(tmp_path / "one.sqlite", 100, 100)
    two = steps_of(tmp_path / "two.sqlite", 100, 100, wall_ns=20_000)
    status, said = compared(capsys, one, two, "--fail-over", "5")
    assert status == 0
    assert "note: wall time is 2.00× and is not judged, the GPU was busy +0.0 %" in said
