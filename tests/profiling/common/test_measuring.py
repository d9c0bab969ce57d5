"""Rows that are measured one after another: what is written, and after an interruption too."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.show.table import Table, columns_of
from profiling.common.measuring import Measurement, Result


def measurement(folder: Path, **changes: Any) -> Measurement:
    def tables(results: Sequence[Result]) -> list[Table]:
        return [Table("rows", columns_of(results, object, ("row", "time_ns")))]

    arguments = argparse.Namespace(
        format="csv", output=None, top=None, json=folder / "rows.json", pictures=folder
    )
    return Measurement(
        **{
            "kind": "rows",
            "command": "measure rows",
            "device": "cpu",
            "arguments": arguments,
            "tables": tables,
            "draw": lambda results, to: [to / f"{len(results)}.png"],
            **changes,
        }
    )


def test_table_file_pictures_and_reasons_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(row: str) -> Result:
        return {"row": row} | ({"time_ns": 5} if row == "a" else {"message": f"{row}: too large"})

    found = measurement(tmp_path, notes=lambda _: ["all is odd"]).run(["a", "b"], measured)
    out, err = capsys.readouterr()
    assert out.splitlines() == ["row,time_ns", "a,5", "b,"]
    assert err.splitlines() == [
        "timing 2 rows on cpu",
        f"note: picture {tmp_path / '2.png'}",
        "note: b: too large",
        "note: all is odd",
    ]
    kept = json.loads((tmp_path / "rows.json").read_text())
    assert (kept["kind"], kept["command"], kept["results"]) == ("rows", "measure rows", found)


@pytest.mark.parametrize("done", [0, 1])
def test_an_interruption_writes_what_is_done_and_goes_on(
    done: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(row: int) -> Result:
        if row == done:
            raise KeyboardInterrupt
        return {"row": row, "time_ns": 5}

    with pytest.raises(KeyboardInterrupt):
        measurement(tmp_path, what="shape").run([0, 1], measured)
    out, err = capsys.readouterr()
    assert out.splitlines() == (["row,time_ns", "0,5"] if done else [])
    assert ("note: interrupted: 1 of 2 shapes are done" in err.splitlines()) == bool(done)
    assert (tmp_path / "rows.json").exists() == bool(done)
