"""Somebody's own training script is recorded as it is, with its ranges."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from profiling.common.errors import UsageError
from profiling.launch import options
from profiling.launch.script import ScriptRun
from tests.made.runs.launched import (
    ROOT,
    find_nsys,
    launch,
    launch_process,
    payloads,
    ranking,
    rows,
    run_facts,
)
from tests.profiling.common.test_host import repository
from tests.profiling.launch.test_progress import CLOCK

SCRIPT = """
import sys
import torch
from profiling.spans import span

model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
assert __name__ == "__main__"
for _ in range(int(sys.argv[1])):
    with span("forward"):
        with span("my part", flops=2 * 4 * 8 * 8, bytes=9) as mark:
            loss = mark.output(model(torch.ones(4, 8))).sum()
    with span("backward"):
        loss.backward()
    with span("optimizer"):
        optimizer.step()
print("trained", len(sys.argv))
"""

QWEN = """
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from profiling.spans import annotate

config = Qwen3Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=64)
model = annotate(Qwen3ForCausalLM(config))
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(2):
    tokens = torch.randint(0, 64, (1, 6))
    model(tokens, labels=tokens).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""


def write(folder: Path, text: str) -> Path:
    script = folder / "train.py"
    script.write_text(textwrap.dedent(text))
    return script


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_a_script_with_spans(recorder: str, tmp_path: Path) -> None:
    env = {"NSYS": find_nsys()} if recorder == "nsys" else {}
    script, reports = write(tmp_path, SCRIPT), tmp_path / "reports"
    done = launch("--script", script, "--recorder", recorder, "--", "3", reports=reports, env=env)
    assert done.returncode == 0, done.stderr
    report = reports / "train.sqlite"
    found = payloads(report)
    assert found["my part"] == 3 * [2 * 4 * 8 * 8]
    for name in ("forward", "backward", "optimizer", "my part.backward"):
        assert len(found[name]) == 3
    assert "trained 2" in done.stderr
    assert "forward" in done.stdout
    assert "trained" not in done.stdout
    facts = run_facts(report)
    assert facts["script"] == "train.py"
    assert "commit" not in facts  # it lies in no repository, whatever the current folder does
    assert any(row["name"] == "aten::addmm" and row["calls"] == 3 for row in ranking(report))


class Wanderer(NamedTuple):
    """A recorded script that lies in a repository and goes to another folder."""

    folder: Path
    commit: str
    report: Path
    stderr: str


@pytest.fixture(scope="module")
def wanderer(tmp_path_factory: pytest.TempPathFactory) -> Wanderer:
    here = tmp_path_factory.mktemp("here")
    folder = here / "theirs"
    folder.mkdir()
    script = write(
        folder,
        """
        import os
        import torch
        from profiling.spans import span
        with span('größe "x"', flops=3, bytes=4):
            torch.ones(2) + 1
        os.chdir("/")
        """,
    )
    commit = repository(folder)
    done = launch("--script", script, "--", "\udcff", reports=Path("made"), cwd=here)
    assert done.returncode == 0, done.stderr
    return Wanderer(here, commit, here / "made" / "train.sqlite", done.stderr)


def test_the_commit_is_that_of_the_scripts_folder(wanderer: Wanderer) -> None:
    assert run_facts(wanderer.report)["commit"] == wanderer.commit


@pytest.mark.slow
def test_a_script_with_an_annotated_model_of_transformers(tmp_path: Path) -> None:
    script, reports = write(tmp_path, QWEN), tmp_path / "reports"
    done = launch("--script", script, "--name", "qwen", reports=reports)
    assert done.returncode == 0, done.stderr
    found = payloads(reports / "qwen.sqlite")
    for name in ("forward", "backward", "optimizer"):
        assert len(found[name]) == 2
        assert name in done.stdout
    assert len(found["attention"]) == len(found["ffn.backward"]) == 4


