"""Pictures as matplotlib has them: ticks, titles, and legends that hide nothing."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from analysis.generation import __main__ as generation
from analysis.layers import __main__ as layers
from analysis.memory import __main__ as memory
from model import SIZES
from profiling.attention.pictures import draw_attention_benchmark, draw_flash_benchmark
from profiling.attention.rows import AttentionRow, FlashRow
from profiling.common.settings import Settings
from profiling.memory import pictures as measured_memory
from profiling.sweep import pictures as sweep
from profiling.sweep.store import SweepRow
from tests.analysis.memory.test_memory import with_memory
from tests.made.records.generation_records import record, write
from tests.made.records.layer_times import layer, written
from tests.made.records.layer_times import run as timed

figure_module = pytest.importorskip("matplotlib.figure")

Draw = Callable[[Path], object]
MS = 1_000_000
ABOUT_GENERATION = json.dumps([{"dtype": "bfloat16", "facts": {"device_name": "H100"}}])


def few_prompts(folder: Path) -> None:
    records = (record(n, (5.07, 5.06, 5.08)) for n in range(5))
    path = write(folder / "r.jsonl", *records)
    Path(f"{path}.about").write_text(ABOUT_GENERATION)
    generation.main([path, "--pictures", str(folder / "p")])


def many_prompts(folder: Path) -> None:
    records = (record(n, (5.07 + n / 50, 5.06, 5.08)) for n in range(40))
    path = write(folder / "r.jsonl", *records)
    Path(f"{path}.about").write_text(ABOUT_GENERATION)
    generation.main([path, "--pictures", str(folder / "p")])


def layer_times(folder: Path) -> None:
    three = (layer(0.004, 0.003), layer(0.005, 0.002), layer(0.004, 0.004))
    path = written(folder / "r.json", timed(0.03, *three), timed(0.06, *three, length=256))
    about = {"model": "qwen3-tiny", "dtype": "bfloat16", "facts": {"device_name": "H100"}}
    (folder / "r.json.about").write_text(json.dumps([about]))
    layers.main([str(path), "--pictures", str(folder / "p")])


def memory_of_a_report(folder: Path) -> None:
    path = with_memory(folder / "r.sqlite")
    run = {"size": "small", "dtype": "bfloat16", "device_name": "H100"}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO TOOLKIT_RUN VALUES (?, ?)", run.items())
    memory.main([str(path), "--pictures", str(folder / "p")])


def settings(**changes: Any) -> dict[str, Any]:
    known = {"size": "tiny", "config": SIZES["tiny"], "device": "cpu", "batch": 1, **changes}
    return asdict(Settings(**known))


def memory_measured(folder: Path) -> None:
    results = [
        {
            "settings": settings(context=context),
            "outcome": "ok",
            "peaks": {"inference": context << 16, "step": context << 17},
            "timeline": {
                "time_ns": [0, MS, 2 * MS],
                "allocated_bytes": [0, 2**20, 2**21],
                "phases": [{"name": "forward", "start_ns": 0, "end_ns": 2 * MS}],
            },
        }
        for context in (64, 128)
    ]
    measured_memory.draw(results, folder / "p")


def swept(folder: Path) -> None:
    parts = {"total": 5.07, "forward": 2.0, "backward": 3.0}
    statistics = {
        part: {"mean": time * MS, "median": time * MS, "std": 0.1 * MS}
        for part, time in parts.items()
    }
    rows = [
        SweepRow(
            fields=settings(context=context),
            machine={"device_name": "H100"},
            status="ok",
            result={"statistics": statistics, "total_ns": [5 * MS, 5 * MS]},
        )
        for context in (64, 128, 256)
    ]
    sweep.draw(rows, folder / "p")


def attention_timed(folder: Path) -> None:
    times = {f"{part}_ns": [5.07 * MS, 5.06 * MS, 5.08 * MS] for part in ("forward", "backward")}
    known: dict[str, Any] = {"width": 64, "dtype": "bfloat16", "device": "cuda"}
    shapes = [(name, length) for name in ("eager", "flash") for length in (256, 512)]
    plain = [
        asdict(AttentionRow(implementation=name, length=length, **known))
        | {"outcome": "ok", "memory_bytes": 3 << 20, **times}
        for name, length in shapes
    ]
    flash = [
        asdict(FlashRow(implementation=name, length=length, **known))
        | {part: [5.07 * MS, 5.06 * MS, 5.08 * MS] for part in ("forward", "backward", "both")}
        for name, length in shapes
    ]
    (folder / "p").mkdir()
    draw_attention_benchmark(plain, folder / "p", "H100")
    draw_flash_benchmark(flash, folder / "p", "H100")


EVERY: list[tuple[Draw, tuple[str, ...]]] = [
    (few_prompts, ("Qwen/Qwen3-0.6B + Qwen/Qwen3-4B-Base", "bfloat16", "H100")),
    (many_prompts, ("Qwen/Qwen3-0.6B + Qwen/Qwen3-4B-Base", "bfloat16", "H100")),
    (layer_times, ("qwen3-tiny", "bfloat16", "H100")),
    (memory_of_a_report, ("small", "bfloat16", "H100")),
    (memory_measured, ("tiny", "float32")),
    (swept, ("tiny", "float32", "H100")),
    (attention_timed, ("bfloat16", "H100")),
]
"""What draws pictures, and what the title of each must name."""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The figures of the test by the name of their file, laid out."""
    figures: dict[str, Any] = {}
    order: list[Any] = []

    def save(figure: Any, _: object, **__: object) -> None:
        figure.draw_without_rendering()
        order.append(figure)
        figures[figure.get_suptitle() or figure.axes[0].get_title()] = figure

    monkeypatch.setattr(figure_module.Figure, "savefig", save)
    return figures


