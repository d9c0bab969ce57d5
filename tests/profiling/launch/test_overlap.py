"""Overlap is real: when a recorded run reduces its gradients, by strategy."""

from pathlib import Path

import pytest

from analysis import Report
from analysis.recorded import ranges as nvtx
from profiling import names
from tests.made.runs.launched import launch as launched

CPU = ("--size", "tiny", "--context", "16", "--device", "cpu", "--recorder", "torch")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "before"), [("naive", False), ("overlapped", True), ("bucketed", True)]
)
def test_when_the_first_all_reduce_starts(strategy: str, before: bool, tmp_path: Path) -> None:
    bucket = ("--bucket-mb", "0.05") if strategy == "bucketed" else ()
    arguments = ("--ranks", "2", "--strategy", strategy, "--steps", "1", "--batch", "2", *bucket)
    done = launched(*CPU, *arguments, reports=tmp_path)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        with Report(tmp_path / f"tiny.rank{rank}.sqlite") as report:
            ranges = nvtx.load(report)
        (begins,) = ranges.start_ns[ranges.called(names.STEP)].tolist()
        (ends,) = (
            end for end in ranges.end_ns[ranges.called(names.BACKWARD)].tolist() if end > begins
        )
        reduced = ranges.start_ns[ranges.where(lambda name: name == "gloo:all_reduce")]
        assert (min(reduced[reduced > begins]) < ends) == before
