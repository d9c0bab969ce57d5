"""In a terminal every reading command fits its width, and no word is broken or left out."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from analysis.compare import __main__ as compare
from analysis.generation import __main__ as generation
from analysis.kernels import main as kernels
from analysis.layers import __main__ as layers
from analysis.nvidia.__main__ import REPORTS
from analysis.show.command import run
from analysis.source.report import Report
from spanlight.commands import COMMANDS, Main
from tests.made.commands.commands import command_module, commands
from tests.made.records.generation_records import record, write
from tests.made.records.layer_times import layer, written
from tests.made.records.layer_times import run as timed
from tests.made.tools import shared
from tests.made.tools.shared import ROOT

SAMPLE = ROOT / "nsys_reports" / "sample.sqlite"
REAL = ("cpu-samples-4060ti", *shared.WITH_KERNELS, *shared.WITHOUT_KERNELS)
STYLE = re.compile(r"\x1b\[[0-9;]*m")
NO_ROOM = re.compile(r"^note: no room for .*(\n {6}.*)*", re.MULTILINE)
NUMBERED = re.compile(r"#\d+")
WIDE = 1000
MORE = {
    "kernels": [["--by", "category"], ["--sort", "calls", "--top", "60"]],
    "nvidia": [["--report", name] for name in REPORTS],
    "overlap": [["--by", "collective"]],
    "ranges": [["--tree"], ["--instances"]],
    "whatif": [["--host", "0.5", "--scale", "*=0.5"]],
}
"""By command, what else of it there is to see."""


@pytest.fixture(scope="module", autouse=True)
def _each_report_is_read_once() -> Iterator[None]:
    """Let a report that is opened again have what the open one has: only what is shown is tested.

    `Report` keeps no ``__new__`` of ours: no class whose ``__new__`` was set and deleted takes
    arguments any more.
    """
    reports: dict[Path, Report] = {}
    begin = Report.__init__

    def init(report: Report, path: str) -> None:
        place = Path(path).resolve()
        if place in reports:
            report.__dict__ = vars(reports[place])
        else:
            begin(report, path)
            reports[place] = report
        report.path = Path(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "__init__", init)
        patch.setattr(Report, "close", lambda _: None)
        yield
    for report in reports.values():
        report.close()


class Terminal(io.StringIO):
    """What believes itself to be a terminal."""

    def isatty(self) -> bool:
        return True


def seen(main: Main, arguments: list[str], width: int, patch: pytest.MonkeyPatch) -> str:
    """Return what a command shows in a terminal, stderr under stdout, without colours."""
    patch.setenv("COLUMNS", str(width))
    patch.delenv("NO_COLOR", raising=False)
    patch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        run(lambda: main(arguments))
    return STYLE.sub("", f"{out.getvalue()}\n{err.getvalue()}")


def words(text: str) -> set[str]:
    """Return the words of a text, but what is there for its width: cuts, rules, marks, a note."""
    found = NO_ROOM.sub("", text).split()
    return {
        word
        for word in found
        if "…" not in word and not NUMBERED.fullmatch(word) and set(word) != {"─"} and word != "\\"
    }


def check_fits(
    main: Main, arguments: list[str], patch: pytest.MonkeyPatch, widths: tuple[int, ...] = (80, 60)
) -> None:
    """Check that a command's lines fit, and that all its words are those of a wide terminal."""
    whole = seen(main, arguments, WIDE, patch)
    assert len(whole) > 20
    for width in widths:
        text = seen(main, arguments, width, patch)
        assert [line for line in text.splitlines() if cell_len(line) > width] == []
        assert words(text) <= words(whole)


@pytest.mark.parametrize("report", ["sample", *REAL])
@pytest.mark.parametrize("command", commands(), ids=lambda module: module.__name__)
def test_every_answer_fits_a_terminal(
    command: object, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SAMPLE if report == "sample" else shared.report(report)
    monkeypatch.chdir(path.parent)
    given = [path.name] * (2 if command is compare else 1)
    check_fits(command.main, given, monkeypatch)  # type: ignore[attr-defined]  # a module


@pytest.mark.parametrize("report", ["sample", "fsdp-2xh100-after"])
@pytest.mark.parametrize(
    ("name", "more"), [(name, more) for name, each in MORE.items() for more in each]
)
def test_what_else_a_command_shows_fits_a_terminal(
    name: str, more: list[str], report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SAMPLE if report == "sample" else shared.report(report)
    monkeypatch.chdir(path.parent)
    main = command_module(COMMANDS[name].module).main
    check_fits(main, [path.name, *more], monkeypatch)


def test_two_reports_compared_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = (shared.report(f"fsdp-2xh100-{word}") for word in ("before", "after"))
    monkeypatch.chdir(before.parent)
    check_fits(compare.main, [before.name, after.name, "--force"], monkeypatch)


def test_records_of_generation_fit_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = [("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B-Base"), ("meta-llama/Llama-3.2-1B", None)]
    write(Path("run.jsonl"), *(record(n, pair=pairs[n % 2]) for n in range(6)))
    check_fits(generation.main, ["run.jsonl"], monkeypatch)


def test_records_of_layers_fit_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("a.json"), timed(20, layer(4, 4), layer(4, 3)))
    written(Path("b.json"), timed(24, layer(4, 4), layer(4, 5)))
    check_fits(layers.main, ["a.json", "b.json"], monkeypatch)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_fits_a_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = command_module(COMMANDS[name].module).main

    def shown(argv: object) -> int:
        with contextlib.suppress(SystemExit):
            main(["--help"])
        return 0

    check_fits(shown, [], monkeypatch, (80,))


@pytest.mark.parametrize(
    ("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("NO_COLOR", "")]
)
def test_bold_and_colour_are_where_they_are_wanted(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    page = command_module("analysis").main
    for main in (kernels, page):
        out = Terminal()
        with contextlib.redirect_stdout(out):
            main([str(SAMPLE)])
        assert ("\x1b[" in out.getvalue()) == (value == "")


def test_in_a_pipe_a_line_stays_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    assert kernels([str(SAMPLE)]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert shown.out.splitlines()[0].endswith("· AMD EPYC, 2 threads")
