"""Options that come from dataclasses: one default, in the help, the parser and the dataclass."""

import argparse
from dataclasses import dataclass

from profiling.common.cli import count
from profiling.common.options import ByDevice, add_options, chosen, option


@dataclass(frozen=True, kw_only=True)
class Run:
    device: str
    steps: int = option(3, "that count", read=count)
    batch: int = option(ByDevice(4, cpu=1), "sequences", read=count)
    mode: str = option("train", "what a step does", choices=("train", "forward"))
    name: str | None = option(None, "of 100 % of it")
    fast: bool = option(False, "or not")
    where: str = option("here", "it goes", flag="--to")


def parsed(*words: str, **defaults: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser, Run, **defaults)
    return parser.parse_args(list(words))


def test_what_is_not_given_has_the_default_of_the_dataclass() -> None:
    assert chosen(Run, parsed(), device="cpu") == Run(device="cpu", batch=1)
    assert chosen(Run, parsed(), device="cuda:1").batch == 4
    assert chosen(Run, argparse.Namespace(device="cpu")) == Run(device="cpu", batch=1)


def test_what_is_given_counts_and_a_command_may_have_another_default() -> None:
    words = ("--steps", "5", "--batch", "2", "--fast", "--name", "x", "--to", "there")
    expected = Run(device="cuda", steps=5, batch=2, fast=True, name="x", where="there")
    assert chosen(Run, parsed(*words), device="cuda") == expected
    assert chosen(Run, parsed(mode="forward"), device="cpu").mode == "forward"


def test_each_help_has_the_default_once() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Run, mode="forward")
    text = " ".join(parser.format_help().split())
    assert "that count (default: 3)" in text
    assert "sequences (default: 4; on a CPU 1)" in text
    assert "what a step does (default: forward)" in text
    assert "of 100 % of it --fast or not" in text
