"""Every question of `Report` gives the same as its command: a DataFrame with the csv's columns."""

import csv
import io
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from analysis import Report, ReportError
from analysis.questions import QUESTIONS
from spanlight.commands import NAMES
from tests.made.commands.commands import command_module
from tests.made.runs.launched import ROOT
from tests.made.tools import shared

SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"
OF_THE_WHOLE = {"whatif"}
"""Questions about a whole report: a replay takes it all."""

NO_COMMAND_OF_ONE_REPORT = {"compare", "coverage", "memory"}
ASKED = sorted(QUESTIONS.keys() - NO_COMMAND_OF_ONE_REPORT)


def asked(name: str) -> Path:
    """Return a report that can answer a question: the sample, if a run on a CPU can."""
    with Report(SAMPLE) as report:
        try:
            getattr(report, name)()
        except ReportError:
            return shared.report("fsdp-2xh100-before")
    return SAMPLE


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


@pytest.mark.parametrize("name", sorted(QUESTIONS.keys() - OF_THE_WHOLE))
def test_a_question_is_a_function_that_takes_what_counts(name: str) -> None:
    question = QUESTIONS[name]
    function = getattr(import_module(question.module), question.function)
    *_, last = signature(function).parameters.values()
    assert last.kind is last.VAR_KEYWORD
    assert last.annotation == "Unpack[Options]"
    with Report(SAMPLE) as report:
        assert name in dir(report)
        assert callable(getattr(report, name))


COMMANDS_OF_QUESTIONS = sorted({*QUESTIONS, "__main__"} - {"coverage"} - OF_THE_WHOLE)


@pytest.mark.parametrize("name", COMMANDS_OF_QUESTIONS)
def test_the_command_of_a_question_takes_what_counts(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        command_module(f"analysis.{name}").main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for option in ("--exclude RANGE", "--steps A:B", "--device N", "--process N"):
        assert option in said


def test_only_questions_are_methods() -> None:
    with Report(SAMPLE) as report, pytest.raises(AttributeError, match="no attribute 'kernel'"):
        report.kernel()


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    files = [*(ROOT / "analysis").glob("*.py"), *(ROOT / "analysis").glob("*/__main__.py")]
    for path in sorted(files):
        if "def main(" not in path.read_text():
            continue
        name = path.parent.name if path.stem == "__main__" else path.stem
        command = NAMES["analysis" if name == "analysis" else f"analysis.{name}"]
        assert f"`spanlight {command} " in readme, name
