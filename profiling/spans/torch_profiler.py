"""PyTorch's profiler for the trace it writes, without the objects and tables made of that."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Self
from unittest.mock import patch

import torch


class TraceProfiler(torch.profiler.profile):
    """A profiler of one cycle, which starts and ends sooner than its base.

    It makes no Python object of each event before somebody asks for these.
    """

    def __enter__(self) -> Self:
        """Start."""
        with warnings.catch_warnings(), ExitStack() as stack:
            # Of further cycles; torch up to 2.11 says so of any profiler that is not to keep events
            # of earlier ones, and of those that are it makes objects at once.
            warnings.filterwarnings("ignore", "Warning: Profiler clears events")
            # The base asks whether torch has Inductor, and asking imports that, which takes
            # seconds. What is not imported yet has none of the settings that are looked for. Other
            # threads go on meanwhile: nothing else that torch imports when asked is hidden.
            others = set(getattr(torch, "_lazy_modules", ())) - {"_inductor"}
            stack.enter_context(patch.object(torch, "_lazy_modules", others, create=True))
            super().__enter__()  # type: ignore[no-untyped-call]
        return self
