"""Memory of a configuration: peaks, parts and ranges, against sums that another way gives."""

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from analysis.show import pictures
from model import SIZES, memory
from profiling import names
from profiling.common.cli import run
from profiling.common.settings import Settings
from profiling.memory import __main__ as measuring
from profiling.memory.tables import INFERENCE
from profiling.processes import isolated
from profiling.training import range_memory
from tests.made.commands.in_process import run_command

CONFIG = SIZES["tiny"]
BATCH, CONTEXT = 2, 16
TINY = ("--size", "tiny", "--batch", "2", "--contexts", "16", "--device", "cpu")


def spec(**changes: Any) -> dict[str, Any]:
    tiny = Settings(size="tiny", config=CONFIG, batch=BATCH, context=CONTEXT, device="cpu")
    settings = replace(tiny, **changes)
    return {"settings": asdict(settings), "timeline": True, "snapshot": None}


def scalars(config: Any) -> int:
    """Return the bytes of what a forward pass leaves besides: sqrt(D) a layer, and the loss."""
    return int(8 * config.num_layers)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Return what is measured of the tiny model in float32."""
    return isolated.run("profiling.memory.run", spec())


def test_the_allocator_agrees_with_the_hooks_and_the_formulas(measured: dict[str, Any]) -> None:
    check_the_allocator(measured, itemsize=4)


@pytest.mark.slow
def test_the_allocator_agrees_in_bfloat16_too() -> None:
    check_the_allocator(isolated.run("profiling.memory.run", spec(dtype="bfloat16")), itemsize=2)


def check_the_allocator(found: dict[str, Any], itemsize: int) -> None:
    kept = memory.saved_for_backward(CONFIG, BATCH, CONTEXT, itemsize)[names.FORWARD]
    assert found["saved_bytes"] == kept
    # What a forward pass takes and does not give back, by torch's own allocator.
    assert found["forward_held_bytes"] == kept + itemsize + scalars(CONFIG)
    for part in ("parameter_bytes", "gradient_bytes", "optimizer_bytes"):
        assert found[part] == found["computed"][part], part
    lasting = found["parameter_bytes"] + found["optimizer_bytes"] + found["input_bytes"]
    tables = CONFIG.num_layers * 2 * CONTEXT * CONFIG.head_width * itemsize + CONTEXT**2
    assert found["start_bytes"] == lasting + tables
    assert found["leaked_bytes"] == 0
    assert found["computed"]["residual_bytes"] == BATCH * CONTEXT * CONFIG.d_model * itemsize


def test_peaks_are_the_most_that_the_timeline_shows(measured: dict[str, Any]) -> None:
    found = measured
    line, peaks = found["timeline"], found["peaks"]
    assert list(peaks) == [INFERENCE, *names.PHASES, names.STEP]
    level = 0
    for delta, allocated in zip(line["delta_bytes"], line["allocated_bytes"], strict=True):
        level += delta
        assert allocated == level
    (step,) = [phase for phase in line["phases"] if phase["name"] == names.STEP]
    inside = [
        level
        for at, level in zip(line["time_ns"], line["allocated_bytes"], strict=True)
        if step["start_ns"] <= at <= step["end_ns"]
    ]
    assert peaks[names.STEP] == max(inside) == max(peaks[name] for name in names.PHASES)
    assert peaks[INFERENCE] < peaks[names.FORWARD]
    assert peaks[names.BACKWARD] >= found["start_bytes"] + found["saved_bytes"]


@pytest.mark.slow
def test_a_forward_pass_alone_keeps_nothing() -> None:
    found = isolated.run("profiling.memory.run", spec(mode="forward"))
    assert list(found["peaks"]) == [INFERENCE]
    assert found["forward_held_bytes"] == 0
    assert "saved_bytes" not in found
    assert found["optimizer_bytes"] == 0


def test_formulas_are_silent_where_they_do_not_hold() -> None:
    plain = Settings.from_fields(spec()["settings"])
    assert range_memory.memory_by_formula(plain)["spans"]
    for change in ({"autocast": "bfloat16"}, {"compile": True}, {"checkpoint": 1}):
        other = Settings.from_fields(spec(**change)["settings"])
        assert range_memory.memory_by_formula(other)["spans"] is None, change


@pytest.mark.slow
def test_the_command_prints_every_table_and_keeps_the_raw_figures(tmp_path: Path) -> None:
    raw, pictures = tmp_path / "memory.json", tmp_path / "pictures"
    done = run_command("profiling.memory", *TINY, "--json", raw, "--pictures", pictures)
    assert done.returncode == 0, done.stderr
    for heading in ("Most memory held", "What it is made of", "Saved for backward", "Largest"):
        assert heading in done.stdout
    assert "size tiny, batch 2, context 16, dtype float32, mode train" in done.stdout
    known = json.loads(raw.read_text())
    assert known["kind"] == "memory"
    assert known["facts"]["device"] == "cpu"
    (result,) = known["results"]
    assert len(result["largest"]) == 5
    made = sorted(file.name for file in pictures.iterdir())
    assert made == ["memory-peaks.png", "memory-tiny-float32-16.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in pictures.iterdir())


def test_what_cannot_fit_is_not_even_begun(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--size", "small", "--contexts", "100000", "--device", "cpu", "--format", "csv"]
    assert run(lambda: measuring.main(given)) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1].endswith(",OOM")
    assert "GiB are needed" in said.err


@pytest.mark.slow
def test_csv_holds_one_table_and_what_does_not_fit_is_one_row() -> None:
    small = ("--size", "tiny", "--device", "cpu", "--format", "csv")
    done = run_command(
        "profiling.memory",
        *small,
        "--contexts",
        "16,4096",
        "--limit",
        "300",
        "--mode",
        "forward_backward",
    )
    assert done.returncode == 0, done.stderr
    fits, does_not = csv.DictReader(io.StringIO(done.stdout))
    assert (fits["context"], fits["outcome"]) == ("16", "ok")
    assert int(fits["step_peak_bytes"]) > int(fits["inference_peak_bytes"]) > 0
    assert fits["optimizer_peak_bytes"] == ""
    assert (does_not["context"], does_not["outcome"]) == ("4096", "OOM")
    assert does_not["step_peak_bytes"] == ""
    assert "out of memory" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--contexts", "0"), 2, "must be a positive whole number, not '0'"),
        (("--contexts", "16,x"), 2, "must be a positive whole number, not 'x'"),
        (("--dtypes", "float33"), 2, "'float33' is none of: float32, tf32, bfloat16"),
        (("--size", "huge"), 2, "no size is called 'huge'"),
        (("--num-heads", "5"), 2, "num_heads must divide d_model"),
        (("--mode", "nothing"), 2, "invalid choice: 'nothing'"),
        (("--format", "csv", "--show", "all"), 2, "csv holds one table"),
        (("--snapshots", "x"), 2, "--snapshots are of CUDA's allocator"),
        (("--device", "cuda:99"), 1, "CUDA"),
        (("--json", "/nowhere/x.json"), 1, "its folder does not exist"),
        (("--pictures", "/dev/null/x"), 1, "cannot be made"),
        (("--dtypes", "tf32"), 1, "TF32 is a mode of NVIDIA GPUs"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--size", "tiny", "--device", "cpu", "--contexts", "8", *arguments]
    try:
        ended = run(lambda: measuring.main(given))
    except SystemExit as stop:
        ended = int(stop.code or 0)
    assert ended == status
    assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_without_matplotlib_pictures_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    done = run_command("profiling.memory", "--device", "cpu", "--pictures", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'spanlight[pictures]'")
    assert "measuring" not in done.stderr
