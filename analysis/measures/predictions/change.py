"""A change of a run: what of it would take another time, and by which factor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

COLLECTIVE: Final = "collective"
"""The category of work whose overlap can be asked for."""


@dataclass(frozen=True)
class Change:
    """What is changed of a run, all of it together.

    Attributes:
        scale: factors by the name of a category, a range or kernels (a glob); 0.25 is four times
            as fast, 0 takes no time.
        remove: names of ranges that are left out, the host's time in them too.
        host: the factor of the host's time between and in its calls.
        graph: names of ranges whose work is launched at once, as by a CUDA graph.
        no_wait: names of CUDA calls (globs) that wait for nothing any more.
        overlap: whether collectives run beside the work that follows them.
    """

    scale: Mapping[str, float] = field(default_factory=dict)
    remove: Sequence[str] = ()
    host: float = 1.0
    graph: Sequence[str] = ()
    no_wait: Sequence[str] = ()
    overlap: bool = False

    def __post_init__(self) -> None:
        """Refuse factors that are none, and take a name that is given by itself as one.

        Raises:
            ValueError: a factor is negative, or no finite number.
        """
        for name, factor in [*self.scale.items(), ("host", self.host)]:
            if not (math.isfinite(factor) and factor >= 0):
                raise ValueError(f"{name} cannot be scaled by {factor}")
        for kind in ("remove", "graph", "no_wait"):
            given: str | Sequence[str] = getattr(self, kind)
            names = (given,) if isinstance(given, str) else tuple(given)
            object.__setattr__(self, kind, names)

    @property
    def words(self) -> list[str]:
        """The changes one by one, as they are typed on a command line without the dashes."""
        found = [f"scale {name}={factor:g}" for name, factor in self.scale.items()]
        found += [f"remove {name}" for name in self.remove]
        found += [f"host {self.host:g}"] if self.host != 1 else []
        found += [f"graph {name}" for name in self.graph]
        found += [f"no-wait {name}" for name in self.no_wait]
        return found + ([f"overlap {COLLECTIVE}"] if self.overlap else [])

    @property
    def label(self) -> str:
        """The change in one line.

        >>> Change({"gemm": 0.25}, host=0.5).label
        'scale gemm=0.25, host 0.5'
        """
        return ", ".join(self.words) or "none"

    def __bool__(self) -> bool:
        return bool(self.words)
