"""Traces recorded here: their operators are those PyTorch's own profiler counts, names arrive."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.checkpoint import checkpoint

from analysis.source.trace.convert import convert
from profiling.names import recordable


def rows(report: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{report.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


class Net(torch.nn.Module):
    def __init__(self, recompute: bool = False) -> None:
        super().__init__()
        self.recompute = recompute
        self.first = torch.nn.Linear(8, 16)
        self.second = torch.nn.Linear(16, 8)
        self.norm = torch.nn.LayerNorm(8)

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.second(torch.nn.functional.silu(self.first(x)))
        return hidden.softmax(-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = checkpoint(self.inner, x, use_reentrant=False) if self.recompute else self.inner(x)
        normal: torch.Tensor = self.norm(x + inner)
        return normal.sum()


def train(net: Net) -> None:
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(3):
        with record_function("forward"):
            loss = net(torch.randn(4, 8, requires_grad=True))
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()


def train_on_threads() -> None:
    threads = [threading.Thread(target=train, args=(Net(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    train(Net())
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("workload", "threads"),
    [(lambda: train(Net()), 1), (lambda: train(Net(recompute=True)), 1), (train_on_threads, 4)],
    ids=["training", "checkpointing", "threads"],
)
def test_calls_and_self_time_are_those_of_key_averages(
    workload: Callable[[], None], threads: int, tmp_path: Path
) -> None:
    every_thread = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    with profile(activities=[ProfilerActivity.CPU], experimental_config=every_thread) as recorded:
        workload()
    trace = tmp_path / "plain.pt.trace.json"
    recorded.export_chrome_trace(str(trace))
    convert(trace, tmp_path / "plain.sqlite")
    found = {
        str(name): (calls, self_ns)
        for name, calls, self_ns in rows(
            tmp_path / "plain.sqlite",
            "SELECT value, count(*), sum(self_ns) FROM TOOLKIT_OPERATOR "
            "JOIN StringIds ON id = name_id WHERE value LIKE 'aten::%' GROUP BY value",
        )
    }
    expected = {
        row.key: (row.count, round(row.self_cpu_time_total * 1000))
        for row in recorded.key_averages()
        if row.key.startswith("aten::")
    }
    assert len(expected) > 20
    assert found == expected
    query = "SELECT count(DISTINCT global_tid) FROM TOOLKIT_OPERATOR"
    assert rows(tmp_path / "plain.sqlite", query) == [(threads,)]


def test_an_operator_of_the_backward_pass_keeps_its_number_and_forward_thread(
    tmp_path: Path,
) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        torch.autograd.backward(torch.ones(2, requires_grad=True).exp().sum())
    recorded.export_chrome_trace(str(tmp_path / "t.json"))
    convert(tmp_path / "t.json", tmp_path / "t.sqlite")
    query = (
        "SELECT sequence, forward_thread FROM TOOLKIT_OPERATOR JOIN StringIds ON id = name_id "
        "WHERE value = ?"
    )
    [(created, _)] = rows(tmp_path / "t.sqlite", query, "aten::exp")
    [(served, thread)] = rows(tmp_path / "t.sqlite", query, "ExpBackward0")
    assert served == created
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    [backward] = [event["args"] for event in events if event["name"] == "ExpBackward0"]
    assert thread == backward["Fwd thread id"]


def test_every_operator_is_a_row_or_counted_as_merged(tmp_path: Path) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        train(Net())
    recorded.export_chrome_trace(str(tmp_path / "t.json"))
    summary = convert(tmp_path / "t.json", tmp_path / "t.sqlite")
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    operators = sum(event.get("cat") == "cpu_op" for event in events)
    merged = summary.left_out.get("cpu_op: one call with its caller of the same name", 0)
    assert summary.converted["TOOLKIT_OPERATOR"] + merged == operators


def test_recordable_names_and_their_payloads_arrive_unchanged(tmp_path: Path) -> None:
    names = ["ffn", 'layer "a"', "back\\slash", "größe", "line\nfeed", "\x1b[31m", "[b] <i> 'x'"]
    recorded = [recordable(name) for name in names]
    thread = str(threading.get_native_id())
    payloads = {thread: {name: [place] for place, name in enumerate(recorded)}}
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        profiler.add_metadata_json("toolkit_payloads", json.dumps(payloads))
        for name in recorded:
            with record_function(name):
                pass
    profiler.export_chrome_trace(str(tmp_path / "t.json"))
    convert(tmp_path / "t.json", tmp_path / "t.sqlite")
    found = rows(tmp_path / "t.sqlite", "SELECT text, int64Value FROM NVTX_EVENTS ORDER BY rowid")
    assert found == [(name, place) for place, name in enumerate(recorded)]
