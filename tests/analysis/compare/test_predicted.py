"""What was predicted, held against what came: the step or the run, and where they differ."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import Report, whatif
from analysis.compare import __main__ as compare
from analysis.measures.kept_predictions.parts import Ran
from analysis.measures.predictions.predicting import predictions
from analysis.show import cli
from tests.made.reports.build_report import Call, Kernel, Operator, Range, make_report
from tests.made.tools import shared

STEPS = 3
GEMMS = 8
"""A step has so many, and as many elementwise kernels: 48 pieces of work in 3 steps."""

GEMM, OTHER = "sgemm_128x64_nn", "vectorized_elementwise_kernel"


def gpu_run(
    path: Path,
    *,
    gemm: int = 400,
    other: int = 100,
    steps: bool = True,
    late: int = 0,
    thinking: int = 0,
    **run: str,
) -> Path:
    """Write a report whose steps launch all their kernels at once and then wait for them.

    A step of 160 ns of launches and of kernels that run from its 200th ns on, one after another,
    returns 20 ns after the last has ended: it takes 220 ns and its kernels.

    Args:
        path: of the report.
        gemm: how long each of 8 products takes.
        other: how long each of 8 elementwise kernels takes.
        steps: whether steps are marked.
        late: how much later the last kernel starts.
        thinking: how long the host takes in each step before it launches.
        run: what the launcher noted of the run.
    """
    kernels, calls, ranges = [], [], []
    start = 0
    for number in range(STEPS):
        first = start + thinking
        at = first + 200
        for place in range(2 * GEMMS):
            name, took = ((GEMM, gemm), (OTHER, other))[place % 2]
            at += late if place == 2 * GEMMS - 1 else 0
            kernels.append(Kernel(name, at, at + took, launch=first + 10 * place + 1))
            at += took
        wait = Call("cudaDeviceSynchronize_v3020", first + 170, at + 10, 1000 + number)
        calls.append(wait)
        ranges.append(Range("attention", first, first + 40))
        if steps:
            ranges.append(Range("step", start, at + 20))
        start = at + 50
    return make_report(path, kernels=kernels, calls=calls, ranges=ranges, run=run)


def cpu_run(path: Path, *, product: int = 600, outside: int = 100) -> Path:
    """Write a report of steps with a product, an addition of 200 ns, and time of no operator."""
    operators, ranges = [], []
    length = product + 200 + outside
    for number in range(STEPS):
        start = number * length
        ranges.append(Range("step", start, start + length))
        operators += [
            Operator("aten::mm", start, start + product, product),
            Operator("aten::add", start + product, start + product + 200, 200),
        ]
    return make_report(path, operators=operators, ranges=ranges)


def predicted(report: Path, *change: str) -> Path:
    """Write the prediction of a change of a report beside it."""
    path = report.with_suffix(".json")
    given = [str(report), *change, "--format", "json", "--output", str(path)]
    assert whatif.main(given) == 0
    return path


def said(
    capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0
) -> tuple[str, str]:
    """Return what a comparison says on stdout and on stderr."""
    capsys.readouterr()
    assert cli.run(lambda: compare.main(list(map(str, arguments)))) == status
    done = capsys.readouterr()
    return done.out, done.err


def lines_after_verdict(out: str) -> Sequence[str]:
    """Return the lines on the prediction."""
    lines = out.splitlines()
    return lines[1 : next(at for at, line in enumerate(lines) if line.startswith("before:"))]


def outcome(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Return what json says of the prediction."""
    found: dict[str, Any] = json.loads(said(capsys, *arguments, "--format", "json")[0])
    return found["prediction"]  # type: ignore[no-any-return]


