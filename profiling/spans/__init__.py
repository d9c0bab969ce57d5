"""Spans: NVTX ranges that know their FLOPs, forward and backward.

    with span("softmax", flops=3 * scores.numel()) as mark:
        weights = mark.output(torch.softmax(scores, dim=-1))

The range ``softmax`` holds what is launched inside. Because its result was passed to
``mark.output``, a range ``softmax.backward`` holds the backward pass of the same work, on the
thread autograd runs it on. ``annotate(module)`` does the same for the submodules of a model that
cannot be edited.

Spans are on while `recording` says so, or when a profiler has injected itself into NVTX; else,
and while ``torch.compile`` traces, ``span`` returns an object that does nothing.
"""

from profiling.spans.annotation import annotate
from profiling.spans.forward import Cost, Mark, RangeCost, costs, is_recording, recording, span

__all__ = ["Cost", "Mark", "RangeCost", "annotate", "costs", "is_recording", "recording", "span"]
