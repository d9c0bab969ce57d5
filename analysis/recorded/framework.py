"""What the recorded program computes with: whether PyTorch, whose words advice may use then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analysis.recorded import ranges
from analysis.recorded.device_work import device_work
from analysis.recorded.operators import has_operators
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.source.report import Report

NAMED_BY_PYTORCH: Final = re.compile(
    r"\baten::|\bat::native\b|\bat_cuda_detail\b|2at6native|\bc10::|\bautograd::engine::"
    r"|\bProfilerStep#|\bOptimizer\.(?:step|zero_grad)#|^triton_(?:poi|per|red|tem)_fused_",
    re.MULTILINE,
)
"""What only PyTorch calls its operators, ranges and kernels, those that Inductor writes too."""

PARTS: Final = (
    *("aten::", "at::native", "at_cuda_detail", "2at6native", "c10::", "autograd::engine::"),
    *("ProfilerStep#", "Optimizer.", "triton_"),
)
"""Texts of which each such name has one: looking for these is far quicker."""

LIBRARIES: Final = ("*libtorch*", "*libc10*", "*torch_cpu.dll", "*torch_cuda.dll")
"""File names of PyTorch, among the modules in which nsys found the host."""

NOTED: Final = frozenset(("torch", "size"))
"""What our recorder notes of every run, and of one of our model."""


def uses_pytorch(report: Report) -> bool:
    """Return whether a report shows PyTorch: its operators, names or libraries, or our recorder."""
    return report.once(_uses_pytorch)


def _uses_pytorch(report: Report) -> bool:
    if not NOTED.isdisjoint(report.run) or has_operators(report):
        return True
    names = "\n".join([*device_work(report).names, *ranges.load(report).names])
    if any(part in names for part in PARTS) and NAMED_BY_PYTORCH.search(names):
        return True
    return tables.has_string(report, LIBRARIES)
