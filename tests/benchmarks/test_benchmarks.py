"""The benchmarks' statistics, tables and checks on made-up times; nothing here is timed."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.conditions import ROOT, Conditions, conditions_text
from benchmarks.cost import span_cost
from benchmarks.cost.spanless import spanless, without_spans
from benchmarks.samples import Goal, Sample, growth, median_and_interval, median_and_range, ratios
from benchmarks.speed import agreement, analysis_speed
from benchmarks.speed.processes import Runs, measure
from benchmarks.speed.speed_table import (
    CHANGED,
    REPLAY,
    THEIR_PROJECTION,
    Line,
    ReportRuns,
    lines,
    table,
)
from benchmarks.text import BenchmarkError
from model import SIZES, TransformerLM
from profiling.spans import recording
from tests.made.runs.recorded import Recorded

MIB = 1 << 20


def runs(*seconds: float, mib: int = 100) -> Runs:
    return Runs(list(seconds), [mib * MIB] * len(seconds), [time / 2 for time in seconds])


def at(size: str, kernel_count: int, /, **seconds: float) -> ReportRuns:
    names = {"nvidia": "nvidia nvtx_gpu_proj_sum", "theirs": "nvtx_gpu_proj_sum"}
    times = {names.get(name, name): runs(time, time) for name, time in seconds.items()}
    return ReportRuns(size, kernel_count, times, {})


def found(everything: list[ReportRuns], work: str) -> Line:
    return next(line for line in lines(everything) if line["work"] == work)


def test_ratios_are_taken_round_by_round_so_that_a_slow_round_does_not_count() -> None:
    assert median_and_range(ratios([4.0, 40.0, 8.0], [1.0, 10.0, 2.0])) == Sample(4.0, 4.0, 4.0, 3)
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def test_the_interval_is_that_of_a_fair_coin_and_all_of_a_few() -> None:
    assert median_and_interval([2.0, 1.0, 3.0, 4.0, 5.0]) == Sample(3.0, 1.0, 5.0, 5)
    hundred = [float(value) for value in range(1, 101)]
    # As tables of the sign test have it.
    assert median_and_interval(hundred) == Sample(50.5, 40.0, 61.0, 100)


def test_growth_is_per_unit_of_work_with_the_widest_spread() -> None:
    after, before = Sample(10.0, 8.0, 12.0, 5), Sample(2.0, 1.6, 2.4, 3)
    assert growth(after, before, 5.0) == Sample(1.0, 8 / 2.4 / 5, 12 / 1.6 / 5, 3)


@pytest.mark.parametrize(
    ("sample", "verdict"),
    [
        (Sample(5.0, 4.5, 6.0, 5), "met"),
        (Sample(4.0, 4.0, 4.0, 5), "met"),
        (Sample(4.1, 3.9, 6.0, 5), "met, narrowly"),
        (Sample(3.9, 3.5, 4.2, 5), "missed, narrowly"),
        (Sample(3.0, 2.0, 3.9, 5), "missed"),
    ],
)
def test_a_goal_can_be_missed_and_the_median_decides(sample: Sample, verdict: str) -> None:
    assert Goal("4 times", 4, at_least=True).verdict(sample) == verdict


def test_the_table_has_times_ratio_goal_and_memory() -> None:
    one = ReportRuns(
        "1m",
        1_000_000,
        {"kernels": runs(0.5, 0.4, 0.6), "cuda_gpu_kern_sum": runs(1.5, 1.6, 1.8, mib=50)},
        {"kernels / cuda_gpu_kern_sum": agreement.SAME},
    )
    header, _, row = table(lines([one])).splitlines()
    assert header.split()[:4] == ["work", "size", "ours", "NVIDIA's"]
    assert " ".join(row.split()) == (
        "rank kernels 1m 0.50 s (0.40-0.60) 1.60 s (1.50-1.80) 3.00x (3.00-4.00) "
        ">= 7x faster missed 0.25 / 0.80 = 3.00x 100 / 50 equal"
    )


def test_goals_belong_to_a_size_and_the_small_report_has_one_in_seconds() -> None:
    small = at("100k", 100_000, kernels=0.6, cuda_gpu_kern_sum=0.2)
    assert found([small], "rank kernels")["verdict"] == ""
    assert found([small], "rank kernels, in all")["verdict"] == "missed"
    assert found([at("1m", 10**6, nvidia=1, theirs=14)], "project ranges")["verdict"] == "met"


def test_growth_has_a_line_for_each_of_ours_from_a_million_on() -> None:
    sizes = [at("100k", 10**5, kernels=0.3), at("1m", 10**6, kernels=1.0)]
    sizes.append(at("5m", 5 * 10**6, kernels=6.5))
    only = lines(sizes)
    assert [(line["work"], line["size"]) for line in only] == [("growth: kernels", "1m to 5m")]
    assert (only[0]["ratio"], only[0]["verdict"]) == ("1.30x (1.30-1.30)", "missed")


def test_an_answer_that_was_not_compared_or_differs_is_not_called_equal() -> None:
    one = at("1m", 10**6, ranges=1, theirs=12)
    assert found([one], "analysis.ranges / projection")["answer"] == "not compared"
    wrong = replace(one, differences={"ranges / nvtx_gpu_proj_sum": "step: gpu_ops is 1"})
    assert found([wrong], "analysis.ranges / projection")["answer"] == "DIFFERS"


def test_kernels_agree_within_nvidias_rounding_and_no_further(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    wanted = ",".join(column for _, column in agreement.KERNEL_COLUMNS)
    theirs.write_text(f"{wanted},Name\n3,10,3.3,3.0,3,4,0.6,f\n")
    header = ",".join(column for column, _ in agreement.KERNEL_COLUMNS)
    ours.write_text(f"{header},name\n3,10,3.3333,3.0,3,4,0.5774,f\n")
    assert agreement.kernels(ours, theirs) == agreement.SAME
    ours.write_text(f"{header},name\n3,11,3.3333,3.0,3,4,0.5774,f\n")
    assert agreement.kernels(ours, theirs) == "f: total_ns is 11, NVIDIA's 10"
    theirs.write_text("")
    assert agreement.kernels(ours, theirs).startswith("1 names, NVIDIA has 0")
    assert agreement.letter_for_letter(ours, theirs) == "2 lines, NVIDIA has 0"


def test_ranges_agree_by_name_and_those_without_work_do_not_count(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    ours.write_text(
        "range,style,span_ns,gpu_ops,domain\nstep,PushPop,9,2,\nidle,PushPop,0,0,\n"
        "reduce,PushPop,5,1,NCCL\n"
    )
    columns = "Range,Style,Total Proj Time (ns),Total GPU Ops\n"
    theirs.write_text(f"{columns}step,PushPop,9,2\nNCCL:reduce,PushPop,5,1\n")
    assert agreement.ranges(ours, theirs) == agreement.SAME
    theirs.write_text(f"{columns}step,PushPop,9,2\nNCCL:reduce,PushPop,6,1\n")
    assert agreement.ranges(ours, theirs) == "NCCL:reduce: span_ns is 5, NVIDIA's 6"


def test_a_busy_machine_is_told() -> None:
    known: Conditions = {
        "processor": "P",
        "cores": 4,
        "load_average_before": 3.0,
        "date": "today",
        "numpy": "2",
    }
    assert conditions_text(known)[:2] == ["P, 4 cores, load average 3.00 before, today", "numpy 2"]
    assert conditions_text(known)[2].startswith("warning: other work runs here")
    assert len(conditions_text(known | {"load_average_before": 0.1})) == 2
    more = conditions_text(known | {"load_average_after": 1.0, "recipe_environment": "numpy 1"})
    assert more[0] == "P, 4 cores, load average 3.00 before, 1.00 after, today"
    assert more[1:3] == ["numpy 2", "recipe environment: numpy 1"]


@pytest.mark.parametrize("variable", ["NSYS", "SYNTHETIC"])
def test_without_its_programs_it_says_what_to_set(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NSYS", "SYNTHETIC"):
        monkeypatch.setenv(name, sys.executable)
    monkeypatch.delenv(variable)
    assert analysis_speed.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: nothing to compare with; set NSYS= to the nsys program and SYNTHETIC= to the "
        "program that makes a report (SYNTHETIC 1m OUT.sqlite)"
    ]
    monkeypatch.setenv(variable, "/no/such")
    assert analysis_speed.main([]) == 1
    assert f"error: {variable}=/no/such is no program; set" in capsys.readouterr().err


def test_nothing_heavy_is_imported_where_the_memory_of_children_is_read() -> None:
    script = (
        "import sys, benchmarks.speed.analysis_speed; print({'numpy', 'torch'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such report')"]
    with pytest.raises(BenchmarkError, match="no such report; run it by hand"):
        measure(command, tmp_path, tmp_path / "out")


def test_the_model_without_spans_opens_none_and_computes_the_same() -> None:
    config = SIZES["tiny"]
    twin = TransformerLM(config)
    bare = spanless(twin, config)
    tokens, recorder = torch.randint(0, config.vocab_size, (1, 8)), Recorded()
    with recording(recorder):
        answer = bare(tokens)
    assert recorder.trees() == []
    assert torch.equal(answer, twin(tokens))
    assert all(
        a is b or a.data_ptr() == b.data_ptr()
        for a, b in zip(bare.parameters(), twin.parameters(), strict=True)
    )


def test_only_spans_are_taken_out() -> None:
    assert (
        ast.unparse(without_spans("with lock:\n    g.output(x)")) == "with lock:\n    g.output(x)"
    )
    spans = "with span('a') as mark:\n    mark.output(x)\n    y = mark.output(f(x), z)"
    assert ast.unparse(without_spans(spans)) == "y = (f(x), z)"


def test_the_cost_on_top_has_its_verdict_and_the_control_beside_it() -> None:
    times = {"without": [1e-3] * 9, "with": [1.02e-3] * 9, "with again": [1.02e-3] * 9}
    row = dict(
        zip(span_cost.MODEL_HEADER, span_cost.model_row("tiny", times, 25, 400), strict=True)
    )
    assert (row["on top"], row["verdict"]) == ("+2.00 % (+2.00 to +2.00)", "missed")
    assert row["control"] == "+0.00 % (+0.00 to +0.00)"
    assert row["expected"] == "25 spans, +1.00%"


def test_the_data_of_every_round_is_written(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    everything = [at("1m", 10**6, nvidia=1, theirs=12)]
    analysis_speed.saved(path, {"cores": 2}, everything)
    known = json.loads(path.read_text())
    assert known["sizes"]["1m"]["runs"]["nvtx_gpu_proj_sum"]["seconds"] == [12, 12]
    assert known["conditions"] == {"cores": 2}
    assert known["lines"][0]["ratio"] == "12.00x (12.00-12.00)"


def test_a_further_change_is_what_replaying_some_takes_on_top_of_replaying_once() -> None:
    once, changed = runs(5.0, 6.0, mib=1000), runs(8.0, 9.0, mib=1600)
    theirs = runs(40.0, 36.0, mib=700)
    every = {REPLAY: once, CHANGED: changed, THEIR_PROJECTION: theirs}
    made = [ReportRuns("1m", 10**6, every, {})]
    line = found(made, "replay, a further change")
    assert (line["ours"], line["verdict"]) == ("0.75 s (0.75-0.75)", "met")
    assert found(made, "replay / projection")["ratio"] == "7.00x (6.00-8.00)"
    assert found(made, "replay / projection, in all")["verdict"] == "met"
    assert found(made, "memory of the replays")["verdict"] == "missed"
