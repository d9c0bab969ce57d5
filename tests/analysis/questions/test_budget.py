"""Budgets of steps add up to the nanosecond, on built reports, generated ones and real ones."""

import csv
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from analysis import Report, ReportError, budget, gaps
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.measures.step_budget import IN_WORDS, PARTS, step_budgets
from analysis.measures.window import MeasuredWindow
from analysis.page.page import page
from tests.made.reports.build_device import Copy, add_device_work
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.tools import shared

A100 = "NVIDIA A100-SXM4-40GB"


def parts_of(path: Path, *exclude: str) -> dict[tuple[int, str], dict[str, int]]:
    """Return the parts of each step and device, by their names."""
    with Report(path) as report:
        rows = budget.budget(report, exclude=exclude).rows()
    found: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for row in rows:
        found[int(row["step"]), str(row["device"])][str(row["part"])] = int(row["ns"])
    return found


def test_every_part_has_a_name_for_people() -> None:
    assert set(IN_WORDS) == set(PARTS)


def test_a_step_by_eye(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        run={"device_name": A100, "dtype": "float32"},
        ranges=[
            Range("step", 0, 1000),
            # 19.5 TFLOP/s: 1 950 000 FLOPs take 100 ns at best.
            Range("ffn", 10, 20, payload=1_950_000),
        ],
        kernels=[
            Kernel("ampere_sgemm_128x64_nn", 100, 400, launch=12),
            Kernel("mystery", 400, 450, launch=30),
            Kernel("ncclDevKernel_AllReduce_Sum_f32", 440, 500, launch=40, stream=8),
        ],
    )
    path = add_device_work(path, copies=[Copy(600, 650, 64, launch=50)])
    (found,) = parts_of(path).values()
    causes = PARTS[PARTS.index("launch_starved") :]
    idle = {name: time for name, time in found.items() if name in causes}
    work = {name: time for name, time in found.items() if name not in idle}
    assert work == {
        "matrix_ideal": 100,
        "matrix_lost": 200,
        "not_modelled": 50,
        "communication": 50,
        "copies": 50,
    }
    assert sum(idle.values()) == 550


@pytest.mark.parametrize("seed", range(200))
def test_generated_steps_add_up_to_their_wall_time(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    steps, at = [], chance.randrange(50)
    for _ in range(chance.randrange(4)):
        length = chance.randrange(1, 400)
        steps.append((at, at + length))
        at += length + chance.randrange(30)
    names = ("sgemm", "softmax", "ncclDevKernel_AllReduce", "mystery")
    kernels = []
    for _ in range(chance.randrange(1, 30)):
        start = chance.randrange(900)
        launch = chance.choice([None, max(start - chance.randrange(60), 0)])
        kernels.append(
            Kernel(
                chance.choice(names),
                start,
                start + chance.randrange(80),
                device=chance.randrange(2),
                stream=chance.randrange(3),
                launch=launch,
            )
        )
    ranges = [Range("step", *step) for step in steps]
    ranges += [Range("ffn", 0, 900, payload=chance.randrange(10**7))] * chance.randrange(2)
    begin = chance.randrange(900)
    ranges.append(Range("data", begin, begin + chance.randrange(90), thread=102))
    run = {"device_name": chance.choice([A100, "?"]), "dtype": "float32"}
    path = make_report(tmp_path / "r.sqlite", run=run, ranges=ranges, kernels=kernels)
    copies = [Copy(start, start + 9, 5, launch=start) for start in range(0, 900, 300)]
    path = add_device_work(path, copies=copies)
    found = parts_of(path)
    left_out = parts_of(path, "data")
    assert {key: sum(parts.values()) for key, parts in left_out.items()} == {
        key: sum(parts.values()) for key, parts in found.items()
    }
    assert all(time > 0 for parts in found.values() for time in parts.values())
    devices = {str(kernel.device) for kernel in kernels} | {"0"}
    if steps:
        assert {key: sum(parts.values()) for key, parts in found.items()} == {
            (number, device): end - start
            for number, (start, end) in enumerate(steps)
            for device in devices
        }


def test_what_is_left_out_of_a_step_is_a_part_of_its_wall_time(tmp_path: Path) -> None:
    """The work launched in a range that is left out, and the idle time that begins in it."""
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[
            Range("step", 0, 100),
            Range("data", 20, 50),
            Range("step", 100, 200),
            Range("data", 110, 120),
        ],
        kernels=[
            Kernel("a", 0, 30, launch=0),
            Kernel("b", 60, 70, launch=45),
            Kernel("a", 70, 200, launch=70),
        ],
    )
    with Report(path) as report:
        rows = budget.budget(report, exclude=["data"])
        every = budget.budget(report)
        assert [int(row["duration_ns"]) for row in gaps.gaps(report, min_gap_us=0).rows()] == [30]
        assert not len(gaps.gaps(report, min_gap_us=0, exclude=["data"]))
    parts = [(row["step"], row["part"], row["ns"]) for row in rows.rows()]
    assert parts == [(0, "not_modelled", 60), (0, "left_out", 40), (1, "not_modelled", 100)]
    words = "what is left out (data) took 40 ns of 2 steps: its work, and the idle time that"
    assert any(words in note for note in rows.notes)
    assert not any("left out" in note for note in every.notes)
    with Report(path) as report:
        (verdict,) = {page(report, exclude=["data"]).verdict}
    assert "most is lost" not in verdict


