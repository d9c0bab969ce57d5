"""What of a report is asked to count: one set of options for every question.

In Python they are keyword arguments, on the command line the same four options everywhere;
`analysis.attribution.selected` applies them to a report.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

EXCLUDE_NOTHING: Final = "none"
"""What ``--exclude`` is given to leave nothing out by itself, not even warm-up."""

StepBounds = tuple[int | None, int | None]


class Options(TypedDict, total=False):
    """The options that choose what of a report counts; every question takes them.

    Attributes:
        exclude: names of ranges that are left out besides warm-up, with all inside them; with
            ``none`` among them warm-up counts.
        steps: the first step and the one after the last, from 0, as in a slice; or None for all.
        device: only what ran on this CUDA ordinal.
        process: only what this process id did.
    """

    exclude: Sequence[str]
    steps: StepBounds | None
    device: int | None
    process: int | None


@dataclass(frozen=True)
class Selection:
    """What a user asks to count of a report, with the fields of `Options`."""

    exclude: Sequence[str] = ()
    steps: StepBounds | None = None
    device: int | None = None
    process: int | None = None

    def __post_init__(self) -> None:
        """Take a name that is given by itself for a list of that one: letters are no ranges."""
        if isinstance(self.exclude, str):
            object.__setattr__(self, "exclude", (self.exclude,))

    @property
    def is_plain(self) -> bool:
        """Whether the selection chooses nothing, but perhaps that warm-up counts."""
        places = (self.steps, self.device, self.process)
        return set(self.exclude) <= {EXCLUDE_NOTHING} and all(place is None for place in places)

    @property
    def arguments(self) -> list[str]:
        """The same as arguments of a command line.

        >>> Selection(exclude=["data loading"], steps=(2, None)).arguments
        ['--exclude', 'data loading', '--steps', '2:']
        """
        asked = [("--exclude", name) for name in self.exclude]
        if self.steps is not None:
            first, end = ("" if step is None else str(step) for step in self.steps)
            asked.append(("--steps", f"{first}:{end}"))
        places = (("--device", self.device), ("--process", self.process))
        asked += [(option, str(number)) for option, number in places if number is not None]
        return [word for option in asked for word in option]


def steps_option(word: str) -> StepBounds:
    """Return the bounds of ``A:B`` from the command line, either of which may be left out."""
    first, colon, end = word.partition(":")
    try:
        low, high = (int(part) if part.strip() else None for part in (first, end))
    except ValueError:
        colon = ""
    if not colon or min(low or 0, high or 0) < 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not A:B, two step numbers from 0")
    return low, high


def add_options(made: argparse.ArgumentParser) -> None:
    """Add to a parser the options that choose what of a report counts."""
    made.add_argument(
        "--exclude",
        metavar="RANGE",
        action="append",
        default=[],
        help="leave out what this range holds, besides warm-up; may be repeated; none: leave out "
        "nothing, not even warm-up",
    )
    made.add_argument(
        "--steps",
        type=steps_option,
        metavar="A:B",
        help="only these step ranges, from 0, B not included",
    )
    made.add_argument("--device", type=int, metavar="N", help="only this GPU (default all)")
    made.add_argument("--process", type=int, metavar="N", help="only this process (default all)")


def options_of(args: argparse.Namespace) -> Options:
    """Return the `Options` that parsed arguments hold."""
    return Options(
        exclude=tuple(args.exclude), steps=args.steps, device=args.device, process=args.process
    )
