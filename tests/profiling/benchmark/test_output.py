"""The benchmark of a step as a command: what it prints, what it keeps, and how it is stopped."""

import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.answers import __main__ as answers
from analysis.show.render import duration
from profiling.common.errors import OutOfMemory
from profiling.training.training import Training
from tests.made.runs.launched import ROOT
from tests.made.runs.step_benchmark import STEPS, TINY, command, kept, settings


def printed(text: str, label: str) -> str:
    """Return what stands behind a label."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"{label} ")]
    return line[len(label) :].strip()


def test_everything_is_printed_and_the_raw_times_reproduce_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "b.json"
    arguments = (*TINY, "--num-steps", "4", "--warmup-steps", "1", "--json", str(path))
    assert command(*arguments) == 0
    out, err = capsys.readouterr()
    known = json.loads(path.read_text())
    total = np.array(known["total_ns"])
    assert printed(out, "total time") == duration(total.sum())
    assert printed(out, "steps") == "4"
    assert printed(out, "mean") == f"{duration(total.mean())} ({1e9 / total.mean():.3f} steps/s)"
    assert printed(out, "median") == duration(np.median(total))
    share = total.std(ddof=1) / total.mean()
    assert printed(
        out, "std"
    ) == f"{duration(total.std(ddof=1))} ({share:.1%} of the mean)".replace("%", " %")
    assert (printed(out, "min"), printed(out, "max")) == (
        duration(total.min()),
        duration(total.max()),
    )
    assert printed(out, "tokens").startswith("16 per step, ")
    assert "that the model needs a step" in printed(out, "FLOP/s")
    assert "no peak known for" in printed(out, "MFU")
    assert re.search(r"[MG]iB resident, peak .* \(of the whole process", printed(out, "memory"))
    backward = duration(np.mean(known["backward_ns"]))
    assert f"backward     {backward} measured; the older estimate" in out
    assert f"= {duration(known['backward_estimate_ns'])}" in out
    for part in ("total", "forward", "backward", "zero_grad", "rest"):
        cells = re.split(r" {2,}", re.search(rf"^{part}  .*%$", out, re.MULTILINE)[0])  # type: ignore[index]
        assert cells[1] == duration(np.mean(known[f"{part}_ns"]))
    assert (
        "Initializing AdamW … (learning rate 0.0003): its zero_grad runs in every step, but it "
        "takes no step in forward_backward"
    ) in out
    assert err.splitlines()[:3] == [
        "note: no CUDA device is here; running on the CPU",
        "Completed 1/1 warm-up steps",
        "Completed 1/4 steps",
    ]


def test_one_step_has_no_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*TINY, "--num-steps", "1", "--warmup-steps", "0", "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert printed(out, "std") == "not known from one step"
    assert err.splitlines()[-1].startswith("note: only 1 step, so the spread is hardly known")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["forward", "forward_backward", "train"])
def test_on_a_gpu_it_tells_the_allocators_memory_and_its_parts_add_up(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    known = kept(tmp_path / "b.json", "--device", "cuda", "--mode", mode)
    memory = known["memory"]
    assert memory["peak_bytes"] >= memory["allocated_bytes"] > 0
    assert memory["reserved_bytes"] >= memory["peak_bytes"]
    assert all(rest > 0 for rest in known["rest_ns"])
    parts = [
        known[f"{part}_ns"]
        for part in ("forward", "backward", "zero_grad", "optimizer")
        if f"{part}_ns" in known
    ]
    for total, rest, *each in zip(known["total_ns"], known["rest_ns"], *parts, strict=True):
        assert total == rest + sum(each)
    assert "peak" in printed(capsys.readouterr().out, "memory")


def test_the_file_holds_what_was_agreed(tmp_path: Path) -> None:
    known = kept(tmp_path / "b.json", "--mode", "train", "--learning-rate", "0.01")
    assert known["kind"] == "benchmark"
    assert "--mode train" in known["command"]
    assert {"device_name", "torch", "python"} <= set(known["facts"])
    assert (known["settings"]["size"], known["settings"]["config"]["d_model"]) == ("tiny", 64)
    assert (known["learning_rate"], known["complete"]) == (0.01, True)
    assert [len(known[f"{key}_ns"]) for key in ("warmup", "total", "forward", "forward_only")] == [
        *(1, 3, 3, 3)
    ]
    parts = ("forward", "backward", "optimizer", "rest")
    for step in range(3):
        assert known["total_ns"][step] == sum(known[f"{part}_ns"][step] for part in parts)
    (first,) = known["warmup_parts"]
    assert first["total_ns"] == known["warmup_ns"][0] == sum(first[f"{part}_ns"] for part in parts)
    for part in ("total", *parts):
        spread, times = known["statistics"][part], known[f"{part}_ns"]
        assert spread["mean"] == pytest.approx(np.mean(times))
        assert spread["std"] == pytest.approx(np.std(times, ddof=1))
        assert (spread["min"], spread["max"]) == (min(times), max(times))
    assert known["flops_per_s"] == pytest.approx(
        known["flops_per_step"] / np.mean(known["total_ns"]) * 1e9
    )
    assert (
        known["mfu"] is known["memory"]["allocated_bytes"] is known["memory"]["peak_bytes"] is None
    )
    assert known["memory"]["peak_rss_bytes"] >= known["memory"]["rss_bytes"] > 0
    assert "zero_grad_ns" not in known


def test_a_forward_alone_has_no_backward_no_optimizer_and_no_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = kept(tmp_path / "b.json", "--mode", "forward", "--warmup-steps", "0")
    out = capsys.readouterr().out
    assert not {"backward_ns", "optimizer_ns", "zero_grad_ns"} & set(known)
    assert (known["learning_rate"], known["backward_estimate_ns"]) == (None, None)
    assert known["forward_only_ns"] == known["warmup_ns"] == known["warmup_parts"] == []
    assert "AdamW" not in out
    assert "estimate" not in out


def test_in_train_adamw_takes_its_step_and_the_output_claims_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path / "b.json", "--mode", "train", "--learning-rate", "0.01")
    out = capsys.readouterr().out
    assert "Initializing AdamW … (learning rate 0.01)\n" in out


def test_answers_reads_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = kept(tmp_path / "b.json")
    report = ROOT / "nsys_reports" / "sample.sqlite"
    capsys.readouterr()
    assert answers.main([str(report), "--benchmark", str(tmp_path / "b.json")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"the benchmark measured {duration(statistics.median(known['forward_ns']))}" in said


def test_progress_comes_at_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    from profiling.benchmark.__main__ import progress_lines

    for done in range(1, 21):
        progress_lines("steps", done, 20)
        progress_lines("warm-up steps", done, 20)
    said = capsys.readouterr().err.splitlines()
    assert said.count("Completed 10/20 steps") == 1
    assert [line for line in said if line.endswith(" steps") and "warm" not in line] == [
        f"Completed {done}/20 steps" for done in range(2, 21, 2)
    ]
    assert said[-1] == "Completed 20/20 warm-up steps"


def test_an_interrupted_run_keeps_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.json"
    path.write_text("earlier")
    backward, calls = Training.backward, []

    def interrupting(training: Training) -> None:
        calls.append(1)
        if len(calls) == 4:  # one warm-up step, two timed ones, and then
            raise KeyboardInterrupt
        backward(training)

    monkeypatch.setattr(Training, "backward", interrupting)
    arguments = (*TINY, "--device", "cpu", "--num-steps", "9", "--warmup-steps", "1")
    assert command(*arguments, "--json", str(path)) == 130
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "error: interrupted; 2 of 9 steps are timed"
    assert printed(out, "steps") == "2"
    assert path.read_text() == "earlier"
    known = json.loads((tmp_path / "b.json.partial").read_text())
    assert (len(known["total_ns"]), known["complete"]) == (2, False)
    assert known["backward_estimate_ns"] is None
    assert known["memory"]["rss_bytes"] > 0


def test_interrupted_before_a_step_is_done_there_is_nothing_to_keep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(_: Training) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "forward", interrupting)
    assert command(*TINY, *STEPS, "--json", str(tmp_path / "b.json")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "error: interrupted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_as_a_module_it_runs_for_the_sweep_in_a_process_of_its_own() -> None:
    from dataclasses import asdict

    from profiling.processes import isolated

    chosen = settings(mode="forward_backward", steps=2, warmup=0)
    known = isolated.run("profiling.benchmark.isolated_run", {"settings": asdict(chosen)})
    assert known["settings"] == asdict(chosen)
    assert len(known["total_ns"]) == len(known["zero_grad_ns"]) == 2
    huge = asdict(settings(context=10**9))
    with pytest.raises(OutOfMemory, match="GiB are free"):
        isolated.run("profiling.benchmark.isolated_run", {"settings": huge})
