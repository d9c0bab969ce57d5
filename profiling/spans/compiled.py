"""Ranges around the kernels that Inductor makes, by the spans their work comes from.

A compiled model opens no spans: its parts are fused into kernels across them. But the compiler
carries along what a node of the graph belongs to (`torch.fx.traceback.annotate`), through autograd
too, and notes which nodes became which kernel (its provenance tracking). So while `kernel_ranges`
is on, the Python code it writes gets a range around every launch: named after the span where all
nodes of the kernel come from one; after several, joined by ``+``, where it is fused across spans;
with ``.backward`` in the backward pass. The payload is the FLOPs of the matrix products among the
nodes.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final
from unittest.mock import patch

import torch
from torch import _dynamo as dynamo
from torch._inductor import config as inductor
from torch._inductor import debug
from torch._inductor.graph import GraphLowering
from torch.utils.flop_counter import flop_registry

from profiling import names
from profiling.spans import forward
from profiling.spans.backends import RangeSink

JOIN: Final = "+"
"""Between the names of the spans that one kernel does work of."""

LAUNCH: Final = "_range_of_kernel"
HANDLE: Final = re.compile(r"^(\s*)# \[Provenance debug handles\] (?P<kernel>.+):(?P<number>\d+)$")
"""What Inductor writes above the launch of a kernel."""

FUSED: Final = re.compile(r"triton_(?:poi|red|per)_|cpp_fused_")
"""Kernels that hold no product: those are calls of libraries, or made from templates."""

NEAR: Final = 12
"""Lines below that within which the launch stands."""

MOVES: Final = frozenset(
    (
        "alias",
        "as_strided",
        "cat",
        "clone",
        "expand",
        "permute",
        "reshape",
        "select",
        "slice",
        "split",
        "squeeze",
        "transpose",
        "t",
        "unsqueeze",
        "view",
        "_unsafe_view",
        "unsafe_split",
        "convert_element_type",
        "_to_copy",
        "constant_pad_nd",
    )
)
"""Operators that compute nothing."""

_kernels: list[tuple[str, int | None]] = []
"""The range of each launch that was rewritten, and its FLOPs."""

_found: Counter[str] = Counter()


class _Range:
    """A range around one launch."""

    def __init__(self, sink: RangeSink, name: str, flops: int | None) -> None:
        self._sink, self._name, self._flops = sink, name, flops

    def __enter__(self) -> None:
        self._sink.push(self._name, self._flops)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sink.pop()


def range_of_kernel(number: int) -> AbstractContextManager[object]:
    """Return the range around a launch; the compiled code calls this. Nothing if none records."""
    sink = forward.current_sink()
    return _Range(sink, *_kernels[number]) if sink else forward.OFF


@contextmanager
def kernel_ranges() -> Iterator[None]:
    """Put ranges around the kernels of what is compiled inside.

    Graphs compiled earlier have none, so Inductor's cache of graphs is not used inside.
    """
    _found.clear()
    with ExitStack() as stack:
        stack.enter_context(
            inductor.patch({"fx_graph_cache": False, "fx_graph_remote_cache": False})
        )
        stack.enter_context(torch._functorch.config.patch({"enable_autograd_cache": False}))
        stack.enter_context(inductor.patch({"trace.provenance_tracking_level": 1}))
        # On a CPU a fused kernel is no operator: this makes the profiler see it.
        stack.enter_context(inductor.patch({"cpp.enable_kernel_profile": True}))
        stack.enter_context(patch.object(GraphLowering, "codegen", _codegen(GraphLowering.codegen)))
        yield


def run_until_compiled(step: Callable[[], None], most: int = 5) -> None:
    """Run a step until it compiles nothing new, at most ``most`` times.

    It is not for recording: the compiler runs the operators of the model to learn their shapes.
    """
    graphs = dynamo.utils.counters["stats"]
    for _ in range(most):
        before = graphs["unique_graphs"]
        step()
        if graphs["unique_graphs"] == before:
            return


def launch_counts() -> dict[str, int]:
    """Return how many launches stand in a range of one span, of several, and in none."""
    return {kind: _found[kind] for kind in ("one", "several", "none")}


def _codegen(original: Any) -> Any:
    """Return what stands in for the method that writes the code of one graph."""

    def codegen(graph: GraphLowering) -> Any:
        made = original(graph)
        wrapper = made[0]
        wrapper.value = with_ranges(wrapper.value, _nodes(graph), bool(graph.is_backward))
        return made

    return codegen


def _nodes(graph: GraphLowering) -> dict[str, torch.fx.Node]:
    traced: torch.fx.Graph = graph.module.graph  # type: ignore[assignment]
    return {node.name: node for node in traced.nodes}


def with_ranges(code: str, nodes: dict[str, torch.fx.Node], backward: bool) -> str:
    """Return the code of a graph with a range around every launch whose spans are known.

    Args:
        code: Python, as Inductor wrote it.
        nodes: of the graph it was written for, by name.
        backward: whether that is a backward pass.
    """
    lines = code.split("\n")
    of_kernel = debug._inductor_triton_kernel_to_post_grad_node_info
    changed = False
    for place, line in enumerate(lines):
        handle = HANDLE.match(line)
        if handle is None:
            continue
        members = [
            nodes[name]
            for name in of_kernel.get(f"{handle['kernel']}:{handle['number']}", ())
            if name in nodes
        ]
        spans = spans_of(members)
        launch = _launch(lines, place + 1, handle["kernel"])
        if not spans or launch is None:
            _found["none"] += 1
            continue
        _found["one" if len(spans) == 1 else "several"] += 1
        name = JOIN.join(spans)
        _kernels.append(
            (names.backward(name) if backward else name, flops_of(members, handle["kernel"]))
        )
        indent = len(lines[launch]) - len(lines[launch].lstrip())
        call = f"with {LAUNCH}({len(_kernels) - 1}): "
        lines[launch] = lines[launch][:indent] + call + lines[launch][indent:]
        changed = True
    if changed:
        lines.insert(0, f"from {__name__} import range_of_kernel as {LAUNCH}")
    return "\n".join(lines)


def _launch(lines: Sequence[str], start: int, kernel: str) -> int | None:
    """Return the line that launches a kernel, at or soon after one."""
    for place in range(start, min(start + NEAR, len(lines))):
        if HANDLE.match(lines[place]):
            return None
        if f"{kernel}(" in lines[place] or f"{kernel}.run(" in lines[place]:
            return place
    return None


def spans_of(nodes: Iterable[torch.fx.Node]) -> list[str]:
    """Return the spans that nodes come from, in the order of the model.

    A leaf counts before what is around it: work between two leaves of a block is fused into one of
    them, and says ``block`` only where there is nothing else.
    """
    seen = dict.fromkeys(
        noted["span"]
        for node in sorted(nodes)
        if "span" in (noted := node.meta.get("custom") or {})
    )
    leaves = [name for name in seen if name not in names.PARENTS]
    return leaves or list(seen)[-1:]


def flops_of(nodes: Iterable[torch.fx.Node], kernel: str) -> int | None:
    """Return the FLOPs of the matrix products and convolutions that a kernel computes.

    Each is counted by torch's own formula (``torch.utils.flop_counter``), from its shapes. A fused
    kernel may name products that it only prepares the operands of. One that only moves numbers has
    0 FLOPs; of one that computes anything else the count is not known, and None.
    """
    total, only_moves, prepares = 0, True, FUSED.match(kernel) is not None
    for node in nodes:
        packet = getattr(node.target, "overloadpacket", None)
        formula = flop_registry.get(packet)
        if formula is None:
            only_moves &= str(packet).removeprefix("aten.") in MOVES
        elif not prepares:
            values = torch.fx.node.map_arg(
                (node.args, node.kwargs), lambda argument: argument.meta.get("val")
            )
            total += int(formula(*values[0], **values[1], out_val=node.meta.get("val")))
    return total if total or only_moves else None