def parts_of(found: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Return the times before, predicted and come, of each part by its name."""
    return {
        part["name"]: (part["before_ns"], part["predicted_ns"], part["came_ns"])
        for part in found["parts"]
    }


def test_what_came_as_predicted_is_said_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 220 + 8 * 400 + 8 * 100 ns, and with products of 100 ns 220 + 16 * 100.
    before = gpu_run(tmp_path / "before.sqlite")
    after = gpu_run(tmp_path / "after.sqlite", gemm=100)
    out, _ = said(capsys, before, after, "--predicted", predicted(before, "--scale", "gemm=0.25"))
    assert lines_after_verdict(out) == [
        "prediction: scale gemm=0.25: a step 4.220 µs -> 1.820 µs, came 1.820 µs: as predicted; "
        "its steps take from 1.820 µs to 1.820 µs",
        "  gemm  3.200 µs -> 800 ns, came 800 ns: as predicted",
        "  2 more parts, none further than 0 ns from what was predicted",
    ]


def test_where_they_differ_is_told_the_largest_difference_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    # Each of 8 elementwise kernels takes 40 ns longer than before, and the last starts 50 ns late.
    after = gpu_run(tmp_path / "after.sqlite", gemm=100, other=140, late=50)
    prediction = predicted(before, "--scale", "gemm=0.25")
    out, _ = said(capsys, before, after, "--predicted", prediction)
    assert lines_after_verdict(out) == [
        "prediction: scale gemm=0.25: a step 4.220 µs -> 1.820 µs, came 2.190 µs: 370 ns longer, "
        "15.4 % of the predicted saving",
        "  elementwise  800 ns -> 800 ns, came 1.120 µs: 320 ns longer",
        "  idle         220 ns -> 220 ns, came 270 ns: 50 ns longer",
        "  gemm         3.200 µs -> 800 ns, came 800 ns: as predicted",
    ]
    found = outcome(capsys, before, after, "--predicted", prediction)
    assert parts_of(found) == {
        "elementwise": (800, 800, 1120),
        "idle": (220, 220, 270),
        "gemm": (3200, 800, 800),
    }
    del found["parts"]
    assert found == {
        "change": "scale gemm=0.25",
        "of": "step",
        "before_ns": 4220,
        "predicted_ns": 1820,
        "came_ns": 2190,
        "difference_ns": 370,
        "share": 370 / 2400,
        "unrecorded": None,
    }


def test_csv_is_what_it_is_without_and_stderr_has_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    after = gpu_run(tmp_path / "after.sqlite", gemm=100, other=140)
    arguments = [before, after, "--format", "csv"]
    plain, _ = said(capsys, *arguments)
    prediction = predicted(before, "--scale", "gemm=0.25")
    out, err = said(capsys, *arguments, "--predicted", prediction)
    assert out == plain
    assert "note: elementwise  800 ns -> 800 ns, came 1.120 µs: 320 ns longer\n" in err


@pytest.mark.parametrize("marked", [(False, False), (True, False), (False, True)])
def test_where_one_has_no_steps_the_whole_runs_are_held_against_each_other(
    marked: tuple[bool, bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite", steps=marked[0])
    after = gpu_run(tmp_path / "after.sqlite", gemm=100, other=140, steps=marked[1])
    prediction = predicted(before, "--scale", "gemm=0.25")
    found = outcome(capsys, before, after, "--predicted", prediction)
    # From the first launch, at 1, to the last end: 20 less than 3 steps with 30 between each two.
    assert found["of"] == "run"
    assert found["before_ns"] == 3 * 4220 + 2 * 30 - 21
    assert found["predicted_ns"] == 3 * 1820 + 2 * 30 - 21
    assert found["came_ns"] == 3 * 2140 + 2 * 30 - 21
    assert parts_of(found)["gemm"] == (9600, 2400, 2400)
    assert parts_of(found)["elementwise"] == (2400, 2400, 3360)


def test_on_a_cpu_operators_and_the_time_outside_of_them_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cpu_run(tmp_path / "before.sqlite")
    after = cpu_run(tmp_path / "after.sqlite", product=300, outside=130)
    prediction = predicted(before, "--scale", "gemm=0.5")
    found = outcome(capsys, before, after, "--predicted", prediction)
    assert (found["before_ns"], found["predicted_ns"], found["came_ns"]) == (900, 600, 630)
    assert found["share"] == 0.1
    assert parts_of(found) == {
        "outside operators": (100, 100, 130),
        "gemm": (600, 300, 300),
        "elementwise": (200, 200, 200),
    }


def test_a_range_that_the_change_names_is_told_and_takes_nothing_where_it_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    prediction = predicted(before, "--scale", "attention=0.5")
    found = outcome(capsys, before, before, "--predicted", prediction)
    # The first four kernels of a step are launched in it.
    assert parts_of(found)["attention"] == (1000, 500, 1000)
    out, _ = said(capsys, before, before, "--predicted", prediction)
    assert "  range attention  1.000 µs -> 500 ns, came 1.000 µs: 500 ns longer\n" in out
    after = make_report(tmp_path / "after.sqlite", kernels=[Kernel(GEMM, 20, 30, launch=1)])
    found = outcome(capsys, before, after, "--predicted", prediction)
    assert parts_of(found)["attention"] == (3000, 1500, 0)


def test_the_step_without_a_recorder_is_held_against_that_of_the_changed_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = "[7000, 7010, 6990]"
    before = gpu_run(tmp_path / "before.sqlite", thinking=4000, unprofiled_step_ns=bare)
    after = gpu_run(tmp_path / "after.sqlite", gemm=100, unprofiled_step_ns="[1850, 1870]")
    prediction = predicted(before, "--scale", "gemm=0.25")
    found = outcome(capsys, before, after, "--predicted", prediction)
    row = json.loads(prediction.read_text())["rows"][-1]
    assert row["step"] == "unrecorded"
    was, to_be = row["before_ns"], row["after_ns"]
    assert found["unrecorded"] == {
        "before_ns": was,
        "predicted_ns": to_be,
        "came_ns": 1860,
        "difference_ns": 1860 - to_be,
        "share": (1860 - to_be) / (was - to_be),
    }
    out, _ = said(capsys, before, after, "--predicted", prediction)
    assert lines_after_verdict(out)[-1].startswith("  a step without a recorder ")


def test_no_share_is_told_of_a_saving_that_was_not_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    prediction = predicted(before, "--scale", "gemm=1")
    after = gpu_run(tmp_path / "after.sqlite", gemm=390)
    out, _ = said(capsys, before, after, "--predicted", prediction)
    line = "a step 4.220 µs -> 4.220 µs, came 4.140 µs: 80 ns shorter, no saving was predicted"
    assert lines_after_verdict(out)[0].endswith(line)
    assert outcome(capsys, before, after, "--predicted", prediction)["share"] is None


def test_the_gate_judges_as_without_a_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = gpu_run(tmp_path / "a.sqlite"), gpu_run(tmp_path / "b.sqlite", other=200)
    prediction = predicted(before, "--scale", "gemm=0.25")
    given = [before, after, "--predicted", prediction, "--fail-over", "5"]
    _, err = said(capsys, *given, status=3)
    assert "gate failed" in err


def test_a_report_of_another_name_is_known_again_and_another_recording_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    prediction = predicted(before, "--scale", "gemm=0.25")
    moved = Path(shutil.copyfile(before, tmp_path / "moved.sqlite"))
    assert outcome(capsys, moved, moved, "--predicted", prediction)["change"] == "scale gemm=0.25"
    other = gpu_run(tmp_path / "other.sqlite", gemm=401)
    out, err = said(capsys, other, before, "--predicted", prediction, status=1)
    assert out == ""
    assert err == (
        f"error: {prediction}: predicts another report, before.sqlite (48 kernels in 12.50 µs, 3 "
        f"steps), not other.sqlite (48 kernels in 12.52 µs, 3 steps); give what `python -m "
        f"analysis.whatif {other} --scale NAME=FACTOR --format json --output FILE` wrote\n"
    )


def test_a_file_without_one_change_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    prediction = predicted(before)
    out, err = said(capsys, before, before, "--predicted", prediction, status=1)
    assert (out, "before.json: predicts no change; " in err) == ("", True)
    kept = json.loads(predicted(before, "--scale", "gemm=0.25").read_text())
    other = {**kept["rows"][-1], "change": "scale gemm=0.5"}
    prediction.write_text(json.dumps({**kept, "rows": [*kept["rows"], other]}))
    _, err = said(capsys, before, before, "--predicted", prediction, status=1)
    assert "before.json: predicts 2 changes, not one; " in err
    prediction.write_text(json.dumps({**kept, "rows": [kept["rows"][-1]]}))
    _, err = said(capsys, before, before, "--predicted", prediction, status=1)
    assert "before.json: no prediction (the row of the run is missing); " in err
    assert err.count("\n") == 1


def test_options_that_choose_a_part_of_the_reports_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    prediction = predicted(before, "--scale", "gemm=0.25")
    with pytest.raises(SystemExit) as stop:
        compare.main([*map(str, (before, before, "--predicted", prediction)), "--steps", "1:2"])
    assert stop.value.code == 2
    assert "--predicted is of whole reports: leave --steps 1:2 out" in capsys.readouterr().err


def test_the_prediction_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gpu_run(tmp_path / "before.sqlite")
    prediction = predicted(before, "--scale", "gemm=0.25")
    kept = prediction.read_bytes()
    given = [before, before, "--predicted", prediction, "--output", prediction]
    _, err = said(capsys, *given, status=1)
    assert "before.json: " in err
    assert prediction.read_bytes() == kept


@pytest.mark.parametrize("name", ["fsdp-2xh100-after", "cpu-samples-4060ti"])
def test_the_parts_of_a_run_that_is_replayed_as_recorded_are_those_recorded(name: str) -> None:
    with Report(shared.report(name)) as report:
        known = predictions(report)
        ran = Ran.of(known.attribution, None, known.recorded).parts({})
        device = known.attribution.device
        window_ns = np.array([known.recorded.whole_ns])
        recorded = Ran(known.attribution, None, window_ns, device.duration_ns, device.end_ns)
        assert recorded.parts({}) == ran
        categories = [taken for part, taken in ran.items() if part.kind == "category"]
        assert sum(categories) == int(known.attribution.work.duration_ns.sum())
