import csv
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import Report, kernels
from analysis.arithmetic.statistics import DURATION_BITS, summarize
from analysis.show.errors import ReportError
from tests.made.reports.build_report import Graph, Kernel, Operator, Range, make_report
from tests.made.tools import shared

HEADER = "name,category,calls,total_ns,mean_ns,median_ns,min_ns,max_ns,std_ns,share,source"


def ranked(path: Path, **options: int | str) -> list[tuple[object, ...]]:
    """Return name, calls and total of each row."""
    with Report(path) as report:
        rows = kernels.ranking(report, **options).rows()  # type: ignore[arg-type]  # by keyword
    return [(row["name"], row["calls"], row["total_ns"]) for row in rows]


def test_the_whole_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("ampere_sgemm", 0, 10),
            Kernel("softmax", 10, 20),
            Kernel("ampere_sgemm", 20, 40),
            Kernel("ampere_sgemm", 40, 100),
        ],
    )
    assert kernels.main([str(path), "--format", "csv"]) == 0
    assert capsys.readouterr().out == (
        f"{HEADER}\n"
        "ampere_sgemm,gemm,3,90,30.0,20.0,10,60,26.457513110645905,0.9,kernel\n"
        "softmax,softmax,1,10,10.0,10.0,10,10,0.0,0.1,kernel\n"
    )


def test_the_whole_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("ampere_sgemm", 0, 3_000_000), Kernel("cunn_SoftMax", 10, 1_000_010)],
        gpus=["NVIDIA H100"],
    )
    assert kernels.main([str(path)]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "r.sqlite · nsys 2023.4.4 · NVIDIA H100",
        "2 kernels, 4.000 ms in all",
        "",
        "name          category  calls     total      mean    median       min       max   share",
        "───────────────────────────────────────────────────────────────────────────────────────",
        "ampere_sgemm  gemm          1  3.000 ms  3.000 ms  3.000 ms  3.000 ms  3.000 ms  75.0 %",
        "cunn_SoftMax  softmax       1  1.000 ms  1.000 ms  1.000 ms  1.000 ms  1.000 ms  25.0 %",
    ]


def test_equal_times_are_ordered_by_fewer_calls_and_then_by_name(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            *(Kernel("twice", start, start + 5) for start in (0, 10)),
            Kernel("b", 20, 30),
            Kernel("a", 30, 40),
        ],
    )
    assert ranked(path) == [("a", 1, 10), ("b", 1, 10), ("twice", 2, 10)]


def test_sort_calls_puts_the_most_often_called_first(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("long", 0, 100), Kernel("short", 0, 1), Kernel("short", 1, 2)],
    )
    assert ranked(path, sort="calls") == [("short", 2, 2), ("long", 1, 100)]


def test_a_category_sums_its_kernels_and_its_median_is_over_all_their_calls(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("sgemm_a", 0, 10), Kernel("sgemm_b", 0, 20), Kernel("gemv", 0, 60)],
    )
    with Report(path) as report:
        (row,) = kernels.ranking(report, by="category").rows()
    assert (row["name"], row["category"], row["calls"]) == ("gemm", "gemm", 3)
    assert (row["total_ns"], row["median_ns"], row["share"]) == (90, 20.0, 1.0)


