import gzip
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from analysis.nvidia import __main__ as nvidia
from analysis.nvidia.cells import nvidia_statistics, rounded
from tests.made.reports.build_report import Call, Kernel, Memory, Range, make_report
from tests.made.tools import nvidia_tools, shared

REPORTS = (
    "cuda_gpu_kern_sum",
    "cuda_gpu_kern_sum-base",
    "nvtx_gpu_proj_sum",
    "nvtx_kern_sum",
    "nvtx_sum",
    "nvtx_pushpop_sum",
    "cuda_kern_exec_sum",
    "cuda_gpu_mem_time_sum",
    "cuda_gpu_mem_size_sum",
    "cuda_api_sum",
)
NVTX_ONLY = {"nvtx_sum", "nvtx_pushpop_sum"}


def expected(name: str, report: str) -> str:
    """Return what nsys prints of a real report, empty where it has nothing."""
    folder = shared.there(shared.SHARED / "reports" / "expected")
    plain, packed = folder / f"{name}.{report}.csv", folder / f"{name}.{report}.csv.gz"
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode()
    return plain.read_text() if plain.exists() else nvidia_tools.NOTHING


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("name", shared.WITH_KERNELS + shared.WITHOUT_KERNELS)
def test_every_report_of_every_real_file_equals_nvidias_letter_for_letter(
    name: str, report: str
) -> None:
    assert nvidia_tools.ours(shared.report(name), report) == expected(name, report)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("f(int, int)", 100, 110, launch=20),
            Kernel("g", 120, 150, launch=30),
            Kernel("g", 200, 204),
        ],
        ranges=[Range("outer", 0, 90), Range("x", 10, 25)],
    )


def test_the_projection_spans_the_first_start_to_the_last_end(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(small), "--report", "nvtx_gpu_proj_sum", "--format", "csv"]
    assert nvidia.main(argv) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Range,Style,Total Proj Time (ns),Total Range Time (ns),Range Instances,Proj Avg (ns),"
        "Proj Med (ns),Proj Min (ns),Proj Max (ns),Proj StdDev (ns),Total GPU Ops,Avg GPU Ops,"
        "Avg Range Lvl,Avg Num Child",
        "outer,PushPop,50,90,1,50.0,50.0,50,50,0.0,2,2.0,0.0,1.0",
        "x,PushPop,10,15,1,10.0,10.0,10,10,0.0,1,1.0,1.0,0.0",
        "",
    ]


