"""A job that records some of its steps itself: what it gets, and what is refused before."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from analysis import Report, overlap
from profiling.common.errors import LaunchError, UsageError
from profiling.processes.starting import child_environment
from profiling.recorders import job_recording, nsys_recorder, record
from profiling.recorders.torch_recorder import EmbeddedRecorder
from profiling.spans import forward, is_recording, recording
from profiling.spans.backends import SilentSink
from tests.made.runs.ddp_script import RECORDED
from tests.made.runs.launched import find_nsys, launch, payloads, ranking, run_facts


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def work() -> torch.Tensor:
    return torch.ones(4, 4) @ torch.ones(4, 4)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Recorded(NamedTuple):
    """What a job of eight steps left that recorded three of them."""

    report: Path
    there: list[bool]
    on: list[bool]
    numbers: list[float]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("job")
    there, on = [], []
    torch.manual_seed(0)
    with record(folder / "long.sqlite", steps=range(3, 6)) as recording_:
        for _ in range(8):
            with recording_.step():
                work()
                on.append(is_recording())
            there.append(recording_.report.exists())
    assert names_in(folder) == ["long.sqlite"]
    return Recorded(folder / "long.sqlite", there, on, torch.rand(3).tolist())


@pytest.mark.slow
def test_only_the_steps_that_are_asked_for_are_recorded(recorded: Recorded) -> None:
    assert payloads(recorded.report) == {"step": 3 * [None]}
    assert [row["calls"] for row in ranking(recorded.report) if row["name"] == "aten::mm"] == [3]
    assert recorded.on == [number in range(3, 6) for number in range(8)]


@pytest.mark.slow
def test_the_report_is_there_once_its_last_step_is_over(recorded: Recorded) -> None:
    assert recorded.there == [number >= 5 for number in range(8)]


@pytest.mark.slow
def test_the_report_says_what_the_job_was(recorded: Recorded) -> None:
    facts = run_facts(recorded.report)
    known = {"recorder": "torch", "steps": "3", "device": "cpu", "torch": torch.__version__}
    assert {key: facts[key] for key in known} == known
    script = Path(sys.argv[0])  # which a worker of the tests has not
    assert facts.get("script") == (script.name if script.is_file() else None)
    assert float(facts["peak_flops_per_s"]) > 0
    assert "rank" not in facts


@pytest.mark.slow
def test_the_random_numbers_of_the_job_are_as_without(recorded: Recorded) -> None:
    torch.manual_seed(0)
    assert torch.rand(3).tolist() == recorded.numbers


@pytest.fixture
def unmade(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record without a profiler and a conversion: the report is a word; gives what was done."""
    done: list[str] = []

    class Pretended(EmbeddedRecorder):
        @classmethod
        def inside(cls, *_: object, **__: object) -> ExitStack:  # type: ignore[override]
            stack = ExitStack()
            done.append("begun")
            stack.callback(done.append, "ended")
            stack.enter_context(recording(SilentSink()))
            return stack

    def make_report(self: object, folder: Path, _: object) -> None:
        (folder / "recording.sqlite").write_text("new")

    monkeypatch.setattr("profiling.recorders.torch_recorder.EmbeddedRecorder", Pretended)
    monkeypatch.setattr("profiling.recorders.recorded_steps.range_facts", lambda _: {"pushed": {}})
    monkeypatch.setattr(job_recording.JobRecording, "_make_report", make_report)
    monkeypatch.setattr(job_recording.JobRecording, "_facts_of_machine", lambda _: {})
    yield done
    assert done.count("begun") == done.count("ended")
    assert job_recording._entered is None
    assert not is_recording()


def test_a_name_goes_to_the_folder_of_reports_and_a_path_where_it_says(unmade: list[str]) -> None:
    for given in ("warm", "runs/a.sqlite", Path("b.sqlite"), "runs/v1.2"):
        with record(given):
            pass
    assert names_in(Path("nsys_reports")) == ["warm.sqlite"]
    assert names_in(Path("runs")) == ["a.sqlite", "v1.2.sqlite"]
    assert Path("b.sqlite").exists()


