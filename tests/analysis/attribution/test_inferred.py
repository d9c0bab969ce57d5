"""Phases, steps and warm-up of scripts that mark none: from what PyTorch records by itself."""

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import Report, kernels, phases
from analysis.attribution import inferred
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.knowledge.vocabulary import ALIASES
from profiling import names
from tests.made.reports.build_report import Kernel, Operator, Range, make_report
from tests.made.reports.range_rows import rows
from tests.made.tools import shared

ENGINE = 101
EVALUATE = "autograd::engine::evaluate_function: "
STEP = "Optimizer.step#AdamW.step"


def times_of_phases(path: Path, **selected: Any) -> dict[str, int]:
    """Return the time of each phase that `phases` tells."""
    with Report(path) as report:
        found = phases.by_category(report, **selected).rows()
    times: Counter[str] = Counter()
    for row in found:
        times[str(row["phase"])] += int(row["kernel_ns"])
    return dict(times)


def within(path: Path, name: str, **selected: Any) -> int:
    """Return the time of the work inside a range."""
    with Report(path) as report:
        return int(sum(kernels.ranking(report, within=name, **selected).columns["total_ns"]))


def walls_of_steps(path: Path, **selected: Any) -> list[int]:
    with Report(path) as report:
        known = Selected.of(report, Selection(**selected)).steps
        return [] if known is None else known.wall_ns.tolist()


