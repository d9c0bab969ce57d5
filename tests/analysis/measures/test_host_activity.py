"""What the host did while a GPU was idle: calls, system calls, samples, scheduling, Python."""

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import Report, gaps
from tests.made.reports.build_host import Python, Running, Sample, SystemCall, add_host
from tests.made.reports.build_report import THREAD, Call, Kernel, make_report
from tests.made.tools import shared

OTHER = 101
"""A thread beside the one that launches."""

Row = dict[str, str]


def waiting(path: Path, *calls: Call, launch: int | None = 195) -> Path:
    """Write a report of two kernels with a gap from 100 to 200 between them."""
    kernels = [Kernel("a", 0, 100, launch=0), Kernel("b", 200, 300, launch=launch)]
    return make_report(path / "r.sqlite", kernels=kernels, calls=calls)


def found(path: Path) -> Row:
    """Return the only gap of a report."""
    with Report(path) as report:
        (row,) = gaps.gaps(report, min_gap_us=0).rows()
    return {name: str(row[name]) for name in ("call", "symbol", "module", "other_threads")}


def told(path: Path) -> tuple[str, str]:
    """Return the call and the symbol of the only gap of a report."""
    row = found(path)
    return row["call"], row["symbol"]


def sampled(*functions: str, thread: int = THREAD, since: int = 110) -> list[Sample]:
    """Return samples, 10 ns apart, each of one function."""
    return [
        Sample(since + 10 * number, (function, "main"), thread=thread)
        for number, function in enumerate(functions)
    ]


def test_a_cuda_call_comes_before_all_else(tmp_path: Path) -> None:
    path = waiting(tmp_path, Call("cudaMalloc_v3020", 110, 180, 50))
    add_host(path, samples=sampled("f", "f"), calls=[SystemCall("ioctl", 100, 190)])
    assert told(path) == ("cudaMalloc", "")


def test_a_system_call_comes_next(tmp_path: Path) -> None:
    path = waiting(tmp_path, Call("cudaMalloc_v3020", 110, 140, 50))
    add_host(path, samples=sampled("f", "f"), calls=[SystemCall("read", 140, 190)])
    assert told(path) == ("read", "")


def test_a_system_call_that_takes_less_than_half_does_not_count(tmp_path: Path) -> None:
    path = add_host(waiting(tmp_path), samples=sampled("f"), calls=[SystemCall("read", 100, 149)])
    assert told(path) == ("", "f")


def test_the_innermost_function_of_most_samples_is_the_symbol(tmp_path: Path) -> None:
    path = add_host(waiting(tmp_path), samples=sampled("g", "f", "f", "h"))
    row = found(path)
    assert (row["symbol"], row["module"]) == ("f", "libpython3.13.so.1.0")


def test_only_samples_inside_the_gap_and_of_the_launching_thread_count(tmp_path: Path) -> None:
    samples = [
        *(Sample(at, ("early",)) for at in (80, 90, 99)),
        Sample(100, ("first",)),
        *(Sample(at, ("late",)) for at in (200, 201, 202)),
        *sampled("elsewhere", "elsewhere", thread=OTHER),
    ]
    assert told(add_host(waiting(tmp_path), samples=samples)) == ("", "first")


def test_functions_without_a_name_are_called_by_their_module(tmp_path: Path) -> None:
    """Three addresses of one library, each sampled once, are more than one function twice."""
    names = ("0x7f72b474d6c9", "0x7f72b474d6c2", "0x7f72b474d6a1")
    samples = [
        *(Sample(110 + at, (name,), "libcuda.so.525") for at, name in enumerate(names)),
        *sampled("f", "f", since=150),
    ]
    row = found(add_host(waiting(tmp_path), samples=samples))
    assert (row["symbol"], row["module"]) == ("libcuda.so.525", "libcuda.so.525")


