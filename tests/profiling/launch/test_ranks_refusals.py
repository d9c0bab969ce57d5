"""What of `--ranks` does not go together is refused in one line, and the rest is understood."""

import re
from pathlib import Path

import pytest

from profiling.common import memory_fit
from profiling.common.errors import LaunchError
from profiling.common.settings import Settings
from profiling.launch import __main__ as launch
from profiling.launch import options
from profiling.training.workload import TrainingRanks, TrainingRun
from tests.profiling.launch.test_ranks import CPU
from tests.profiling.launch.test_refusals import refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranks", "0"], "--ranks: must be a positive whole number, not '0'"),
        (["--strategy", "flat"], "--strategy is of --ranks N; give that too, or leave it out"),
        (["--timeout", "5"], "--timeout is of --ranks N; give that too, or leave it out"),
        (["--bucket-mb", "5"], "--bucket-mb is of --ranks N; give that too, or leave it out"),
        (["--ranks", "2", "--timeout", "0"], "--timeout: must be a positive number, not '0'"),
        (["--ranks", "2", "--strategy", "ddp"], "no strategy is called 'ddp'; there are: naive, "),
        (["--ranks", "2", "--strategy", "none"], "no strategy is called 'none'; there are: naive"),
        (["--ranks", "2", "--bucket-mb", "5"], "--bucket-mb is of --strategy bucketed, not of ov"),
        (["--ranks", "2", "--memory"], "--memory is of one process; leave it out, or --ranks"),
        (["--ranks", "2", "--compile"], "--compile is of one process; leave it out, or --ranks"),
        (["--ranks", "2", "--mode", "forward"], "--mode forward: ranks train; leave it out"),
        (["--ranks", "2", "--batch", "3"], "--batch 3: 2 ranks cannot share it evenly; it counts"),
        (["--ranks", "2", "--strategy", "fsdp", "--autocast", "bfloat16"], "fsdp casts by itself"),
        (["--ranks", "2", "--strategy", "sharded", "--optimizer", "loop"], "sharded runs AdamW as"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = refused(capsys, tmp_path, *CPU, *arguments)
    assert status == 2
    assert message in line, line


def test_other_workloads_have_no_ranks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for workload in ("layers", "generation"):
        arguments = ("--workload", workload, "--size", "tiny", "--device", "cpu", "--ranks", "2")
        status, line = refused(capsys, tmp_path, *arguments)
        assert (status, line) == (
            2,
            f"error: --ranks is of training and script, not of {workload}",
        )


def chosen(*arguments: str, device: str = "cpu") -> tuple[TrainingRanks | None, Settings]:
    """Return what a command line says of ranks, and the settings of one."""
    _, given = options.parse(list(arguments))
    asked = TrainingRun.read(given, device)
    return asked.ranks, asked.settings


def test_the_batch_is_that_of_all_ranks_and_each_has_its_part() -> None:
    ranks, settings = chosen("--ranks", "4", "--batch", "8")
    assert ranks
    assert (ranks.strategy, ranks.backend, ranks.timeout_s) == ("overlapped", "gloo", 600.0)
    assert settings.batch == 2
    assert ranks.facts_of_batch(3, settings.batch) == {
        "rank": "3",
        "world_size": "4",
        "strategy": "overlapped",
        "backend": "gloo",
        "global_batch": "8",
    }
    assert chosen("--ranks", "4")[1].batch == 1
    assert chosen()[0] is None


def test_buckets_have_a_size_that_is_told() -> None:
    ranks, settings = chosen("--ranks", "2", "--strategy", "bucketed")
    assert ranks
    assert ranks.facts_of_batch(0, settings.batch)["bucket_mb"] == "25"


def test_a_gpu_each_or_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    ranks, settings = chosen("--ranks", "2", device="cuda")
    assert ranks
    assert (ranks.backend, settings.batch, settings.context) == ("nccl", 4, 512)
    with pytest.raises(LaunchError, match="3 ranks need as many GPUs, and this machine has 2; use"):
        chosen("--ranks", "3", device="cuda")


def test_the_memory_is_that_of_all_ranks_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_fit, "available_bytes", lambda _: 2**30)
    status, line = refused(capsys, tmp_path, *CPU, "--ranks", "4")
    assert status == 1
    assert re.search(r"4 ranks of tiny \(batch 1 each.*need about 1\.\d GiB and 1\.0 GiB", line)


@pytest.mark.parametrize("taken", ["tiny.rank1.sqlite", "tiny.rank7.sqlite", "tiny.rank0.nsys-rep"])
def test_an_earlier_set_is_in_the_way_before_any_work(
    taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "record", lambda _: pytest.fail("work was done"))
    (tmp_path / taken).write_bytes(b"earlier")
    status, line = refused(capsys, tmp_path, *CPU, "--ranks", "2", "--name", "tiny")
    assert (status, line) == (
        1,
        f"error: {tmp_path / taken}: exists; choose another --name, or give --overwrite to "
        "replace it",
    )
