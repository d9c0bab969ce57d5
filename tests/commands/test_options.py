"""What options are called, in all commands alike: dashes, one device, one way to name nsys."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.show.command import parser_of
from analysis.show.output import NSYS_MAGIC
from profiling.generation import options as generation
from profiling.launch import options as launch
from spanlight.commands import COMMANDS
from tests.made.commands.commands import a_report
from tests.made.commands.in_process import run_command

EVERY = [(name, kind) for name, known in COMMANDS.items() for kind in ("", *known.kinds)]

OF_RANKS = ("communication", "time-parallel")
"""Commands whose device follows from how many GPUs there are."""


def options(name: str, kind: str = "") -> Iterator[argparse.Action]:
    """Yield the options of a command, or of one of its kinds."""
    made = parser_of(COMMANDS[name].main, *([kind] if kind else []))
    yield from (action for action in made._actions if action.option_strings)


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_names_of_options_have_dashes(name: str, kind: str) -> None:
    names = [flag for action in options(name, kind) for flag in action.option_strings]
    assert not [flag for flag in names if "_" in flag]


def test_underscores_are_as_good_as_dashes_in_the_name_and_are_kept_in_the_value() -> None:
    made = generation.parser(None)
    words = "dataset --base_model=a_b --max_new_tokens 5 --dataset_file x_y --open_gates"
    given = generation.parse(made, words.split())
    assert (given.base, given.max_new_tokens, given.dataset_file) == ("a_b", 5, "x_y")
    assert given.open_gates
    layers = parser_of(COMMANDS["time-layers"].main).parse_args(
        ["--num_runs=2", "--input_len", "4"]
    )
    assert (layers.num_runs, layers.input_len) == (2, 4)
    name, run = launch.parse(["generation", "--max_new_tokens", "5"])
    assert (name, run.max_new_tokens) == ("generation", 5)


def test_what_follows_two_dashes_is_a_scripts_own() -> None:
    _, run = launch.parse(["--script", "train.py", "--", "--batch_size", "3"])
    assert run.arguments == ["--batch_size", "3"]


def test_an_option_that_is_none_is_refused_as_it_was_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parser_of(COMMANDS["kernels"].main).parse_args(["x.sqlite", "--no_such_thing"])
    assert "unrecognized arguments: --no_such_thing" in capsys.readouterr().err


def test_the_device_has_one_default_everywhere() -> None:
    found = {
        (action.default, action.help)
        for name, kind in EVERY
        if name not in OF_RANKS
        for action in options(name, kind)
        if "--device" in action.option_strings and action.type is None
    }
    assert found == {(None, "cpu, cuda or cuda:N (default: cuda where there is one)")}


def test_random_models_have_the_same_names_everywhere() -> None:
    known = "qwen3-tiny, qwen3-0.6b, qwen3-4b or a transformers config.json"
    for name, kind in (
        ("time-layers", ""),
        ("generate", ""),
        ("profile", "layers"),
        ("profile", "generation"),
    ):
        [action] = [each for each in options(name, kind) if "--random-init" in each.option_strings]
        assert known in str(action.help)
        assert callable(action.type)
        assert [action.type(word) for word in ("tiny", "Qwen3-Tiny", "4b", "a.json")] == [
            *("qwen3-tiny", "qwen3-tiny", "qwen3-4b", "a.json")
        ]


@pytest.fixture
def nsys_rep(tmp_path: Path) -> Path:
    path = tmp_path / "run.nsys-rep"
    path.write_bytes(NSYS_MAGIC + b" 2023@4@4" + bytes(100))
    return path


def test_the_nsys_of_the_option_goes_before_that_of_the_variable(
    nsys_rep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = a_report(tmp_path / "made.sqlite")
    program = tmp_path / "my nsys"
    program.write_text(f'#!/bin/sh\ncp "{report}" "${{3#--output=}}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("NSYS", "/nowhere/nsys")
    done = run_command("analysis.kernels", nsys_rep, "--nsys", program, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run_command("analysis.kernels", report, "--format", "csv").stdout
    assert os.environ["NSYS"] == "/nowhere/nsys"  # of a command alone


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("analysis", ["{rep}"]),
        ("analysis.trim", ["{rep}", "--output", "out.sqlite"]),
        ("analysis.export", ["{rep}", "--output", "out.pftrace"]),
        ("profiling.complete", ["{rep}"]),
        ("profiling.launch", ["--size", "tiny", "--recorder", "nsys", "--reports", "{folder}"]),
    ],
)
@pytest.mark.parametrize("named", [["--nsys", "/nowhere/nsys"], []])
def test_where_nsys_is_missing_both_ways_to_name_it_are_told(
    module: str,
    arguments: list[str],
    named: list[str],
    nsys_rep: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NSYS", raising=False)
    monkeypatch.setenv("PATH", "")
    given = [word.format(rep=nsys_rep, folder=tmp_path) for word in arguments]
    done = run_command(module, *given, *named, cwd=tmp_path)
    assert done.returncode == 1
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert "--nsys PATH or NSYS=" in done.stderr
    assert list(tmp_path.iterdir()) == [nsys_rep]
