"""Every default of a command stands once: in a dataclass, and from there in the help."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from analysis.show.command import parser_of
from profiling.attention.rows import AttentionRow, FlashRow
from profiling.benchmark.options import BenchmarkSteps, request
from profiling.common.options import options_of
from profiling.common.settings import Settings
from profiling.generation.selection import Decoding, ModelSelection
from profiling.models.request import ModelRequest
from profiling.parallel.options import RankTiming
from spanlight.commands import COMMANDS


@contextmanager
def default(cls: type, field: str, value: Any) -> Iterator[None]:
    """Let an option of a dataclass have another default."""
    option = options_of(cls)[field]
    before = option.default
    object.__setattr__(option, "default", value)
    try:
        yield
    finally:
        object.__setattr__(option, "default", before)


@pytest.mark.parametrize(
    ("name", "cls", "field", "flag", "value"),
    [
        ("benchmark", BenchmarkSteps, "num_steps", "--num-steps", 97),
        ("benchmark", Settings, "attention", "--attention", "sdpa"),
        ("precision", BenchmarkSteps, "warmup_steps", "--warmup-steps", 97),
        ("sweep", Settings, "seed", "--seed", 97),
        ("measure-memory", Settings, "mode", "--mode", "forward"),
        ("time-attention", AttentionRow, "steps", "--steps", 97),
        ("time-flash", FlashRow, "heads", "--heads", 97),
        ("communication", RankTiming, "steps", "--steps", 97),
        ("time-parallel", Settings, "dtype", "--dtype", "float16"),
        ("time-layers", ModelRequest, "dtype", "--dtype", "float16"),
        ("generate", ModelSelection, "alignment", "--alignment", "longest"),
        ("generate", Decoding, "max_new_tokens", "--max-new-tokens", 97),
    ],
)
def test_a_default_that_is_changed_is_changed_in_the_help_and_in_what_is_read(
    name: str, cls: type, field: str, flag: str, value: object
) -> None:
    with default(cls, field, value):
        parser = parser_of(COMMANDS[name].main)
    [action] = [each for each in parser._actions if flag in each.option_strings]
    assert action.default == value
    assert f"(default: {value})" in str(action.help)


def test_a_run_has_the_default() -> None:
    with default(BenchmarkSteps, "num_steps", 97):
        parser = parser_of(COMMANDS["benchmark"].main)
    settings = request(parser.parse_args(["--size", "tiny", "--device", "cpu"])).settings
    assert (settings.steps, settings.batch, settings.context) == (97, 4, 512)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_says_its_default(name: str) -> None:
    for action in parser_of(COMMANDS[name].main)._actions:
        if not action.option_strings or action.help == argparse.SUPPRESS:
            continue
        assert action.help, action.option_strings
        if action.default not in (None, False, [], argparse.SUPPRESS):
            assert "default" in action.help, action.option_strings
