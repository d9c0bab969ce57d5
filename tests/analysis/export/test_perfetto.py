"""Traces of Perfetto hold the whole report: every slice with its times, ties and names."""

import io
import json
import sqlite3
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from analysis import Report
from analysis.export import __main__ as export
from analysis.export.ranks import Ranks
from analysis.overlap import overlap
from analysis.show import cli
from tests.made.reports.build_report import (
    PROCESS,
    THREAD,
    Call,
    Graph,
    Kernel,
    Memory,
    Operator,
    Range,
    global_id,
    make_report,
)
from tests.made.reports.decoded_perfetto import Decoded, decoded
from tests.made.tools.shared import report, trace

REAL = ("train-step-small-a100", "mpi-saxpy-2022.2", "cpu-samples-cpp", "nvtx-only-2022.4")


def exported(*paths: Path, output: Path, options: tuple[str, ...] = ()) -> bytes:
    """Return what the command writes."""
    given = [*map(str, paths), "--output", str(output), *options]
    assert cli.run(lambda: export.main(given)) == 0
    return output.read_bytes()


@pytest.fixture
def made(tmp_path: Path) -> Decoded:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("gemm", 20, 40, launch=2),
            Kernel("relu", 30, 35, launch=4, stream=9),  # while gemm runs
            Kernel("late", 38, 50, launch=6),  # overlaps gemm on its stream
            Kernel("alone", 60, 61, device=1, process=200),
        ],
        memory=[Memory(10, 15, 4096, correlation=9), Memory(15, 16, 64, correlation=10, kind=None)],
        graphs=[Graph(5, 70, 90)],
        calls=[
            Call("cudaMemcpyAsync_v3020", 7, 8, correlation=9),
            Call("cudaDeviceSynchronize", 50, 90, correlation=11, thread=101),
        ],
        ranges=[
            Range("forward", 1, 9, payload=12),
            Range("inner", 1, 9),
            Range("other domain", 5, 12, domain="theirs"),  # overlaps forward
            Range("instant", 9, 9),
            Range("begun", 3, 30, kind=60),
            Range("ended later", 10, 40, kind=60),
        ],
        threads={100: "main thread"},
        gpus=["A100", "H100"],
    )
    return decoded(exported(path, output=tmp_path / "out.pftrace"))


def test_work_of_gpus_may_overlap_and_has_its_stream(made: Decoded) -> None:
    assert [
        (each.name, each.start, each.end, each.gpu, each.queue, each.stage, each.process)
        for each in made.gpu.values()
    ] == [
        ("gemm", 20, 40, 0, "stream 7 of process 100", "kernel", 100),
        ("relu", 30, 35, 0, "stream 9 of process 100", "kernel", 100),
        ("late", 38, 50, 0, "stream 7 of process 100", "kernel", 100),
        ("alone", 60, 61, 1, "stream 7 of process 200", "kernel", 200),
        ("[CUDA graph replay] graph 5", 70, 90, 0, "no stream of process 100", *GRAPH),
        ("memcpy Host-to-Device", 10, 15, 0, "no stream of process 100", "copy", 100),
        ("memset", 15, 16, 0, "no stream of process 100", "set", 100),
    ]
    assert made.gpus == ["A100", "H100"]


GRAPH = ("CUDA graph replay", 100)


def test_copies_have_their_bytes(made: Decoded) -> None:
    assert [each.told for each in made.gpu.values() if each.told] == [
        {"bytes": "4096"},
        {"bytes": "64"},
    ]


def test_calls_stand_beside_their_thread_and_are_tied_to_what_they_started(made: Decoded) -> None:
    found = made.on("CUDA calls")
    started = [
        (each.name, each.start, [made.gpu[one].name for one in each.started]) for each in found
    ]
    assert started == [
        ("cudaLaunchKernel_v7000", 2, ["gemm"]),
        ("cudaLaunchKernel_v7000", 4, ["relu"]),
        ("cudaLaunchKernel_v7000", 6, ["late"]),
        ("cudaMemcpyAsync_v3020", 7, ["memcpy Host-to-Device"]),
        ("cudaDeviceSynchronize", 50, []),
    ]
    assert {each.track for each in found} == {
        ("thread 100 main thread", "CUDA calls"),
        ("thread 101", "CUDA calls"),
    }


def test_ranges_nest_on_their_thread_and_what_overlaps_has_a_track_of_its_own(
    made: Decoded,
) -> None:
    thread = ("thread 100 main thread",)
    assert [
        (each.name, each.start, each.end, each.track, each.told)
        for each in made.host
        if each.track[-1] != "CUDA calls"
    ] == [
        ("forward", 1, 9, thread, {"payload": 12}),
        ("inner", 1, 9, thread, {}),
        ("begun", 3, 30, (*thread, "started and ended ranges"), {}),
        ("other domain", 5, 12, (*thread, "ranges"), {}),
        ("instant", 9, 9, thread, {}),
        ("ended later", 10, 40, (*thread, "started and ended ranges"), {}),
    ]


def test_processes_are_called_as_their_main_threads(made: Decoded) -> None:
    described = [each.process for each in made.tracks.values() if each.HasField("process")]
    assert [(each.pid, each.process_name) for each in described] == [
        (100, "main thread"),
        (200, "process 200"),
    ]


def test_the_busy_share_adds_up_to_the_busy_time(made: Decoded) -> None:
    values = made.counters["GPU 0 busy"]
    width = values[1][0] - values[0][0]
    assert sum(value for _, value in values) / 100 * width == 6 + 30 + 20
    assert values[-1][1] == 0


