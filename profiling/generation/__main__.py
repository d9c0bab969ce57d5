"""Time cache-to-cache (C2C) generation by two models: prefill, projectors, every decoded token.

    python -m profiling.generation profile                     one prompt in detail
    python -m profiling.generation batch                       five prompts that come with it
    python -m profiling.generation dataset --dataset-file F    prompts of a file or a data set

The base (receiver) and the teacher (sharer) read the prompt, one projector for each base layer
fuses their caches, and the base decodes. One line of JSON for each prompt is on disk as soon as the
prompt is done.
"""

import sys
from collections.abc import Sequence

from profiling.common import cli
from profiling.generation import options
from profiling.generation.prompts import PROFILE
from profiling.generation.selection import LESS_MEMORY


@cli.memory_advice(LESS_MEMORY)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that the arguments ask for; return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = options.parse(options.parser(__doc__), given)

    from profiling.generation.session import run_profile, run_prompts  # here: with torch

    run = run_profile if arguments.mode == PROFILE else run_prompts
    return run(arguments, cli.command_line("profiling.generation", given))


if __name__ == "__main__":
    sys.exit(cli.run(main))
