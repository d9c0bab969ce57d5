"""What is given to make reaches a command as it was typed, and nothing in it is run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from profiling.launch import options
from profiling.launch.workloads import WORKLOADS
from tests.made.tools.shared import ROOT

MAKEFILE: Final = (ROOT / "Makefile").read_text()
HOSTILE: Final = (
    "; touch ran; ",
    "$(touch ran)",
    "$$(touch ran)",
    "$(shell touch ran)",
    "`touch ran`",
    "' && touch ran '",
    '" && touch ran "',
    '"; touch ran #',
    "it's two words",
    "-rf --overwrite",
    "a\\",
    "a\ntouch ran",
    "*",
    "é|&>ran",
)


def table(name: str) -> dict[str, str]:
    """Return the options of a table of variables in the Makefile, by variable."""
    (text,) = re.findall(rf"^{name} := ((?:.*\\\n)*.*)$", MAKEFILE, re.M)
    return dict(re.findall(r"([A-Z0-9_]+)=([a-z0-9-]+)", text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with our Makefile, whose Python only keeps what it is called with."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt", "spanlight/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "known = {'argv': sys.argv[1:], 'environment': dict(os.environ)}\n"
        "print(json.dumps(known), file=open('called', 'a'))\n"
    )
    python.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def make(
    folder: Path, *words: str, status: int = 0, env: dict[str, str] | None = None
) -> list[dict[str, list[str] | dict[str, str]]]:
    """Run make; return what Python was called with, by each recipe in order."""
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    assert not (folder / "ran").exists()
    called = folder / "called"
    return [json.loads(line) for line in called.read_text().splitlines()] if called.exists() else []


@pytest.mark.parametrize("by", ["words", "environment"])
@pytest.mark.parametrize("value", HOSTILE)
def test_profile_gets_every_variable_as_it_was_typed(value: str, by: str, folder: Path) -> None:
    options_of = table("VALUES")
    assert len(options_of) > 20
    given = {**dict.fromkeys(options_of, value), "NSYS": value}
    words = [f"{name}={text}" for name, text in given.items()] if by == "words" else []
    (called,) = make(folder, "profile", *words, env=given if by == "environment" else None)
    expected = [
        "-m",
        "spanlight",
        "profile",
        *(f"--{each}={value}" for each in options_of.values()),
    ]
    assert called["argv"] == expected
    environment = called["environment"]
    assert isinstance(environment, dict)
    assert (environment["NSYS"], environment["SPANLIGHT_TYPED"]) == (value, "make")


@pytest.mark.parametrize("value", HOSTILE)
def test_no_other_target_runs_what_it_is_given(value: str, folder: Path) -> None:
    (tested,) = make(folder, "test", f"WORKERS={value}")
    assert tested["argv"][3] == value  # type: ignore[index]
    make(folder, "bench", f"BENCH={value}", f"NSYS={value}", f"SYNTHETIC={value}")
    (folder / "called").unlink()
    (measured,) = make(folder, "gpu", f"ONLY={value}", f"FROM={value}")
    assert measured["argv"] == ["-m", "benchmarks.gpu", f"--only={value}", f"--from={value}"]
    for target in ("gpu", "setup"):
        (folder / ".venv" / ".ready").unlink(missing_ok=True)
        make(folder, target, f"PYTHON={value}", status=2)


@pytest.mark.parametrize("by", ["words", "environment"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_script_gets_its_arguments_cut_at_blanks_and_nothing_else(
    value: str, by: str, folder: Path
) -> None:
    given = {"SCRIPT": "my train.py", "ARGS": f"--epochs 1 {value}"}
    words = [f"{name}={text}" for name, text in given.items()] if by == "words" else []
    (called,) = make(folder, "profile", *words, env=given if by == "environment" else None)
    own = ["--", "--epochs", "1", *value.split()]
    assert called["argv"] == ["-m", "spanlight", "profile", "--script=my train.py", *own]


def test_switches_are_on_or_off(folder: Path) -> None:
    switches = table("SWITCHES")
    (called,) = make(folder, "profile", *(f"{name}=1" for name in switches))
    assert called["argv"] == [
        "-m",
        "spanlight",
        "profile",
        *(f"--{each}" for each in switches.values()),
    ]
    (folder / "called").unlink()
    for off in ("0", "no", "false", ""):
        make(folder, "profile", *(f"{name}={off}" for name in switches))
    calls = make(folder, "profile", *(f"{name}=0; touch ran" for name in switches))
    assert [call["argv"] for call in calls] == [
        *4 * [["-m", "spanlight", "profile"]],
        ["-m", "spanlight", "profile", *(f"--{each}" for each in switches.values())],
    ]


def test_every_variable_is_an_option_of_a_workload() -> None:
    known = {
        word
        for workload in WORKLOADS
        for word in options.parser(workload, None)._option_string_actions
    }
    named = {f"--{each}" for each in (table("VALUES") | table("SWITCHES")).values()}
    assert named - {"--workload"} <= known


def test_without_python_named_the_usual_one_makes_the_environment(folder: Path) -> None:
    done = subprocess.run(
        ["make", "-n", "--always-make", "setup"], cwd=folder, capture_output=True, text=True
    )
    assert '"${PYTHON:-python3}" -m venv .venv' in done.stdout
