"""A run without a name of its own takes the next free one, and ends with what compares the two."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from profiling.common.errors import LaunchError
from profiling.launch import __main__ as launch
from profiling.launch import naming, options
from profiling.launch.plan import Launch
from profiling.processes.starting import child_environment
from profiling.recorders.report_files import Taken
from profiling.recorders.run_notes import add_run_facts
from profiling.recorders.scratch import named_folder
from tests.made.reports.build_report import Range, make_report
from tests.made.runs.launched import TINY
from tests.made.runs.launched import launch as launched

SUFFIXES = ("html", "sqlite")
FACTS = {"size": "tiny", "mode": "train", "batch": "2", "context": "16", "device": "cpu"}


def asked(folder: Path, *words: str) -> Launch:
    """Return what a command line asks for; its reports go to a folder."""
    return options.prepare(
        *options.parse([*words, "--device", "cpu", "--reports", str(folder)]), ""
    )


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"earlier")


@pytest.mark.parametrize(
    ("words", "there", "name"),
    [
        (["--size", "tiny"], [], "tiny"),
        (["--size", "tiny"], ["tiny.sqlite"], "tiny-2"),
        (["--size", "tiny"], ["tiny.sqlite", "tiny-2.qdstrm", "tiny-4.sqlite"], "tiny-3"),
        (["--size", "tiny"], ["tiny.html"], "tiny-2"),
        (["--size", "tiny"], ["tiny.rank0.sqlite"], "tiny"),
        (["--size", "tiny", "--ranks", "2"], ["tiny.rank3.nsys-rep"], "tiny-2"),
        (["--size", "tiny", "--ranks", "2"], ["tiny.sqlite"], "tiny"),
        (["layers"], ["layers-tiny.sqlite"], "layers-tiny-2"),
        (["generation"], ["generation-tiny.sqlite"], "generation-tiny-2"),
        (["--script", "a/my train.py"], ["my-train.sqlite"], "my-train-2"),
        (["--script", "a/-.py"], [], "script"),
        (["--size", "tiny", "--overwrite"], ["tiny.sqlite"], "tiny"),
    ],
)
def test_the_next_free_name_is_taken(
    words: list[str], there: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    write(tmp_path / "a", "my train.py", "-.py")
    write(tmp_path, *there)
    assert naming.named(asked(tmp_path, *words)).name == name


def test_what_another_run_records_now_is_not_free(tmp_path: Path) -> None:
    assert naming.named(asked(tmp_path, *TINY), {"tiny", "tiny-2", ""}).name == "tiny-3"
    for more in ([], ["--overwrite"]):
        with pytest.raises(Taken, match=r"x.sqlite: another run records it now; choose another"):
            naming.named(asked(tmp_path, *TINY, "--name", "x", *more), {"x"})


def take(reports: Path, done: threading.Barrier) -> str:
    """Take a name as a run does, and keep it until all have one."""

    def choose(going_on: Any) -> str:
        return next(name for name in naming.names("tiny") if name not in going_on)

    with named_folder(reports, choose) as made:
        done.wait(60)
        return made.name


def test_runs_that_start_at_once_have_names_of_their_own(tmp_path: Path) -> None:
    count = 8
    with ThreadPoolExecutor(count) as pool:
        done = threading.Barrier(count)
        names = [pool.submit(take, tmp_path / "reports", done) for _ in range(count)]
        found = {each.result() for each in names}
    assert found == {"tiny", *(f"tiny-{number}" for number in range(2, count + 1))}
    assert not (tmp_path / "reports").exists()


TORCHLESS = """
import sys
from profiling.common import cli
from profiling.launch.__main__ import main
status = cli.run(lambda: main(sys.argv[1:]))
assert "torch" not in sys.modules
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "choose another --name, or give --overwrite to replace it"),
        ("make", "choose another NAME=, or give OVERWRITE=1 to replace it"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--ranks", "2"], ["--workload", "layers"]])
def test_a_name_of_its_own_that_is_taken_is_refused_before_torch_is_imported(
    words: list[str], typed: str, said: str, tmp_path: Path
) -> None:
    taken = "mine.rank0.sqlite" if "--ranks" in words else "mine.sqlite"
    write(tmp_path, taken)
    command = [sys.executable, "-c", TORCHLESS, *words, "--name", "mine", "--reports", "."]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=child_environment() | {"SPANLIGHT_TYPED": typed},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {taken}: exists; {said}\n"


def report(path: Path, **facts: str) -> Path:
    """Make a report of a run with these facts."""
    make_report(path, ranges=[Range("step", 0, 10)])
    add_run_facts(path, FACTS | facts, [])
    return path


@pytest.mark.parametrize(
    ("now", "before", "found"),
    [
        ("tiny-2", {"tiny": {}}, "tiny"),
        ("tiny-4", {"tiny": {}, "tiny-2": {}}, "tiny-2"),
        ("tiny-3", {"tiny": {"attention": "sdpa"}, "tiny-2": {"batch": "4"}}, "tiny"),
        ("tiny-2", {"tiny": {"context": "32"}}, None),
        ("tiny-2", {"tiny": {"mode": "forward"}}, None),
        ("tiny-2", {"tiny": {"device": "cuda"}}, None),
        ("tiny-2", {}, None),
        ("tiny", {"tiny-2": {}}, None),
        ("tiny-2.rank0", {"tiny.rank0": {"dtype": "bfloat16"}, "tiny": {}}, "tiny.rank0"),
    ],
)
def test_it_is_compared_with_the_last_one_of_the_same_work(
    now: str, before: Mapping[str, dict[str, str]], found: str | None, tmp_path: Path
) -> None:
    for name, facts in before.items():
        report(tmp_path / f"{name}.sqlite", **facts)
    made = report(tmp_path / f"{now}.sqlite")
    known = naming.earlier_alike(asked(tmp_path, *TINY), made)
    assert known == (found and tmp_path / f"{found}.sqlite")


def test_what_is_no_report_is_not_compared(tmp_path: Path) -> None:
    write(tmp_path, "tiny.sqlite")
    made = report(tmp_path / "tiny-2.sqlite")
    assert naming.earlier_alike(asked(tmp_path, *TINY), made) is None


@pytest.mark.slow
def test_profile_edit_profile_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop, of a script in a folder of its own, whose name has a blank."""
    monkeypatch.chdir(tmp_path)
    Path("my train.py").write_text("import torch\ntorch.ones(3) + 1\n")
    where = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "spanlight", "profile", "--script", "my train.py"],
            env=child_environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        where.append(done.stderr.splitlines()[1].rpartition(", into ")[2])
    assert where == ["nsys_reports/my-train.sqlite", "nsys_reports/my-train-2.sqlite"]
    names = [f"{name}.{suffix}" for name in ("my-train-2", "my-train") for suffix in SUFFIXES]
    assert sorted(os.listdir("nsys_reports")) == names
    assert done.stdout.splitlines()[-1] == "nsys_reports/my-train-2.html"
    command = f"spanlight compare {where[0]} {where[1]}"
    assert done.stderr.splitlines()[-1] == f"to compare it with the run before: {command}"
    compared = subprocess.run(
        [sys.executable, "-m", *command.split(), "--format", "json"],
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)


def test_a_report_that_comes_meanwhile_costs_the_number_only(tmp_path: Path) -> None:
    reports = tmp_path / "my reports"
    script = tmp_path / "script.py"
    theirs = reports / "script.sqlite"
    script.write_text(f"import torch; torch.ones(1); open({str(theirs)!r}, 'w').write('theirs')")
    done = launched("--script", script, reports=reports)
    assert done.returncode == 0, done.stderr
    assert f"into '{reports}/script.sqlite'" in done.stderr
    names = [*(f"script-2.{suffix}" for suffix in SUFFIXES), "script.sqlite"]
    assert sorted(path.name for path in reports.iterdir()) == names
    assert (reports / "script.sqlite").read_text() == "theirs"
    assert f"note: kept in '{reports}/script-2.sqlite'" in done.stderr


def test_no_words_of_make_where_it_was_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    from profiling.recorders.nsys_recorder import NsysRecorder

    assert NsysRecorder.missing().endswith("or use --recorder torch")
    monkeypatch.setenv("SPANLIGHT_TYPED", "make")
    assert NsysRecorder.missing().endswith("or use RECORDER=torch")
    with pytest.raises(LaunchError, match=r"; give another with REPORTS="):
        launch.record(asked(Path("/proc/none"), *TINY))
