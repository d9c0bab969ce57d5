"""Whatever a PyTorch trace holds, it is converted, or refused in one line: see `test_mutants`."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest

from analysis.arithmetic.sensible_times import FARTHEST_NS, LONGEST_NS
from tests.made.commands.commands import command_module
from tests.made.reports.ask_everything import ask, check_all_questions
from tests.made.reports.mutant_traces import first_events, mutant_trace
from tests.made.tools import shared

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("name", ["gpt-8xh100-rank0", "gpt-8xh100-rank1"])
def test_a_mutant_trace_is_converted_or_refused_in_one_line(
    name: str, seed: int, tmp_path: Path
) -> None:
    trace, report = tmp_path / "given.json", tmp_path / "given.sqlite"
    what = mutant_trace(parsed(shared.trace(name)), seed + len(name) * 1000, trace)
    before = trace.read_bytes()
    convert = command_module("profiling.torch_trace").main
    status, out, err = ask(convert, [str(trace), str(report)])
    assert trace.read_bytes() == before
    assert not out
    assert not {"\x1b", "\r"} & set(err), what
    assert not [line for line in err.splitlines() if line.startswith("error: forged")], what
    if status:
        assert status == 1, what
        assert [line[:7] for line in err.splitlines()] == ["error: "], f"{what}: {err}"
        assert not report.exists()
        return
    trace.rename(tmp_path.parent / "trace.json")
    total = kernel_time(before)
    check_all_questions(report, what)
    with closing(sqlite3.connect(report)) as connection:
        has = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'CUPTI_ACTIVITY_KIND_KERNEL'"
        ).fetchone()
        sql = 'SELECT coalesce(sum("end" - start), 0) FROM CUPTI_ACTIVITY_KIND_KERNEL'
        found = connection.execute(sql).fetchone()[0] if has else 0
    assert found == total, what


@cache
def parsed(trace: Path) -> dict[str, object]:
    return first_events(trace)


def kernel_time(content: bytes) -> int:
    """Return how long a trace's kernels took, of those whose times make sense, in ns."""
    with patch("sys.set_int_max_str_digits"):
        whole = json.loads(content.decode(errors="replace"), parse_float=Decimal, strict=False)
    total = 0
    for event in whole["traceEvents"]:
        if not isinstance(event, dict) or event.get("ph") != "X" or event.get("cat") != "kernel":
            continue
        try:
            start, took = (Decimal(event[field]) * 1000 for field in ("ts", "dur"))
        except (ArithmeticError, KeyError, TypeError, ValueError):
            continue
        fits = -LONGEST_NS <= start <= FARTHEST_NS and 0 <= took <= LONGEST_NS
        # The converter keeps a fraction as it is written, so that may be a name.
        total += int(took) if fits and isinstance(event.get("name"), str | Decimal) else 0
    return total
