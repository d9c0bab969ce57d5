"""Memory in a recorded report: what the recorders tell, and what the launcher makes of it."""

import json
import sqlite3
import subprocess
from contextlib import closing
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._C._profiler import _EventType

from analysis.source.trace import schema
from analysis.source.trace.convert import convert
from model import SIZES, memory
from profiling import names
from profiling.memory import run
from profiling.memory.timeline import Timeline, fill
from profiling.recorders import memory_report, memory_samples
from profiling.recorders.memory_samples import Sample, SampledSink
from profiling.spans import recording, span
from tests.made.runs.launched import ROOT, TINY, find_nsys, launch, rows, run_facts
from tests.made.runs.recorded import Recorded
from tests.made.runs.shared_recording import tiny_recording

CONFIG = SIZES["tiny"]
KEPT = memory.saved_for_backward(CONFIG, 2, 16, 4)
LASTING = 4 * CONFIG.parameter_count + 2 * 2 * 16 * 8  # parameters; tokens and targets


def test_memory_is_in_the_report_of_the_embedded_recorder(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    report = tiny_recording("torch", tmp_path_factory, memory=True).report
    assert run_facts(report)["memory_source"] == "allocator"
    assert int(run_facts(report)["memory_base_bytes"]) == LASTING
    level, changes = LASTING, rows(report, "SELECT * FROM TOOLKIT_MEMORY ORDER BY rowid")
    for time_ns, device, thread, address, delta, allocated, reserved, peak in changes:
        level += delta
        assert (allocated, device, reserved) == (level, -1, None)
        assert time_ns >= 0
        assert thread > 0
        assert address > 0
        assert peak == allocated
    saved = dict(rows(report, "SELECT name, saved_bytes FROM TOOLKIT_RANGE_MEMORY"))
    computed = dict(rows(report, "SELECT name, computed_bytes FROM TOOLKIT_RANGE_MEMORY"))
    assert saved == computed == KEPT
    forward = rows(
        report, "SELECT start, \"end\" FROM NVTX_EVENTS WHERE text = 'forward' ORDER BY start"
    )
    for start, end in forward[1:]:  # the first makes the tables, too
        inside = "SELECT sum(delta_bytes) FROM TOOLKIT_MEMORY WHERE time_ns BETWEEN ? AND ?"
        with closing(sqlite3.connect(report)) as connection:
            (held,) = connection.execute(inside, (start, end)).fetchone()
        # The loss, and sqrt(D) a layer.
        assert held == KEPT[names.FORWARD] + 4 + 8 * CONFIG.num_layers


def test_without_the_flag_there_is_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    report = tiny_recording("torch", tmp_path_factory).report
    tables = {name for (name,) in rows(report, "SELECT name FROM sqlite_master")}
    assert not {"TOOLKIT_MEMORY", "TOOLKIT_RANGE_MEMORY"} & tables


def test_make_passes_it_on() -> None:
    for given, expected in (("1", True), ("0", False), ("no", False)):
        done = subprocess.run(
            ["make", "-n", "-o", ".venv/.ready", "profile", f"MEMORY={given}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert ("--memory" in done.stdout) is expected, done.stdout + done.stderr


@pytest.mark.slow
def test_a_script_is_recorded_with_its_memory(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nfrom profiling.spans import span\n"
        "with span('work'):\n    kept = torch.ones(1 << 20)\n    gone = torch.ones(1 << 18) + 1\n"
        "    del gone\n"
    )
    done = launch("--script", script, "--device", "cpu", "--memory", reports=tmp_path / "reports")
    assert done.returncode == 0, done.stderr
    assert "main thread and autograd's alone" in done.stderr
    report = tmp_path / "reports" / "script.sqlite"
    (found,) = rows(report, "SELECT sum(delta_bytes), max(allocated_bytes) FROM TOOLKIT_MEMORY")
    assert found[0] == 0  # a script's names go when it ends
    assert (6 << 20) <= found[1] < (6 << 20) + 1000


@pytest.mark.slow  # nsys starts and exports
def test_under_nsys_the_borders_of_ranges_are_sampled(tmp_path: Path) -> None:
    nsys = find_nsys()
    done = launch(*TINY, "--memory", "--recorder", "nsys", reports=tmp_path, env={"NSYS": nsys})
    assert done.returncode == 0, done.stderr
    report = tmp_path / "tiny.sqlite"
    assert run_facts(report)["memory_source"] == memory_samples.RESIDENT
    (ranges,) = rows(
        report,
        "SELECT count(*) FROM NVTX_EVENTS WHERE eventType = 59 AND domainId = 0",
    )
    (samples,) = rows(report, "SELECT count(*), min(allocated_bytes) FROM TOOLKIT_MEMORY")
    assert samples[0] == 2 * ranges[0]
    assert samples[1] > 50 * 2**20  # a process with torch in it


class Allocator:
    """A fake: what is held goes up by one at every look, and the peak is ten more."""

    def __init__(self) -> None:
        self.held = 0

    def __call__(self) -> Sample:
        self.held += 1
        return self.held, 100, self.held + 10


def test_samples_are_paired_with_the_ranges_of_the_report(tmp_path: Path) -> None:
    recorder = SampledSink(Recorded(), Allocator())
    with recording(recorder), span("step"):
        for _ in range(2):
            with span("block"):
                pass
    borders = recorder.borders()
    assert recorder.pushed() == {"step": 1, "block": 2}
    thread = borders[0][0]
    report = tmp_path / "r.sqlite"
    with closing(sqlite3.connect(report)) as connection, connection:
        schema.insert(connection, "StringIds", [(1, "block")])
        schema.create(connection, "NVTX_EVENTS")
        tid = (7 << 24) | thread
        connection.executemany(
            'INSERT INTO NVTX_EVENTS (start, "end", eventType, text, textId, globalTid) '
            "VALUES (?, ?, 59, ?, ?, ?)",
            [(0, 90, "step", None, tid), (10, 20, None, 1, tid), (30, 40, None, 1, tid)],
        )
    note = json.loads(
        json.dumps({"source": memory_samples.SAMPLES, "device": 1, "borders": borders})
    )
    facts, lost = memory_report.add_memory(report, note, [])
    assert (facts, lost) == ({"memory_source": memory_samples.SAMPLES}, {})
    found = rows(
        report,
        "SELECT time_ns, device, delta_bytes, allocated_bytes, peak_bytes FROM TOOLKIT_MEMORY",
    )
    assert found == [
        (0, 1, 0, 1, 11),
        (10, 1, 1, 2, 12),
        (20, 1, 1, 3, 13),
        (30, 1, 1, 4, 14),
        (40, 1, 1, 5, 15),
        (90, 1, 1, 6, 16),
    ]


def test_samples_whose_ranges_did_not_all_arrive_are_counted(tmp_path: Path) -> None:
    report = tmp_path / "r.sqlite"
    with closing(sqlite3.connect(report)) as connection, connection:
        for table in ("StringIds", "NVTX_EVENTS"):
            schema.create(connection, table)
    note = {"source": memory_samples.SAMPLES, "device": 0}
    borders = [(5, "step", [[(1, 1, 1), (2, 2, 2)]] * 3)]
    _, lost = memory_report.add_memory(report, {**note, "borders": borders}, [])
    assert lost == {"step": 3}
    assert rows(report, "SELECT count(*) FROM TOOLKIT_MEMORY") == [(0,)]


def test_the_allocator_of_cuda_is_read_and_its_peak_begun_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    stats = {
        "allocated_bytes": {"all": {"current": 5, "peak": 9}},
        "reserved_bytes": {"all": {"current": 20}},
    }
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", lambda device: stats)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    assert memory_samples.sampler("cuda:1")() == (5, 20, 9)
    assert asked == ["cuda:1"]


def trace(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    return path


def test_a_trace_of_somebody_else_is_converted_with_its_memory(tmp_path: Path) -> None:
    common = {
        "ph": "i",
        "cat": "cpu_instant_event",
        "s": "t",
        "name": "[memory]",
        "pid": 9,
        "tid": 9,
    }
    figures = {"Total Reserved": 64, "Total Allocated": 40, "Bytes": 40, "Addr": 7}
    on_gpu = {**common, "ts": 12.5, "args": {**figures, "Device Id": 1, "Device Type": 1}}
    on_host = {**common, "ts": 13, "args": {**figures, "Device Id": -1, "Device Type": 0}}
    broken = {**common, "ts": 14, "args": {"Addr": 7}}
    operator = {
        "ph": "X",
        "cat": "cpu_op",
        "name": "aten::mm",
        "pid": 9,
        "tid": 9,
        "ts": 10,
        "dur": 5,
    }
    source = trace(tmp_path / "t.json", [operator, on_gpu, on_host, broken])
    done = convert(source, tmp_path / "r.sqlite")
    assert done.converted["TOOLKIT_MEMORY"] == 2
    assert done.left_out == {"cpu_instant_event: no bytes": 1}
    thread = (1 << 48) | (9 << 24) | 9
    assert rows(tmp_path / "r.sqlite", "SELECT * FROM TOOLKIT_MEMORY") == [
        (2500, 1, thread, 7, 40, 40, 64, 40),
        (3000, -1, thread, 7, 40, 40, None, 40),
    ]


def test_a_timeline_is_of_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(at: int, where: str, size: int, total: int) -> Any:
        fields = SimpleNamespace(
            device=torch.device(where), alloc_size=size, total_allocated=total, total_reserved=64
        )
        return SimpleNamespace(
            children=[], tag=_EventType.Allocation, start_time_ns=at, extra_fields=fields
        )

    inside = [change(5, "cuda:1", 3, 9), change(3, "cuda:1", 6, 6), change(4, "cuda:0", 1, 1)]
    root: Any = SimpleNamespace(
        children=[*inside, change(6, "cpu", 2, 2)],
        tag=_EventType.TorchOp,
        name="step",
        start_time_ns=1,
        end_time_ns=8,
    )
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    for device in ("cuda", "cuda:1"):
        timeline = Timeline()
        fill(timeline, [root], torch.device(device), {"step"})
        assert (timeline.time_ns, timeline.allocated_bytes) == ([3, 5], [6, 9])
        (step,) = timeline.called("step")
        assert (timeline.peak_bytes(step), timeline.peak_reserved_bytes(step)) == (9, 64)
        assert (timeline.at(3), timeline.at(4)) == (0, 6)


def test_the_history_of_the_allocator_is_written_and_turned_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[str, object]] = []
    history = torch.cuda.memory
    real = signature(history._record_memory_history), signature(history._dump_snapshot)

    def record(**how: object) -> None:
        real[0].bind(**how)
        calls.append(("history", how))

    def dump(file: str) -> None:
        real[1].bind(file)
        calls.append(("dump", file))

    monkeypatch.setattr(history, "_record_memory_history", record)
    monkeypatch.setattr(history, "_dump_snapshot", dump)

    def step() -> None:
        calls.append(("step", None))

    training: Any = SimpleNamespace(
        settings=SimpleNamespace(mode="train", device="cpu"), step=step, infer=step
    )
    run._snapshot(training, tmp_path / "s.pickle")
    assert calls == [
        ("history", {"max_entries": 1_000_000, "stacks": "python"}),
        ("step", None),
        ("dump", str(tmp_path / "s.pickle")),
        ("history", {"enabled": None}),
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_the_timeline_has_the_allocator_s_own_peak(tmp_path: Path) -> None:
    from dataclasses import asdict

    from profiling.common.settings import Settings

    settings = Settings(size="tiny", config=CONFIG, batch=2, context=64, device="cuda")
    snapshot = tmp_path / "s.pickle"
    torch.cuda.reset_peak_memory_stats()
    found = run.measure(
        {"settings": asdict(settings), "timeline": False, "snapshot": str(snapshot)}
    )
    assert max(found["peaks"].values()) <= torch.cuda.max_memory_allocated()
    assert found["saved_bytes"] == found["computed"]["spans"][names.FORWARD]
    assert snapshot.stat().st_size > 0
