"""Every question of `Report` gives the same as its command: a DataFrame with the csv's columns."""

import csv
import io
from pathlib import Path

import pytest

from analysis import Report
from tests.made.commands.commands import command_module
from tests.made.runs.launched import ROOT
from tests.made.tools import shared

SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"
ASKED = ("kernels", "ranges", "phases", "attention", "answers", "roofline", "gaps", "copies")
OF_A_GPU = ("gaps", "copies")


def asked(name: str) -> Path:
    return shared.report("train-step-small-a100") if name in OF_A_GPU else SAMPLE


@pytest.mark.parametrize("name", ASKED)
def test_a_question_has_the_columns_and_rows_of_its_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = asked(name)
    with Report(path) as report:
        frame = getattr(report, name)()
    assert command_module(f"analysis.{name}").main([str(path), "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    # The command takes several reports, and so names each.
    assert rows[0] == [*frame.columns, *(["report"] if name == "answers" else [])]
    assert len(rows) == len(frame) + 1


def test_a_report_compared_with_itself_shows_no_difference() -> None:
    with Report(SAMPLE) as before, Report(SAMPLE) as after:
        frame = before.compare(after)
    assert (frame["delta_ns"] == 0).all()


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    files = [*(ROOT / "analysis").glob("*.py"), *(ROOT / "analysis").glob("*/__main__.py")]
    for path in sorted(files):
        if "def main(" not in path.read_text():
            continue
        name = path.parent.name if path.stem == "__main__" else path.stem
        assert f"python -m analysis.{name} " in readme or name == "analysis", name
