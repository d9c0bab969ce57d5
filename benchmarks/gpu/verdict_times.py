"""Points 3 to 6 of the verdict that timings answer: spans, flash attention, MFU, the sweep."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import partial
from typing import Any, Final

from analysis.show.render import digits
from benchmarks.gpu.verdict_rows import (
    REFERENCES,
    Aim,
    Found,
    Left,
    Missing,
    Row,
    aim,
    percent,
    row,
)
from benchmarks.samples import median_and_interval, ratios
from profiling.common.settings import Settings

SWEEP: Final = "sweep.jsonl"
NS_PER_MS: Final = 1e6

SPANS: Final = {
    "span-cost": "what spans cost with no recorder, in the recorded forward",
    "span-cost-launches": "… in one so short that its launches are all of it",
}
FLASH_LENGTH: Final = "16384"
CORRECT: Final = "tests-flash-float32"
TESTS: Final = "tests"
FLASH: Final = REFERENCES["flash"]


def spans(left: Left) -> list[Row]:
    """Return the second half of point 3: the model with spans beside the model without."""
    return [
        row(3, what, aim("span_cost"), partial(_span_cost, left, step))
        for step, what in SPANS.items()
    ]


def _span_cost(left: Left, step: str) -> Found:
    known = left.json(step)
    (times,) = (one["seconds"] for one in known["forward"].values())
    cost, noise = (
        median_and_interval([ratio - 1 for ratio in ratios(times[one], times[other])])
        for one, other in (("with", "without"), ("with again", "with"))
    )
    about = known["conditions"]
    shape = f"batch {about['batch']}, context {about['context']}"
    between = f"{100 * cost.low:+.2f} to {100 * cost.high:+.2f}"
    against = f"{100 * noise.middle:+.2f} % against itself"
    words = f"{100 * cost.middle:+.2f} % ({between}; {against}; {shape})"
    return Found(words, cost.middle)


def flash(left: Left) -> list[Row]:
    """Return point 4: the time of flash attention, and that it is right."""
    both = aim("flash_both_ms", f"{FLASH['source']}, second place; first {FLASH['best_ms']} ms")
    beside = aim("flash_forward_ratio", "PyTorch's SDPA, flash backend, same run")
    return [
        row(4, FLASH["shape"], both, partial(_both, left)),
        row(4, "forward at width 128, length 16384", beside, partial(_forward, left)),
        row(4, "flash in float32 is right", Aim("all tests pass"), partial(_tests, left, CORRECT)),
        row(4, "all other tests for a GPU", Aim("all tests pass"), partial(_tests, left, TESTS)),
    ]


def _flash_ns(left: Left, implementation: str, width: str, part: str) -> float:
    wanted = {
        "implementation": implementation,
        "dtype": "bfloat16",
        "width": width,
        "length": FLASH_LENGTH,
        "part": part,
    }
    for each in left.csv("flash"):
        if all(each[name] == value for name, value in wanted.items()):
            if each["outcome"] != "done":
                raise Missing(f"flash: {implementation} reads {each['outcome']}")
            return float(each["median_ns"])
    raise Missing(f"flash: no row of {implementation}, width {width}, {part}")


def _both(left: Left) -> Found:
    milliseconds = _flash_ns(left, "flash", "64", "both") / NS_PER_MS
    best = FLASH["best_ms"]
    said = "below" if milliseconds < best else f"{milliseconds / best:.2f} times"
    return Found(f"{milliseconds:.3f} ms ({said} the best, {best} ms)", milliseconds)


def _forward(left: Left) -> Found:
    ours, theirs = (_flash_ns(left, name, "128", "forward") for name in ("flash", "sdpa-flash"))
    times = f"{ours / NS_PER_MS:.3f} beside {theirs / NS_PER_MS:.3f} ms"
    return Found(f"{ours / theirs:.2f} of SDPA's ({times})", ours / theirs)


def _tests(left: Left, step: str) -> Found:
    try:
        cases = ElementTree.parse(left.path(f"{step}.xml", step)).getroot().iter("testcase")
    except ElementTree.ParseError as error:
        raise Missing(f"{step}.xml: damaged ({error})") from None
    outcomes = [{child.tag for child in case} for case in cases]
    skipped = sum("skipped" in outcome for outcome in outcomes)
    failed = sum(bool(outcome & {"failure", "error"}) for outcome in outcomes)
    passed = len(outcomes) - skipped - failed
    if not passed and not failed:
        raise Missing(f"{step}: no test ran")
    more = f", {skipped} skipped" if skipped else ""
    return Found(f"{passed} pass, {failed} fail{more}", failed, not failed)


def rows_of(left: Left, step: str = "sweep") -> list[tuple[Settings, dict[str, Any]]]:
    """Return the rows of all sweeps: what was run, and its line; of one measured again, the last.

    Raises:
        Missing: no sweep left anything, or something else is in its file.
    """
    found = {}
    for line in left.lines(SWEEP, step):
        if not {"settings", "status", "reason", "result"} <= set(line):
            raise Missing(f"{SWEEP}: a line is no row of a sweep")
        try:
            settings = Settings.from_fields(line["settings"])
        except (KeyError, TypeError, ValueError):
            raise Missing(f"{SWEEP}: a line is no row of a sweep") from None
        found[settings] = line
    return list(found.items())


def mfu(left: Left) -> list[Row]:
    """Return point 5: the best share of the peak, and what each of its means brings."""
    found = [
        row(5, "MFU of xl, bf16, flash, compile, context 1024", aim("mfu"), partial(_best, left))
    ]
    try:
        every = [line for settings, line in rows_of(left, "mfu") if _is_mfu(settings)]
    except Missing:
        return found
    beside = Aim("", compared=False)
    return [*found, *(row(5, _means(line), beside, partial(_mfu, line)) for line in every)]


def _is_mfu(settings: Settings) -> bool:
    return (
        settings.mode == "train" and settings.precision == "bfloat16" and settings.context >= 1024
    )


def _means(line: dict[str, Any]) -> str:
    settings = Settings.from_fields(line["settings"])
    how = ", ".join([f"{settings.attention} attention", *settings.variants])
    return f"… batch {settings.batch}, {how}"


def _mfu(line: dict[str, Any]) -> Found:
    """Return the share of the peak of a row."""
    if line["status"] != "ok":
        raise Missing(f"{line['status']}: {line['reason']}")
    share, total = line["result"]["mfu"], line["result"]["statistics"]["total"]["median"]
    step = f"{digits(total / NS_PER_MS)} ms a step"
    if share is None:
        raise Missing(f"no peak is known of this device; {step}")
    return Found(f"{percent(share)} ({step})", share)


def _best(left: Left) -> Found:
    found, why = [], []
    for settings, line in rows_of(left, "mfu"):
        if _is_mfu(settings) and settings.compile and settings.attention.startswith("flash"):
            try:
                found.append((_mfu(line), settings.batch))
            except Missing as error:
                why.append(f"batch {settings.batch}: {error}")
    if not found:
        raise Missing("; ".join(why) or _no_row(left, "mfu", "such a run"))
    best, batch = max(found, key=lambda one: one[0].value)
    return Found(f"{best.words}, batch {batch}", best.value)


def _no_row(left: Left, step: str, what: str) -> str:
    return f"no row of {what}" if left.status.get(step) == 0 else left.why(step)


def sweep(left: Left) -> list[Row]:
    """Return point 6: forward and backward of each size beside what others published."""
    return [
        row(
            6,
            f"{size}: forward + backward, fp32, batch 4, context 512",
            Aim(published(size), "public write-ups of CS336 assignment 2", compared=False),
            partial(_size, left, size),
        )
        for size in REFERENCES["sweep"][0]["total_ms"]
    ]


def published(size: str) -> str:
    """Return what others measured for a size.

    >>> published("small")
    '57.2 ms (device not stated), 35.0 + 41.6 ms (RTX 4090 D), 20.0 + 42.0 ms (H100)'
    """
    return ", ".join(
        f"{words} ({table['device']})"
        for table in REFERENCES["sweep"]
        if (words := published_in(table, size))
    )


def published_in(table: dict[str, Any], size: str) -> str:
    """Return what a public table says of a size, "" if nothing."""
    if size in table.get("total_ms", {}):
        return f"{table['total_ms'][size]} ms"
    if size in table.get("forward_ms", {}):
        return f"{table['forward_ms'][size]} + {table['backward_ms'][size]} ms"
    return ""


def plain(settings: Settings) -> bool:
    """Return whether a row is of the published shape: context 512 warm, nothing made faster."""
    variants = settings.precision, settings.attention, settings.compile, settings.checkpoint
    shape = settings.context, settings.warmup, settings.mode
    return variants == ("float32", "eager", False, 0) and shape == (512, 5, "forward_backward")


def _size(left: Left, size: str) -> Found:
    for settings, line in rows_of(left):
        if settings.size == size and plain(settings):
            if line["status"] != "ok":
                raise Missing(f"{line['status']}: {line['reason']}")
            total, forward, backward = (
                line["result"]["statistics"][part]["mean"] / NS_PER_MS
                for part in ("total", "forward", "backward")
            )
            words = f"{digits(total)} ms ({digits(forward)} + {digits(backward)})"
            return Found(words, total)
    raise Missing(_no_row(left, "sweep", size))
