"""Layer times are summed, shared out and compared exactly; what is no record is named."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from analysis.layers import __main__ as layers
from analysis.layers.groups import groups
from analysis.layers.pictures import PICTURES
from analysis.layers.records import read
from analysis.layers.tables import exponent
from analysis.show import cli
from tests.made.records.layer_times import layer, run, written

DETAILS = {"qkv_projection": 6, "rope": 1, "attention_core": 8, "output_projection": 3}


def on_gpu(record: dict[str, Any], times: int) -> dict[str, Any]:
    """Return a record whose GPU took so many times as long as the host did to launch."""
    for each in record["layer_details"]:
        for clocks in (each, each["attn_details"]):
            for name in [name for name in clocks if name.endswith("_cuda")]:
                host = clocks[name.removesuffix("_cuda")]
                clocks[name] = None if host is None else times * host
    return record


def answer(
    capsys: pytest.CaptureFixture[str], path: Path, by: str, *more: object
) -> list[dict[str, Any]]:
    """Return the rows that the command gives as json."""
    capsys.readouterr()
    arguments = [str(path), *map(str, more), "--by", by, "--format", "json"]
    assert cli.run(lambda: layers.main(arguments)) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_the_whole_csv_of_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 20 and 24 ms; the layers take 8 + 7 and 8 + 9, in both 4 + 4 of them attention.
    path = written(
        tmp_path / "r.json",
        run(20, layer(4, 4), layer(4, 3)),
        run(24, layer(4, 4), layer(4, 5)),
    )
    assert layers.main([str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == (
        "file,batch_size,input_len,layers,runs,mean_ns,std_ns,min_ns,max_ns,attn_ns,ffn_ns,"
        "other_ns,attn_share,ffn_share,other_share,slowest_layer,slowest_ns,bottleneck,"
        "bottleneck_share,source\n"
        f"{path},1,128,2,2,22000000.0,2828427.12474619,20000000,24000000,8000000.0,8000000.0,"
        "6000000.0,0.36363636363636365,0.36363636363636365,0.2727272727272727,0,8000000.0,"
        "attn,0.36363636363636365,cpu\n"
    )


def test_each_layer_has_its_mean_and_its_spread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        tmp_path / "r.json", run(10, layer(1, 2), layer(3, 1)), run(30, layer(1, 4), layer(3, 3))
    )
    first, second = answer(capsys, path, "layer")
    assert (first["layer"], first["runs"], first["mean_ns"]) == (0, 2, 4e6)
    assert (first["attn_ns"], first["attn_std_ns"], first["ffn_ns"]) == (1e6, 0.0, 3e6)
    assert first["ffn_std_ns"] == first["std_ns"] == pytest.approx(2**0.5 * 1e6)
    assert (second["layer"], second["mean_ns"], second["share"]) == (1, 5e6, 0.25)


def test_the_parts_add_up_to_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = layer(25, 40, 20, **DETAILS)
    rows = answer(capsys, written(tmp_path / "r.json", run(150, one, one)), "part")
    means = {row["part"]: row["mean_ns"] / 1e6 for row in rows}
    assert means == {
        "attn": 50,
        "attn_norm_residual": 10,
        "attn_forward": 40,
        **{name: 2 * time for name, time in DETAILS.items()},
        "attn_forward_rest": 4,
        "ffn": 80,
        "other": 20,
    }
    for outer, whole in (("total", 150), ("attn", 50), ("attn_forward", 40)):
        assert sum(means[row["part"]] for row in rows if row["within"] == outer) == whole
    assert sum(row["share"] for row in rows if row["within"] == "total") == pytest.approx(1)
    assert {row["gpu_ns"] for row in rows} == {None}


def test_a_gpus_times_count_where_it_was_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = on_gpu(run(100, layer(2, 3, 1), layer(2, 3, 1)), times=8)
    path = written(tmp_path / "r.json", made)
    (row,) = answer(capsys, path, "configuration")
    assert (row["attn_ns"], row["ffn_ns"], row["other_ns"]) == (32e6, 48e6, 20e6)
    assert (row["source"], row["bottleneck"]) == ("gpu", "ffn")
    ffn = next(row for row in answer(capsys, path, "part") if row["part"] == "ffn")
    assert (ffn["mean_ns"], ffn["cpu_ns"], ffn["gpu_ns"]) == (48e6, 6e6, 48e6)


def test_the_bottleneck_is_what_takes_longest_however_it_is_divided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each part of attention takes less than the FFN, but attention takes more.
    path = written(tmp_path / "r.json", run(20, layer(9, 8, 7, attention_core=5, rope=2)))
    (row,) = answer(capsys, path, "configuration")
    assert (row["bottleneck"], row["bottleneck_share"]) == ("attn", row["attn_share"])
    assert layers.main([str(path)]) == 0
    said = capsys.readouterr().out
    assert "attn takes 45.0 % of the run (attention_core 25.0 %); layer 0" in said


def test_records_from_before_attention_was_split_still_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, oldest = layer(3, 4, 2), layer(3, 4)
    del oldest["attn_details"], oldest["attn_cuda"], oldest["ffn_cuda"]
    rows = answer(capsys, written(tmp_path / "a.json", run(10, old)), "part")
    assert [row["part"] for row in rows] == [
        *("attn", "attn_norm_residual", "attn_forward", "ffn", "other")
    ]
    rows = answer(capsys, written(tmp_path / "b.json", run(10, oldest)), "part")
    assert [row["part"] for row in rows] == ["attn", "ffn", "other"]
    both = run(10, layer(3, 4, 2, rope=1)), run(10, old)
    rows = answer(capsys, written(tmp_path / "c.json", *both), "part")
    assert "rope" not in [row["part"] for row in rows]


def test_a_part_the_model_does_not_show_is_no_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = layer(9, 4, 8, qk_norm=None, rope=3)
    rows = answer(capsys, written(tmp_path / "r.json", run(20, one)), "part")
    means = {row["part"]: row["mean_ns"] / 1e6 for row in rows}
    assert (means["rope"], means["attn_forward_rest"]) == (3, 5)
    assert "qk_norm" not in means


def grown(power: float, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return a run of each batch and length: attention grows by length to a power, FFN by both."""
    runs = []
    for batch, length in sizes:
        attn, ffn = batch * (length / 128) ** power, batch * length / 128
        runs.append(run(attn + ffn + 1, layer(attn, ffn), batch=batch, length=length))
    return runs


