"""The converter, on traces of a few events, on bad ones, and on real ones from eight GPUs."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from analysis import Report, gaps
from analysis.source.trace import source
from analysis.source.trace.convert import TraceError, TraceSummary, convert
from tests.made.commands.in_process import run_command

Event = dict[str, object]
BASE = 1_700_000_000_000_000_000


def event(category: str, name: str, start: float, duration: float, **args: object) -> Event:
    """Return an event of thread 11 in process 10, in microseconds."""
    place = {"ph": "X", "cat": category, "name": name, "pid": 10, "tid": 11}
    return {**place, "ts": start, "dur": duration, "args": args}


def kernel(name: str, start: float, duration: float, **args: object) -> Event:
    return {**event("kernel", name, start, duration, **args), "pid": 0, "tid": 7}


def converted(
    path: Path, events: Sequence[object], **metadata: object
) -> tuple[TraceSummary, Path]:
    trace, report = path / "trace.json", path / "report.sqlite"
    trace.write_text(json.dumps({**metadata, "traceEvents": events}))
    return convert(trace, report, overwrite=True), report


def rows(report: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"{report.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def listing(path: Path) -> Mapping[str, bytes | None]:
    return {each.name: each.read_bytes() if each.is_file() else None for each in path.iterdir()}


def test_a_kernel_keeps_its_launch_its_sizes_and_the_process_that_launched_it(
    tmp_path: Path,
) -> None:
    launch = event("cuda_runtime", "cudaLaunchKernel", 1.5, 2, correlation=5)
    name = "void ns::mm<float, 4>(int)"
    work = {"device": 1, "context": 2, "stream": 7, "correlation": 5, "registers per thread": 32}
    sizes = {"grid": [3, 4, 5], "block": [64, 2, 1], "shared memory": 128}
    _, report = converted(tmp_path, [launch, kernel(name, 4.25, 3.001, **work, **sizes)])
    assert rows(report, "SELECT * FROM CUPTI_ACTIVITY_KIND_RUNTIME") == [
        (0, 2000, 0, 1 << 48 | 10 << 24 | 11, 5, 1, 0, None)
    ]
    assert rows(
        report,
        'SELECT start, "end", deviceId, contextId, streamId, correlationId, globalPid, gridX, '
        "gridZ, blockX, registersPerThread, d.value, s.value FROM CUPTI_ACTIVITY_KIND_KERNEL "
        "JOIN StringIds d ON d.id = demangledName JOIN StringIds s ON s.id = shortName",
    ) == [(2750, 5751, 1, 2, 7, 5, 1 << 48 | 10 << 24, 3, 5, 64, 32, name, "mm")]


def test_times_are_exact_to_the_nanosecond_and_count_from_the_earliest_event(
    tmp_path: Path,
) -> None:
    early, late = "4387086850453.551", "4387086850453.553"
    template = '{"ph": "X", "cat": "cpu_op", "name": "%s", "pid": 1, "tid": 1, "ts": %s, "dur": %s}'
    events = ", ".join([template % ("b", late, "0.001"), template % ("a", early, "4")])
    (tmp_path / "t.json").write_text(
        f'{{"traceEvents": [{events}], "baseTimeNanoseconds": {BASE}}}'
    )
    convert(tmp_path / "t.json", tmp_path / "t.sqlite")
    found = rows(tmp_path / "t.sqlite", "SELECT start_ns, end_ns, self_ns FROM TOOLKIT_OPERATOR")
    assert sorted(found) == [(0, 4000, 3999), (2, 3, 1)]
    query = "SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME"
    assert rows(tmp_path / "t.sqlite", query) == [(BASE + 4387086850453551,)]


def test_copies_sets_and_waits_keep_their_kinds(tmp_path: Path) -> None:
    place = {"device": 0, "context": 1, "stream": 7, "correlation": 1, "bytes": 64}
    events = [
        event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 0, 1, **place),
        event("gpu_memcpy", "Memcpy PtoP (Device -> Device)", 1, 1, inDevice=3, toDevice=4),
        event("gpu_memset", "Memset (Device)", 2, 1, **place),
        event("cuda_sync", "Stream Sync", 3, 1, **place, cuda_sync_kind="Stream Sync"),
    ]
    _, report = converted(tmp_path, events)
    query = "SELECT copyKind, srcKind, dstKind, deviceId, dstDeviceId, bytes FROM "
    copies = rows(report, query + "CUPTI_ACTIVITY_KIND_MEMCPY")
    assert copies == [(1, 1, 2, 0, None, 64), (10, 2, 2, 3, 4, 0)]
    assert rows(report, "SELECT bytes, memKind FROM CUPTI_ACTIVITY_KIND_MEMSET") == [(64, 2)]
    query = "SELECT syncType, streamId FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"
    assert rows(report, query) == [(3, 7)]


def test_categories_of_older_versions_and_a_bare_list_of_events_are_read(tmp_path: Path) -> None:
    events = [kernel("k", 0, 2), event("Operator", "aten::mm", 0, 1)]
    events[0]["cat"] = "Kernel"
    (tmp_path / "t.json").write_text(json.dumps(events))
    summary = convert(tmp_path / "t.json", tmp_path / "t.sqlite")
    assert summary.converted == {"CUPTI_ACTIVITY_KIND_KERNEL": 1, "TOOLKIT_OPERATOR": 1}


def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path) -> None:
    events: list[object] = [
        event("cpu_op", "aten::mm", 0, 1),
        event("python_frame", "train.py(3): step", 0, 1),
        {**event("user_annotation", "odd", 0, 1), "pid": -1},
        {**event("cpu_op", "aten::mm", 0, 1), "dur": None},
        event("cpu_op", "aten::mm", 5, -1),
        {"ph": "s", "cat": "ac2g", "id": 1, "pid": 0, "tid": 7, "ts": 1, "name": "ac2g"},
        "no event",
    ]
    summary, report = converted(tmp_path, events)
    assert summary.left_out == {
        "python_frame": 1,
        "user_annotation: no process": 1,
        "cpu_op: no times": 1,
        "cpu_op: negative duration": 1,
        "ac2g": 1,
        "not an event": 1,
    }
    [(stored,)] = rows(report, "SELECT value FROM TOOLKIT_RUN WHERE key = 'left_out'")
    assert json.loads(str(stored)) == summary.left_out


def test_a_trace_of_no_events_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"annotations in it, only 3 entries that are no events;"):
        converted(tmp_path, ["a", 1, None])
    with pytest.raises(TraceError, match=r"it, only 1 entry that is no event;"):
        converted(tmp_path, ["a"])


def test_python_functions_are_kept_without_the_addresses_of_objects(tmp_path: Path) -> None:
    """Of a trace with stacks; each tensor has an address of its own."""
    item = "<built-in method item of Tensor object at 0x7f3e5a8e90%d0>"
    events = [
        event("cpu_op", "aten::mm", 1, 1),
        event("python_function", "train.py(3): step", 0, 9, **{"Python id": 1}),
        *(event("python_function", item % at, at, 0.5, **{"Python id": at}) for at in (2, 3)),
        event("python_function", "train.py(4): odd", 0, -1),
    ]
    summary, report = converted(tmp_path, events)
    assert summary.converted["TOOLKIT_PYTHON"] == 3
    assert summary.left_out == {"python_function: negative duration": 1}
    query = (
        "SELECT start_ns, end_ns, value, global_tid & 0xFFFFFF FROM TOOLKIT_PYTHON "
        "JOIN StringIds ON id = name_id ORDER BY start_ns"
    )
    assert rows(report, query) == [
        (0, 9000, "train.py(3): step", 11),
        (2000, 2500, "<built-in method item of Tensor object>", 11),
        (3000, 3500, "<built-in method item of Tensor object>", 11),
    ]


def test_a_gap_of_a_trace_is_told_by_its_python_function(tmp_path: Path) -> None:
    launches = [event("cuda_runtime", "cudaLaunchKernel", at, 1, correlation=at) for at in (1, 90)]
    kernels = [kernel("k", at + 5, 10, device=0, stream=7, correlation=at) for at in (1, 90)]
    python = [
        event("python_function", "train.py(3): step", 0, 200),
        event("python_function", "loader.py(9): decode", 20, 65),
    ]
    _, report = converted(tmp_path, [*launches, *kernels, *python])
    with Report(report) as opened:
        (gap,) = gaps.gaps(opened).rows()
    assert (gap["start_ns"], gap["duration_ns"]) == (16_000, 79_000)
    assert (gap["cause"], gap["call"], gap["symbol"]) == ("host", "", "loader.py(9): decode")


def test_a_thread_id_too_large_for_a_report_gets_a_number_and_keeps_its_name(
    tmp_path: Path,
) -> None:
    call = {**event("cuda_runtime", "cudaEventQuery", 0, 1), "tid": 1067497152}
    summary, report = converted(tmp_path, [call, event("cpu_op", "aten::mm", 0, 1)])
    assert summary.renumbered == {"10 1067497152": (1 << 24) - 1}
    query = "SELECT value, globalTid & 0xFFFFFF FROM ThreadNames JOIN StringIds ON id = nameId"
    assert rows(report, query) == [("thread 1067497152", (1 << 24) - 1)]


def test_of_the_names_of_a_thread_the_telling_one_is_kept(tmp_path: Path) -> None:
    names = [
        {"ph": "M", "name": "thread_name", "pid": 10, "tid": 11, "ts": 0, "args": {"name": name}}
        for name in ("thread 11 (python)", "thread 11 (pt_autograd_0)")
    ]
    _, report = converted(tmp_path, [*names, event("cpu_op", "aten::mm", 0, 1)])
    query = "SELECT value FROM ThreadNames JOIN StringIds ON id = nameId"
    assert rows(report, query) == [("pt_autograd_0",)]


def test_of_two_processes_each_keeps_the_kernels_it_launched(tmp_path: Path) -> None:
    launches = [
        {**event("cuda_runtime", "cudaLaunchKernel", at, 1, correlation=id_), "pid": process}
        for at, (process, id_) in enumerate([(10, 1), (20, 2), (10, 3), (20, 3)])
    ]
    kernels = [
        kernel("k", 10 + at, 1, device=device, correlation=id_)
        for at, (device, id_) in enumerate([(0, 1), (1, 2), (0, 3), (1, 3), (1, 9)])
    ]
    _, report = converted(tmp_path, launches + kernels)
    query = "SELECT globalPid >> 24 & 0xFFFFFF FROM CUPTI_ACTIVITY_KIND_KERNEL ORDER BY start"
    assert [process for (process,) in rows(report, query)] == [10, 20, 10, 20, 20]


def test_the_kth_annotation_of_a_thread_and_name_gets_the_kth_payload(tmp_path: Path) -> None:
    spans = [("ffn", 50), ("ffn", 10), ("norm", 20), ("ffn", 30), ("someone's", 40)]
    events = [event("user_annotation", name, start, 5) for name, start in spans]
    payloads = {"11": {"ffn": [100, None, 0], "norm": [7]}}
    query = "SELECT start, text, int64Value FROM NVTX_EVENTS"
    expected = [
        (0, "ffn", 100), (10000, "norm", 7), (20000, "ffn", None),
        (30000, "someone's", None), (40000, "ffn", 0),
    ]  # fmt: skip
    for stored in (payloads, json.dumps(payloads)):
        _, report = converted(tmp_path, events, toolkit_payloads=stored)
        assert rows(report, query) == expected


@pytest.mark.parametrize("payloads", [[1, 2], []])
def test_payloads_that_do_not_match_the_annotations_are_refused(
    payloads: list[int], tmp_path: Path
) -> None:
    events = [event("user_annotation", "ffn", 0, 5)]
    message = f"thread 11 has 1 annotation called 'ffn' but {len(payloads)} payloads"
    with pytest.raises(TraceError, match=message):
        converted(tmp_path, events, toolkit_payloads={"11": {"ffn": payloads}})
    assert list(listing(tmp_path)) == ["trace.json"]


def test_the_run_says_who_recorded_it_and_what_each_range_costs(tmp_path: Path) -> None:
    _, report = converted(
        tmp_path,
        [event("user_annotation", "ffn", 0, 5)],
        distributedInfo={"backend": "nccl", "rank": 3, "world_size": 8},
        toolkit_costs=[["ffn", 100, 10, None]],
        deviceProperties=[{"id": 0, "name": "H100", "totalGlobalMem": 80, "numSms": 132}],
    )
    run = dict(rows(report, "SELECT key, value FROM TOOLKIT_RUN"))
    assert run["recorder"] == "torch"
    assert (run["trace"], run["rank"], run["world_size"]) == ("trace.json", "3", "8")
    assert rows(report, "SELECT * FROM TOOLKIT_RANGE_COST") == [("ffn", 100, 10, None)]
    gpu = rows(report, "SELECT id, name, totalMemory, smCount, smMajor FROM TARGET_INFO_GPU")
    assert gpu == [(0, "H100", 80, 132, None)]
    [(product,)] = rows(report, "SELECT value FROM META_DATA_EXPORT WHERE name LIKE '%UCT_NAME'")
    assert str(product).startswith("PyTorch profiler")


def test_odd_names_are_kept_as_text(tmp_path: Path) -> None:
    names = ["[x] <b>", "a\nb", "\x1b[31m", "\ud83d", "né|'\"", "x" * 5000]
    _, report = converted(tmp_path, [event("user_annotation", name, 0, 1) for name in names])
    found = [text for (text,) in rows(report, "SELECT text FROM NVTX_EVENTS ORDER BY rowid")]
    assert found == ["?" if name == "\ud83d" else name for name in names]


def test_quotes_that_pytorch_left_in_a_name_are_mended(tmp_path: Path) -> None:
    text = json.dumps({"traceEvents": [event("user_annotation", "NAME", 0, 1)]})
    (tmp_path / "t.json").write_text(text.replace("NAME", 'layer "a", b'))
    convert(tmp_path / "t.json", tmp_path / "t.sqlite")
    assert rows(tmp_path / "t.sqlite", "SELECT text FROM NVTX_EVENTS") == [('layer "a", b',)]


@pytest.mark.parametrize("window", [1, 7, 64])
def test_a_value_may_lie_across_windows(
    window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WINDOW_BYTES", window)
    events = [event("cpu_op", "é" * at, at, 1.5) for at in range(1, 9)]
    summary, report = converted(tmp_path, events, baseTimeNanoseconds=BASE, trace_id=[1.5, "é"])
    assert summary.converted == {"TOOLKIT_OPERATOR": 8}
    query = "SELECT utcEpochNs FROM TARGET_INFO_SESSION_START_TIME"
    assert rows(report, query) == [(BASE + 1000,)]


def test_what_a_trace_loses_is_told_by_every_question(tmp_path: Path) -> None:
    launch = event("cuda_runtime", "cudaLaunchKernel", 1.5, 2, correlation=5)
    kernels = [kernel("k", 10 * n, 3) for n in range(1, 4)]
    events = [launch, *kernels, {**kernels[0], "dur": -1}, {**kernels[0], "ts": "x"}]
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    done = run_command("analysis.kernels", path)
    assert done.returncode == 0
    assert "note: 2 events of the trace left out: their times make no sense" in done.stderr


def test_a_device_whose_number_no_report_holds_is_left_out(tmp_path: Path) -> None:
    devices = [{"id": 2**70, "name": "far"}, {"id": 0, "name": "near", "totalGlobalMem": 2**70}]
    _, report = converted(tmp_path, [kernel("k", 1, 2)], deviceProperties=devices)
    assert rows(report, "SELECT id, name, totalMemory FROM TARGET_INFO_GPU") == [(0, "near", None)]
