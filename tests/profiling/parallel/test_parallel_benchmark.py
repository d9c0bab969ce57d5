"""Strategies timed on two ranks: what was measured agrees with what is computed."""

import csv
import io
import json
from typing import Any

import pytest

from model.parallel.strategies import ALL_STRATEGIES
from profiling.common import cli
from profiling.common.errors import LaunchError, UsageError
from profiling.parallel import options as parallel_benchmark_options
from profiling.parallel import parallel_benchmark
from profiling.parallel.table import Network
from profiling.processes import ranks

TINY = ("--size", "tiny", "--context", "16", "--batch", "4", "--steps", "2", "--warmup", "1")
SHORT = (*TINY, "--strategies", "flat,fsdp,none", "--format", "csv")


def run(*arguments: str) -> int:
    try:
        return cli.run(lambda: parallel_benchmark.main(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the file of a run of every strategy; its table lies beside it."""
    folder = tmp_path_factory.mktemp("kept")
    table, file = folder / "table.csv", folder / "kept.json"
    buckets = ("--bucket-mbs", "0.1,1000")
    options = ("--dtype", "bfloat16", "--format", "csv", "--output", str(table))
    assert run(*TINY, *buckets, *options, "--json", str(file)) == 0
    content: dict[str, Any] = json.loads(file.read_text())
    return content | {"table": list(csv.DictReader(io.StringIO(table.read_text())))}


@pytest.mark.slow
def test_every_strategy_is_measured(kept: dict[str, Any]) -> None:
    names = [row["name"] for row in kept["rows"]]
    assert list(dict.fromkeys(names)) == list(ALL_STRATEGIES)
    assert names.count("bucketed") == 2
    assert [row["status"] for row in kept["table"]] == len(names) * ["ok"]
    for row in kept["table"]:
        parts = [float(row[f"{part}_ns"]) for part in ("forward", "backward", "finish")]
        assert all(part > 0 for part in parts)
        assert row["steps"] == "2"


@pytest.mark.slow
def test_what_is_computed_is_what_ranks_held_and_sent(kept: dict[str, Any]) -> None:
    for row in kept["rows"]:
        computed, each = row["computed"], row["ranks"]
        held = ("parameter_bytes", "gradient_bytes", "optimizer_bytes")
        for name in held:
            assert computed[name] == max(rank["held"][name] for rank in each), (row["name"], name)
        for step in (step for rank in each for step in rank["steps"]):
            assert step["moved_bytes"] == computed["communicated_bytes"], row["name"]
            assert step["calls"] == computed["calls"], row["name"]


@pytest.mark.slow
def test_the_computed_columns_are_those_of_the_shape(kept: dict[str, Any]) -> None:
    table = {(row["strategy"], row["bucket_mb"]): row for row in kept["table"]}
    # tiny: 139,584 parameters in 21 tensors; two ranks send each number once, 2(N-1)/N = 1
    numbers, tensors = 139_584, 21
    for strategy, sent, calls in (
        ("none", 0, 0),
        ("naive", 2 * numbers, tensors),
        ("flat", 2 * numbers, 1),
        ("overlapped", 2 * numbers, tensors),
        ("sharded", 4 * numbers, 2 * tensors),
    ):
        row = table[strategy, ""]
        assert int(row["communicated_bytes"]) == sent
        assert int(row["calls"]) == calls
        assert int(row["parameter_bytes"]) == int(row["gradient_bytes"]) == 2 * numbers
    assert int(table["none", ""]["optimizer_bytes"]) == 4 * numbers + 4 * tensors
    assert int(table["sharded", ""]["optimizer_bytes"]) < 2.1 * numbers
    fsdp = table["fsdp", ""]
    # 5 norms of 64 are whole, in float32; all else is halved, its rows being even
    norms = 5 * 64
    assert int(fsdp["parameter_bytes"]) == 4 * (norms + (numbers - norms) // 2)
    embedding = 256 * 64
    weights = numbers - norms
    # half of each gather and scatter, in bfloat16; the embedding is gathered once
    sent = 2 * (weights + weights - embedding + weights) // 2 + 4 * norms
    assert int(fsdp["communicated_bytes"]) == sent
    assert table["bucketed", "1000.0"]["calls"] == "1"


@pytest.mark.slow
def test_the_file_tells_the_run(kept: dict[str, Any]) -> None:
    assert kept["kind"] == "parallel_benchmark"
    assert kept["backend"] == "gloo"
    assert kept["rank"]["batch"] == 2
    assert kept["command"].startswith("python -m profiling.parallel_benchmark --size tiny")
    sources = {rank["memory_source"] for row in kept["rows"] for rank in row["ranks"]}
    assert sources <= {"resident", "resident, never reset"}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--batch", "3"], 2, "--batch 3: 2 ranks cannot share it evenly"),
        (["--strategies", "magic"], 2, "'magic' is none of: none, naive, flat"),
        (["--bucket-mbs", "0"], 2, "must be a positive number, not '0'"),
        (["--size", "huge"], 2, "no size is called 'huge'"),
        (["--device", "tpu"], 2, "no device is called 'tpu'"),
        (["--device", "cuda"], 1, "no CUDA device is here"),
        (["--size", "10B"], 1, "2 ranks of 10B (batch 1 each, context 128) need about 438.5 GiB"),
        (["--output", "/nowhere/x.csv"], 1, "its folder does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_starts(
    arguments: list[str],
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranks, "run", pytest.fail)
    assert run(*arguments) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert said in printed.err


def parsed(*arguments: str) -> Any:
    return parallel_benchmark_options.parser("x", "doc").parse_args(arguments)


def test_gpus_are_taken_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    choose = parallel_benchmark_options.choose_backend
    assert choose(parsed(), gpus=2) == "nccl"
    assert choose(parsed("--ranks", "4"), gpus=2) == "gloo"
    assert choose(parsed("--device", "cuda"), gpus=2) == "nccl"
    assert choose(parsed("--device", "cpu"), gpus=2) == "gloo"
    with pytest.raises(LaunchError, match="4 ranks need as many GPUs, and this machine has 2"):
        choose(parsed("--device", "cuda", "--ranks", "4"), gpus=2)
    with pytest.raises(UsageError, match="each rank has a GPU of its own; give cuda"):
        choose(parsed("--device", "cuda:1"), gpus=2)


def test_the_batch_is_shared_and_defaults_to_some_for_each_rank() -> None:
    settings = parallel_benchmark_options.rank_settings
    assert settings(parsed("--size", "tiny", "--batch", "8", "--ranks", "4"), "gloo").batch == 2
    assert settings(parsed("--size", "tiny"), "gloo").batch == 1
    on_gpu = settings(parsed("--size", "xl", "--ranks", "2"), "nccl")
    assert (on_gpu.batch, on_gpu.context, on_gpu.device) == (4, 512, "cuda")


def result(total_ns: int) -> dict[str, Any]:
    parts = {"forward": 10, "backward": 20, "finish": 5, "optimizer": 3}
    step = {"parts_ns": parts, "communication_ns": 40, "exposed_ns": 10}
    steps = [{**step, "total_ns": total_ns + 2 * each} for each in range(3)]
    peaks = {"initial_peak_bytes": 1, "before_step_peak_bytes": total_ns, "in_step_peak_bytes": 3}
    return {"steps": steps, "memory_source": "tensors", **peaks, "held": {}}


class Ranks:
    """Stands in for two ranks; full sharding fails."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure

    def run(self, function: str, count: int, plan: dict[str, Any], **given: Any) -> list[Any]:
        if "sizes" in plan:
            for each, time_ns in zip(plan["sizes"], (1_000_000, 65_000_000), strict=True):
                given["on_told"](0, {"bytes": each, "times_ns": [time_ns]})
            return []
        if plan["strategy"]["name"] == "fsdp":
            raise self.failure
        return [result(100), result(200)]


def test_a_strategy_that_fails_says_why_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "run", Ranks(LaunchError("rank 1 is out of memory")).run)
    assert run(*SHORT) == 0
    printed = capsys.readouterr()
    flat, fsdp, none = csv.DictReader(io.StringIO(printed.out))
    assert [row["status"] for row in (flat, fsdp, none)] == ["ok", "rank 1 is out of memory", "ok"]
    assert fsdp["step_ns"] == ""
    assert int(fsdp["communicated_bytes"]) > 0  # what is computed is there all the same
    assert float(flat["step_ns"]) == 202  # of the slower rank
    assert float(flat["exposed_ns"]) == 10
    assert float(flat["hidden_share"]) == 0.75
    assert float(flat["before_step_peak_bytes"]) == 200
    # o = 1 ms, w = 64 MB in 64 ms: 558336 bytes take 0.558 ms, and one call 1 ms
    assert float(flat["bucket_overhead_ns"]) == pytest.approx(558_336 + 1_000_000)
    assert none["bucket_overhead_ns"] == ""
    assert "note: fsdp: rank 1 is out of memory" in printed.err
    # sqrt(558336 * 1e9 * 0.001) is more than there is
    assert "least at buckets of 558.3 kB" in printed.err


def test_an_interruption_loses_no_strategy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "run", Ranks(KeyboardInterrupt()).run)
    assert run(*SHORT) == 130
    printed = capsys.readouterr()
    found = [row["status"] for row in csv.DictReader(io.StringIO(printed.out))]
    assert found == ["ok", "not measured", "not measured"]
    assert printed.err.splitlines()[-1] == "error: interrupted; 1 of 3 strategies are measured"


def test_a_network_too_noisy_to_measure_is_not_made_up() -> None:
    assert Network.from_times(2e6, 1e6, 10**6) is None


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_the_table_is_shown(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "run", Ranks(LaunchError("no")).run)
    assert run(*SHORT[:-1], form) == 0
    shown = capsys.readouterr().out
    assert "2 ranks (gloo), each: tiny (139,584 parameters), train, batch 2" in shown
    assert "hidden share" in shown
    assert "75.0 %" in shown
