"""Backward ranges where several passes run at once: each pass has its own."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Variable

from profiling.spans import backward, span
from profiling.spans.backward import BackwardRange, open_range_stack
from tests.made.runs.recorded import Recorded

SOON_S = 30.0


class Calling(torch.autograd.Function):
    """The identity, whose backward pass calls something."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Callable[[], None]) -> Tensor:
        ctx.call = call
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.call()
        return gradients[0], None


def calling(x: Tensor, call: Callable[[], None]) -> Tensor:
    result: Tensor = Calling.apply(x, call)  # type: ignore[no-untyped-call]
    return result


def walk(result: Tensor) -> None:
    result.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]


def open_here() -> list[str]:
    return [entry.name for entry in open_range_stack()]


@pytest.mark.parametrize("shared", [False, True], ids=["two graphs", "one graph"])
def test_two_threads_walk_at_once(recorded: Recorded, shared: bool) -> None:
    begun, done = threading.Event(), threading.Event()
    seen: dict[str, list[list[str]]] = {"first": [], "second": []}

    def note() -> None:
        seen[threading.current_thread().name].append(open_here())

    def pause() -> None:
        note()
        if threading.current_thread().name == "first":
            begun.set()
            assert done.wait(SOON_S)  # the whole pass of the second runs in here

    def graph() -> Tensor:
        x = torch.ones(2, requires_grad=True)
        with span("work") as mark:
            return mark.output(calling(calling(x * 1, note), pause))

    def first() -> None:
        walk(graphs[0])

    def second() -> None:
        assert begun.wait(SOON_S)
        walk(graphs[1])
        done.set()

    graphs = [graph()]
    graphs.append(graphs[0] if shared else graph())
    threads = [threading.Thread(target=work, name=work.__name__) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert seen == {name: [["work.backward"], ["work.backward"]] for name in ("first", "second")}
    assert recorded.pushed()["work.backward"] == 2


def test_a_pass_over_the_same_graph_inside_of_a_node_leaves_the_range_open(
    recorded: Recorded,
) -> None:
    seen: list[list[str]] = []
    inside: list[bool] = []

    def again() -> None:
        if not inside:
            inside.append(True)
            with torch.enable_grad():
                torch.autograd.grad(result.sum(), x, retain_graph=True)
            seen.append(open_here())

    x = torch.ones(2, requires_grad=True)
    with span("work") as mark:
        early = calling(x * 1, lambda: seen.append(open_here()))
        result = mark.output(calling(early, again))
    walk(result)
    assert seen == [["work.backward"] * 2, ["work.backward"], ["work.backward"]]
    assert recorded.trees() == ["work", ("work.backward", ["work.backward"])]


class Engine:
    """Takes the place of autograd's: one thread that serves passes by turns, as on a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.running = 0
        self._callbacks: dict[int, Callable[[], None]] = {}
        monkeypatch.setattr(backward, "graph_task_id", lambda: self.running)
        monkeypatch.setattr(Variable, "_execution_engine", self)

    def queue_callback(self, callback: Callable[[], None]) -> None:
        self._callbacks[self.running] = callback

    def node(self, number: int, hook: Callable[[], None]) -> None:
        self.running = number
        hook()

    def end(self, number: int) -> None:
        self._callbacks.pop(number)()


def test_passes_that_one_thread_serves_by_turns_close_none_of_each_others_ranges(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(monkeypatch)
    first, second = (BackwardRange(recorded, name, None) for name in ("first", "second"))
    first._sinks = second._sinks = 1
    engine.node(1, lambda: first._before_result(None))
    engine.node(2, lambda: second._before_result(None))
    engine.node(1, lambda: first._after_sink(None, None))
    assert open_here() == ["first", "second"]  # NVTX could pop only the second's, which goes on
    engine.node(2, lambda: second._after_sink(None, None))
    assert open_here() == []
    engine.end(1)
    engine.end(2)


def test_a_pass_that_ends_takes_the_ranges_of_one_that_failed_along(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(monkeypatch)
    first, second = (BackwardRange(recorded, name, None) for name in ("first", "second"))
    first._sinks = second._sinks = 1
    engine.node(1, lambda: first._before_result(None))
    engine.node(2, lambda: second._before_result(None))
    del engine._callbacks[1]  # as the engine does with a pass that raises
    engine.end(2)
    assert open_here() == []