@pytest.mark.parametrize(("draw", "named"), EVERY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_title_names_what_was_measured(
    draw: Draw, named: tuple[str, ...], drawn: dict[str, Any], tmp_path: Path
) -> None:
    draw(tmp_path)
    assert drawn
    for title in drawn:
        assert [word for word in named if word not in title.replace("\n", " ")] == []


@pytest.mark.parametrize("draw", [draw for draw, _ in EVERY])
def test_a_legend_hides_nothing(draw: Draw, drawn: dict[str, Any], tmp_path: Path) -> None:
    draw(tmp_path)
    for figure in drawn.values():
        (legend,) = figure.legends
        for axes in figure.axes:
            assert axes.get_legend() is None
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())


@pytest.mark.parametrize("draw", [draw for draw, _ in EVERY])
def test_no_tick_has_an_exponent(draw: Draw, drawn: dict[str, Any], tmp_path: Path) -> None:
    draw(tmp_path)
    for figure in drawn.values():
        for axes in figure.axes:
            labels = [
                label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
            ]
            labels += [
                label.get_text()
                for axis in (axes.xaxis, axes.yaxis)
                for label in axis.get_ticklabels(minor=True)
            ]
            assert labels
            assert not [label for label in labels if "e+" in label or "^" in label]


def test_times_of_layers_are_in_microseconds_and_layers_whole(
    drawn: dict[str, Any], tmp_path: Path
) -> None:
    layer_times(tmp_path)
    (figure,) = (found for title, found in drawn.items() if title.startswith("Layers"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()][:3] == ["0 s", "1 µs", "2 µs"]
    places = [tick for tick in axes.get_xticks() if -0.5 < tick < 2.5]
    assert places == [0, 1, 2]


def test_few_prompts_are_points_and_many_a_distribution(
    drawn: dict[str, Any], tmp_path: Path
) -> None:
    few_prompts(tmp_path)
    (figure,) = (found for title, found in drawn.items() if title.startswith("Time to first"))
    (axes,) = figure.axes
    assert len(axes.patches) == 0
    assert len(axes.lines[0].get_xdata()) == 5
    assert "median 63.07 ms" in axes.get_legend_handles_labels()[1][0]
    drawn.clear()
    many_prompts(tmp_path)
    (figure,) = (found for title, found in drawn.items() if title.startswith("Time to first"))
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 40


def test_lengths_are_ticks_as_they_were_measured(drawn: dict[str, Any], tmp_path: Path) -> None:
    attention_timed(tmp_path)
    for figure in drawn.values():
        for axes in figure.axes:
            assert [label.get_text() for label in axes.get_xticklabels()] == ["256", "512"]
