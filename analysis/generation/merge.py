"""Merge the records of many files, such as shards, into those of one run.

Nothing is left out unsaid: lines that are no record, prompts that failed, records there twice, ids
that are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from analysis.generation.records import REMEDY, Failure, Generation, Pair, Records, record_of
from analysis.show.errors import ReportError
from analysis.show.render import are, plural
from analysis.source.json_files import MOST_LISTED, left_out, read_file

TOLERANCE: Final = 0.001
"""How far the steps may add up to something else than their total before it is said."""


def read(paths: Sequence[str]) -> Records:
    """Read the records of several files and merge them into one run's.

    Raises:
        ReportError: a file cannot be read, none has a record of times, or two files have different
            prompts of one id.
    """
    records = Records()
    seen: list[Generation] = []
    failures: list[Failure] = []
    for path in paths:
        wrong: list[str] = []
        for number, line in enumerate(read_file(path, REMEDY).split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                found = record_of(line, path)
            except ValueError as error:
                wrong.append(f"line {number}: {error}")
                continue
            if isinstance(found, Generation):
                seen.append(found)
            else:
                failures.append(found)
        records.notes += left_out(path, wrong, "lines")
        if wrong and not seen and not failures:
            raise ReportError(path, f"no record in it ({wrong[0]})", REMEDY)
    if not seen:
        why = "no record of a prompt"
        if failures:
            why = f"every prompt failed, {len(failures)} in all; the first: {failures[0].error}"
        raise ReportError(", ".join(paths), why, REMEDY)
    _merge(records, seen)
    _add_failures(records, failures)
    records.notes += _inconsistent(records.generations)
    return records


def _merge(records: Records, seen: Iterable[Generation]) -> None:
    """Keep one record of each prompt and pair, the first, and say how many were there again."""
    kept: dict[tuple[Pair, int], Generation] = {}
    again = 0
    for each in seen:
        first = kept.setdefault((each.model_config, each.id), each)
        if first.prompt != each.prompt:
            raise ReportError(
                each.file,
                f"its prompt {each.id} is another than that of {first.file}",
                "files of different data sets cannot be merged: give them one by one",
            )
        again += first is not each
    order = {pair: place for place, pair in enumerate(dict.fromkeys(pair for pair, _ in kept))}
    records.generations = sorted(
        kept.values(), key=lambda each: (order[each.model_config], each.id)
    )
    if again:
        one, several = "record of a prompt that was", "records of prompts that were"
        what = f"{plural(again, one, several)} there already"
        records.notes.append(f"{what} {are(again)} left out")


def _add_failures(records: Records, failures: Iterable[Failure]) -> None:
    """Count the prompts that failed for good, and the ids that are missing, pair by pair."""
    pairs = records.pairs()
    files = {pair: {each.file for each in made} for pair, made in pairs}
    done = {pair: {each.id for each in made} for pair, made in pairs}
    failed: dict[Pair, set[int]] = {pair: set() for pair, _ in pairs}
    for failure in failures:
        theirs = [pair for pair, _ in pairs if failure.file in files[pair] or len(pairs) == 1]
        if not theirs or any(failure.id not in done[pair] for pair in theirs):
            records.failures.append(failure)
        for pair in theirs:
            failed[pair].add(failure.id)
    if records.failures:
        ids = stretches({failure.id for failure in records.failures})
        first = records.failures[0].error
        many = plural(len(records.failures), "prompt")
        records.notes.append(f"{many} failed: {ids}; the first: {first}")
    for pair, _ in pairs:
        there = done[pair] | failed[pair]
        if missing := set(range(max(there) + 1)) - there:
            which = f" of {pair}" if len(pairs) > 1 else ""
            records.notes.append(
                f"{len(missing):,} of {plural(max(there) + 1, 'id')} {are(len(missing))} missing"
                f"{which}: {stretches(missing)}; a shard is not here, or a run is not done"
            )


def stretches(ids: Iterable[int]) -> str:
    """Return ids in words, stretches of them by their first and last.

    >>> stretches([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    found: list[list[int]] = []
    for number in sorted(ids):
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    words = ["-".join(map(str, each)) for each in found[:MOST_LISTED]]
    return ", ".join(words) + (", …" if len(found) > MOST_LISTED else "")


def _inconsistent(generations: Iterable[Generation]) -> list[str]:
    """Say where the steps do not add up to the total that stands beside them."""
    wrong = {
        each.id
        for each in generations
        if abs(each.steps_ns.sum() - each.part_ns("decode_total"))
        > TOLERANCE * max(each.part_ns("decode_total"), 1.0)
    }
    if not wrong:
        return []
    return [f"decode steps do not add up to decode_total_ms in {len(wrong):,}: {stretches(wrong)}"]
