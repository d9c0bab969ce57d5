"""Commands run in this process as in one of their own, which would import torch once more."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from unittest.mock import patch

from analysis.show.command import run
from tests.made.commands.commands import command_module
from tests.made.tools.shared import ROOT

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_command(
    module: str,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Return how ``python -m MODULE`` ends and what it prints, itself and its own processes.

    Args:
        module: with a ``main(argv)`` that returns the exit status.
        arguments: of the command line.
        env: the whole environment; that of this process if none is given.
        cwd: the current folder while it runs.
    """
    given = list(map(str, arguments))
    main = command_module(module).main
    environment = patch.dict(os.environ, env or {}, clear=env is not None)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with (
            environment,
            contextlib.chdir(cwd),
            patch.object(sys, "argv", [module, *given]),
            printed_into(1, out.fileno()),
            printed_into(2, err.fileno()),
        ):
            handlers = [signal.getsignal(number) for number in HANDLED]
            try:
                status = run(lambda: main(given))
            except SystemExit as stop:
                status = int(stop.code or 0)
            assert [signal.getsignal(number) for number in HANDLED] == handlers
        return subprocess.CompletedProcess([module, *given], status, read(out), read(err))


@contextlib.contextmanager
def printed_into(number: int, file: int) -> Iterator[None]:
    """Let stdout (1) or stderr (2) of this process and of those it starts be an open file."""
    redirect = (contextlib.redirect_stdout, contextlib.redirect_stderr)[number - 1]
    before = os.dup(number)
    os.dup2(file, number)
    try:
        with open(os.dup(file), "w", buffering=1, encoding="utf-8") as stream, redirect(stream):
            yield
    finally:
        os.dup2(before, number)
        os.close(before)


def read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