def test_operators_of_a_cpu_run_are_slices_whole_and_nested(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[
            Operator("aten::linear", 0, 10, 4),
            Operator("aten::addmm", 2, 8, 6),
            Operator("MulBackward0", 20, 30, 10, thread=7),
        ],
    )
    found = decoded(exported(path, output=tmp_path / "o"))
    assert [(each.name, each.start, each.end) for each in found.on("operators")] == [
        ("aten::linear", 0, 10),
        ("aten::addmm", 2, 8),
        ("MulBackward0", 20, 30),
    ]
    assert not found.gpu


def test_times_before_the_start_are_all_moved_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("a", -5, 3), Range("b", 4, 6)])
    found = decoded(exported(path, output=tmp_path / "o"))
    assert [(each.start, each.end) for each in found.host] == [(0, 8), (9, 11)]
    assert "all times are 5 ns later" in capsys.readouterr().err


@pytest.mark.parametrize("name", REAL)
def test_every_row_of_a_real_report_is_there_to_the_nanosecond(name: str, tmp_path: Path) -> None:
    path = report(name)
    found = decoded(exported(path, output=tmp_path / "o"))
    gpu = Counter((each.start, each.end) for each in found.gpu.values())
    calls = Counter((each.start, each.end) for each in found.on("CUDA calls"))
    ranges = Counter(
        (each.start, each.end)
        for each in found.host
        if len(each.track) == 1 or each.track[-1].endswith("ranges")
    )
    work = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
    assert gpu == sum((times(path, f"CUPTI_ACTIVITY_KIND_{table}") for table in work), Counter())
    assert calls == times(path, "CUPTI_ACTIVITY_KIND_RUNTIME")
    assert ranges == times(path, "NVTX_EVENTS", 'WHERE eventType IN (59, 60) AND "end" NOTNULL')


def times(path: Path, table: str, where: str = "") -> Counter[tuple[int, int]]:
    """Return how many rows of a table have each start and end."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))
        if not there.fetchone():
            return Counter()
        return Counter(connection.execute(f'SELECT start, "end" FROM {table} {where}').fetchall())


def test_each_piece_of_real_work_is_tied_to_the_call_with_its_correlation(tmp_path: Path) -> None:
    path = report("train-step-small-a100")
    found = decoded(exported(path, output=tmp_path / "o"))
    tied = Counter(
        (call.start, found.gpu[one].start)
        for call in found.on("CUDA calls")
        for one in call.started
    )
    sql = (
        "SELECT r.start, k.start FROM CUPTI_ACTIVITY_KIND_{} AS k JOIN CUPTI_ACTIVITY_KIND_RUNTIME "
        "AS r ON r.correlationId = k.correlationId"
    )
    expected: Counter[tuple[int, int]] = Counter()
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        for table in ("KERNEL", "MEMCPY", "MEMSET"):
            expected.update(connection.execute(sql.format(table)).fetchall())
    assert tied == expected
    assert tied.total() == len(found.gpu)


def test_two_real_ranks_are_one_archive_on_one_clock(tmp_path: Path) -> None:
    paths = [trace(f"gpt-8xh100-rank{rank}") for rank in range(2)]
    content = exported(*paths, output=tmp_path / "run.tar")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    assert list(members) == ["perfetto_manifest.json", "0.pftrace", "1.pftrace"]
    manifest = json.loads(members["perfetto_manifest.json"])["perfetto_manifest"]
    first, second = manifest["files"]
    assert (first["machine"], second["machine"]) == ({"name": "rank 0"}, {"name": "rank 1"})
    with Report(paths[0]) as one, Report(paths[1]) as other:
        ranks = Ranks.of([one, other])
        said = overlap(one, other, exclude=["none"]).heading
    assert second["clocks"]["offset_ns"] == ranks.offset_ns[1] == -9_032_404
    assert "recordings began within 9.032 ms" in said
    for member, timeline in zip(("0.pftrace", "1.pftrace"), ranks.timelines, strict=True):
        found = decoded(members[member])
        assert len(found.gpu) == len(timeline.work)
        assert [each.start for each in found.gpu.values()] == [
            start + ranks.base_ns for start in timeline.work.start_ns.tolist()
        ]
        assert len(found.host) == sum(map(len, timeline.slices))
    # On the common clock the collectives of both end together, and nothing is below 0.
    assert min(each.start for each in found.gpu.values()) + ranks.offset_ns[1] >= 0


def test_memory_that_was_recorded_is_a_counter_of_its_process(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("a", 0, 9)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE TOOLKIT_MEMORY (time_ns INTEGER, device INTEGER, global_tid INTEGER, "
            "address INTEGER, delta_bytes INTEGER, allocated_bytes INTEGER, peak_bytes INTEGER)"
        )
        thread = global_id(PROCESS, THREAD)
        changes = [(2, 0, thread, 1, 512, 512, 512), (5, 0, thread, 1, -512, 0, 512)]
        connection.executemany("INSERT INTO TOOLKIT_MEMORY VALUES (?, ?, ?, ?, ?, ?, ?)", changes)
        connection.commit()
    found = decoded(exported(path, output=tmp_path / "o"))
    assert found.counters == {"memory held on cuda:0": [(2, 512), (5, 0)]}
    [track] = [each for each in found.tracks.values() if each.HasField("counter")]
    assert found.path(track.parent_uuid) == ("process 100 process 100",)
