"""What `profiling.generation` does once its arguments are read: load, time, record, keep."""

import argparse
import os
from typing import Final

from analysis.generation import __main__ as analysis
from analysis.generation.records import Failure
from analysis.show.cli import print_notes
from analysis.show.render import are, plural
from analysis.show.sheet import say
from analysis.source.json_files import ABOUT
from profiling.common import result_file
from profiling.common.errors import LaunchError
from profiling.common.options import chosen
from profiling.generation import options, pair, profile
from profiling.generation.profile import ProfileFiles
from profiling.generation.prompts import PromptSource
from profiling.generation.record import EarlierRecords, open_record_file
from profiling.generation.run import Generator
from profiling.generation.selection import Decoding

KIND: Final = "generation"


def load(arguments: argparse.Namespace) -> Generator:
    """Load the models, and print the notes on them."""
    models = options.models(arguments)
    print_notes(*options.implied(arguments))  # before the minutes that a large one takes
    ready = pair.load_models(models)
    print_notes(*ready.notes)
    return Generator(ready, models, chosen(Decoding, arguments))


def run_profile(arguments: argparse.Namespace, command: str) -> int:
    """Time one prompt, record it, write five files."""
    files = ProfileFiles.beside(options.output(arguments))
    files.check(arguments.overwrite)
    (prompt,) = chosen(PromptSource, arguments).prompts()
    made = load(arguments)
    made.warm_up([prompt])
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes to stderr
    most = arguments.trace_tokens or options.TRACE_TOKENS
    profile.profile(made, prompt, files, trace_tokens=most, command=command)
    _say_inexact(made)
    print_notes(f"the recorded run generates at most {most} tokens; --trace-tokens N for more")
    say(f"wrote {', '.join(map(str, files))}")
    return analysis.main([str(files.jsonl)])


def run_prompts(arguments: argparse.Namespace, command: str) -> int:
    """Time every prompt of this shard that has no record yet; 1 if one failed."""
    source = chosen(PromptSource, arguments)
    prompts = source.prompts()
    own = source.own(prompts)
    path = options.output(arguments)
    known = options.models(arguments).names
    how = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    with open_record_file(path, prompts, known, **how) as (file, earlier):
        print_notes(*_of_earlier(earlier))
        left = [prompt for prompt in own if prompt.id not in earlier.done]
        failures: list[Failure] = []
        if left:
            made = load(arguments)
            made.warm_up(left)
            models = made.models
            said_of_it = {"dtype": models.dtype, "device": models.device}
            header = result_file.header(KIND, command, models.device)
            result_file.write(path.with_name(path.name + ABOUT), [{**header, **said_of_it}])
            try:
                failures = made.run(left, file)
            except KeyboardInterrupt:
                print_notes(f"what is done is in {path}; --resume goes on with it")
                raise
            _say_inexact(made)
    done = len(left) - len(failures)
    before = len(own) - len(left)
    said = f"{plural(done, 'prompt')} done, {before} {'was' if before == 1 else 'were'} done before"
    say(f"{path}: {said}")
    shown = analysis.main([str(path)]) if done or earlier.done else 0
    if failures:
        raise LaunchError(
            f"{len(failures)} of {plural(len(left), 'prompt')} failed, the first with: "
            f"{failures[0].error}; --resume tries them again"
        )
    return shown


def _of_earlier(earlier: EarlierRecords) -> list[str]:
    notes = []
    if earlier.torn:
        notes.append("1 line was cut short and is taken away: its prompt runs again")
    if failed := len(earlier.failed):
        notes.append(f"{plural(failed, 'prompt')} failed before and {are(failed)} tried again")
    return notes


def _say_inexact(made: Generator) -> None:
    aligner = made.ready.pair.aligner
    if aligner and aligner.inexact:
        print_notes(
            f"{plural(len(aligner.inexact), 'different token')} had no equal in the teacher's "
            "tokenizer"
        )
