"""Recordings of the tiny training run, each made once for all tests of a run and all workers."""

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.made.runs.launched import TINY, find_nsys, launch


class Recording(NamedTuple):
    """What a recording left; a test that changes it makes a copy."""

    report: Path
    files: list[str]
    stdout: str
    stderr: str


def tiny_recording(
    recorder: str, factory: pytest.TempPathFactory, *, memory: bool = False
) -> Recording:
    """Return the recording of `TINY` by a recorder, made by whichever test first asks for it.

    Args:
        recorder: ``torch`` or ``nsys``; the test is skipped where nsys is not there.
        factory: pytest's, whose folder has that of all workers around it.
        memory: with ``--memory``.
    """
    env = {"NSYS": find_nsys()} if recorder == "nsys" else {}
    base = factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    name = f"tiny-by-{recorder}{'-with-memory' if memory else ''}"
    folder, known = common / name, common / f"{name}.json"
    with open(common / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not known.exists():
            more = ["--memory"] if memory else []
            done = launch(*TINY, "--recorder", recorder, *more, reports=folder, env=env)
            assert done.returncode == 0, done.stderr
            files = sorted(path.name for path in folder.iterdir())
            known.write_text(json.dumps([files, done.stdout, done.stderr]))
    return Recording(folder / "tiny.sqlite", *json.loads(known.read_text()))
