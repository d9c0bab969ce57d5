"""The converter's files: bad input, what it leaves behind, and real traces from eight GPUs."""

import csv
import gzip
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from analysis.show.command import run
from analysis.source.trace.convert import convert, main
from analysis.source.trace.fields import base_name
from tests.made.tools import shared
from tests.made.tools.nvidia_tools import theirs

EVENT = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 10, "tid": 11, "ts": 0, "dur": 1}


def rows(report: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{report.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def listing(path: Path) -> Mapping[str, bytes | None]:
    return {each.name: each.read_bytes() if each.is_file() else None for each in path.iterdir()}


GOOD = json.dumps({"traceEvents": [EVENT] * 50}).encode()
BAD: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "empty-gzip": (gzip.compress(b""), "empty"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", "not JSON"),
    "binary": (b"SQLite format 3\x00\xff\xfe", "not JSON"),
    "cut": (GOOD[:-900], "not JSON, or cut short"),
    "cut-in-a-string": (GOOD[:-15], "not JSON, or cut short"),
    "cut-gzip": (gzip.compress(GOOD)[:-9], "damaged or cut short"),
    "damaged-gzip": (gzip.compress(GOOD)[:30] + b"\0" * 60, "damaged or cut short"),
    "two-documents": (GOOD + GOOD, "more text after the end"),
    "malformed": (GOOD.replace(b'"pid": 10', b'"pid": xx', 1), "not JSON"),
    "deep": (b"[" * 200_000, "not JSON"),
    "no-trace": (b'{"steps": [1, 2]}', "no trace: it has no traceEvents"),
    "events-no-list": (b'{"traceEvents": 3}', "no trace: it has no traceEvents"),
    "number": (b"17", "not JSON"),
    "no-events": (b'{"traceEvents": []}', "without events"),
    "no-usable": (b'{"traceEvents": [{"ph": "X", "cat": "Trace"}]}', "only Trace 1"),
    "bad-payloads": (GOOD[:-1] + b', "toolkit_payloads": "x"}', "toolkit_payloads"),
    "bad-costs": (GOOD[:-1] + b', "toolkit_costs": [["a", 1]]}', "toolkit_costs"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_trace_is_one_line_and_leaves_all_as_it_was(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD[name]
    (tmp_path / "trace.json").write_bytes(content)
    (tmp_path / "report.sqlite").write_bytes(b"earlier")
    before = listing(tmp_path)
    trace, report = str(tmp_path / "trace.json"), str(tmp_path / "report.sqlite")
    assert run(lambda: main([trace, report, "--overwrite"])) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {trace}: ")
    assert err.count("\n") == 1
    assert message in err
    assert listing(tmp_path) == before


def test_a_trace_that_cannot_be_opened_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, message in ((tmp_path / "none.json", "no such file"), (tmp_path, "a directory")):
        assert run(lambda: main([str(source), str(tmp_path / "report.sqlite")])) == 1  # noqa: B023  (called at once)
        err = capsys.readouterr().err
        assert err.startswith(f"error: {source}: {message}")
        assert err.count("\n") == 1
    assert listing(tmp_path) == {}


def test_an_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.json"
    trace.write_bytes(GOOD)
    (tmp_path / "folder").mkdir()
    before = listing(tmp_path)
    for output, message in (
        (tmp_path / "none" / "r.sqlite", "cannot be written"),
        (trace / "r.sqlite", "cannot be written"),
        (tmp_path / ("x" * 300), "cannot be written"),
        (tmp_path / "folder", "a directory"),
        (trace, "is the trace itself"),
    ):
        assert run(lambda: main([str(trace), str(output), "--overwrite"])) == 1  # noqa: B023
        err = capsys.readouterr().err
        assert err.startswith(f"error: {output}: ")
        assert message in err
        assert err.count("\n") == 1
    assert listing(tmp_path) == before


def test_an_existing_report_is_refused_before_the_trace_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.sqlite"
    report.write_bytes(b"earlier")
    assert run(lambda: main([str(tmp_path / "none.json"), str(report)])) == 1
    assert capsys.readouterr().err == f"error: {report}: exists; give --overwrite or another name\n"
    assert listing(tmp_path) == {"report.sqlite": b"earlier"}


def test_overwrite_replaces_the_report_and_leaves_the_trace(tmp_path: Path) -> None:
    trace, report = tmp_path / "trace.json", tmp_path / "report.sqlite"
    trace.write_bytes(GOOD)
    report.write_bytes(b"earlier")
    assert main([str(trace), str(report), "--overwrite"]) == 0
    assert rows(report, "SELECT count(*) FROM TOOLKIT_OPERATOR") == [(1,)]
    assert trace.read_bytes() == GOOD
    assert set(listing(tmp_path)) == {"trace.json", "report.sqlite"}


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["only-one"])
    assert stop.value.code == 2
    assert "see python -m profiling.torch_trace --help" in capsys.readouterr().err


def command(*arguments: Path | str) -> list[str]:
    return [sys.executable, "-m", "profiling.torch_trace", *map(str, arguments)]


def test_a_full_disk_is_one_line_and_leaves_the_earlier_report(tmp_path: Path) -> None:
    events = [{**EVENT, "name": f"aten::{at}", "ts": at} for at in range(20_000)]
    (tmp_path / "trace.json").write_text(json.dumps(events))
    report = tmp_path / "report.sqlite"
    report.write_bytes(b"earlier")
    before = listing(tmp_path)
    limited = ["sh", "-c", 'ulimit -f 64 && exec "$@"', "sh"]
    run = subprocess.run(
        [*limited, *command(tmp_path / "trace.json", report, "--overwrite")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: {report}: cannot be written (")
    assert run.stderr.count("\n") == 1
    assert listing(tmp_path) == before


def test_an_interrupt_exits_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "trace.json"
    os.mkfifo(pipe)
    report = tmp_path / "report.sqlite"
    run = subprocess.Popen(command(pipe, report), stderr=subprocess.PIPE, text=True)
    with pipe.open("wb") as writing:
        writing.write(GOOD[:500])
        writing.flush()
        run.send_signal(signal.SIGINT)
    # A signal that comes just before a read is noticed after it: closing the pipe ends the read.
    _, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (130, "error: interrupted; no report was made\n")
    assert [each.name for each in tmp_path.iterdir()] == ["trace.json"]


def test_the_converter_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys, profiling.torch_trace; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.fixture(params=["gpt-8xh100-rank0", "gpt-8xh100-rank1"])
def real(request: pytest.FixtureRequest) -> Path:
    return shared.trace(str(request.param))


def by_name(trace: Path, category: str) -> dict[str, tuple[int, int]]:
    """Count and add up the trace's own events, without the converter."""
    counts: Counter[str] = Counter()
    total_ns: Counter[str] = Counter()
    for each in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]:
        if each.get("cat") == category:
            counts[each["name"]] += 1
            total_ns[each["name"]] += round(each["dur"] * 1000)
    return {name: (count, total_ns[name]) for name, count in counts.items()}


def test_a_real_trace_keeps_calls_and_time_of_every_kernel(real: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.sqlite"
    convert(real, report)
    found = rows(
        report,
        'SELECT value, count(*), sum("end" - start) FROM CUPTI_ACTIVITY_KIND_KERNEL '
        "JOIN StringIds ON id = demangledName GROUP BY value",
    )
    assert {name: (calls, total) for name, calls, total in found} == by_name(real, "kernel")
    [(launched,)] = rows(
        report,
        "SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL k WHERE EXISTS (SELECT 1 FROM "
        "CUPTI_ACTIVITY_KIND_RUNTIME r WHERE r.correlationId = k.correlationId "
        "AND r.globalTid & ~0xFFFFFF = k.globalPid)",
    )
    assert launched == {"gpt-8xh100-rank0": 2674}.get(real.name.split(".")[0], launched)


STATS = {
    "cuda_gpu_kern_sum": ("Name", "Instances"),
    "nvtx_sum": ("Range", "Instances"),
    "nvtx_pushpop_sum": ("Range", "Instances"),
    "cuda_gpu_mem_time_sum": ("Operation", "Count"),
    "cuda_api_sum": ("Name", "Num Calls"),
    "nvtx_gpu_proj_sum": ("Range", "Total GPU Ops"),
}
"""Reports of nsys: the columns of what they count, and how often."""


def stats(report: Path) -> dict[str, dict[str, int]]:
    """Return what `nsys stats` counts, by report and name."""
    nsys = os.environ.get("NSYS") or shutil.which("nsys")
    if not nsys:
        pytest.skip("nsys is not found: set NSYS=")
    return {
        name: {
            row[STATS[name][0]]: int(row[STATS[name][1]])
            for row in csv.DictReader(printed.strip().splitlines())
        }
        for name, printed in theirs(nsys, report, list(STATS)).items()
    }


def test_nsys_stats_counts_the_same_kernels_and_annotations(real: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.sqlite"
    convert(real, report)
    counted = stats(report)
    kernels = {name: calls for name, (calls, _) in by_name(real, "kernel").items()}
    assert counted["cuda_gpu_kern_sum"] == kernels
    ranges = {name: calls for name, (calls, _) in by_name(real, "user_annotation").items()}
    assert counted["nvtx_sum"] == counted["nvtx_pushpop_sum"] == ranges
    assert sum(counted["cuda_gpu_mem_time_sum"].values()) > 800
    assert counted["cuda_api_sum"]["cudaDeviceSynchronize"] == 1
    assert counted["nvtx_gpu_proj_sum"]


def test_short_names_are_those_of_nsys() -> None:
    pairs: set[tuple[object, ...]] = set()
    for name in ("train-step-small-a100", "forward-2.7b-a100", "sliced-2xh100", "no-meta-2021"):
        query = (
            "SELECT DISTINCT d.value, s.value FROM CUPTI_ACTIVITY_KIND_KERNEL "
            "JOIN StringIds d ON d.id = demangledName JOIN StringIds s ON s.id = shortName"
        )
        pairs.update(rows(shared.report(name), query))
    assert len(pairs) > 50
    assert [base_name(str(full)) for full, _ in pairs] == [short for _, short in pairs]