def gpu_step(start: int, scale: int = 1) -> tuple[list[Range], list[Kernel]]:
    """Return a step of 100 ns from an instant on: forward, clipping, and an optimizer's step."""
    node = f"{EVALUATE}MmBackward0, op_id = {start}"
    return (
        [
            Range(f"aten::mm, seq = {start}, op_id = 7", start + 9, start + 21),
            Range(node, start + 40, start + 50, thread=ENGINE),
            Range(f"{EVALUATE}torch::autograd::AccumulateGrad", start + 52, start + 60, ENGINE),
            Range(STEP, start + 80, start + 100),
        ],
        [
            Kernel("mm", 1000 + start, 1001 + start, launch=start + 10),
            Kernel("mm", 1010 + start, 1012 + start, launch=start + 45, thread=ENGINE),
            # Between two nodes: an operator of autograd's thread, in no range of its own.
            Kernel("sum", 1020 + start, 1024 + start, launch=start + 51, thread=ENGINE),
            Kernel("clip", 1030 + start, 1038 + start, launch=start + 70),
            Kernel("adam", 1040 + start, 1056 + start, launch=start + 90),
        ],
    )


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Two steps under emit_nvtx, and the validation after them."""
    made = [gpu_step(start) for start in (0, 100)]
    return make_report(
        tmp_path / "r.sqlite",
        ranges=[span for ranges, _ in made for span in ranges],
        kernels=[
            *(kernel for _, launched in made for kernel in launched),
            Kernel("validate", 2000, 2032, launch=230),
        ],
    )


def test_autograd_is_backward_and_the_optimizers_ranges_are_the_optimizer(training: Path) -> None:
    assert times_of_phases(training) == {
        "forward": 2 * 1,
        "backward": 2 * (2 + 4),
        "optimizer": 2 * 16,
        "other": 2 * 8,
        "outside steps": 32,
        "all": 94,
    }


@pytest.mark.parametrize(("name", "time"), [("forward", 2), ("backward", 12), ("optimizer", 32)])
def test_the_work_within_an_inferred_phase_is_that_of_phases(
    training: Path, name: str, time: int
) -> None:
    assert within(training, name) == time
    with Report(training) as report:
        lines = kernels.ranking(report, within=name).counted
        left = kernels.ranking(report, exclude=[name]).columns["total_ns"]
    assert f"{name} is inferred: no range marks it" in lines
    assert sum(left) == 94 - time


def test_a_step_runs_from_the_end_of_an_optimizers_step_to_that_of_the_next(
    training: Path,
) -> None:
    assert walls_of_steps(training) == [100 - 9, 100]
    assert within(training, "step") == 2 * 31
    assert within(training, "backward", steps=(1, 2)) == 6
    with Report(training) as report:
        known = Selected.of(report, Selection()).steps
    assert known is not None
    assert known.notes == (inferred.STEPS_NOTE,)


def test_it_is_said_that_they_are_inferred(training: Path, tmp_path: Path) -> None:
    with Report(training) as report:
        table = phases.by_category(report)
        overview = phases.overview(Selected.of(report, Selection()))
    assert "Phases, inferred, by kernel time" in table.heading
    assert inferred.PHASES_NOTE in table.notes
    assert {row["phase"]: row["inferred"] for row in table.rows()} == {
        **dict.fromkeys(("forward", "backward", "optimizer"), 1),
        **dict.fromkeys(("other", "outside steps", "all"), 0),
    }
    assert overview is not None
    assert overview.heading.startswith("Phases, inferred: ")
    assert phases.main([str(training), "--format", "json", "--output", str(tmp_path / "p")]) == 0
    assert json.loads((tmp_path / "p").read_text())[0]["inferred"] == 1


def test_inferred_ranges_have_a_style_of_their_own_and_cover_nothing(training: Path) -> None:
    found = {row["range"]: row for row in rows(training)}
    styles = {name: row["style"] for name, row in found.items()}
    assert styles[STEP] == styles["aten::mm"] == "PushPop"
    assert {name for name, style in styles.items() if style == "inferred"} == {
        *("step", "forward", "backward", "optimizer")
    }
    # As long as what the program did in them: the range around the first and the last launch.
    walls = {name: (row["instances"], row["wall_ns"]) for name, row in found.items()}
    assert walls["forward"] == (2, 2 * 12)
    assert walls["backward"] == (2, 2 * 20)
    assert walls["optimizer"] == (2, 2 * 20)
    with Report(training) as report:
        (own, *_) = phases.coverage(report).rows()
    assert own["calls"] == 2 * 3  # mm forward and backward, adam


def test_a_tree_has_the_phases_inside_the_steps(training: Path) -> None:
    paths = [row["path"] for row in rows(training, tree=True)]
    assert "step/forward/aten::mm" in paths
    assert f"step/optimizer/{STEP}" in paths
    assert "step/backward" in paths


@pytest.mark.parametrize("marked", ["forward pass", "bwd", "optimizer step"])
def test_where_a_phase_is_marked_none_is_inferred_and_a_note_tells_what_is_not(
    marked: str, tmp_path: Path
) -> None:
    ranges, launched = gpu_step(0)
    path = make_report(
        tmp_path / "r.sqlite", ranges=[*ranges, Range(marked, 8, 22)], kernels=launched
    )
    found = times_of_phases(path)
    assert found["other"] == 30
    assert not any(row["style"] == "inferred" for row in rows(path))
    with Report(path) as report:
        (note,) = phases.by_category(report).notes
    wanted = {
        "forward pass": "only forward is marked: backward and optimizer, which PyTorch ran outside",
        "bwd": "only backward is marked: optimizer, which PyTorch ran outside",
        "optimizer step": "only optimizer is marked: backward, which PyTorch ran outside",
    }
    assert note.startswith(wanted[marked])


def test_threads_of_autograd_alone_tell_backward(tmp_path: Path) -> None:
    """A plain recording of nsys: no ranges of PyTorch, but what its threads are called."""
    launched = [
        Kernel("mm", 1000, 1001, launch=10),
        Kernel("mm", 1010, 1012, launch=20, thread=ENGINE),
        Kernel("mm", 1020, 1024, launch=30, thread=ENGINE),
        Kernel("adam", 1030, 1038, launch=40),
    ]
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=launched,
        ranges=[Range("epoch", 5, 50)],
        threads={100: "python", ENGINE: "pt_autograd_0"},
    )
    assert times_of_phases(path) == {"forward": 9, "backward": 6, "all": 15}
    assert walls_of_steps(path) == []
    with Report(path) as report:
        assert inferred.NO_OPTIMIZER_NOTE in phases.by_category(report).notes


def cpu_step(start: int, length: int = 100, micro: int = 2) -> tuple[list[Operator], list[Range]]:
    """Return a step of several micro-batches on a CPU, with two optimizers at its end."""
    made: list[Operator] = []
    for number in range(micro):
        at = start + 20 * number
        made += [
            Operator("aten::mm", at, at + 5, 5),
            Operator(f"{EVALUATE}MmBackward0", at + 10, at + 18, 1, sequence=3, forward_thread=1),
            Operator("MmBackward0", at + 11, at + 18, 3, sequence=3, forward_thread=1),
            # What a checkpoint recomputes lies inside a node: it is backward.
            Operator("aten::mm", at + 12, at + 16, 4),
        ]
    end = start + length
    made += [Operator("aten::add_", end - 18, end - 16, 2), Operator("aten::add_", end - 8, end, 8)]
    return made, [
        Range("Optimizer.step#SGD.step", end - 20, end - 15),
        Range(STEP, end - 10, end),
        Range("Optimizer.zero_grad#AdamW.zero_grad", end + 1, end + 2),
    ]


def cpu_report(path: Path, lengths: list[int], **further: Any) -> Path:
    start, operators, ranges = 0, [], []
    for length in lengths:
        made, opened = cpu_step(start, length)
        operators += made
        ranges += opened
        start += length
    return make_report(
        path, operators=operators, ranges=[*ranges, *further.pop("ranges", ())], **further
    )


def test_micro_batches_and_optimizers_in_a_row_are_one_step(tmp_path: Path) -> None:
    path = cpu_report(tmp_path / "r.sqlite", [100, 100, 100])
    assert walls_of_steps(path) == [100, 100, 100]
    assert times_of_phases(path) == {
        "forward": 3 * 2 * 5,
        "backward": 3 * 2 * 4,
        "optimizer": 3 * 10,
        "all": 84,
    }
    found = {row["range"]: row["instances"] for row in rows(path)}
    assert [found[name] for name in ("forward", "backward", "optimizer")] == [6, 6, 3]


def test_an_outlying_first_step_is_warm_up(tmp_path: Path) -> None:
    path = cpu_report(tmp_path / "r.sqlite", [300, 100, 102, 98, 100])
    assert walls_of_steps(path) == [100, 102, 98, 100]
    assert times_of_phases(path)["all"] == 4 * 28
    with Report(path) as report:
        ranked = kernels.ranking(report)
    assert sum(ranked.columns["total_ns"]) == 4 * 28
    (line,) = ranked.counted
    assert line == (
        "28 ns, 20.0 % of the work, was warm-up: left out "
        "(inferred: the first step took 3.0 times the others' median)"
    )


def test_exclude_none_brings_an_inferred_warm_up_back(tmp_path: Path) -> None:
    path = cpu_report(tmp_path / "r.sqlite", [300, 100, 102, 98, 100])
    assert walls_of_steps(path, exclude=("none",)) == [300, 100, 102, 98, 100]
    assert times_of_phases(path, exclude=("none",))["all"] == 5 * 28
    assert within(path, "warmup", exclude=("none",)) == 28


@pytest.mark.parametrize(
    "lengths",
    [[300, 100, 102], [300, 100, 102, 98], [149, 100, 100, 100, 100], [300, 90, 300, 200, 320]],
    ids=["two others", "none", "not half as long again", "others differ as much"],
)
def test_a_first_step_is_left_in_where_it_is_no_outlier(lengths: list[int], tmp_path: Path) -> None:
    path = cpu_report(tmp_path / "r.sqlite", lengths)
    warm = len(lengths) == 4  # three others are enough
    assert walls_of_steps(path) == lengths[warm:]


def test_what_the_author_marked_is_neither_warm_up_nor_inferred(tmp_path: Path) -> None:
    lengths, start = [300, 100, 102, 98, 100], 0
    marked = []
    for length in lengths:
        marked.append(Range("train_step", start, start + length))
        start += length
    path = cpu_report(tmp_path / "a.sqlite", lengths, ranges=marked)
    assert walls_of_steps(path) == lengths
    warm = [Range("warm-up", 0, 300)]
    path = cpu_report(tmp_path / "b.sqlite", lengths, ranges=warm)
    assert walls_of_steps(path) == lengths[1:]
    with Report(path) as report:
        assert kernels.ranking(report).counted == (
            "28 ns, 20.0 % of the work, was warm-up: left out",
        )


def test_steps_of_the_profiler_come_before_those_of_optimizers(tmp_path: Path) -> None:
    lengths, start = [300, 100, 102, 98, 100], 0
    marked = []
    for number, length in enumerate(lengths):
        marked.append(Range(f"ProfilerStep#{number}", start + 1, start + length + 1))
        start += length
    path = cpu_report(tmp_path / "r.sqlite", lengths, ranges=marked)
    assert walls_of_steps(path, exclude=("none",)) == lengths
    assert walls_of_steps(path) == lengths[1:]


def test_inference_is_all_forward_without_steps(tmp_path: Path) -> None:
    operators = [Operator("aten::mm", 10, 15, 5), Operator("aten::add", 20, 23, 3)]
    path = make_report(tmp_path / "a.sqlite", operators=operators)
    assert times_of_phases(path) == {"forward": 8, "all": 8}
    assert walls_of_steps(path) == []
    with Report(path) as report:
        assert inferred.FORWARD_NOTE in phases.by_category(report).notes
    # Ranges that the author opened say more than one phase does.
    path = make_report(tmp_path / "b.sqlite", operators=operators, ranges=[Range("prefill", 5, 17)])
    assert times_of_phases(path) == {"prefill": 5, "other": 3, "all": 8}


def test_an_optimizer_that_steps_inside_the_backward_pass_ends_no_step_there(
    tmp_path: Path,
) -> None:
    operators, ranges = [], []
    for start in (0, 100):
        operators += [
            Operator("aten::mm", start, start + 5, 5),
            Operator(f"{EVALUATE}AccumulateGrad", start + 20, start + 40, 0),
            Operator("aten::add_", start + 25, start + 28, 3),
            Operator(f"{EVALUATE}AccumulateGrad", start + 40, start + 60, 0),
            Operator("aten::add_", start + 45, start + 48, 3),
            Operator("aten::mm", start + 50, start + 59, 9),
        ]
        ranges += [Range(STEP, start + at, start + at + 10) for at in (20, 40)]
    path = make_report(tmp_path / "r.sqlite", operators=operators, ranges=ranges)
    assert walls_of_steps(path) == [60, 100]
    assert times_of_phases(path) == {"forward": 10, "backward": 18, "optimizer": 12, "all": 40}


def without_phases(source: Path, path: Path) -> Path:
    """Copy a report, and take away the ranges that mark phases, steps and warm-up."""
    shutil.copyfile(source, path)
    marked = [
        *(
            spelling
            for label in (*names.PHASES, names.STEP, names.WARMUP)
            for spelling in (label, *ALIASES[label])
        ),
        "profile",
    ]
    with closing(sqlite3.connect(path)) as connection:
        text = "coalesce(text, (SELECT value FROM StringIds WHERE id = textId))"
        marks = ", ".join("?" * len(marked))
        assert connection.execute(
            f"DELETE FROM NVTX_EVENTS WHERE {text} IN ({marks})", marked
        ).rowcount
        connection.commit()
    return path


@pytest.mark.parametrize("name", ["sample", "train-step-small-a100"])
def test_what_is_inferred_is_what_was_marked(name: str, tmp_path: Path) -> None:
    """All but the first gradient, which the main thread makes before autograd begins."""
    ours = shared.ROOT / "nsys_reports" / f"{name}.sqlite"
    source = ours if ours.exists() else shared.report(name)
    marked = times_of_phases(source, exclude=["none"])
    found = times_of_phases(without_phases(source, tmp_path / "r.sqlite"), exclude=["none"])
    assert found["optimizer"] == marked["optimizer"]
    seeded = marked["backward"] - found["backward"]
    assert 0 < seeded < 0.0001 * marked["backward"]
    rest = marked["forward"] + marked.get("other", 0)
    assert found["forward"] == rest + seeded


def test_a_real_trace_has_the_phases_of_its_threads() -> None:
    """Against SQL: what autograd's thread launched, and what was launched in optimizers' ranges."""
    kernels_of = """
        SELECT coalesce(sum(k."end" - k.start), 0) AS total_ns
        FROM CUPTI_ACTIVITY_KIND_KERNEL k
        JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON r.correlationId = k.correlationId WHERE """
    in_range = """ EXISTS (SELECT 1 FROM NVTX_EVENTS n LEFT JOIN StringIds s ON s.id = n.textId
        WHERE coalesce(n.text, s.value) GLOB 'Optimizer.*' AND n.globalTid = r.globalTid
        AND n.start <= r.start AND r."end" <= n."end")"""
    engine = """ r.globalTid IN (SELECT t.globalTid FROM ThreadNames t
        JOIN StringIds s ON s.id = t.nameId WHERE s.value GLOB 'pt_autograd_*')"""
    path = shared.trace("gpt-8xh100-rank1")
    with Report(path) as report:
        wanted = {
            "backward": int(report.columns(kernels_of + engine)["total_ns"][0]),
            "optimizer": int(report.columns(kernels_of + in_range)["total_ns"][0]),
            "forward": int(
                report.columns(f"{kernels_of} NOT {engine} AND NOT {in_range}")["total_ns"][0]
            ),
        }
    found = times_of_phases(path)
    assert {name: found[name] for name in wanted} == wanted
    assert min(wanted.values()) > 19_000_000


def test_each_process_has_steps_of_its_own(tmp_path: Path) -> None:
    """Two ranks: the first step of both together is the first step, as long as the longer one."""
    other = 200
    made = [gpu_step(start) for start in (0, 100)]
    ranges = [span for spans, _ in made for span in spans]
    launched = [kernel for _, some in made for kernel in some]
    path = make_report(
        tmp_path / "r.sqlite",
        ranges=[*ranges, *(replace(span, process=other, start=span.start + 3) for span in ranges)],
        kernels=[*launched, *(replace(kernel, process=other, device=1) for kernel in launched)],
    )
    assert walls_of_steps(path) == [91, 100]
    assert times_of_phases(path)["backward"] == 2 * 2 * (2 + 4)
    assert times_of_phases(path, process=other)["backward"] == 2 * (2 + 4)
    assert within(path, "optimizer", device=1, steps=(1, 2)) == 16
