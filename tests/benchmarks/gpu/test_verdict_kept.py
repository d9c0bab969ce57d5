"""What is kept of a GPU's evidence: data with its device, small reports, and the README's text."""

import csv
import json
from pathlib import Path

import pytest

from analysis import Report
from benchmarks.gpu.verdict import main
from benchmarks.gpu.verdict_keep import conditions
from benchmarks.gpu.verdict_rows import Left
from benchmarks.gpu.verdict_text import section
from tests.made.gpu import evidence


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return evidence.made(folder)


def test_recordings_alone_tell_their_device(out: Path) -> None:
    for path in (*out.glob("*.json"), *out.glob("*.jsonl")):
        if path.name != "state.json":
            path.unlink()
    assert conditions(Left(out))["device_name"] == evidence.DEVICE


def test_what_is_kept_names_the_device_and_is_what_the_readme_shows(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "deep" / "results"
    assert main([str(out), "--keep", str(kept)]) == 0
    known = json.loads((kept / "gpu_evidence.json").read_text())
    assert known["conditions"]["driver"] == "580.1"
    assert len(known["rows"]) == 31
    assert known["answers"]["notes-torch"][3].startswith("(d) GEMM takes 66.7 % of forward")
    lines = list(csv.DictReader((kept / "sweep_gpu.csv").read_text().splitlines()))
    assert {line["device"] for line in lines} == {"NVIDIA Test 1"}
    assert lines[0]["total_mean_ns"] == "60000000"
    assert "no memory_gpu.csv: memory-small: ran, but" in capsys.readouterr().err
    text = section(kept)
    assert text.startswith("Measured on NVIDIA Test 1 (driver 580.1, torch 2.0; 2026-01-02).")
    assert "21 hold, 0 missed, 4 not measured" in text
    assert (
        "| small | 60.0 (15.0 + 30.0) |  | 30.0 (7.5 + 15.0) |  | 57.2 | 76.6 (35.0 + 41.6) |"
        in text
    )
    assert "| bfloat16 | 64 | 16384 | 5.500 (350) | 5.500 (350) | OOM |" in text


def test_before_a_gpu_was_there_the_readme_says_so_and_what_to_do(tmp_path: Path) -> None:
    assert section(tmp_path) == "Nothing has been measured on a GPU yet; the commands below do it."
    assert "\n" not in section(tmp_path)


def test_samples_are_cut_to_two_megabytes_and_still_answer(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "notes-nsys.sqlite").write_text("no report")
    assert main([str(out), "--samples", str(tmp_path / "samples")]) == 0
    said = capsys.readouterr().err
    assert "no gpu-notes-nsys.sqlite: " in said
    with Report(tmp_path / "samples" / "gpu-train-torch.sqlite") as report:
        assert int(report.kernels()["calls"].sum()) == 9


def test_results_of_two_devices_are_not_put_under_one_name(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**evidence.ABOUT, "facts": {"device_name": "NVIDIA Test 2"}}
    evidence.write(out, "flash.json", other)
    assert main([str(out)]) == 1
    assert capsys.readouterr().err == (
        f"error: {out}: results of NVIDIA Test 1 and of NVIDIA Test 2; "
        "keep a folder for each device\n"
    )


@pytest.mark.parametrize("state", [None, "{", "[]", '{"first": 0}', '{"steps": 3}'])
def test_a_folder_without_evidence_is_refused_in_one_line(
    state: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    assert main([str(tmp_path), "--keep", str(tmp_path / "kept")]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {tmp_path}: no evidence here; make it with")
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_made_is_said(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for option in ("--keep", "--samples"):
        assert main([str(out), option, str(tmp_path / "file" / "kept")]) == 1
        assert f"choose another {option}" in capsys.readouterr().err.splitlines()[-1]