def test_a_function_of_which_neither_name_nor_module_is_known_is_no_symbol(tmp_path: Path) -> None:
    path = add_host(waiting(tmp_path), samples=sampled("f"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE SAMPLING_CALLCHAINS DROP COLUMN module")
        connection.commit()
    assert told(path) == ("", "f")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE StringIds SET value = '0x7f72b474d6c9' WHERE value = 'f'")
        connection.commit()
    assert told(path) == ("", "")


def test_the_helpers_of_the_garbage_collector_are_the_collector(tmp_path: Path) -> None:
    chain = ("gc_collect_main", "_PyEval_EvalFrameDefault")
    samples = [
        Sample(110, ("visit_decref", "dict_traverse", *chain)),
        Sample(120, ("visit_reachable", *chain)),
        Sample(130, chain),
        *sampled("f", "f", since=140),
    ]
    assert told(add_host(waiting(tmp_path), samples=samples)) == ("", "gc_collect_main")


def test_a_thread_that_no_cpu_runs_is_not_scheduled(tmp_path: Path) -> None:
    path = add_host(
        waiting(tmp_path),
        samples=sampled("f"),
        running=[Running(0, 110), Running(190, 300)],
    )
    assert told(path) == ("", "not scheduled")


def test_a_thread_that_runs_for_most_of_the_gap_is_told_by_its_samples(tmp_path: Path) -> None:
    path = add_host(
        waiting(tmp_path), samples=sampled("f"), running=[Running(0, 110), Running(150, 300)]
    )
    assert told(path) == ("", "f")


@pytest.mark.parametrize(
    ("running", "symbol"),
    [
        (Running(250, 260), "not scheduled"),  # it got a CPU after the gap
        (Running(0, 90), "not scheduled"),  # and lost it before
        (Running(0, 90, thread=OTHER), ""),  # nothing is known of the thread
    ],
)
def test_scheduling_holds_until_the_next_event(
    tmp_path: Path, running: Running, symbol: str
) -> None:
    assert told(add_host(waiting(tmp_path), running=[running])) == ("", symbol)


def test_what_other_threads_did_is_told_where_the_launching_one_waits(tmp_path: Path) -> None:
    path = add_host(
        waiting(tmp_path),
        calls=[SystemCall("pthread_cond_wait", 100, 190)],
        samples=[
            *sampled("decode", "decode", "resize", thread=OTHER),
            *(Sample(110 + at, ("elsewhere",), process=200) for at in range(9)),
        ],
    )
    row = found(path)
    assert (row["call"], row["symbol"], row["other_threads"]) == ("pthread_cond_wait", "", "decode")


def test_of_a_gap_without_a_known_launch_the_devices_main_thread_is_looked_at(
    tmp_path: Path,
) -> None:
    assert told(add_host(waiting(tmp_path, launch=None), samples=sampled("f"))) == ("", "f")


def test_python_functions_of_a_trace_come_last(tmp_path: Path) -> None:
    functions = [
        Python("train.py(3): main", 0, 400),
        Python("train.py(9): read", 105, 190),
        Python("<built-in function loads>", 110, 180),
    ]
    path = add_host(waiting(tmp_path), python=functions)
    assert told(path) == ("", "<built-in function loads>")
    add_host(path, samples=sampled("f"))
    assert told(path) == ("", "f")


def test_where_autograds_thread_launches_python_is_that_of_another_thread(tmp_path: Path) -> None:
    path = make_report(
        tmp_path / "r.sqlite",
        kernels=[Kernel("a", 0, 100), Kernel("b", 200, 300, launch=195)],
        calls=[Call("cudaLaunchKernel", 0, 1, 1, thread=OTHER)],
    )
    functions = [Python("<method 'run_backward'>", 50, 400, thread=OTHER)]
    assert told(add_host(path, python=functions)) == ("", "<method 'run_backward'>")


def test_nothing_is_known_without_any_of_it(tmp_path: Path) -> None:
    assert set(found(waiting(tmp_path)).values()) == {""}


SAMPLES = st.lists(
    st.tuples(st.integers(90, 210), st.sampled_from("fgh"), st.sampled_from((THREAD, OTHER))),
    max_size=12,
)


@settings(max_examples=30)
@given(SAMPLES)
def test_the_symbol_is_what_counting_gives(drawn: list[tuple[int, str, int]]) -> None:
    count = Counter(name for at, name, thread in drawn if 100 <= at < 200 and thread == THREAD)
    samples = [Sample(at, (name,), thread=thread) for at, name, thread in drawn]
    with TemporaryDirectory() as folder:
        call, symbol = told(add_host(waiting(Path(folder)), samples=samples))
    assert call == ""
    assert symbol == min(count, key=lambda name: (-count[name], name), default="")


def counted_by_hand(path: Path, start: int, end: int, process: int) -> tuple[str, str]:
    """Return the call and the symbol of a gap, of a report with one launching thread, from SQL."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    within = 'max(0, min(e."end", :end) - max(e.start, :start))'
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:

        def ask(sql: str) -> list[tuple[str, int]]:
            values = {"start": start, "end": end, "tid": tid}
            return connection.execute(sql, values).fetchall()

        (tid,) = connection.execute(
            "SELECT globalTid FROM CUPTI_ACTIVITY_KIND_RUNTIME r "
            "JOIN CUPTI_ACTIVITY_KIND_KERNEL k USING (correlationId) LIMIT 1"
        ).fetchone()
        assert tid >> 24 & 0xFFFFFF == process
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for table in {"CUPTI_ACTIVITY_KIND_RUNTIME", "OSRT_API"} & known:
            found[table] = dict(
                ask(
                    f"SELECT value, sum({within}) FROM {table} e JOIN StringIds ON id = nameId "
                    "WHERE globalTid = :tid GROUP BY 1 HAVING 2 > 0"
                )
            )
        switches = ask(
            "SELECT isSchedIn, max(:start, min(:end, start)) FROM SCHED_EVENTS "
            "WHERE globalTid = :tid ORDER BY start"
        )
        leaves = ask(
            "SELECT CASE WHEN s.value LIKE '0x%' THEN m.value ELSE s.value END, count(*) "
            "FROM COMPOSITE_EVENTS e JOIN SAMPLING_CALLCHAINS c ON c.id = e.id AND stackDepth = 0 "
            "JOIN StringIds s ON s.id = symbol JOIN StringIds m ON m.id = module "
            "WHERE globalTid = :tid AND e.start >= :start AND e.start < :end GROUP BY 1 "
            "ORDER BY 2 DESC, 1"
        )
    for table in ("CUPTI_ACTIVITY_KIND_RUNTIME", "OSRT_API"):
        name, took = max(found[table].items(), key=lambda pair: pair[1], default=("", 0))
        if took and took >= end - start - sum(found[table].values()):
            return name.partition("_v")[0], ""
    on_cpu = sum(at if not arrives else -at for arrives, at in switches)
    on_cpu += end if switches[-1][0] else 0
    on_cpu -= start if not switches[0][0] else 0
    if 2 * on_cpu < end - start:
        return "", "not scheduled"
    return "", leaves[0][0] if leaves else ""


@pytest.mark.parametrize("name", ["cpu-samples-4060ti", "cpu-samples-cpp"])
def test_the_largest_gaps_of_real_reports_are_as_a_hand_count_says(name: str) -> None:
    path = shared.report(name)
    with Report(path) as report:
        rows = list(gaps.gaps(report).rows())
    assert (rows[0]["call"], rows[0]["symbol"]) != ("", "")
    for row in (*rows[:3], rows[10]):
        start, process = int(row["start_ns"]), int(row["process"])
        by_hand = counted_by_hand(path, start, start + int(row["duration_ns"]), process)
        assert (row["call"], row["symbol"]) == by_hand
