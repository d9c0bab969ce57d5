"""The prompts to generate from: built in, of a JSONL file, or of a data set of the hub.

An id is a prompt's place in its source, so that parts run by different processes can be put
together again.
"""

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from analysis.show.errors import first_line
from analysis.source.json_files import parsed, read_file
from profiling.common.cli import count
from profiling.common.errors import LaunchError, UsageError
from profiling.common.options import option
from profiling.generation.record import Prompt
from profiling.generation.selection import BUILT_IN

PROFILE, BATCH, DATASET = "profile", "batch", "dataset"

KEYS: Final = ("prompt", "question")
"""Where a record's text is; the first that it has counts."""

CONFIGS: Final = {"gsm8k": "main", "openai/gsm8k": "main", "cais/mmlu": "all"}
"""Of data sets that have several configurations, the one that is meant where none is named."""


def shard(text: str) -> tuple[int, int]:
    """Read ``I/N``: which shard, from 1, of how many."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/4, not {text}")
    return int(found[1]), int(found[2])


@dataclass(frozen=True, kw_only=True)
class PromptSource:
    """The options for what to generate from."""

    mode: str
    prompt: str | None = option(None, f"of profile (default: {BUILT_IN[0]!r})", metavar="TEXT")
    dataset: str | None = option(None, "of the hub, by `datasets`", metavar="NAME[:CONFIG]")
    split: str | None = option(None, "of --dataset (default: test)")
    dataset_file: str | None = option(None, "lines with prompt or question", metavar="FILE.jsonl")
    num_samples: int | None = option(None, "only the first N (default: all)", read=count)
    shard: tuple[int, int] | None = option(
        None, "run part I of N, every N-th prompt; ids stay", read=shard, metavar="I/N"
    )

    def prompts(self) -> list[Prompt]:
        """Return the prompts to generate from, of all shards.

        Raises:
            CommandError: the file or the data set cannot be read, or holds no prompts.
        """
        if self.mode == PROFILE:
            return [Prompt(0, BUILT_IN[0] if self.prompt is None else self.prompt)]
        if self.dataset_file:
            return from_file(Path(self.dataset_file), self.num_samples)
        if self.dataset:
            return from_dataset(self.dataset, self.split or "test", self.num_samples)
        return [Prompt(number, text) for number, text in enumerate(BUILT_IN)]

    def own(self, prompts: list[Prompt]) -> list[Prompt]:
        """Return the prompts of this shard.

        Raises:
            UsageError: there are more shards than prompts.
        """
        if not self.shard:
            return prompts
        index, count = self.shard
        chosen = shard_of(prompts, index, count)
        if not chosen:
            raise UsageError(f"shard {index} of {count} has no prompt: there are {len(prompts)}")
        return chosen


def from_file(path: Path, most: int | None = None) -> list[Prompt]:
    """Read the prompts of a JSONL file, ``most`` at most: one a line; empty lines are none.

    Raises:
        CommandError: it cannot be read, has no prompt, or a line, named by its number, is no
            record.
    """
    prompts: list[Prompt] = []
    for number, line in enumerate(read_file(path, "give a JSONL file").split(b"\n"), 1):
        if not line.strip() or len(prompts) == most:
            continue
        try:
            record = parsed(line)
        except ValueError as error:
            raise LaunchError(f"{path}: line {number} is {error}; correct it") from None
        prompts.append(Prompt(len(prompts), _text(record, f"{path}: line {number}")))
    if not prompts:
        raise LaunchError(f'{path}: empty; give a line {{"prompt": "…"}} for each prompt')
    return prompts


def _text(record: Any, where: str) -> str:
    if not isinstance(record, dict):
        raise LaunchError(f"{where} is no JSON object; give {{{KEYS[0]!r}: …}}")
    for key in KEYS:
        if isinstance(record.get(key), str):
            return str(record[key])
    has = ", ".join(map(str, list(record)[:10])) or "nothing"
    raise LaunchError(f"{where} has no text called {' or '.join(KEYS)}; it has: {has}")


def named(name: str) -> tuple[str, str | None]:
    """Return a data set's name and configuration.

    >>> named("gsm8k"), named("cais/mmlu:anatomy"), named("squad")
    (('gsm8k', 'main'), ('cais/mmlu', 'anatomy'), ('squad', None))
    """
    path, colon, config = name.partition(":")
    if not path or (colon and not config):
        raise UsageError(f"no data set is called {name!r}; give NAME or NAME:CONFIG")
    return path, config or CONFIGS.get(path)


def from_dataset(name: str, split: str, most: int | None = None) -> list[Prompt]:
    """Read the prompts of a data set that the package ``datasets`` loads, ``most`` at most.

    Args:
        name: ``NAME`` or ``NAME:CONFIG``.
        split: such as ``test``.

    Raises:
        LaunchError: the package is missing, or the data set is not found or has no prompts.
    """
    path, config = named(name)
    rows = _load(name, path, config, split)
    count = len(rows) if most is None else min(most, len(rows))
    if not count:
        raise LaunchError(f"{name}: its split {split} is empty; choose another --split")
    return [Prompt(number, _text(rows[number], f"{name}: row {number}")) for number in range(count)]


def _load(name: str, path: str, config: str | None, split: str) -> Any:
    try:
        load_dataset = import_module("datasets").load_dataset
    except ImportError:
        raise LaunchError(
            "reading a data set wants the package datasets; pip install datasets, "
            "or give --dataset-file FILE.jsonl"
        ) from None
    try:
        return load_dataset(path, config, split=split)
    # What the package raises for a wrong name, a wrong split or no network differs by version.
    except Exception as error:
        said = (first_line(error) or type(error).__name__)[:200]
        raise LaunchError(
            f"{name}: split {split} cannot be loaded ({said.rstrip('.')}); check name and split, "
            "or give --dataset-file FILE.jsonl"
        ) from None


def shard_of(prompts: Iterable[Prompt], index: int, count: int) -> list[Prompt]:
    """Return the part of the prompts that shard ``index`` (from 1) of ``count`` runs.

    Shards take turns, so that each gets long and short prompts alike.
    """
    return [prompt for prompt in prompts if prompt.id % count == index - 1]
