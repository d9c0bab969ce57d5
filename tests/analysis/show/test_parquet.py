"""`--format parquet`: the answer as it is, for any answer."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import attention, kernels
from analysis.show import cli
from analysis.show.parquet import write_parquet
from analysis.show.table import Column, Table
from tests.made.commands.commands import a_report, contents
from tests.made.reports.folders import ARROW, PARQUET, exported
from tests.made.tools import shared


@pytest.mark.parametrize("command", [kernels, attention])
def test_it_holds_what_json_holds(
    command: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = str(shared.report("train-step-small-a100"))
    output = tmp_path / "answer.parquet"
    assert command.main([report, "--format", "json"]) == 0  # type: ignore[attr-defined]
    expected = json.loads(capsys.readouterr().out)
    words = [report, "--format", "parquet", "--output", str(output)]
    assert command.main(words) == 0  # type: ignore[attr-defined]
    assert capsys.readouterr().out == ""
    assert pq.read_table(output).to_pylist() == expected


def test_numbers_keep_their_kind_and_what_is_missing_is_null(tmp_path: Path) -> None:
    import numpy as np

    nan = float("nan")
    columns: dict[str, Column] = {
        "name": ["a\ud800", ""],
        "calls": np.array([1, 1 << 62]),
        "flops": np.array([7, nan], object),
        "share": np.array([0.5, nan]),
    }
    write_parquet(Table("t", columns), tmp_path / "t.parquet")
    found = pq.read_table(tmp_path / "t.parquet")
    assert found.schema.types == [pa.string(), pa.int64(), pa.int64(), pa.float64()]
    assert found.to_pydict() == {
        "name": ["a\\ud800", ""],
        "calls": [1, 1 << 62],
        "flops": [7, None],
        "share": [0.5, None],
    }


def test_it_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        kernels.main(["r.sqlite", "--format", "parquet"])
    assert ended.value.code == 2
    assert "--format parquet needs --output FILE" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [PARQUET, ARROW])
def test_no_answer_is_written_into_a_folder_that_is_a_report(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_report(tmp_path / "r.sqlite")
    folder = exported(path, kind, tmp_path / "folder")
    before = contents(tmp_path)
    for report, name in ((folder, "new.csv"), (path, f"StringIds.{kind}")):
        words = [str(report), "--format", "csv", "--output", str(folder / name)]
        assert cli.run(lambda: kernels.main(words)) == 1  # noqa: B023  (called at once)
        assert capsys.readouterr().err.endswith("; choose another --output\n")
    assert contents(tmp_path) == before
