"""One correlation id for all: a join of every call with every kernel is refused."""

from pathlib import Path

import pytest

from analysis import Report
from tests.made.commands.in_process import run_command
from tests.made.reports.build_report import Kernel, Range, make_report

KERNELS = 1_500


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(
        tmp_path_factory.mktemp("reports") / "r.sqlite",
        kernels=[
            Kernel("k", 10 * n, 10 * n + 5, launch=10 * n, correlation=1) for n in range(KERNELS)
        ],
        ranges=[Range("all", 0, 20 * KERNELS)],
    )


@pytest.mark.parametrize("wanted", ["nvtx_kern_sum", "cuda_kern_exec_sum"])
def test_joining_all_with_all_is_refused_in_one_line(report: Path, wanted: str) -> None:
    done = run_command("analysis.nvidia", report, "--report", wanted)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "calls and kernels share correlation ids" in line


def test_our_own_questions_count_each_kernel_once(report: Path) -> None:
    with Report(report) as opened:
        assert opened.ranges()["kernel_ns"].tolist() == [5 * KERNELS]