def test_graph_replays_are_rows_of_their_own_and_are_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("sgemm", 0, 10)],
        graphs=[Graph(4, 10, 40), Graph(4, 40, 90), Graph(5, 90, 100)],
    )
    assert kernels.main([str(path), "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert [[*line.split(",")[:4], line.split(",")[-1]] for line in said.out.splitlines()[1:]] == [
        ["[CUDA graph replay] graph 4", "other", "2", "80", "graph"],
        ["[CUDA graph replay] graph 5", "other", "1", "10", "graph"],
        ["sgemm", "gemm", "1", "10", "kernel"],
    ]
    assert "3 CUDA graph replays, 90 ns" in said.err


def test_a_report_of_graph_replays_alone_has_a_ranking(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", graphs=[Graph(1, 0, 10)])
    assert ranked(path) == [("[CUDA graph replay] graph 1", 1, 10)]


def test_a_category_of_kernels_and_replays_names_both_sources(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel("mystery", 0, 1)], graphs=[Graph(1, 0, 1)]
    )
    with Report(path) as report:
        (row,) = kernels.ranking(report, by="category").rows()
    assert (row["name"], row["source"]) == ("other", "kernel+graph")


def test_device_and_process_keep_only_theirs(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[
            Kernel("a", 0, 1, device=0, process=100),
            Kernel("b", 0, 2, device=1, process=100),
            Kernel("c", 0, 4, device=1, process=200),
        ],
        graphs=[Graph(9, 0, 8, device=0, process=200)],
    )
    assert ranked(path, device=1) == [("c", 1, 4), ("b", 1, 2)]
    assert ranked(path, process=200) == [("[CUDA graph replay] graph 9", 1, 8), ("c", 1, 4)]
    assert ranked(path, device=0, process=100) == [("a", 1, 1)]
    with Report(path) as report, pytest.raises(ReportError, match=r"no device 7; .* has: 0, 1$"):
        kernels.ranking(report, device=7)
    with Report(path) as report, pytest.raises(ReportError, match=r"process 1; .*: 100, 200$"):
        kernels.ranking(report, process=1)


def test_a_name_missing_from_the_strings_is_kept_under_its_number(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("gone", 0, 3)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM StringIds")
        connection.commit()
    assert ranked(path) == [("[no string 1]", 1, 3)]


def test_the_oldest_schema_has_a_ranking(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("mm", 0, 3)])
    with closing(sqlite3.connect(path)) as connection:
        for column in ("mangledName", "globalPid", "demangledName", "deviceId"):
            connection.execute(f"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN {column}")
        connection.execute("DROP TABLE META_DATA_EXPORT")
        connection.commit()
    assert ranked(path) == [("mm", 1, 3)]
    with Report(path) as report, pytest.raises(ReportError, match=r"process 1; .* has: none$"):
        kernels.ranking(report, process=1)


def test_two_names_that_differ_only_in_bytes_that_are_not_utf8_are_one_row(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite", kernels=[Kernel(b"k\xcf", 0, 1), Kernel(b"k\xee", 0, 2)]
    )
    assert ranked(path) == [("k\ufffd", 2, 3)]


def test_operators_take_the_place_of_kernels_and_the_heading_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        operators=[
            Operator("aten::linear", 0, 10, self_ns=2),
            Operator("aten::mm", 1, 9, self_ns=8),
            Operator("autograd::engine::evaluate_function: MmBackward0", 20, 30, self_ns=10),
        ],
        run={"device_name": "a CPU"},
        product="torch recorder",
    )
    assert kernels.main([str(path)]) == 0
    said = capsys.readouterr()
    assert [line.rstrip() for line in said.out.splitlines()] == [
        "r.sqlite · torch recorder 2023.4.4 · a CPU",
        "no GPU kernels in this report: CPU operators, by self time",
        "2 CPU operator calls, 10 ns in all",
        "",
        "name          category  calls  total  mean  median   min   max   share",
        "──────────────────────────────────────────────────────────────────────",
        "aten::mm      gemm          1   8 ns  8 ns    8 ns  8 ns  8 ns  80.0 %",
        "aten::linear  gemm          1   2 ns  2 ns    2 ns  2 ns  2 ns  20.0 %",
    ]
    assert "1 row, 10 ns, is no aten:: operators" in said.err
    assert kernels.main([str(path), "--format", "csv"]) == 0
    assert all(row.endswith(",operator") for row in capsys.readouterr().out.splitlines()[1:])


def test_kernels_are_ranked_even_where_there_are_operators_too(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("sgemm", 0, 1)],
        operators=[Operator("aten::mm", 0, 9, self_ns=9)],
    )
    assert ranked(path) == [("sgemm", 1, 1)]


