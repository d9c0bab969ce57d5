"""Each default of a run stands once: changed there, it is in the help and in `make profile`."""

import shlex
import subprocess
from collections.abc import Iterator

import pytest

from profiling.common.options import ByDevice, options_of
from profiling.common.settings import ModelShape, Settings
from profiling.launch import options, workloads
from profiling.launch.workloads import TRAINING
from tests.made.tools.shared import ROOT

CHANGED = {
    "mode": (Settings, "forward"),
    "batch": (Settings, ByDevice(9, cpu=7)),
    "context": (Settings, ByDevice(48, cpu=24)),
    "dtype": (Settings, "bfloat16"),
    "attention": (Settings, "sdpa"),
    "steps": (Settings, 11),
    "warmup": (Settings, 5),
    "size": (ModelShape, "medium"),
}


@pytest.fixture(params=CHANGED)
def changed(request: pytest.FixtureRequest) -> Iterator[str]:
    """Change one default where it stands."""
    kind, value = CHANGED[request.param]
    known = options_of(kind)[request.param]
    before = known.default
    object.__setattr__(known, "default", value)
    yield request.param
    object.__setattr__(known, "default", before)


def test_the_help_has_the_changed_default(changed: str) -> None:
    text = " ".join(options.parser(TRAINING, None).format_help().split())
    assert f"(default: {CHANGED[changed][1]})" in text


def test_make_profile_runs_by_the_changed_default(changed: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "profile"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    line = next(each for each in done.stdout.splitlines() if " -m spanlight profile" in each)
    words_typed = shlex.split(line)
    name, arguments = options.parse(words_typed[words_typed.index("profile") + 1 :])
    told = workloads.load(name).read(arguments, "cpu").describe()
    value = CHANGED[changed][1]
    shown = value.on("cpu") if isinstance(value, ByDevice) else value
    words = {
        "batch": f"batch {shown}",
        "context": f"context {shown}",
        "attention": f"{shown} attention",
        "steps": f"{shown} steps",
        "warmup": f"{shown} warm-up",
    }
    assert words.get(changed, str(shown)) in told