@pytest.mark.parametrize("words", [("script", "{0}"), ("--script", "{0}")])
def test_options_may_stand_between_a_script_and_its_arguments(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    script = write(tmp_path, "")
    given = [word.format(script) for word in words]
    name, arguments = options.parse([*given, "--name", "x", "--", "--epochs", "1", "--"])
    assert (name, arguments.name) == ("script", "x")
    assert ScriptRun.read(arguments, "cpu").arguments == ("--epochs", "1", "--")


def test_arguments_without_a_script_are_wrong_usage(tmp_path: Path) -> None:
    done = launch("--size", "tiny", "--", "--epochs", reports=tmp_path / "reports")
    assert done.returncode == 2
    assert done.stderr == "error: '--epochs' is no option; arguments need a --script\n"
    assert not (tmp_path / "reports").exists()


def failed(text: str, tmp_path: Path, *arguments: str) -> str:
    """Run a script that cannot be recorded; return the one line said of it.

    Folders that were made for its report are taken away.
    """
    reports = tmp_path / "a" / "b" / "c"
    done = launch("--script", write(tmp_path, text), *arguments, reports=reports)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a").exists()
    return done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_script_beside_modules_of_our_names_gets_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("class GPT: pass\n")
    (tmp_path / "analysis.py").write_text("ANSWER = 42\n")
    script = write(
        tmp_path,
        """
        import torch
        from analysis import ANSWER
        from model import GPT
        from profiling.spans import span
        with span("step"):
            torch.ones(ANSWER) + 1
        """,
    )
    for folder in (tmp_path, ROOT):
        done = launch_process(
            "--script", script, "--overwrite", reports=tmp_path / "reports", cwd=folder
        )
        assert done.returncode == 0, done.stderr
    assert payloads(tmp_path / "reports" / "train.sqlite") == {"step": [None]}


THREADED = """
    import threading
    import torch
    from profiling.spans import span

    def load():
        with span("load", flops=3):
            torch.ones(4) @ torch.ones(4)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    threading.Thread(target=lambda: span("forever").__enter__(), daemon=True).start()
    with torch.profiler.record_function("forward"), span("forward", flops=5):
        torch.ones(4) + 1
"""


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_threads_and_same_named_annotations_lose_nothing(recorder: str, tmp_path: Path) -> None:
    env = {"NSYS": find_nsys()} if recorder == "nsys" else {}
    reports = tmp_path / "reports"
    script = write(tmp_path, THREADED)
    done = launch("--script", script, "--recorder", recorder, reports=reports, env=env)
    assert done.returncode == 0, done.stderr
    found = payloads(reports / "train.sqlite")
    assert found["load"] == [3]
    assert any(row["name"] == "aten::dot" for row in ranking(reports / "train.sqlite"))
    if recorder == "torch":
        assert "note: 1 payload left out: thread" in done.stderr
        assert found["forward"] == [None, None]


def test_costs_stand_under_the_name_the_range_has(wanderer: Wanderer) -> None:
    (name,) = payloads(wanderer.report)
    costs = rows(wanderer.report, "SELECT name, bytes FROM TOOLKIT_RANGE_COST")
    assert costs == [(name, 4)]


def test_a_script_that_profiles_itself_is_told_so(tmp_path: Path) -> None:
    said = failed("import torch\nwith torch.profiler.profile():\n    torch.ones(1)\n", tmp_path)
    assert said.startswith("error: the script profiles itself")


def test_a_script_that_does_nothing_is_told_so(tmp_path: Path) -> None:
    assert "the script ran no torch operator and opened no span" in failed("print(1)", tmp_path)


def test_a_script_that_ends_the_process_is_told_so(tmp_path: Path) -> None:
    said = failed("import os\nos._exit(0)\n", tmp_path)
    assert "without leaving its result" in said


def test_options_of_our_own_model_are_refused_beside_a_script(tmp_path: Path) -> None:
    done = launch("--script", write(tmp_path, "1"), "--batch", "9", reports=tmp_path / "reports")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: --batch is of our own model; a script takes its own arguments after --\n"
    )


