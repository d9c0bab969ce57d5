"""Arguments of commands: one value each, and none that is empty."""

from types import ModuleType

import pytest

from analysis import kernels, overlap
from analysis.nvidia import __main__ as nvidia
from analysis.show import cli


@pytest.mark.parametrize(
    ("command", "twice", "again"),
    [
        (kernels, ("--within", "forward"), "backward"),
        (kernels, ("--top", "3"), "4"),
        (nvidia, ("--report", "nvtx_sum"), "cuda_api_sum"),
        (overlap, ("--by", "device"), "collective"),
    ],
)
def test_an_option_given_twice_is_wrong_usage_unless_it_says_the_same(
    command: ModuleType,
    twice: tuple[str, str],
    again: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option, value = twice
    with pytest.raises(SystemExit) as ended:
        command.main(["r.sqlite", option, value, option, again])
    assert ended.value.code == 2
    assert f"{option}: given twice, with different values" in capsys.readouterr().err
    assert cli.run(lambda: int(command.main(["no.sqlite", *twice, *twice]))) == 1


def test_an_option_that_may_be_repeated_is_kept_whole() -> None:
    made = cli.parser("Ask.", "prog")
    made.add_argument("--exclude", action="append", default=[])
    args = cli.parse(made, ["r.sqlite", "--exclude", "a", "--exclude", "b c"])
    assert args.exclude == ["a", "b c"]
    assert args.asked == "--exclude a --exclude 'b c'"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--output", ""], "--output is empty"),
        (["--table", "t"], "--table goes with --format sqlite"),
        (["--format", "sqlite", "--output", "x.db", "--table", ""], "--table is empty"),
    ],
)
def test_output_that_is_no_name_is_wrong_usage(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        kernels.main(["r.sqlite", *options])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
