"""Point 1 of the verdict: is all kernel time placed, and do the recorders agree?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from analysis import attention, kernels, phases
from analysis.attribution.launches import Attribution
from analysis.show.render import digits
from benchmarks.gpu.stages import STAGES
from benchmarks.gpu.verdict_rows import RECORDERS, Aim, Found, Left, Missing, Row, aim, percent, row
from profiling import names

COMPARED: Final = ("forward", "train", "notes")
"""What both recorders are asked to record."""

NS_PER_MS: Final = 1e6


def recorded(recorder: str) -> list[str]:
    """Return what one recorder is asked to record, by the names of the steps.

    >>> recorded("nsys")
    ['forward', 'train', 'notes', 'train-sdpa-bf16']
    """
    every = [step.name for steps in STAGES.values() for step in steps]
    found = (re.fullmatch(rf"recording-(.*)-{recorder}", name) for name in every)
    return [match[1] for match in found if match]


def attribution(left: Left) -> list[Row]:
    """Return point 1: what was placed, attention's parts, and how the recorders agree."""
    found = []
    for recorder in RECORDERS:
        what = f"kernel time in forward, backward or optimizer, {recorder}"
        found.append(row(1, what, aim("placed_share"), partial(_placed, left, recorder)))
    for recorder in RECORDERS:
        what = f"attention's three parts have kernels, forward and backward, {recorder}"
        wanted = Aim("all six")
        found.append(row(1, what, wanted, partial(_parts, left, recorder)))
    for name in COMPARED:
        what = f"torch and nsys: kernels of {name}, name by name"
        found.append(row(1, what, Aim("equal"), partial(_counts, left, name)))
        what = f"torch and nsys: kernel time of {name}"
        found.append(row(1, what, aim("recorders_time"), partial(_times, left, name)))
    return found


def _placed(left: Left, recorder: str) -> Found:
    """Return the least share of the reports that one recorder made."""
    shares, lacking = {}, []
    for name in recorded(recorder):
        try:
            with left.report(name, recorder) as report:
                table = phases.by_category(report).rows()
        except Missing as error:
            lacking.append(str(error))
            continue
        time = Counter[str]()
        for each in table:
            time[str(each["phase"])] += int(each["kernel_ns"])
        shares[name] = sum(time[phase] for phase in names.PHASES) / max(time[phases.ALL], 1)
    if not shares:
        raise Missing("; ".join(lacking))
    least = min(shares, key=lambda name: shares[name])
    more = f"; not there: {', '.join(lacking)}" if lacking else ""
    words = f"{percent(shares[least], 2)} at least ({least}; of {len(shares)} reports{more})"
    return Found(words, shares[least])


def _parts(left: Left, recorder: str) -> Found:
    with left.report("train", recorder) as report:
        table = attention.attention(report).rows()
    times = {str(each["part"]): (each["kernel_ns"], each["backward_ns"]) for each in table}
    there = [float(time) > 0 for part in names.ATTENTION_PARTS for time in times.get(part, (0, 0))]
    words = ", ".join(
        f"{part} {digits(float(times[part][0]) / NS_PER_MS)} + "
        f"{digits(float(times[part][1]) / NS_PER_MS)} ms"
        for part in names.ATTENTION_PARTS
        if part in times
    )
    return Found(words or "none of them has a range", sum(there), len(there) == 6 and all(there))


SPELLINGS: Final = (
    (re.compile(r"\(anonymous namespace\)"), "<unnamed>"),
    (re.compile(r"\[lambda(.*?) \(instance (\d+)\)\]"), r"{lambda\1#\2}"),
    (re.compile(r"\(bool\)0"), "false"),
    (re.compile(r"\(bool\)1"), "true"),
    (re.compile(r"(^|[<,]\s*)void "), r"\1"),
    (re.compile(r"(?<=\d)u?l{0,2}(?=[,>\s)])"), ""),
)
"""How nsys writes what the PyTorch profiler writes otherwise, and numbers with their types."""

INNERMOST: Final = re.compile(r"\([^()]*\)")


def spelled(name: str) -> str:
    """Return a kernel's name as both recorders would spell it: they demangle differently.

    Without parameters of functions, which follow from the template's arguments.

    >>> spelled("void f<(int)4, g<float>, array<char *, (unsigned long)3>>(int, T2, T3)")
    'f<4,g<float>,array<char*,3>>'
    >>> spelled("void f<4, g<float>, array<char*, 3ul> >(int, g<float>, array<char*, 3ul>)")
    'f<4,g<float>,array<char*,3>>'
    >>> spelled("c(I &)::[lambda() (instance 3)]::operator ()() const::[lambda(int) (instance 1)]")
    'c::{lambda#3}::operatorconst::{lambda#1}'
    """
    for pattern, instead in SPELLINGS:
        name = pattern.sub(instead, name)
    while INNERMOST.search(name):
        name = INNERMOST.sub("", name)
    return re.sub(r"\s", "", name)


def function(name: str) -> str:
    """Return the name of the function alone, without arguments of any kind.

    >>> function("void at::f<(int)4, g<float>>(int, T2)"), function("sgemm_128x64_nn")
    ('at::f', 'sgemm_128x64_nn')
    """
    return re.split(r"[<(]", name.removeprefix("void "), maxsplit=1)[0]


def _both(left: Left, name: str) -> list[list[dict[str, Any]]]:
    """Return the kernels by name of both recorders, warm-up left out."""
    found = []
    for recorder in RECORDERS:
        with left.report(name, recorder) as report:
            if Attribution.of(report).work.on_cpu:
                raise Missing("recorded on a CPU, whose operators the two count apart")
            found.append(kernels.ranking(report).rows())
    return found


def _counts(left: Left, name: str) -> Found:
    one, other = _both(left, name)
    for spelling, said in ((spelled, ""), (function, ", by function; arguments spelled apart")):
        counts = [_by(spelling, rows) for rows in (one, other)]
        unequal = [key for key in counts[0] | counts[1] if counts[0][key] != counts[1][key]]
        if not unequal:
            calls = sum(counts[0].values())
            return Found(f"{calls:,} kernels of {len(counts[0])} names{said}", calls, True)
    first = sorted(unequal, key=lambda key: -abs(counts[0][key] - counts[1][key]))[0]
    words = f"{len(unequal)} names differ, most {first}: {counts[0][first]} and {counts[1][first]}"
    return Found(words, len(unequal), False)


def _by(spelling: Callable[[str], str], rows: Iterable[dict[str, Any]]) -> Counter[str]:
    found = Counter[str]()
    for each in rows:
        found[spelling(str(each["name"]))] += int(each["calls"])
    return found


def _times(left: Left, name: str) -> Found:
    one, other = (sum(int(each["total_ns"]) for each in rows) for rows in _both(left, name))
    apart = abs(one / other - 1)
    times = f"{digits(one / NS_PER_MS)} and {digits(other / NS_PER_MS)} ms"
    return Found(f"{percent(apart, 2)} apart ({times})", apart)