def test_a_cpu_run_has_no_device(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", operators=[Operator("aten::mm", 0, 9, self_ns=9)])
    with Report(path) as report, pytest.raises(ReportError, match="no device 0: a CPU run"):
        kernels.ranking(report, device=0)
    assert ranked(path, process=100) == [("aten::mm", 1, 9)]


def test_ranges_alone_are_nothing_to_rank(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", ranges=[Range("step", 0, 9)])
    with Report(path) as report, pytest.raises(ReportError, match=r"no CUDA kernels .*; record"):
        kernels.ranking(report)


def test_a_report_gives_the_same_as_a_frame(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("b", 0, 1), Kernel("a", 0, 2)])
    with Report(path) as report:
        frame = report.kernels()
    assert ",".join(frame.columns) == HEADER
    assert frame["name"].tolist() == ["a", "b"]
    assert frame["total_ns"].dtype == np.int64


def test_a_replay_whose_graph_has_no_number_is_kept(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", graphs=[Graph(4, 0, 10)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE DROP COLUMN graphId")
        connection.commit()
    assert ranked(path) == [("[CUDA graph replay] graph unknown", 1, 10)]


def as_nvidia(value: float) -> str:
    """Round as SQLite does: halves away from zero."""
    return str(Decimal(repr(value)).quantize(Decimal("0.1"), ROUND_HALF_UP))


@pytest.mark.parametrize("name", shared.WITH_KERNELS)
def test_the_ranking_equals_nvidias(name: str) -> None:
    with shared.expected(name, "cuda_gpu_kern_sum").open(newline="") as file:
        theirs = [list(row.values())[1:] for row in csv.DictReader(file)]
    with Report(shared.report(name)) as report:
        rows = kernels.ranking(report, exclude=("none",)).rows()
    ours = [
        [
            *(str(row["total_ns"]), str(row["calls"])),
            *(as_nvidia(float(row[each])) for each in ("mean_ns", "median_ns")),
            *(str(row["min_ns"]), str(row["max_ns"]), as_nvidia(float(row["std_ns"]))),
            row["name"],
        ]
        for row in rows
        if row["source"] == "kernel"
    ]
    assert ours == theirs


def test_shares_are_of_everything_listed_graphs_included() -> None:
    with Report(shared.report("cuda-graphs-a100")) as report:
        rows = kernels.ranking(report).rows()
    assert rows[0]["name"] == "[CUDA graph replay] graph 4"
    assert rows[0]["calls"] == 10
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1)


def test_a_gpu_trace_of_pytorch_is_ranked_like_a_report() -> None:
    rows = ranked(shared.trace("gpt-8xh100-rank0"))
    assert sum(int(str(row[1])) for row in rows) == 2917


def test_help_imports_nothing_that_is_slow() -> None:
    script = (
        "import sys, analysis.kernels\n"
        "try: analysis.kernels.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'matplotlib', 'pandas', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_ranking_imports_neither_pandas_nor_torch(tmp_path: Path) -> None:
    path = make_report(tmp_path / "r.sqlite", kernels=[Kernel("b", 0, 1)])
    script = (
        f"import sys, analysis.kernels\nanalysis.kernels.main([{str(path)!r}])\n"
        "print(sorted({'torch', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


durations = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1 << 42)), max_size=40)


@given(durations)
def test_statistics_equal_those_computed_one_group_at_a_time(pairs: list[tuple[int, int]]) -> None:
    group = np.array([group for group, _ in pairs], np.int64)
    duration = np.array([duration for _, duration in pairs], np.int64)
    found = summarize(group, duration, 5)
    for number in range(5):
        own = duration[group == number]
        assert found.calls[number] == len(own)
        assert found.total_ns[number] == own.sum()
        if len(own):
            assert found.mean_ns[number] == pytest.approx(own.mean())
            assert found.median_ns[number] == pytest.approx(float(np.median(own)))
            assert (found.min_ns[number], found.max_ns[number]) == (own.min(), own.max())
        deviation = float(np.std(own, ddof=1)) if len(own) > 1 else 0.0
        assert found.std_ns[number] == pytest.approx(deviation)


def test_durations_too_long_to_be_packed_are_sorted_all_the_same() -> None:
    long = 1 << DURATION_BITS
    found = summarize(np.array([0, 1, 0]), np.array([long + 2, 1, long]), 2)
    assert found.total_ns.tolist() == [2 * long + 2, 1]
    assert found.min_ns.tolist() == [long, 1]
    assert found.median_ns.tolist() == [long + 1, 1]
