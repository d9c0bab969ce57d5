"""The one command line: its table, its help, what it refuses, and what commands call themselves."""

import io
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import pytest

import analysis
import profiling
from analysis.questions import QUESTIONS
from analysis.show.called import by_name, called
from analysis.show.command import parser_of, run
from analysis.show.errors import NotInstalled
from spanlight import __version__
from spanlight.__main__ import SHELLS, main, parser
from spanlight.commands import COMMANDS, GROUPS, NAMES
from tests.made.tools.shared import ROOT

SAMPLE = str(ROOT / "nsys_reports" / "sample.sqlite")


def process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def is_command(module: str) -> bool:
    """Return whether ``python -m MODULE`` runs a command."""
    found = find_spec(module)
    assert found is not None
    if found.submodule_search_locations is not None:
        return find_spec(f"{module}.__main__") is not None
    return "\nif __name__ ==" in Path(str(found.origin)).read_text()


def test_every_command_of_a_package_stands_in_the_table() -> None:
    modules = {
        f"{package.__name__}.{found.name}"
        for package in (analysis, profiling)
        for found in pkgutil.iter_modules(package.__path__)
        if found.name != "__main__"
    }
    assert {module for module in modules if is_command(module)} | {"analysis"} == set(NAMES)


def test_a_question_is_called_as_its_method() -> None:
    for name, question in QUESTIONS.items():
        if name != "coverage":  # asked in Python alone
            assert question.module.startswith(COMMANDS[name].module)


def test_no_name_stands_twice() -> None:
    assert len(COMMANDS) == sum(map(len, GROUPS.values())) == len(NAMES)


def test_the_help_names_every_command_and_fits_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", said, re.M)
    assert [said.index(f"{group}:\n") for group in GROUPS] == sorted(map(said.index, GROUPS))


def test_the_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys\nfrom spanlight.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print({'numpy', 'pandas', 'rich', 'torch', 'shtab'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_the_version_is_the_one_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"spanlight {__version__}\n")


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["kernelz"], "no command is called 'kernelz'; the nearest is kernels"),
        (["time_layers", "x"], "no command is called 'time_layers'; the nearest is time-layers"),
        (["\x1b[2J"], "no command is called '\\x1b[2J'; see spanlight --help"),
        (["--no-such"], "unrecognized arguments: --no-such; see spanlight --help"),
    ],
)
def test_a_command_that_is_not_there_is_one_line(
    typed: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(typed)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert (status, *capsys.readouterr()) == (2, "", f"error: {line}\n")


def test_without_a_command_the_help_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{parser().format_help()}error: no command is given\n"


def test_a_command_answers_as_its_module_does() -> None:
    words = [SAMPLE, "--format", "csv", "--top", "3"]
    module = process("analysis.kernels", *words)
    done = process("spanlight", "kernels", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, module.stdout, module.stderr)


def test_a_failure_of_a_command_is_one_line_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kernels", str(tmp_path / "typo.sqlite")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_calls_itself_as_it_was_called(name: str) -> None:
    command = COMMANDS[name]
    assert parser_of(command.main).prog == f"python -m {command.module}"
    with by_name(NAMES):
        assert parser_of(command.main).prog == f"spanlight {name}"
        said = parser_of(command.main).format_help()
    assert f"python -m {command.module} " not in said


def test_wrong_usage_names_the_command_as_it_was_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kernels", "--top", "0"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("; see spanlight kernels --help\n")


def test_a_hint_names_commands_as_they_were_called(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trim", SAMPLE, "--output", "x.sqlite", "--within", "no-such"]
    assert main(words) == 1
    assert f"list them with: spanlight ranges {SAMPLE}\n" in capsys.readouterr().err
    assert called("analysis.ranges") == "python -m analysis.ranges"


HELP_OF_ALL = """
import contextlib, io, json, sys
from spanlight.__main__ import main
from spanlight.commands import COMMANDS
HEAVY = {"torch", "pandas", "transformers", "matplotlib", "scipy", "triton"}
found = {}
for name in COMMANDS:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            main([name, "--help"])
        except SystemExit as ended:
            status = ended.code
    found[name] = [status, said.getvalue(), sorted(HEAVY & set(sys.modules))]
print(json.dumps(found))
"""


def test_no_help_imports_torch_or_pandas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    for name, (status, said, imported) in json.loads(done.stdout).items():
        assert status == 0
        assert said.startswith(f"usage: spanlight {name} ")
        assert imported == [], name


@pytest.mark.parametrize(
    "typed",
    [
        *(name for name, command in GROUPS["Measure without a recorder"].items()),
        "profile",
        "profile --script tests/conftest.py",
    ],
)
def test_without_torch_what_needs_it_says_what_to_install(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    words = [*typed.split(), *(["batch"] if typed == "generate" else [])]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        "error: torch is not installed; pip install 'spanlight[model]'"
    )


def test_a_module_of_anybody_else_that_is_missing_keeps_its_traceback() -> None:
    def main() -> int:
        raise ModuleNotFoundError("No module named 'theirs'", name="theirs.sub")

    with pytest.raises(ModuleNotFoundError):
        run(main)


def test_every_package_that_may_be_missing_is_in_its_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    of_others = {"huggingface_hub", "safetensors", "tokenizers"}  # transformers brings them
    for package, extra in NotInstalled.EXTRAS.items():
        held = {re.match(r"[\w-]+", each)[0] for each in extras[extra]}  # type: ignore[index]
        assert package in held | of_others


COMPLETED = """
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_spanlight
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completion of bash."""
    path = tmp_path_factory.mktemp("completion") / "spanlight"
    with redirect_stdout(io.StringIO()) as said:
        assert main(["--print-completion", "bash"]) == 0
    path.write_text(said.getvalue())
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["ker"], {"kernels"}),
        (["time-"], {"time-attention", "time-flash", "time-parallel", "time-layers"}),
        (["kernels", "--wi"], {"--within"}),
        (["kernels", "--format", "c"], {"csv"}),
        (["kernels", "sam"], {"sample.sqlite"}),
        (["kernels", "--output", "sam"], {"sample.sqlite"}),
        (["benchmark", "--optim"], {"--optimizer"}),
        (["profile", "--script", "sam"], {"sample.sqlite"}),
        (["profile", "lay"], {"layers"}),
        (["profile", "layers", "--max-new"], {"--max-new-tokens"}),
    ],
)
def test_bash_completes_commands_options_choices_and_files(
    typed: Sequence[str], offered: set[str], script: Path
) -> None:
    done = subprocess.run(
        ["bash", "-c", COMPLETED, "bash", script, "spanlight", *typed],
        cwd=ROOT / "nsys_reports",
        capture_output=True,
        text=True,
    )
    assert set(done.stdout.split()) == offered, done.stderr


def test_every_shell_has_a_completion(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in SHELLS:
        assert main(["--print-completion", shell]) == 0
        said = capsys.readouterr().out
        assert all(name in said for name in COMMANDS)


def test_the_kinds_of_profile_are_its_workloads() -> None:
    from profiling.launch.workloads import WORKLOADS

    assert COMMANDS["profile"].kinds == tuple(WORKLOADS)
