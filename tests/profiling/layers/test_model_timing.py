"""The command that times layers writes what it promises, and loses no record."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from profiling.common.cli import run
from profiling.common.errors import LaunchError
from profiling.layers import model_timing, timing_run
from profiling.layers.timing_run import one_forward
from profiling.models.input_shapes import SHIPPED, InputShape, read_shapes
from profiling.models.pretrained import load_model
from profiling.models.request import ModelRequest
from tests.made.models.tiny_qwen import save_tiny, tiny_config

LAYERS = 4
DETAILS = ("qkv_projection", "qk_norm", "rope", "attention_core", "output_projection")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model", LAYERS)


def command(folder: Path, *arguments: object) -> list[str]:
    return ["--device", "cpu", "--output-dir", str(folder), *map(str, arguments)]


def records_in(folder: Path, name: str = "timing_records.json") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / name).read_text())
    return found


def check_schema(found: dict[str, Any], layers: int, details: tuple[str, ...] = DETAILS) -> None:
    """Compare a record made on a CPU with the fields that are promised, and nothing else."""
    assert list(found) == ["timestamp", "batch_size", "input_len", "total_time", "layer_details"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found["timestamp"])
    assert len(found["layer_details"]) == layers
    for layer in found["layer_details"]:
        assert set(layer) == {"attn", "attn_cuda", "ffn", "ffn_cuda", "attn_details"}
        inside = layer["attn_details"]
        names = ("attn_forward", *details)
        assert set(inside) == {name + end for name in names for end in ("", "_cuda")}
        assert sum(inside[name] for name in details) <= inside["attn_forward"] <= layer["attn"]
        assert all(inside[name] > 0 for name in names)
        assert layer["ffn"] > 0
        clocks = {**layer, **inside}
        assert {value for name, value in clocks.items() if name.endswith("_cuda")} == {None}
    spent = sum(layer["attn"] + layer["ffn"] for layer in found["layer_details"])
    assert spent <= found["total_time"]


def test_three_shapes_write_exactly_the_fields_promised(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = [(1, 16), (2, 16), (1, 48)]
    configs = {"configs": [{"batch_size": b, "input_len": n} for b, n in shapes]}
    (tmp_path / "shapes.json").write_text(json.dumps(configs))
    arguments = command(tmp_path / "out", "--model-name", tiny)
    arguments += ["--configs", str(tmp_path / "shapes.json"), "--num-runs", "2"]
    assert model_timing.main(arguments) == 0
    found = records_in(tmp_path / "out")
    ran = [(each["batch_size"], each["input_len"]) for each in found]
    assert ran == [shape for shape in shapes for _ in range(2)]
    for each in found:
        check_schema(each, LAYERS)
    shares = [
        sum(layer["attn"] + layer["ffn"] for layer in each["layer_details"]) / each["total_time"]
        for each in found
    ]
    assert max(shares) > 0.5
    printed = capsys.readouterr()
    assert "attn share  ffn share  other share  slowest layer" in printed.out
    assert re.search(
        r"batch \d, length \d+: \w+ takes [\d.]+ % of the run( \(\w+ [\d.]+ %\))?; layer",
        printed.out,
    )
    assert "6 records are in" in printed.err
    (about,) = records_in(tmp_path / "out", "timing_records.json.about")
    assert (about["model"], about["dtype"], about["device"]) == (str(tiny), "bfloat16", "cpu")
    assert "torch" in about["facts"]


def failing(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 1) -> str:
    """Run the command, which must fail with one line; return it."""
    capsys.readouterr()
    try:
        ended = run(lambda: model_timing.main([str(each) for each in arguments]))
    except SystemExit as stop:
        ended = int(stop.code or 0)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert ended == status
    assert len(errors) == 1
    return errors[0]


def test_records_are_added_to_only_on_request(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(tmp_path, "--model-name", tiny, "--num-runs", 1, "--input-len", 4)
    assert model_timing.main(arguments) == 0
    first = records_in(tmp_path)
    line = failing(capsys, *arguments)
    assert "exists; give --append to add to it, --overwrite to replace it" in line
    assert records_in(tmp_path) == first
    assert model_timing.main([*arguments, "--append"]) == 0
    both = records_in(tmp_path)
    assert both[:1] == first
    assert len(both) == 2
    line = failing(capsys, *arguments, "--append", "--dtype", "float32")
    assert "holds times of dtype bfloat16, not float32" in line
    assert records_in(tmp_path) == both
    assert model_timing.main([*arguments, "--overwrite", "--dtype", "float32"]) == 0
    assert len(records_in(tmp_path)) == 1
    assert len(records_in(tmp_path, "timing_records.json.about")) == 1


def test_what_is_no_list_of_records_is_not_touched(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "timing_records.json").write_text('{"mine": 1}')
    arguments = command(tmp_path, "--model-name", tiny, "--append")
    assert "no list of records" in failing(capsys, *arguments)
    assert (tmp_path / "timing_records.json").read_text() == '{"mine": 1}'


def interrupted_after(count: int, error: BaseException) -> Callable[..., Callable[[], None]]:
    """Return a maker of forward passes of which one fails, once so many have run."""
    done = 0

    def make(model: Any, shape: InputShape, device: str, seed: int) -> Callable[[], None]:
        real = one_forward(model, shape, device, seed)

        def forward() -> None:
            nonlocal done
            done += 1
            if done == count + 1:
                raise error
            real()

        return forward

    return make


def test_an_interruption_keeps_the_finished_runs(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing_run, "one_forward", interrupted_after(3, KeyboardInterrupt()))
    arguments = command(tmp_path, "--model-name", tiny, "--num-runs", 5, "--input-len", 4)
    assert failing(capsys, *arguments, status=130) == "error: interrupted"
    assert len(records_in(tmp_path)) == 2  # of three passes one was warm-up


def test_a_shape_that_is_out_of_memory_does_not_stop_the_others(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")
    monkeypatch.setattr(timing_run, "one_forward", interrupted_after(2, error))
    shapes = tmp_path / "shapes.json"
    entries = [{"batch_size": b, "input_len": 4} for b in (1, 2, 3)]
    shapes.write_text(json.dumps({"configs": entries}))
    arguments = command(tmp_path / "out", "--model-name", tiny, "--num-runs", 1)
    line = failing(capsys, *arguments, "--configs", shapes)
    assert line == (
        "error: batch 2, length 4: CUDA out of memory. Tried to allocate 9 GiB.; "
        "lower the batch or the length"
    )
    assert [each["batch_size"] for each in records_in(tmp_path / "out")] == [1, 3]


def test_a_shape_that_cannot_fit_is_not_tried(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(tmp_path / "out", "--model-name", tiny)
    line = failing(capsys, *arguments, "--batch-size", 10**9, "--input-len", 4)
    assert re.search(r"it needs at least [\d.]+ GiB and [\d.]+ GiB are free; lower the", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model-name", "/nowhere/model"], 1, "/nowhere/model: no such folder; give the folder"),
        (["--input-len", "5000"], 1, "the model has 4096 positions; lower the length"),
        (["--dtype", "float16"], 1, "float16 is a GPU's"),
        (["--dtype", "int8"], 2, "invalid choice: 'int8'"),
        (["--device", "tpu"], 2, "no device is called 'tpu'"),
        (["--batch-size", "0"], 2, "must be a positive whole number, not '0'"),
        (["--append", "--overwrite"], 2, "give one"),
        (["--output-file", "a/b.json"], 2, "its folder is --output-dir"),
        (["--configs", "/nowhere.json"], 1, "cannot be read (no such file or directory)"),
        (["--configs", "x.json", "--batch-size", "2"], 2, "--configs gives the shapes"),
        (["--random-init", "gpt-9"], 2, "no architecture and no file is called 'gpt-9'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    arguments: list[str],
    status: int,
    message: str,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = command(tmp_path / "out", "--model-name", tiny, *arguments)
    assert message in failing(capsys, *given, status=status)
    assert not (tmp_path / "out").exists()


def test_cuda_asked_for_and_absent(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    where = ("--output-dir", tmp_path / "out", "--device", "cuda")
    line = failing(capsys, *where, "--model-name", tiny)
    assert "no CUDA device is here" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Input data was truncated"),
        ("[]", "length >= 1"),
        ("3", "Expected `object | array`, got `int`"),
        ('[{"batch_size": 1, "input_len": 8}, 3]', "got `int` - at `$[1]`"),
        ('{"configs": []}', "length >= 1 - at `$.configs`"),
        ('{"configs": [{"batch_size": 1, "input_len": 8}, 3]}', "got `int` - at `$.configs[1]`"),
        ('{"configs": [{"batch_size": 1}]}', "missing required field `input_len`"),
        ('{"configs": [{"batch_size": true, "input_len": 8}]}', "`$.configs[0].batch_size`"),
        ('{"configs": [{"batch_size": 0, "input_len": 8}]}', "Expected `int` >= 1"),
        ('{"configs": [{"batch_size": 1, "input_len": 8, "len": 9}]}', "unknown field `len`"),
    ],
)
def test_a_file_of_shapes_that_is_none(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(text)
    with pytest.raises(LaunchError) as refused:
        read_shapes(path)
    assert str(refused.value).startswith(f"{path}: no shapes (")
    assert message in str(refused.value)


def test_the_shapes_that_ship_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = read_shapes(Path("benchmark_configs.json"))
    assert shipped == read_shapes(SHIPPED)
    assert len(shipped) == len(set(shipped)) > 3
    (tmp_path / "benchmark_configs.json").write_text(
        '{"configs": [{"batch_size": 3, "input_len": 5}]}'
    )
    assert read_shapes(Path("benchmark_configs.json")) == [InputShape(3, 5)]


def test_shapes_may_be_a_plain_list(tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text('[{"batch_size": 3, "input_len": 5}, {"batch_size": 1, "input_len": 2}]')
    assert read_shapes(path) == [InputShape(3, 5), InputShape(1, 2)]


def test_without_a_device_it_is_timed_on_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    sizes = ("--random-init", "tiny", "--input-len", "4", "--num-runs", "1")
    assert model_timing.main(["--output-dir", str(tmp_path), *sizes]) == 0
    (record,) = records_in(tmp_path)
    check_schema(record, 4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_real_shape_with_random_weights(dtype: str, tmp_path: Path) -> None:
    arguments = command(tmp_path, "--random-init", "qwen3-0.6b", "--dtype", dtype)
    assert model_timing.main([*arguments, "--input-len", "32", "--num-runs", "2"]) == 0
    for each in records_in(tmp_path):
        check_schema(each, 28)


@pytest.mark.gpu
def test_on_a_gpu_both_clocks_are_read(tiny: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device is here")
    arguments = ["--output-dir", str(tmp_path), "--model-name", str(tiny), "--input-len", "64"]
    assert model_timing.main(arguments) == 0
    for each in records_in(tmp_path):
        for layer in each["layer_details"]:
            clocks = {**layer, **layer["attn_details"]}
            times = [v for name, v in clocks.items() if name.endswith("_cuda")]
            assert all(time > 0 for time in times)
        on_gpu = sum(layer["attn_cuda"] + layer["ffn_cuda"] for layer in each["layer_details"])
        assert on_gpu <= each["total_time"]


@pytest.mark.gpu
def test_the_model_on_a_gpu_has_the_weights_of_the_cpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device is here")
    (tmp_path / "shape.json").write_text(json.dumps(tiny_config().to_dict()))
    how: dict[str, Any] = {"dtype": "float32", "attention": "sdpa"}
    how["random_init"] = str(tmp_path / "shape.json")
    here, there = (load_model(ModelRequest(device=device, **how)) for device in ("cpu", "cuda"))
    for mine, other in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.equal(mine, other.cpu())