@pytest.mark.slow
def test_a_span_over_very_many_nodes_costs_its_backward_range_only(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
        import torch
        from profiling.spans import span
        x = torch.ones(1, requires_grad=True)
        with span("long") as mark:
            h = x
            for _ in range(10_500):
                h = h * 1.0
            mark.output(h)
        h.backward()
        """,
    )
    done = launch("--script", script, reports=tmp_path / "reports")
    assert done.returncode == 0, done.stderr
    assert "note: 1 range long.backward left out: over 10,000 autograd nodes" in done.stderr


def test_a_script_may_change_the_folder(wanderer: Wanderer) -> None:
    left = sorted(path.name for path in wanderer.report.parent.iterdir())
    assert left == ["train.html", "train.sqlite"]
    assert sorted(path.name for path in wanderer.folder.iterdir()) == ["made", "theirs"]


def test_what_is_no_terminal_gets_no_bar(wanderer: Wanderer) -> None:
    assert wanderer.stderr.startswith("recording ")
    assert not CLOCK.search(wanderer.stderr)
    assert "\x1b" not in wanderer.stderr


@pytest.mark.parametrize("said", [["layers"], ["--workload", "layers"], ["training"]])
def test_a_script_beside_another_workload_is_refused(said: list[str]) -> None:
    with pytest.raises(UsageError, match="is of our own model; a script takes its own arguments"):
        options.parse([*said, "--script", "x.py"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "cpu", "layers"], "layers: the workload comes first"),
        (["--workload"], "--workload: expected one argument"),
        (["gone.py"], "'gone.py' is no workload; record a script with --script gone.py$"),
        (["--workload", "gone.py"], "'gone.py' is no workload; record a script with --script gone"),
        ([__file__], f"is no workload; record a script with --script {__file__}$"),
        (["larger"], "'larger' is no workload; there are: training, "),
        (["tiny", "--", "1"], "'tiny' is no workload"),
        (["script", "x.py", "--epochs", "1"], "--epochs is no option of a recording; a script"),
    ],
)
def test_what_is_typed_in_another_order_is_told_so(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options.parse(words)


def test_make_is_told_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANLIGHT_TYPED", "make")
    with pytest.raises(UsageError, match=r"record a script with SCRIPT=gone.py$"):
        options.parse(["--workload=gone.py"])
    with pytest.raises(UsageError, match=r"'1' is no option; arguments need a SCRIPT=$"):
        options.parse(["--", "1"])


def test_an_error_of_a_script_that_is_called_as_one_of_ours_is_its_own(tmp_path: Path) -> None:
    script = write(tmp_path, "class UsageError(Exception): pass\nraise UsageError('mine')\n")
    *_, said = beside_python(script, tmp_path)
    assert said.startswith("error: the run failed with UsageError: mine (train.py:")
    assert not (tmp_path / "reports").exists()


def beside_python(script: Path, folder: Path, *words: str, status: int = 1) -> list[str]:
    """Run a script alone and recorded; return what only the recording says on stderr."""
    alone = subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=300
    )
    done = launch("--script", script, *words, reports=folder / "reports", cwd=folder)
    assert done.returncode == status, done.stderr
    assert not (status and done.stdout)
    assert alone.stderr in done.stderr
    more = done.stderr.replace(alone.stderr, "", 1)
    assert "Traceback" not in more
    return more.splitlines()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            """
            def fail():
                raise ValueError("boom\\nsecond line")
            try:
                1 / 0
            except ZeroDivisionError:
                fail()
            """,
            "the run failed with ValueError: boom (train.py:3)",
        ),
        ("def f(:", "the run failed with SyntaxError: invalid syntax (train.py, line 1)"),
        ("raise KeyError", "the run failed with KeyError (train.py:1)"),
        ("import sys; sys.exit(3)", "the run ended with exit status 3"),
        ("import sys; sys.exit('no data')", "the run ended with exit status 1"),
        (
            "import sys; sys.excepthook = lambda *_: print('mine', file=sys.stderr); 1 / 0",
            "the run failed with Z",
        ),
    ],
)
def test_what_a_script_raises_is_shown_as_python_does_and_then_our_line(
    text: str, line: str, tmp_path: Path
) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "mine.sqlite").write_bytes(b"earlier")
    words = ("--name", "mine", "--overwrite", "--device", "cpu")
    *_, said = beside_python(write(tmp_path, text), tmp_path, *words)
    assert said.startswith(f"error: {line}"), said
    assert [path.name for path in reports.iterdir()] == ["mine.sqlite"]
    assert (reports / "mine.sqlite").read_bytes() == b"earlier"


FORKS = """
    import atexit, multiprocessing, os, sys, threading, time
    import torch
    from torch.utils.data import DataLoader
    from profiling.spans import span

    main = os.getpid()
    atexit.register(lambda: print("at exit", os.getpid() == main, file=sys.stderr))

    def child(how):
        with span("child"):
            torch.ones(3) * 2
        if how == "raises":
            raise ValueError(how)
        if how == "exits":
            sys.exit(5)
        if how == "says":
            sys.exit("a word")
        if how == "exits at once":
            os._exit(6)
        if how == "is interrupted":
            raise KeyboardInterrupt
        if how == "starts a thread":
            late = lambda: (time.sleep(0.2), print("late", file=sys.stderr))
            threading.Thread(target=late).start()

    for how in ("raises", "exits", "says", "exits at once", "is interrupted", "starts a thread"):
        if not (made := os.fork()):
            child(how)
            break
        status = os.waitstatus_to_exitcode(os.waitpid(made, 0)[1])
        print(how, status, file=sys.stderr)
        with span("step"):
            torch.ones(3) + 1
    else:
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=child, args=["exits"])
        process.start()
        process.join()
        print("process", process.exitcode, file=sys.stderr)
        data = list(torch.arange(8.0))
        loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork")
        print("loaded", sum(float(each.sum()) for each in loader), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["torch", "nsys"])
def test_what_a_script_forks_ends_as_it_would_alone(
    recorder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if recorder == "nsys":
        monkeypatch.setenv("NSYS", find_nsys())
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = write(tmp_path, FORKS)
    beside_python(script, tmp_path, "--recorder", recorder, status=0)
    found = payloads(tmp_path / "reports" / "train.sqlite")
    assert len(found["step"]) == 6
    assert recorder == "nsys" or "child" not in found


def test_an_argument_that_is_no_utf_8_is_kept_as_escapes(wanderer: Wanderer) -> None:
    assert run_facts(wanderer.report)["command"].endswith("\\udcff")