def test_kernels_without_a_launch_have_a_row_without_range_and_thread(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nvidia.main([str(small), "--report", "nvtx_kern_sum", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        ",,,,0,1,4,4.0,4.0,4,4,0.0,g",
        "outer,PushPop,100,100,1,1,30,30.0,30.0,30,30,0.0,g",
        'outer,PushPop,100,100,1,1,10,10.0,10.0,10,10,0.0,"f(int, int)"',
        'x,PushPop,100,100,1,1,10,10.0,10.0,10,10,0.0,"f(int, int)"',
        "",
    ]


def test_a_table_for_people_and_json_hold_the_same_numbers(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nvidia.main([str(small), "--report", "nvtx_kern_sum", "--top", "2"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "NVTX Range  Style    PID  TID  NVTX Inst  Kern Inst  Total Time    Avg    Min    Max  "
        "Kernel Name",
        "─" * len("NVTX Range  Style    PID  TID  NVTX Inst  Kern Inst  Total Time    Avg    Min")
        + "─" * len("    Max  Kernel Name"),
        "                     -    -            0          1        4 ns   4 ns   4 ns   4 ns  g",
        "outer       PushPop  100  100          1          1       30 ns  30 ns  30 ns  30 ns  g",
    ]
    assert nvidia.main([str(small), "--format", "json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["Name"], first["Total Time (ns)"], first["Time (%)"]) == ("g", 34, 77.3)
    assert (second["Name"], second["Total Time (ns)"]) == ("f(int, int)", 10)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("nosuch", "no report 'nosuch'; there are: cuda_api_sum, cuda_gpu_kern_sum, "),
        ("nvtx_sum:base", "no argument 'base' of nvtx_sum; it takes none"),
        ("nvtx_kern_sum:nvtx-name", "of nvtx_kern_sum; it takes: base, mangled"),
    ],
)
def test_a_report_that_is_not_there_is_wrong_usage_and_names_those_that_are(
    small: Path, capsys: pytest.CaptureFixture[str], argument: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        nvidia.main([str(small), "--report", argument])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_old_names_and_names_of_files_are_understood(small: Path) -> None:
    for old, new in nvidia.OLD_NAMES.items():
        assert nvidia.request(old).name == new
    assert nvidia.request("gpukernsum:base") == nvidia.request("cuda_gpu_kern_sum-base")
    both = nvidia.request("cuda_kern_exec_sum:nvtx-name:mangled")
    assert (both.naming, both.nvtx_name) == ("mangled", True)


def test_a_report_that_has_nothing_is_one_line_and_1(small: Path) -> None:
    for report in ("cuda_gpu_mem_time_sum", "cuda_gpu_mem_size_sum"):
        command = [sys.executable, "-m", "analysis.nvidia", str(small), "--report", report]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: {small}: no copy and no set in this report; record")
        assert done.stderr.count("\n") == 1


def test_how_much_was_warm_up_is_said_beside_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 100, 130, launch=5), Kernel("a", 200, 210, launch=25)],
        ranges=[Range("warmup", 0, 20), Range("step", 20, 40)],
    )
    assert nvidia.main([str(path), "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[1] == "100.0,40,2,20.0,20.0,10,30,14.1,a"
    assert said.err == "note: 75.0 % of the work was warm-up: included, as NVIDIA's reports do\n"


def test_rounding_is_that_of_nvidias_sqlite() -> None:
    values = np.array([0.35, 0.25, 0.45, 0.15, 0.05, 1.45, 2.04, np.nan, 1e16])
    assert rounded(values).tolist()[:7] == [0.4, 0.3, 0.5, 0.2, 0.1, 1.5, 2.0]
    assert np.isnan(rounded(values)[7])
    assert rounded(values)[8] == 1e16


def test_a_deviation_half_way_between_two_prints_is_computed_row_by_row() -> None:
    found = nvidia_statistics(np.zeros(16, np.int64), np.array([1000] * 15 + [1001]), 1)
    assert found.std_ns.tolist() == [0.25]


@pytest.mark.parametrize(
    ("name", "said"),
    [("f(a, b)", '"f(a, b)"'), ('a"b', 'a"b'), ('f("x", 1)', '"f(""x"", 1)"'), ("a\nb", '"a\nb"')],
)
def test_names_are_written_as_nsys_does_where_that_can_be_read_back(
    tmp_path: Path, name: str, said: str
) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel(name, 0, 10)])
    assert nvidia_tools.ours(path, "cuda_gpu_kern_sum").endswith(f",10,10,0.0,{said}\n\n")


def test_a_report_imports_neither_pandas_nor_torch(small: Path) -> None:
    script = (
        f"import sys\nfrom analysis.nvidia.__main__ import main\nmain([{str(small)!r}])\n"
        "print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_what_makes_nvidias_report_fail_is_refused(tmp_path: Path) -> None:
    kernels = [Kernel("a", 100, 110, launch=10)]
    backwards = make_report(
        tmp_path / "b.sqlite", kernels=kernels, ranges=[Range("g", 5, 45), Range("h", 50, 40)]
    )
    twice = make_report(
        tmp_path / "t.sqlite", kernels=kernels, ranges=[Range("p", 0, 40, domain="D")]
    )
    with closing(sqlite3.connect(twice)) as connection:
        connection.execute(
            "INSERT INTO NVTX_EVENTS SELECT start, \"end\", eventType, 'E', globalTid + 1, NULL, "
            "NULL, domainId, NULL, NULL FROM NVTX_EVENTS WHERE eventType = 75"
        )
        connection.commit()
    for path in (backwards, twice):
        assert nvidia_tools.ours(path, "nvtx_gpu_proj_sum") == nvidia_tools.NOTHING
        assert nvidia_tools.ours(path, "nvtx_kern_sum") == nvidia_tools.NOTHING
    # Where there is no index, the range of a domain that two threads made counts twice.
    assert [
        line.split(",")[2] for line in nvidia_tools.ours(twice, "nvtx_sum").splitlines()[1:-1]
    ] == [
        "1",
        "1",
    ]


def test_a_launch_recorded_twice_counts_twice_as_in_nvidias_reports(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 100, 110, correlation=1)],
        calls=[
            Call("cudaLaunchKernel", 10, 20, 1),
            Call("cudaLaunchKernel_v7000", 12, 18, 1),
        ],
        memory=[Memory(120, 130, 2500, 1)],
        ranges=[Range("wide", 5, 45), Range("tight", 11, 19)],
    )
    rows = nvidia_tools.ours(path, "nvtx_kern_sum").splitlines()[1:-1]
    assert rows == [
        "tight,PushPop,100,100,1,1,10,10.0,10.0,10,10,0.0,a",
        "wide,PushPop,100,100,1,1,20,10.0,10.0,10,10,0.0,a",
    ]
    rows = nvidia_tools.ours(path, "nvtx_gpu_proj_sum").splitlines()[1:-1]
    assert [row.split(",")[2] for row in rows] == ["30", "30"]
    assert [row.split(",")[10] for row in rows] == ["1", "1"]
    size = nvidia_tools.ours(path, "cuda_gpu_mem_size_sum").splitlines()[1]
    assert size == "0.003,1,0.003,0.003,0.003,0.003,0.000,[CUDA memcpy Host-to-Device]"