def test_a_rank_has_its_number_in_the_name(
    unmade: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with record("long") as recording_:
        os.chdir("/")
    assert names_in(recording_.report.parent) == ["long.rank3.sqlite"]


def test_what_was_recorded_until_an_exception_is_kept(unmade: list[str]) -> None:
    for how in (ValueError, KeyboardInterrupt):
        with pytest.raises(how, match="mine"), record("kept", overwrite=True):
            raise how("mine")
        assert Path("nsys_reports/kept.sqlite").read_text() == "new"
        Path("nsys_reports/kept.sqlite").unlink()
    with pytest.raises(ValueError, match="mine"):
        fail_in_a_step(record("kept", steps=range(1, 9)))
    assert Path("nsys_reports/kept.sqlite").exists()


def fail_in_a_step(job: job_recording.JobRecording) -> None:
    with job:
        for number in range(9):
            with job.step():
                if number == 2:
                    raise ValueError("mine")


def test_the_last_step_ends_the_recording_even_if_it_raises(unmade: list[str]) -> None:
    with record("kept", steps=range(1)) as recording_:
        with pytest.raises(ValueError, match="mine"), recording_.step():
            raise ValueError("mine")
        assert unmade == ["begun", "ended"]


def test_an_earlier_report_is_replaced_with_its_page_where_that_is_asked_for(
    unmade: list[str],
) -> None:
    reports = Path("nsys_reports")
    reports.mkdir()
    for name in ("long.sqlite", "long.html", "longer.html"):
        (reports / name).write_text("earlier")
    with record("long", overwrite=True):
        assert (reports / "long.sqlite").read_text() == "earlier"
    assert names_in(reports) == ["long.sqlite", "longer.html"]
    assert (reports / "long.sqlite").read_text() == "new"


def refusal(*arguments: object, **options: object) -> str:
    """Return the one line by which a recording is refused before anything ran inside."""
    with pytest.raises((LaunchError, UsageError)) as caught:
        record(*arguments, **options).__enter__()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_recorded_is_refused_before_any_step(
    unmade: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("")
    Path("taken.sqlite").write_text("earlier")
    assert refusal("taken.sqlite") == (
        "taken.sqlite: exists; give record() another name, or overwrite=True to replace it"
    )
    assert refusal("file/long.sqlite").startswith("file: cannot be written to (")
    assert refusal("").startswith("give record() a name")
    assert refusal("a", steps=range(5, 5)).startswith("steps=range(5, 5): give record() steps in a")
    assert refusal("a", steps=range(0, 9, 2)).startswith("steps=range(0, 9, 2): give record() ste")
    assert "give record() steps in a row" in refusal("a", steps=range(-1, 9))
    assert "give record() steps in a row" in refusal("a", steps=(100, 110))
    assert refusal("a", device="tpu").startswith("no device is called 'tpu'")
    with recording(SilentSink()):
        assert refusal("a").startswith("this process is recorded already, by spanlight; run")
    with record("outer"):
        assert refusal("a") == "record() is open already, for nsys_reports/outer.sqlite; leave that"
    with torch.profiler.profile():
        assert refusal("a").startswith("a PyTorch profiler runs already; end it before record()")
    assert unmade == ["begun", "ended"]
    assert names_in(Path()) == ["file", "nsys_reports", "taken.sqlite"]


def test_what_goes_wrong_after_the_steps_does_not_end_the_job(
    unmade: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise LaunchError("the disk was full")

    monkeypatch.setattr(job_recording.JobRecording, "_make_report", fail)
    with record("long"):
        pass
    said = capsys.readouterr().err
    assert said == "error: no report nsys_reports/long.sqlite: the disk was full\n"
    assert names_in(Path("nsys_reports")) == []


def test_what_prevents_it_in_the_middle_does_not_end_the_job(
    unmade: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with record("long", steps=range(1, 3)) as job, torch.profiler.profile():
        for _ in range(4):
            with job.step():
                pass
    said = capsys.readouterr().err
    assert said.startswith("error: no report nsys_reports/long.sqlite: a PyTorch profiler runs")
    assert said.count("\n") == 1
    assert unmade == []


def test_steps_that_never_came_are_told(
    unmade: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with record("long", steps=range(5, 9)) as recording_, recording_.step():
        pass
    assert capsys.readouterr().err == (
        "note: nothing was recorded: 1 step came, and steps 5 to 8 were to be\n"
    )


def test_a_process_that_the_job_forks_leaves_the_recording_to_it(unmade: list[str]) -> None:
    with record("long"):
        if not (child := os.fork()):
            try:
                job_recording._entered.__exit__(None, None, None)  # type: ignore[union-attr]
            finally:
                os._exit(0 if unmade == ["begun"] else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(Path("nsys_reports").glob(".recording-*"))) == 1
    assert names_in(Path("nsys_reports")) == ["long.sqlite"]


def test_record_is_imported_without_torch() -> None:
    program = "import sys; from profiling.recorders import record; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env=child_environment())
    assert done.returncode == 0


def test_under_nsys_its_capture_range_begins_and_ends_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    switched: list[str] = []
    listens = SilentSink()
    monkeypatch.setattr(forward, "_injected", listens)
    monkeypatch.setattr(forward, "_sink", listens)
    monkeypatch.setattr(nsys_recorder, "_profiler_switch", switched.append)
    monkeypatch.setattr("torch.cuda.synchronize", lambda _: switched.append("synchronized"))
    monkeypatch.setattr("profiling.common.machine.choose_device", lambda _: "cuda")
    seen = []
    with record("long", steps=range(1, 3)) as job:
        for _ in range(4):
            with job.step():
                seen.append(list(switched))
    assert seen == [[], ["start"], ["start"], ["start", "synchronized", "stop"]]
    assert switched == seen[-1]
    said = capsys.readouterr().err
    assert "cudaProfilerStart and cudaProfilerStop stand around what is recorded, for --cap" in said
    assert list(Path().iterdir()) == []


RECORDS_ITSELF = """
from profiling.recorders import record
with record("inner"):
    open("reached", "w").close()
"""


@pytest.mark.slow
def test_a_script_that_records_itself_is_not_recorded_twice(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RECORDS_ITSELF)
    done = launch("--script", tmp_path / "train.py", reports=tmp_path / "made", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "error: this process is recorded already, by spanlight; run the script by itself, or"
    )
    assert names_in(tmp_path) == ["train.py"]


@pytest.mark.slow
def test_under_torchrun_each_rank_leaves_a_report(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RECORDED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "train.py", "4"],
        env=child_environment() | {"GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    reports = [tmp_path / "nsys_reports" / f"long.rank{rank}.sqlite" for rank in (0, 1)]
    assert names_in(tmp_path / "nsys_reports") == [path.name for path in reports]
    for rank, report in enumerate(reports):
        facts = run_facts(report)
        known = {"rank": str(rank), "world_size": "2", "script": "train.py", "steps": "2"}
        assert {key: facts[key] for key in known} == known
        assert len(payloads(report)["gloo:all_reduce"]) == 2
    with ExitStack() as stack:
        rows = overlap.overlap(*(stack.enter_context(Report(path)) for path in reports)).rows()
    assert [row["rank"] for row in rows] == ["0", "1"]
    calls = [int(row["calls"]) for row in rows]
    assert calls[0] == calls[1] >= 2  # what DDP broadcasts counts too


@pytest.mark.slow
def test_nsys_makes_the_report_where_it_listens(tmp_path: Path) -> None:
    nsys = find_nsys()
    (tmp_path / "train.py").write_text(
        "import torch\n"
        "from profiling.recorders import record\n"
        "with record('long', steps=range(1, 2)) as recording:\n"
        "    for _ in range(3):\n"
        "        with recording.step():\n"
        "            torch.ones(4, 4) @ torch.ones(4, 4)\n"
    )
    options = [
        "--trace=nvtx",
        "--sample=none",
        "--cpuctxsw=none",
        "--output=own",
        "--export=sqlite",
    ]
    done = subprocess.run(
        [nsys, "profile", *options, sys.executable, "train.py"],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: nsys listens, so record() makes no report of its own; spans and" in done.stderr
    assert names_in(tmp_path) == ["own.nsys-rep", "own.sqlite", "train.py"]
    assert len(payloads(tmp_path / "own.sqlite")["aten::mm"]) == 1
