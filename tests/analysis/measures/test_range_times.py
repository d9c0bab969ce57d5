"""What ranges launched: beside NVIDIA's numbers, and beside looking at every pair."""

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import Report
from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Selection
from analysis.knowledge.vocabulary import clean
from analysis.measures.range_times import operations, range_times
from analysis.ranges.summary import summary
from tests.made.reports.build_report import Kernel, Range, make_report
from tests.made.tools import shared


def nvidias(name: str) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """Return NVIDIA's spans, operations and instances by domain, our name and style."""
    path = shared.expected(name, "nvtx_gpu_proj_sum") if name in PLAIN else zipped(name)
    found: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
        for row in csv.DictReader(stream):
            domain = next((each for each in DOMAINS if row["Range"].startswith(f"{each}:")), "")
            bare = row["Range"].removeprefix(f"{domain}:")
            key = (domain, clean(bare), row["Style"])
            columns = ("Total Proj Time (ns)", "Total GPU Ops", "Range Instances")
            old = found.get(key, (0, 0, 0))
            found[key] = tuple(a + int(row[b]) for a, b in zip(old, columns, strict=True))  # type: ignore[assignment]
    return found


def rows(name: str) -> list[dict[str, Any]]:
    with Report(shared.report(name)) as report:
        return summary(report, exclude=("none",)).rows()


def zipped(name: str) -> Path:
    return shared.there(shared.SHARED / "reports" / "expected" / f"{name}.nvtx_gpu_proj_sum.csv.gz")


PLAIN = ("forward-2.7b-a100", "mpi-saxpy-2022.2", "registered-strings-cupy")
ZIPPED = ("fsdp-2xh100-after", "fsdp-2xh100-before", "sliced-2xh100", "train-step-small-a100")
DOMAINS = ("CCCL", "cuBLAS")


@pytest.mark.parametrize("name", [*PLAIN, *ZIPPED])
def test_spans_and_operations_are_nvidias(name: str) -> None:
    expected = nvidias(name)
    ours = {
        (row["domain"], row["range"], row["style"]): (
            row["span_ns"],
            row["gpu_ops"],
            row["instances"],
        )
        for row in rows(name)
        if row["gpu_ops"]
    }
    # NVIDIA counts the instances that launched anything, we all of them.
    assert {key: each[:2] for key, each in ours.items()} == {
        key: each[:2] for key, each in expected.items()
    }
    assert all(ours[key][2] >= each[2] for key, each in expected.items())


instants = st.integers(0, 30)
opened = st.tuples(instants, instants).map(sorted)
some_ranges = st.lists(st.tuples(st.sampled_from("ab"), opened, st.integers(100, 101)), max_size=6)
some_kernels = st.lists(
    st.tuples(instants, st.integers(100, 120), st.integers(1, 9), st.integers(100, 101)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(made=some_ranges.filter(bool), launched=some_kernels)
def test_times_are_those_that_looking_at_every_pair_finds(
    made: list[Any], launched: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = make_report(
        tmp_path_factory.mktemp("random") / "r.sqlite",
        ranges=[Range(name, times[0], times[1], thread=thread) for name, times, thread in made],
        kernels=[
            Kernel("k", begin, begin + long, launch=at, thread=thread)
            for at, begin, long, thread in launched
        ],
    )
    with Report(path) as report:
        chosen = Selected.of(report, Selection())
        attribution = chosen.attribution
        times, done = range_times(chosen), operations(chosen)
    own = dict.fromkeys(range(len(attribution.ranges)), 0)
    for place in range(len(attribution.ranges)):
        inside = [call for call in range(len(done.start_ns)) if has(attribution, place, done, call)]
        spent = [set(range(done.start_ns[call], done.end_ns[call])) for call in inside]
        busy = set().union(*spent)
        assert times.gpu_ops[place] == len(inside)
        assert times.busy_ns[place] == len(busy)
        assert times.kernel_ns[place] == sum(map(len, spent))
        assert times.span_ns[place] == (max(busy) + 1 - min(busy) if busy else 0)
    for call in range(len(done.start_ns)):
        around = [place for place in own if has(attribution, place, done, call)]
        if around:
            own[max(around)] += int(done.kernel_ns[call])
    assert times.self_ns.tolist() == list(own.values())


def has(attribution: Attribution, place: int, done: Any, call: int) -> bool:
    """Return whether a range contains a call."""
    spans, launch = attribution.ranges, done.launch
    return bool(
        spans.thread[place] == launch.thread[call]
        and spans.start_ns[place] <= launch.start_ns[call]
        and launch.end_ns[call] <= spans.end_ns[place]
    )
