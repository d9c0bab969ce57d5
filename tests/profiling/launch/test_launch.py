"""The launcher with the embedded recorder: a report, its payloads, and the page."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from model import SIZES, flops
from profiling import names
from profiling.spans import Cost
from tests.made.reports.html_page import read_page
from tests.made.runs.launched import (
    TINY,
    find_nsys,
    launch,
    launch_process,
    nvtx_sum,
    payloads,
    ranking,
    rows,
    run_facts,
)
from tests.made.runs.shared_recording import Recording, tiny_recording

CONFIG = SIZES["tiny"]
BATCH, CONTEXT, STEPS, WARMUP = 2, 16, 2, 1
LAYERS, PASSES = CONFIG.num_layers, STEPS + WARMUP
PER_PASS = {
    names.FORWARD: 1,
    names.BACKWARD: 1,
    names.OPTIMIZER: 1,
    names.EMBEDDING: 1,
    names.FINAL_NORM: 1,
    names.LM_HEAD: 1,
    names.LOSS: 1,
    names.NORM: 2 * LAYERS,
    names.BLOCK: LAYERS,
    names.ATTENTION: LAYERS,
    names.QKV_PROJECTION: LAYERS,
    names.ROPE: LAYERS,
    names.ATTENTION_SCORES: LAYERS,
    names.SOFTMAX: LAYERS,
    names.FINAL_MATMUL: LAYERS,
    names.OUTPUT_PROJECTION: LAYERS,
    names.FFN: LAYERS,
}
INSTANCES = {
    names.WARMUP: WARMUP,
    names.STEP: STEPS,
    **{name: PASSES * count for name, count in PER_PASS.items()},
    **{names.backward(leaf): PASSES * PER_PASS[leaf] for leaf in names.LEAVES if leaf in PER_PASS},
}


def costs() -> Mapping[str, Cost]:
    tokens, width, heads = BATCH * CONTEXT, CONFIG.d_model, CONFIG.num_heads
    square = (BATCH, heads, CONTEXT, CONTEXT, CONFIG.head_width, 4)
    return {
        names.EMBEDDING: flops.embedding(tokens, width, 4),
        names.NORM: flops.rmsnorm(tokens, width, 4),
        names.QKV_PROJECTION: flops.linear(tokens, width, 3 * width, 4),
        names.ROPE: flops.rope(2 * tokens * width, 4),
        names.ATTENTION_SCORES: flops.attention_scores(*square),
        names.SOFTMAX: flops.softmax(BATCH * heads * CONTEXT**2, 4),
        names.FINAL_MATMUL: flops.final_matmul(*square),
        names.OUTPUT_PROJECTION: flops.linear(tokens, width, width, 4),
        names.FFN: flops.ffn(tokens, width, CONFIG.d_ff, 4),
        names.FINAL_NORM: flops.rmsnorm(tokens, width, 4),
        names.LM_HEAD: flops.linear(tokens, width, CONFIG.vocab_size, 4),
        names.LOSS: flops.cross_entropy(tokens, CONFIG.vocab_size, 4),
    }


@pytest.fixture(params=["torch", "nsys"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return tiny_recording(request.param, tmp_path_factory)


def test_the_report_its_page_and_what_nsys_made_it_of_are_all_that_is_left(
    made: Recording,
) -> None:
    by_nsys = run_facts(made.report)["recorder"] == "nsys"
    assert made.files == ["tiny.html", *(["tiny.nsys-rep"] if by_nsys else []), "tiny.sqlite"]


def test_the_last_line_printed_is_the_path_of_the_page_for_a_browser(made: Recording) -> None:
    file = made.report.with_suffix(".html")
    assert made.stdout.splitlines()[-1] == str(file)
    assert read_page(file.read_text(encoding="ascii")).head["title"] == "tiny.sqlite"


def test_every_range_is_there_as_often_as_it_was_pushed(made: Recording) -> None:
    counted = {name: len(values) for name, values in payloads(made.report).items()}
    assert {name: counted.get(name) for name in INSTANCES} == INSTANCES


def test_nvidias_own_count_is_the_same(made: Recording) -> None:
    counted = nvtx_sum(find_nsys(), made.report)
    assert {name: counted.get(name) for name in INSTANCES} == INSTANCES


def test_the_payloads_are_the_flops(made: Recording) -> None:
    found = payloads(made.report)
    for leaf, cost in costs().items():
        assert set(found[leaf]) == {cost.flops}, leaf
        assert set(found[names.backward(leaf)]) == {cost.backward_flops}, leaf
    assert set(found[names.STEP]) == {None}
    assert set(found[names.OPTIMIZER]) == {flops.adamw(CONFIG.parameter_count, 4).flops}


def test_the_costs_of_the_ranges_are_kept(made: Recording) -> None:
    kept = rows(made.report, "SELECT name, flops, bytes, elements FROM TOOLKIT_RANGE_COST")
    for leaf, cost in costs().items():
        assert (leaf, cost.flops, cost.bytes, cost.elements) in kept


def test_the_report_explains_itself(made: Recording) -> None:
    facts = run_facts(made.report)
    recorder = "nsys" if made.report.with_suffix(".nsys-rep").exists() else "torch"
    known = {
        "recorder": recorder,
        "size": "tiny",
        "mode": "train",
        "batch": "2",
        "context": "16",
        "dtype": "float32",
        "attention": "eager",
        "steps": "2",
        "warmup": "1",
        "device": "cpu",
        "parameters": str(CONFIG.parameter_count),
    }
    assert {key: facts[key] for key in known} == known
    assert {"torch", "python", "nvtx", "command", "date", "device_name"} <= facts.keys()
    for key in ("step_ns", "unprofiled_step_ns"):
        times = json.loads(facts[key])
        assert len(times) == STEPS
        assert min(times) > 0


def test_the_ranking_is_of_operators_and_says_so(made: Recording) -> None:
    ranked = {row["name"]: row for row in ranking(made.report, "--exclude", "none")}
    assert {row["source"] for row in ranked.values()} == {"operator"}
    linear = LAYERS * 7 + 1
    assert ranked["aten::mm"]["calls"] == PASSES * 3 * linear
    assert ranked["aten::mm"]["category"] == "gemm"
    assert ranked["aten::bmm"]["calls"] == PASSES * 3 * 2 * LAYERS


def test_the_page_follows_on_stdout_and_the_settings_on_stderr(made: Recording) -> None:
    ratio = f"{2 * CONFIG.head_width / 3:.2f}"
    for words in ("no GPU kernels", "Phases", "gemm", "aten::mm", "final_matmul", ratio):
        assert words in made.stdout
    assert "warm-up left out below: 1 step," in made.stdout
    assert (
        f"tiny ({CONFIG.parameter_count:,} parameters), train, batch 2, context 16" in made.stderr
    )


def test_a_report_is_not_written_over_unless_asked(made: Recording) -> None:
    before = made.report.read_bytes()
    done = launch_process(*TINY, "--name", "tiny", reports=made.report.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {made.report}: exists; choose another --name, or give --overwrite to replace it\n"
    )
    assert made.report.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "there", "absent"),
    [
        ("forward", names.FORWARD, names.LOSS),
        ("forward_backward", names.backward(names.SOFTMAX), names.OPTIMIZER),
    ],
)
def test_the_other_modes_record_what_they_do(
    mode: str, there: str, absent: str, tmp_path: Path
) -> None:
    done = launch(*TINY, "--mode", mode, "--warmup", "0", "--name", mode, reports=tmp_path)
    assert done.returncode == 0, done.stderr
    found = payloads(tmp_path / f"{mode}.sqlite")
    assert there in found
    assert absent not in found
    assert names.WARMUP not in found
    assert json.loads(run_facts(tmp_path / f"{mode}.sqlite")["warmup"]) == 0


@pytest.mark.slow
def test_overwriting_replaces_all_files_of_the_earlier_report(tmp_path: Path) -> None:
    for suffix in ("sqlite", "nsys-rep", "html"):
        (tmp_path / f"tiny.{suffix}").write_bytes(b"earlier")
    done = launch(*TINY, "--overwrite", reports=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.html", "tiny.sqlite"]
    assert b"earlier" not in (tmp_path / "tiny.html").read_bytes()[:100]
    assert run_facts(tmp_path / "tiny.sqlite")["recorder"] == "torch"