def test_growth_says_how_and_between_which_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [(1, 128), (1, 256), (1, 1024), (4, 128), (2, 512)]
    rows = answer(capsys, written(tmp_path / "r.json", *grown(2, sizes)), "growth")
    found = {(row["part"], row["along"]): row for row in rows}
    attn = found["attn", "input_len"]
    assert attn["exponent"] == pytest.approx(2)
    assert (attn["held"], attn["from"], attn["to"], attn["points"]) == (
        "batch_size 1",
        128,
        1024,
        3,
    )
    assert (attn["from_ns"], attn["to_ns"]) == (1e6, 64e6)
    assert found["ffn", "input_len"]["exponent"] == pytest.approx(1)
    assert found["other", "input_len"]["exponent"] == pytest.approx(0, abs=1e-9)
    assert found["attn", "batch_size"]["exponent"] == pytest.approx(1)
    assert (found["attn", "batch_size"]["from"], found["attn", "batch_size"]["to"]) == (1, 4)
    assert {row["held"] for row in rows} == {"batch_size 1", "input_len 128"}


def test_the_exponent_is_that_of_numpys_own_fit() -> None:
    import numpy as np

    sizes, times = [128.0, 200.0, 512.0, 900.0], [3.0, 7.0, 20.0, 31.0]
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    assert exponent(sizes, times) == pytest.approx(slope)


def test_nothing_grows_where_there_is_one_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "r.json", run(9, layer(3, 4)), run(9, layer(3, 4)))
    assert layers.main([str(path), "--by", "growth", "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("file,part,along,held,from,to,points,exponent")
    assert printed.out.count("\n") == 1
    assert "note: nothing grows" in printed.err


def test_files_and_models_are_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path / "a.json", run(10, layer(3, 4)), run(20, layer(3, 4), layer(3, 4)))
    two = written(tmp_path / "b.json", run(30, layer(3, 4)))
    rows = answer(capsys, one, "configuration", two, one)
    assert [(Path(row["file"]).name, row["layers"], row["runs"]) for row in rows] == [
        ("a.json", 1, 1),
        ("a.json", 2, 1),
        ("b.json", 1, 1),
    ]


def test_the_table_names_the_bottleneck_and_the_slowest_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "r.json", *grown(2, [(1, 128), (1, 512)]))
    assert layers.main([str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == [
        "Configurations",
        "batch 1, length 512: attn takes 76.2 % of the run (attn_forward 76.2 %); "
        "layer 0 is the slowest of 1 (20.00 ms); times of the CPU",
    ]
    assert "Parts, all layers together, of the configuration that takes longest" in printed.out
    assert "Growth: time = c * size ** exponent, between the sizes named" in printed.out


def test_a_database_gets_the_table_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path / "r.json", run(10, layer(3, 4), layer(1, 2)))
    output = tmp_path / "s.db"
    for by in ("configuration", "layer"):
        arguments = [str(path), "--by", by, "--format", "sqlite", "--output", str(output)]
        assert layers.main(arguments) == 0
    database = sqlite_utils.Database(output)
    assert {t: database[t].count for t in database.table_names()} == {
        "layers_configurations": 1,
        "layers": 2,
        "runs": 1,
    }
    database.close()


def test_pictures_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = written(tmp_path / "$r$.json", *grown(2, [(b, 128) for b in range(1, 15)]))
    other = written(tmp_path / "b.json", run(10, layer(3, 4, 2, rope=1)))
    folder = tmp_path / "new" / "pictures"
    assert layers.main([str(path), str(other), "--pictures", str(folder)]) == 0
    names = sorted(picture.name for picture in folder.iterdir())
    assert names == ["layer_growth.png", "layer_parts.png", "layers.png"]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert "the picture of parts has the first 12 of 15" in capsys.readouterr().err


def test_the_parts_of_a_bar_add_up_to_its_run_however_other_bars_are_divided(
    tmp_path: Path,
) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    divided = layer(9, 8, 7, attention_core=5, rope=2)
    path = written(tmp_path / "r.json", run(10, layer(3, 4, 2)), run(20, divided, batch=2))
    axes = figure.Figure().subplots()
    PICTURES["layer_parts.png"](axes, groups({"": read(path)[0]}))
    heights_ms = [0.0, 0.0]
    for bar in axes.patches:
        heights_ms[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
    assert heights_ms == pytest.approx([10, 20])


def test_the_command_imports_neither_torch_nor_matplotlib(tmp_path: Path) -> None:
    path = written(tmp_path / "r.json", run(10, layer(3, 4)))
    code = (
        "import sys; from analysis.layers import __main__ as layers; layers.main(sys.argv[1:]); "
        "print(sorted({'torch', 'matplotlib', 'pandas', 'transformers'} & set(sys.modules)))"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert made.stdout.splitlines()[-1] == "[]"
