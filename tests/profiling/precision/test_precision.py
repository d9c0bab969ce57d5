"""Precisions beside one another: what runs in which format, and rows that have no figures."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from profiling import names
from profiling.common import cli
from profiling.common.errors import OutOfMemory
from profiling.common.settings import PRECISIONS
from profiling.precision import __main__ as precision
from profiling.precision.components import (
    BACKWARD_PRODUCTS,
    GRADIENTS,
    PARAMETERS,
    STATE,
    FormatWatch,
    components,
)
from profiling.precision.table import Outcome, times_table
from profiling.processes import isolated
from profiling.spans import recording, span
from tests.made.runs.recorded import Recorded
from tests.made.runs.step_benchmark import STEPS, TINY, settings

PRODUCTS = (
    *(names.QKV_PROJECTION, names.ATTENTION_SCORES, names.FINAL_MATMUL),
    *(names.OUTPUT_PROJECTION, names.FFN, names.LM_HEAD, BACKWARD_PRODUCTS),
)
KEPT = (GRADIENTS, PARAMETERS, STATE)


def found(name: str) -> dict[str, str]:
    return components(settings(**PRECISIONS[name]))


def test_in_float32_everything_is() -> None:
    everything = found("float32")
    model = {*PRODUCTS, *names.ATTENTION_PARTS, names.EMBEDDING, names.ROPE, names.LOSS, *KEPT}
    assert set(everything) == model | {names.NORM, names.FINAL_NORM}
    assert set(everything.values()) == {"fp32"}


@pytest.mark.parametrize(("half", "short"), [("bfloat16", "bf16"), ("float16", "fp16")])
def test_weights_of_half_precision_leave_the_inside_of_norms_wide(half: str, short: str) -> None:
    everything = found(half)
    for name in (*PRODUCTS, names.EMBEDDING, names.SOFTMAX, names.LOSS, *KEPT):
        assert everything[name] == short, name
    for name in (names.NORM, names.FINAL_NORM):
        assert everything[name] == f"fp32+{short}→{short}"


@pytest.mark.parametrize(("half", "short"), [("bfloat16", "bf16"), ("float16", "fp16")])
def test_autocast_narrows_products_and_keeps_the_rest(half: str, short: str) -> None:
    everything = found(f"{half}-autocast")
    for name in PRODUCTS:
        assert everything[name] == short, name
    for name in (names.EMBEDDING, names.NORM, names.FINAL_NORM, names.LOSS, *KEPT):
        assert everything[name] == "fp32", name


@pytest.fixture
def two_ranges() -> Iterator[FormatWatch]:
    watch = FormatWatch()
    with recording(Recorded()), watch:
        yield watch


def test_what_is_watched_is_the_operator_not_the_module(two_ranges: FormatWatch) -> None:
    with span("product"), torch.autocast("cpu", dtype=torch.bfloat16):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    with span("softmax"):
        torch.softmax(product, -1, dtype=torch.float32)
    with span("views"):
        product.view(4).float()
    torch.ones(3).double()  # in no range
    assert two_ranges.formats_in("product") == "bf16"
    assert two_ranges.formats_in("softmax") == "fp32"
    assert two_ranges.formats_in("views") == "→fp32"
    assert two_ranges.formats_in("elsewhere") == "-"


def test_watching_leaves_torch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    found("bfloat16")
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.is_autocast_enabled("cpu")


def measured(mean_ns: float, **more: Any) -> dict[str, Any]:
    spread = {"mean": mean_ns, "std": mean_ns / 10}
    parts = dict.fromkeys(("total", "forward", "backward"), spread)
    return {"statistics": parts, "memory": {"peak_bytes": 7, "peak_rss_bytes": 9}, **more}


def test_ratios_are_to_float32_and_what_is_missing_stays_in_its_row() -> None:
    outcomes = [
        Outcome("float32", "ok", found=measured(100.0)),
        Outcome("tf32", "not available", "no such mode"),
        Outcome("bfloat16", "ok", found=measured(25.0)),
        Outcome("float16", "OOM", "out of memory; buy more"),
    ]
    table = times_table(settings(device="cuda"), outcomes)
    rows = table.rows()
    assert [row["ratio"] for row in rows if row["status"] == "ok"] == [1.0, 0.25]
    assert [row["peak_bytes"] for row in rows if row["status"] == "ok"] == [7, 7]
    assert all(math.isnan(float(rows[place]["total_mean_ns"])) for place in (1, 3))
    assert all(math.isnan(float(row["optimizer_mean_ns"])) for row in rows)
    assert table.notes == ("tf32: no such mode", "float16: out of memory; buy more")


def test_without_float32_there_is_no_ratio_and_it_is_said() -> None:
    table = times_table(settings(), [Outcome("bfloat16", "ok", found=measured(1.0))])
    assert math.isnan(float(table.rows()[0]["ratio"]))
    assert "no ratio: float32 was not measured" in table.notes
    assert any("RSS" in note for note in table.notes)


def command(*arguments: str) -> int:
    return cli.run(lambda: precision.main([*TINY, *STEPS, *arguments]))


@pytest.mark.slow
def test_every_precision_is_measured_in_a_process_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.json"
    arguments = ("--precisions", "float32,tf32,bfloat16-autocast", "--json", str(path))
    assert command("--mode", "train", "--format", "csv", *arguments) == 0
    out, err = capsys.readouterr()
    rows = {row["precision"]: row for row in csv.DictReader(io.StringIO(out))}
    assert {name: row["status"] for name, row in rows.items()} == {
        "float32": "ok",
        "tf32": "not available",
        "bfloat16-autocast": "ok",
    }
    assert rows["tf32"]["total_mean_ns"] == ""
    assert "note: tf32: TF32 is a mode of NVIDIA GPUs; leave it out on a CPU" in err.splitlines()
    known = json.loads(path.read_text())
    assert known["kind"] == "precision"
    raw = known["precisions"]["bfloat16-autocast"]["found"]
    assert (raw["settings"]["autocast"], len(raw["total_ns"])) == ("bfloat16", 3)
    assert float(rows["bfloat16-autocast"]["optimizer_mean_ns"]) == pytest.approx(
        sum(raw["optimizer_ns"]) / 3
    )


def faked(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
    left = iter(answers)

    def run(module: str, spec: dict[str, Any]) -> Any:
        answer = next(left)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(isolated, "run", run)


def test_an_interruption_prints_the_rows_that_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faked(monkeypatch, measured(5e6), KeyboardInterrupt())
    path = tmp_path / "p.json"
    arguments = ("--precisions", "float32,bfloat16", "--json", str(path))
    assert command(*arguments) == 130
    out, err = capsys.readouterr()
    assert "5.000 ± 0.50 ms" in out
    assert err.splitlines()[-1] == "error: interrupted; 1 of 2 precisions are done"
    assert not path.exists()
    assert list(json.loads((tmp_path / "p.json.partial").read_text())["precisions"]) == ["float32"]


def test_if_nothing_can_be_run_the_command_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faked(monkeypatch, OutOfMemory("out of memory; buy more"))
    assert command("--precisions", "float32") == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].split() == ["fp32", "OOM", "-", "-"]
    assert err.splitlines()[-1] == "error: no precision could be run"


def test_components_have_a_column_for_each_precision(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faked(monkeypatch, {"embedding": "fp32", "ffn": "bf16"}, OutOfMemory("full; wait"))
    arguments = ["--components", "--precisions", "bfloat16-autocast,float16", "--format", "csv"]
    assert cli.run(lambda: precision.main([*arguments, "--device", "cpu"])) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "component,bfloat16-autocast,float16",
        "embedding,fp32,-",
        "ffn,bf16,-",
    ]
    assert "note: float16: full; wait" in err.splitlines()
