"""The README and docs/: what they tell to type is understood, and what there is stands in them."""

import re
import shlex
from pathlib import Path

import pytest

from analysis.show.command import parser_of
from profiling.launch import options
from profiling.launch.workloads import WORKLOADS
from spanlight.commands import COMMANDS
from tests.made.tools.shared import ROOT

PAGES = {
    path.relative_to(ROOT): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES[Path("README.md")]
ALL = "\n".join(PAGES.values())


def told(program: str) -> list[str]:
    """Return what the pages tell to type after the name of a program, each line once."""
    found = re.findall(rf"`{program} ([^`]+)`|^\$ {program} (.+)$", ALL, re.M)
    return sorted({span or line for span, line in found})


COMMAND_LINES = [line for line in told("spanlight") if not line.startswith(("-", "COMMAND", "X"))]


def test_there_is_much_to_type() -> None:
    assert len(COMMAND_LINES) > 80
    assert len(told("make profile")) > 15


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_what_is_told_to_type_is_understood(line: str) -> None:
    name, *words = shlex.split(line, comments=True)
    assert name in COMMANDS
    if not words or "--help" in words or "…" in words:
        return
    if name == "profile":
        options.parse(words)
    else:
        parser_of(COMMANDS[name].main).parse_args(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme(name: str) -> None:
    assert f"`spanlight {name} " in README or f"`spanlight {name}`" in README


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_stands_in_the_docs(name: str) -> None:
    assert f"`spanlight profile {name} " in ALL


def test_every_variable_of_make_profile_stands_in_the_docs_and_no_other() -> None:
    makefile = (ROOT / "Makefile").read_text()
    tables = re.findall(r"^(?:VALUES|SWITCHES) := ((?:.*\\\n)*.*)$", makefile, re.M)
    known = {*re.findall(r"\b([A-Z0-9_]+)=", "\n".join(tables)), "ARGS", "NSYS", "PYTHON"}
    shown = "\n".join(line for line in ALL.splitlines() if "make profile" in line)
    assert set(re.findall(r"\b([A-Z0-9_]+)=", shown)) == known


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).is_file(), target
