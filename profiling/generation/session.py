"""What `profiling.generation` does once its arguments are read: load, time, record, keep."""

import argparse
import os
import sys

from analysis.generation import __main__ as analysis
from analysis.show.cli import print_notes
from profiling.common.errors import LaunchError, UsageError
from profiling.generation import options, pair, profile
from profiling.generation import prompts as generation_prompts
from profiling.generation.profile import ProfileFiles
from profiling.generation.record import EarlierRecords, Prompt, open_record_file
from profiling.generation.run import Generator, Tally
from profiling.generation.selection import BUILT_IN


def prompts_of(arguments: argparse.Namespace) -> list[Prompt]:
    """Return the prompts to generate from, of all shards.

    Raises:
        LaunchError: the file or the data set cannot be read, or holds no prompts.
    """
    if arguments.mode == options.PROFILE:
        return [Prompt(0, BUILT_IN[0] if arguments.prompt is None else arguments.prompt)]
    if arguments.mode == options.BATCH:
        return generation_prompts.built_in()
    most = arguments.num_samples
    if arguments.dataset_file:
        return generation_prompts.from_file(arguments.dataset_file, most)
    return generation_prompts.from_dataset(arguments.dataset, arguments.split or "test", most)


def own_shard(arguments: argparse.Namespace, prompts: list[Prompt]) -> list[Prompt]:
    """Return the prompts of this shard.

    Raises:
        UsageError: there are more shards than prompts.
    """
    if not arguments.shard:
        return prompts
    shard = arguments.shard
    chosen = generation_prompts.shard_of(prompts, shard.index, shard.count)
    if not chosen:
        raise UsageError(
            f"shard {shard.index} of {shard.count} has no prompt: there are {len(prompts)}"
        )
    return chosen


def load(arguments: argparse.Namespace) -> Generator:
    """Load the models, and print the notes on them."""
    models = options.models(arguments)
    print_notes(*options.implied(arguments))  # before the minutes that a large one takes
    ready = pair.load_models(models)
    print_notes(*ready.notes)
    return Generator(ready, models, options.decoding(arguments))


def run_profile(arguments: argparse.Namespace, command: str) -> int:
    """Time one prompt, record it, write five files."""
    files = ProfileFiles.beside(options.output(arguments))
    files.check(arguments.overwrite)
    (prompt,) = prompts_of(arguments)
    made = load(arguments)
    made.warm_up([prompt])
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes to stderr
    most = arguments.trace_tokens or options.TRACE_TOKENS
    profile.profile(made, prompt, files, trace_tokens=most, command=command)
    _say_inexact(made)
    print_notes(f"the recorded run generates at most {most} tokens; --trace_tokens N for more")
    print(f"wrote {', '.join(map(str, files))}", file=sys.stderr)
    return analysis.main([str(files.jsonl)])


def run_prompts(arguments: argparse.Namespace) -> int:
    """Time every prompt of this shard that has no record yet; 1 if one failed."""
    prompts = prompts_of(arguments)
    chosen = own_shard(arguments, prompts)
    path = options.output(arguments)
    known = options.models(arguments).names
    how = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    with open_record_file(path, prompts, known, **how) as (file, earlier):
        print_notes(*_of_earlier(earlier))
        left = [prompt for prompt in chosen if prompt.id not in earlier.done]
        tally = Tally()
        if left:
            made = load(arguments)
            made.warm_up(left)
            try:
                tally = made.run(left, file)
            except KeyboardInterrupt:
                print_notes(f"what is done is in {path}; --resume goes on with it")
                raise
            _say_inexact(made)
    said = f"{tally.done} prompts done, {len(chosen) - len(left)} were done before"
    print(f"{path}: {said}", file=sys.stderr)
    shown = analysis.main([str(path)]) if tally.done or earlier.done else 0
    if tally.failed:
        raise LaunchError(
            f"{tally.failed} of {len(left)} prompts failed, the first with: {tally.first_error}; "
            "--resume tries them again"
        )
    return shown


def _of_earlier(earlier: EarlierRecords) -> list[str]:
    notes = []
    if earlier.torn:
        notes.append("1 line was cut short and is taken away: its prompt runs again")
    if earlier.failed:
        notes.append(f"{len(earlier.failed)} prompts failed before and are tried again")
    return notes


def _say_inexact(made: Generator) -> None:
    aligner = made.ready.pair.aligner
    if aligner and aligner.inexact:
        print_notes(
            f"{len(aligner.inexact)} different tokens had no equal in the teacher's tokenizer"
        )