def test_what_a_warm_up_still_runs_in_the_first_step_is_no_work_of_it(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("warmup", 0, 50), Range("step", 50, 150)],
        kernels=[Kernel("a", 10, 80, launch=10), Kernel("a", 80, 150, launch=60)],
    )
    assert parts_of(path) == {(0, "0"): {"not_modelled": 70, "left_out": 30}}


def test_what_is_left_out_of_a_step_on_a_cpu_is_the_range_as_a_whole(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100), Range("data", 20, 60)],
        operators=[Operator("aten::rand", 25, 55, 30), Operator("aten::mm", 70, 90, 20)],
    )
    with Report(path) as report:
        rows = budget.budget(report, exclude=["data"]).rows()
    assert {row["part"]: row["ns"] for row in rows} == {
        "not_modelled": 20,
        "left_out": 40,
        "host_busy": 40,
    }


REAL = [
    *(name for name in shared.WITH_KERNELS),
    *("cpu-samples-4060ti", "cpu-samples-cpp"),
    *("gpt-8xh100-rank0", "gpt-8xh100-rank1"),
]


@pytest.mark.parametrize("name", REAL)
def test_budgets_of_real_reports_add_up(name: str) -> None:
    path = shared.trace(name) if name.startswith("gpt") else shared.report(name)
    with Report(path) as report:
        measured = MeasuredWindow(Selected.of(report, Selection()))
        found = step_budgets(measured)
        steps = measured.chosen.steps
        assert (found.parts_ns >= 0).all()
        assert found.parts_ns.sum(1).tolist() == found.wall_ns.tolist()
        if steps is None:
            windows = measured.windows
            assert found.wall_ns.tolist() == (windows[:, 1] - windows[:, 0]).tolist()
        else:
            by_process = {
                (int(process), int(number)): int(end - start)
                for process, number, start, end in zip(
                    steps.process, steps.number, steps.start_ns, steps.end_ns, strict=True
                )
            }
            told = zip(found.process.tolist(), found.step.tolist(), strict=True)
            assert [by_process[key] for key in told] == found.wall_ns.tolist()


@pytest.mark.parametrize("name", shared.WITHOUT_KERNELS)
def test_a_report_without_work_is_refused(name: str) -> None:
    with Report(shared.report(name)) as report, pytest.raises(ReportError, match="no CUDA kernels"):
        report.budget()


@pytest.mark.parametrize("ranges", [[], [Range("step", 0, 100)]])
def test_copies_alone_have_a_budget(ranges: list[Range], tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=ranges)
    add_device_work(path, copies=[Copy(0, 40, 10**6, launch=0), Copy(60, 100, 10**6, launch=59)])
    ((key, found),) = parts_of(path).items()
    assert key == (0, "0")
    assert found["copies"] == 80
    assert sum(found.values()) == 100
    with Report(path) as report:
        made = page(report)
    assert made.verdict.startswith("Nothing was computed: no GPU kernels, only copies and sets.")
    assert "GPU busy 80.0 %, idle 20.0 %" in made.verdict
    assert made.tables[0].name == "budget"


def test_a_process_without_steps_is_told(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100)],
        kernels=[Kernel("a", 0, 50), Kernel("a", 0, 50, process=200)],
    )
    with Report(path) as report:
        table = budget.budget(report)
    assert set(table.columns["process"]) == {100}
    assert "left out, without a step: the GPU work of process 200" in table.notes


def test_a_cpu_step_is_operators_and_the_rest(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        run={"peak_flops_per_s": "1e9", "peak_bytes_per_s": "1e9"},
        ranges=[Range("step", 0, 100), Range("ffn", 20, 60, payload=7)],
        operators=[Operator("aten::linear", 20, 60, 10), Operator("aten::mm", 25, 55, 30)],
    )
    assert parts_of(path) == {(0, "cpu"): {"matrix_ideal": 7, "matrix_lost": 33, "host_busy": 60}}


def test_csv_has_every_step_and_the_table_the_median_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[Range("step", 0, 100), Range("step", 100, 400), Range("step", 400, 600)],
        kernels=[Kernel("k", start, start + 50, launch=start) for start in (10, 110, 410)],
    )
    assert budget.main([str(path), "--format", "csv"]) == 0
    header, *rows = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["step", "device", "part", "ns", "share", "process"]
    totals: dict[str, int] = defaultdict(int)
    for step, _, _, time, *_ in rows:
        totals[step] += int(time)
    assert totals == {"0": 100, "1": 300, "2": 200}
    shares = np.array([float(row[4]) for row in rows if row[0] == "1"])
    assert shares.sum() == pytest.approx(1)
    assert budget.main([str(path)]) == 0
    said = capsys.readouterr().out
    assert "below: step 2, 200 ns, of median time\n" in said
    assert budget.main([str(path), "--steps", "1:3"]) == 0
    lower = "below: step 1, 200 ns, of median time, the lower of the two in the middle\n"
    assert lower in capsys.readouterr().out
    assert [line.split()[-4:] for line in said.splitlines() if "not modelled" in line] == [
        ["50", "ns", "25.0", "%"]
    ]
